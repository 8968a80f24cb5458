"""Whose weights a training leaves, what it says on the way, and how it ends when it is asked to."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

from acinus.learning import checkpoints
from acinus.learning.augmentation import Augmentation
from acinus.learning.checkpoints import EpochRecord, best_epoch, stops_early
from acinus.learning.fit import FitJob, fit
from acinus.learning.inputs import to_input
from acinus.learning.optimisers import WeightAverage
from tests.learning import fit_case as case


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one.keys() | other.keys())


def records(*figures: tuple[float, float | None]) -> list[EpochRecord]:
    return [
        EpochRecord(n, 1.0, 0.5, loss, 0.5, 0.1, val_metric=metric) for n, (loss, metric) in enumerate(figures, start=1)
    ]


def test_which_epoch_is_kept_by_hand() -> None:
    history = records((3.0, 0.5), (1.0, 0.7), (2.0, 0.9), (1.0, 0.9), (4.0, None))
    assert {keep: best_epoch(history, keep) for keep in ("val_loss", "val_metric", "last", "ema")} == {
        "val_loss": 2, "val_metric": 3, "last": 5, "ema": 5,
    }  # fmt: skip
    assert best_epoch([], "last") == 0
    assert best_epoch(records((1.0, None), (2.0, None)), "val_metric") == 1
    # patience goes by the figure that is kept by; for last and ema by the loss
    assert [stops_early(history, 3, keep) for keep in ("val_loss", "val_metric", "last")] == [True, False, True]


def test_the_average_by_hand_with_batch_statistics_and_counters() -> None:
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, decay=0.25)
    weight, mean = 1.0, 0.0  # as batch normalisation begins
    for step, (value, seen) in enumerate([(3.0, 10.0), (5.0, 20.0), (7.0, 40.0)], start=1):
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(seen)
            model.num_batches_tracked.fill_(step)
        average.update()
        decay = min(0.25, (1 + step) / (10 + step))  # 2/11, 3/12, 4/13: the second is 0.25 already
        weight, mean = decay * weight + (1 - decay) * value, decay * mean + (1 - decay) * seen
    assert average.state_dict()["average"]["weight"].item() == pytest.approx(weight, rel=1e-6)
    assert average.state_dict()["average"]["running_mean"].item() == pytest.approx(mean, rel=1e-6)
    assert average.state_dict()["average"]["num_batches_tracked"].item() == 3
    average.swap()
    assert model.weight.item() == pytest.approx(weight, rel=1e-6)
    assert average.state_dict()["average"]["weight"].item() == 7.0
    average.swap()
    assert model.weight.item() == 7.0


def test_the_model_is_the_average_and_validation_is_of_it(tmp_path: Path) -> None:
    job = case.segmentation_job(tmp_path, keep="ema", ema_decay=0.9)
    result = fit(job)
    last = checkpoints.load(tmp_path / "checkpoints" / "last.ckpt")
    assert same(state(job.model), last.average["average"])
    assert not same(last.average["average"], last.model)
    assert result.best_epoch == len(result.history) == case.EPOCHS
    raw = case.segmentation_job(tmp_path / "raw", keep="last")
    fit(raw)
    assert same(state(raw.model), last.model)  # the average changes nothing of the training itself
    images, masks = zip(*(job.val[(0, item)] for item in range(len(job.val))), strict=True)
    with torch.inference_mode():
        guess = job.model(to_input(torch.stack(images), job.inputs)).argmax(dim=1).numpy()
    truth = torch.stack(masks).numpy()
    known = truth != 255
    assert result.history[-1].val_acc == pytest.approx(float((guess == truth)[known].mean()))
    dice = f1_score(truth[known], guess[known], labels=[1, 2], average="macro")  # of the foreground
    assert result.history[-1].val_metric == pytest.approx(dice, abs=1e-9)


def test_the_weights_of_the_epoch_of_the_best_metric_are_kept(tmp_path: Path) -> None:
    job = case.segmentation_job(tmp_path, keep="val_metric", checkpoint_every=1)
    result = fit(job)
    best = 1 + int(np.argmax([record.val_metric for record in result.history]))
    assert result.best_epoch == best
    assert same(state(job.model), checkpoints.load(tmp_path / "checkpoints" / f"epoch_{best:04d}.ckpt").model)


def test_looks_within_an_epoch_change_no_bit_and_are_told(tmp_path: Path) -> None:
    plain, looking = (case.segmentation_job(tmp_path / name, keep="ema") for name in ("plain", "looking"))
    said: list[str] = []
    settings = looking.settings.model_copy(update={"val_every_steps": 2})
    assert fit(dataclasses.replace(looking, settings=settings, on_progress=said.append)) == fit(plain)
    assert same(state(looking.model), state(plain.model))
    assert [text.split(":")[0] for text in said] == [
        f"epoch {epoch}, step {step} of 6" for epoch in range(1, case.EPOCHS + 1) for step in (2, 4)
    ]
    assert all("val_loss" in text and "val_dice" in text for text in said)


def test_a_long_epoch_says_how_far_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    ticks = itertools.count(step=15)  # seconds at every look at the clock
    job = case.segmentation_job(tmp_path, max_epochs=1)
    fit(dataclasses.replace(job, clock=lambda: float(next(ticks)), on_progress=said.append))
    assert said
    assert all(text.startswith("epoch 1, step ") and " of 6: train_loss " in text for text in said)


def asked_after(steps: int) -> Any:
    left: Iterator[bool] = itertools.chain([False] * (steps - 1), itertools.repeat(True))
    return lambda: next(left)


@pytest.mark.parametrize("keep", ["val_loss", "ema"])
def test_asked_to_stop_it_ends_with_the_finished_epochs(tmp_path: Path, keep: str) -> None:
    whole = case.segmentation_job(tmp_path / "whole", keep=keep, checkpoint_every=1)
    expected = fit(whole)
    job = case.segmentation_job(tmp_path / "cut", keep=keep)
    result = fit(dataclasses.replace(job, stop=asked_after(15)))  # in the third epoch of 6 steps
    assert result.stopped
    assert result.history == expected.history[:2]
    best = 2 if keep == "ema" else 1 + int(np.argmin([record.val_loss for record in expected.history[:2]]))
    assert result.best_epoch == best
    kept = checkpoints.load(tmp_path / "whole" / "checkpoints" / f"epoch_{best:04d}.ckpt").kept
    assert same(state(job.model), kept)
    assert (tmp_path / "cut" / "log.csv").read_text().count("\n") == 3
    assert not expected.stopped


def test_asked_to_stop_at_the_last_step_of_an_epoch_that_epoch_counts(tmp_path: Path) -> None:
    result = fit(dataclasses.replace(case.segmentation_job(tmp_path / "a"), stop=asked_after(12)))
    assert (len(result.history), result.stopped) == (2, True)
    whole = fit(dataclasses.replace(case.segmentation_job(tmp_path / "b"), stop=asked_after(6 * case.EPOCHS)))
    assert (len(whole.history), whole.stopped) == (case.EPOCHS, False)  # nothing was cut


def test_asked_to_stop_in_its_first_epoch_that_ends_there_as_a_whole(tmp_path: Path) -> None:
    job = case.segmentation_job(tmp_path)
    result = fit(dataclasses.replace(job, stop=asked_after(2)))
    assert result.stopped
    assert [record.epoch for record in result.history] == [1]
    assert same(state(job.model), checkpoints.load(tmp_path / "checkpoints" / "best.ckpt").model)
    assert result.history[0].val_loss is not None


def test_without_validation_the_last_weights_stay_and_no_figure_is_made_up(tmp_path: Path) -> None:
    heard: list[dict[str, float]] = []
    job = case.segmentation_job(tmp_path, lambda epoch, metrics: heard.append(metrics), keep="last")
    result = fit(dataclasses.replace(job, val=None))
    guided = case.segmentation_job(tmp_path / "guided", keep="last")
    fit(guided)
    assert same(state(job.model), state(guided.model))  # validation does not touch the training
    assert {record.val_loss for record in result.history} == {record.val_metric for record in result.history} == {None}
    assert all(set(metrics) == {"train_loss", "train_acc", "lr"} for metrics in heard)
    assert result.best_epoch == case.EPOCHS


def test_crops_are_trained_on_at_their_own_size_and_whole_patches_validated(tmp_path: Path) -> None:
    seen: set[tuple[bool, int]] = set()

    class Watching(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.add((self.training, x.shape[-1]))
            return super().forward(x)

    job: FitJob = case.segmentation_job(tmp_path, crop_px=8, max_epochs=2)
    torch.manual_seed(0)
    crops = case.masked("train", 43, Augmentation(everything=True, seed=3, crop_px=8))
    fit(dataclasses.replace(job, model=nn.Sequential(Watching(3, 3, 3, padding=1)), train=crops))
    assert seen == {(True, 8), (False, 16)}
