"""What a recipe's model is made of: members of other seeds, the last fit on all known slides, and a clean end."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from acinus import params, seeds
from acinus.cli import main
from acinus.errors import AcinusError
from acinus.learning import stopping
from acinus.learning.device import Machine
from acinus.learning.fit import FitJob, fit
from acinus.learning.job import Training, evenly, member, training_job
from acinus.learning.members import Fits, Hears, train_members
from acinus.learning.models import Ensemble
from acinus.patches.store import MASKS
from acinus.paths import Paths
from tests.learning.fit_case import FakeStore

PX = 32


class Spots(FakeStore):
    """Patches of noise with a red square, or masks of it; the key alone says what they look like."""

    def __init__(self, masks: bool) -> None:
        self._masks = masks
        self.asked: list[str] = []

    def read(self, key: str) -> np.ndarray:
        self.asked.append(key)
        rng = np.random.default_rng([ord(one) for one in key])
        y, x = rng.integers(0, PX - 12, 2)
        mask = np.zeros((PX, PX), np.uint8)
        mask[y : y + 12, x : x + 12] = 1
        if self._masks:
            return mask
        pixels = rng.normal(110, 40, (PX, PX, 3))
        pixels[mask == 1, 0] += 70
        return np.clip(pixels, 0, 255).astype(np.uint8)


@dataclass
class Case:
    """A small segmentation: 12 training and 6 validation patches."""

    root: Path
    settings: dict[str, object]
    stores: tuple[Spots, Spots] = field(default_factory=lambda: (Spots(False), Spots(True)))
    heard: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def sample(self) -> pd.DataFrame:
        rows = [
            {"slide_id": f"{split}{n % 3}", "x0": PX * n, "y0": 0, "downsample": 1.0, "label": 1, "split": split}
            for split, count in (("train", 12), ("val", 6), ("test", 3))
            for n in range(count)
        ]
        return pd.DataFrame(rows)

    @property
    def training(self) -> Training:
        values = {
            "model": "unet", "encoder": "test_resnet", "weights": "none", "batch_size": 4, "max_epochs": 3, "lr": 0.01,
            "schedule": "constant", "stop_patience": None, "positive_augmentation": False, "train_augmentation": True,
            "loss": {"terms": {"cross_entropy": 1.0}, "class_weights": "equal"},
        }  # fmt: skip
        paths = Paths(self.root, "x")
        for path in (paths.sample, paths.patches / "store.json", paths.patches / MASKS / "store.json"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"what is trained on")
        train = params.Train.model_validate(values | self.settings)
        index = params.Index.model_validate({"patch_px": PX, "stride_px": PX, "level": 0})

        def seed(*names: str | int) -> int:
            return seeds.derive(1, "train", *names)

        return Training("segmentation", ("other", "cancer"), index, train, Machine(), seed, paths)

    def run(self, raise_at: int | None = None) -> Fits:
        """Train; `raise_at`: SIGTERM comes at the end of this epoch, counted over all fits."""

        def metrics(figures: Mapping[str, float], epoch: int) -> None:
            if any(name.endswith("train_loss") for name in figures):
                self.heard.append((epoch, dict(figures)))
                if len(self.heard) == raise_at:
                    signal.raise_signal(signal.SIGTERM)

        logs = self.root / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        with stopping.listening(self.root, "x") as asked:
            hears = Hears(metrics, self.said.append, asked)
            stores: Any = self.stores
            return train_members(self.training, stores, self.sample, [1], logs, hears)

    def alone(self, number: int) -> nn.Module:
        """Return what one member is when it is trained by itself."""
        own = member(self.training, number)
        job = self.job(own, self.sample)
        fit(replace(job, checkpoints=self.root / "alone"))
        return job.model

    def job(self, training: Training, sample: pd.DataFrame) -> FitJob:
        """Return the training's fit on a sample."""
        log = self.root / "log.csv"
        stores: Any = self.stores
        return training_job(training, stores, sample, log)


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_members_are_trainings_of_other_seeds_and_the_first_is_what_it_would_be_alone(tmp_path: Path) -> None:
    case = Case(tmp_path, {"members": 2, "max_epochs": 2})
    fits = case.run()
    assert isinstance(fits.model, Ensemble)
    assert (fits.members, fits.selection, fits.stopped) == (2, None, None)
    first, second = fits.model.members
    assert same(first, Case(tmp_path / "one", {"max_epochs": 2}).run().model)
    assert same(second, case.alone(1))
    assert not same(first, second)
    assert [epoch for epoch, _ in case.heard] == [1, 2, 1, 2]
    assert "member_2.val_dice" in case.heard[3][1]
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"training_log.csv", "training_log_member_2.csv"}


def test_the_last_fit_is_on_both_splits_for_the_epochs_found_and_test_stays_untouched(tmp_path: Path) -> None:
    case = Case(tmp_path, {"final": "train+val"})
    fits = case.run()
    assert fits.selection is not None
    guided = Case(tmp_path / "guided", {}).run()
    assert same(fits.selection, guided.model)
    epochs = fits.first.best_epoch
    assert [figures for _, figures in case.heard[3:]] == [
        {"final.train_loss": one["final.train_loss"], "final.train_acc": one["final.train_acc"], "final.lr": 0.01}
        for _, one in case.heard[3:]
    ]
    assert len(case.heard) == 3 + epochs
    merged = case.sample.assign(split=lambda rows: rows["split"].replace("val", "train"))
    by_hand = Case(tmp_path / "by_hand", {"max_epochs": epochs, "keep": "last"})
    validated = pd.concat([merged, case.sample[case.sample["split"] == "val"]])  # it must validate on something
    own = by_hand.training
    job = by_hand.job(own, validated)
    fit(job)
    assert same(fits.model, job.model)
    asked = {key.split("/")[0] for store in case.stores for key in store.asked}
    assert asked == {"train0", "train1", "train2", "val0", "val1", "val2"}


def test_sigterm_ends_it_with_the_best_so_far(tmp_path: Path) -> None:
    case = Case(tmp_path, {"members": 2, "final": "train+val", "keep": "last"})
    before = signal.getsignal(signal.SIGTERM)
    fits = case.run(raise_at=2)
    assert signal.getsignal(signal.SIGTERM) is before
    assert fits.stopped == "SIGTERM"
    assert (fits.members, fits.selection, len(fits.first.history)) == (1, None, 2)
    assert same(fits.model, Case(tmp_path / "short", {"max_epochs": 2, "keep": "last"}).run().model)


def test_an_end_during_the_second_member_keeps_both(tmp_path: Path) -> None:
    case = Case(tmp_path, {"members": 3, "keep": "last", "max_epochs": 2})
    fits = case.run(raise_at=3)
    assert isinstance(fits.model, Ensemble)
    assert fits.members == 2
    assert fits.stopped == "SIGTERM"


def test_an_end_that_comes_after_the_last_step_cuts_nothing(tmp_path: Path) -> None:
    assert Case(tmp_path, {"max_epochs": 1}).run(raise_at=1).stopped is None


def test_a_stop_from_another_shell_is_heard_and_one_without_a_training_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    (tmp_path / "params.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["stop", "--recipe", "x"])
    assert result.exit_code == 1
    assert "recipe x: no training is running in" in result.output
    lock = tmp_path / ".acinus" / "locks" / "train@x"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as stream, stopping.listening(tmp_path, "x") as asked:
        with pytest.raises(AcinusError, match="no training is running"):
            stopping.ask(tmp_path, "x")  # the lock's file is there, nobody holds it
        assert asked() is None
        fcntl.flock(stream, fcntl.LOCK_EX)
        result = CliRunner().invoke(main, ["stop", "--recipe", "x"])
        assert "keeps the best so far" in result.output
        assert asked() == "acinus stop"
    with stopping.listening(tmp_path, "x") as asked:
        assert asked() is None  # heard once


def test_a_stale_request_is_dropped(tmp_path: Path) -> None:
    left = tmp_path / ".acinus" / "stop" / "x"
    left.parent.mkdir(parents=True)
    left.touch()
    with stopping.listening(tmp_path, "x") as asked:
        assert asked() is None


def test_validation_patches_are_capped_evenly(tmp_path: Path) -> None:
    case = Case(tmp_path, {"max_val_patches": 3})
    own = case.training
    job = case.job(own, case.sample)
    assert job.val is not None
    assert list(job.val.keys) == ["val0/0_0", f"val2/{2 * PX}_0", f"val2/{5 * PX}_0"]
    rows = case.sample
    assert len(evenly(rows, None)) == len(evenly(rows, 1000)) == len(rows)
    assert len(evenly(rows[:0], 3)) == 0
