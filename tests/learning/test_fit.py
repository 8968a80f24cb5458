"""The training loop: what it records, where it stops, and that a kill leaves no trace."""

import dataclasses
import itertools
import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from acinus.errors import AcinusError
from acinus.learning import checkpoints, dataset
from acinus.learning.checkpoints import EpochRecord, best_epoch, stops_early, to_csv
from acinus.learning.device import pick, reproducible
from acinus.learning.fit import FitResult, fit
from tests.learning import fit_case as case
from tests.learning.fit_case import FakeStore

CASE = Path(__file__).with_name("fit_case.py")


GETITEMS = case.PatchDataset.__getitems__


def weights_of(model: torch.nn.Module) -> bytes:
    return save({key: value.contiguous() for key, value in model.state_dict().items()})


@dataclasses.dataclass
class Straight:
    """An uninterrupted training and what it left."""

    folder: Path
    weights: bytes
    result: FitResult
    heard: list[tuple[int, dict[str, float]]]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Straight:
    folder, heard = tmp_path_factory.mktemp("straight"), []
    job = case.job(folder, lambda epoch, metrics: heard.append((epoch, metrics)))
    result = fit(job)
    assert not job.model.training
    return Straight(folder, weights_of(job.model), result, heard)


def test_it_learns_and_records_every_epoch(straight: Straight) -> None:
    history = straight.result.history
    assert [record.epoch for record in history] == [1, 2, 3, 4, 5]
    assert history[-1].train_loss < history[0].train_loss
    assert max(record.val_acc for record in history) >= 0.8  # 2/3 are normal
    assert straight.result.best_epoch == 1 + int(np.argmin([record.val_loss for record in history]))
    assert not straight.result.stopped_early
    assert [epoch for epoch, _ in straight.heard] == [1, 2, 3, 4, 5]
    assert set(straight.heard[0][1]) == {"train_loss", "train_acc", "val_loss", "val_acc", "val_auc", "lr"}
    assert straight.heard[2][1]["val_loss"] == history[2].val_loss


def test_the_log_has_its_columns(straight: Straight) -> None:
    lines = (straight.folder / "log.csv").read_text().splitlines()
    assert lines[0] == "epoch,train_loss,train_acc,val_loss,val_acc,val_auc"
    assert len(lines) == 6
    assert [float(value) for value in lines[3].split(",")] == pytest.approx(
        [*dataclasses.astuple(straight.result.history[2])[:5], straight.result.history[2].val_metric], rel=1e-8
    )


def test_best_last_and_every_second_checkpoint_stay(straight: Straight) -> None:
    names = sorted(path.name for path in (straight.folder / "checkpoints").iterdir())
    assert names == ["best.ckpt", "epoch_0002.ckpt", "epoch_0004.ckpt", "key", "last.ckpt"]
    best = checkpoints.load(straight.folder / "checkpoints" / "best.ckpt")
    assert best.epoch == straight.result.best_epoch
    assert save({key: value.contiguous() for key, value in best.model.items()}) == straight.weights


def test_figures_of_the_best_epoch_are_those_of_the_model_that_is_left(straight: Straight) -> None:
    job = case.job(straight.folder)
    job.model.load_state_dict(checkpoints.load(straight.folder / "checkpoints" / "best.ckpt").model)
    loss, hits = 0.0, 0
    counts = job.train.counts(2)
    with torch.inference_mode():
        for item in range(len(job.val)):
            patch, label = job.val[(0, item)]
            log_p = job.model.eval()((patch[None] / 255 - 0.5) / 0.2).log_softmax(1)[0]
            loss -= sum(counts) / counts[label] * float(log_p[label])
            hits += int(log_p.argmax()) == label
    record = straight.result.history[straight.result.best_epoch - 1]
    assert record.val_loss == pytest.approx(loss / len(job.val), rel=1e-4)
    assert record.val_acc == pytest.approx(hits / len(job.val))


@pytest.mark.parametrize("after", [3])
def test_killed_and_started_again_it_ends_in_the_same_bytes(straight: Straight, tmp_path: Path, after: int) -> None:
    done = subprocess.run([sys.executable, CASE, tmp_path, str(after)], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout == ""
    assert done.stderr == ""
    assert checkpoints.load(tmp_path / "checkpoints" / "last.ckpt").epoch == after
    heard: list[tuple[int, dict[str, float]]] = []
    torch.manual_seed(999)  # what else happens in the process must not matter
    job = case.job(tmp_path, lambda epoch, metrics: heard.append((epoch, metrics)))
    result = fit(job)
    assert result == straight.result
    assert weights_of(job.model) == straight.weights
    assert heard == straight.heard
    assert len({metrics["lr"] for _, metrics in heard}) > 1  # else the plateau rule was not put to the test
    for name in ("log.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt"):
        if name.endswith("csv"):
            assert (tmp_path / name).read_bytes() == (straight.folder / name).read_bytes()
        else:
            mine, theirs = (checkpoints.load(one / name) for one in (tmp_path, straight.folder))
            assert mine.history == theirs.history
            torch.testing.assert_close(mine.optimizer, theirs.optimizer, rtol=0, atol=0)


def test_ctrl_c_comes_through_and_the_same_training_goes_on(straight: Straight, tmp_path: Path) -> None:
    """Lightning makes of it an exit with status 1, without a word, and ignores what comes after."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a command in the background ignores it

    def stop(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 2:
            signal.raise_signal(signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            fit(case.job(tmp_path, stop))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    job = case.job(tmp_path)
    assert fit(job) == straight.result
    assert weights_of(job.model) == straight.weights


def test_fp16_on_a_cpu_is_refused_where_lightning_would_take_bf16(tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match=r"train.precision = '16-mixed' trains on a GPU only, found device cpu; set"):
        fit(case.job(tmp_path, precision="16-mixed"))


def test_a_finished_training_is_not_trained_further(straight: Straight) -> None:
    job = case.job(straight.folder)
    before = (straight.folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert fit(job) == straight.result
    assert weights_of(job.model) == straight.weights
    assert (straight.folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_early_stopping_ends_the_training_and_keeps_the_best(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    job = case.job(tmp_path, max_epochs=30, stop_patience=1, lr=0.02)
    result = fit(job)
    assert result.stopped_early
    assert len(result.history) == result.best_epoch + 1 < 30
    assert result.history[-1].val_loss >= result.history[-2].val_loss
    assert capfd.readouterr() == ("", "")


def test_a_loss_that_is_no_number_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match=r"training diverged in epoch 1 .*lower train.lr"):
        fit(case.job(tmp_path, lr=1e30))


def test_splits_that_cannot_be_learned_from_are_refused(tmp_path: Path) -> None:
    job = case.job(tmp_path)
    nothing = dataclasses.replace(job, val=case.dataset("val", 0, case.Augmentation()))
    with pytest.raises(AcinusError, match="validation split: no patches"):
        fit(nothing)
    with pytest.raises(AcinusError, match="training split: 1 patches"):
        fit(dataclasses.replace(job, train=case.dataset("train", 1, case.Augmentation())))
    one_class = case.PatchDataset(case.StripeStore(), ["train/1/0", "train/2/0"], [0, 0], 32)
    with pytest.raises(AcinusError, match="no patches of class tumor"):
        fit(dataclasses.replace(job, train=one_class))
    assert not (tmp_path / "checkpoints").exists()


def test_never_stopping_early_trains_to_the_end(tmp_path: Path) -> None:
    result = fit(case.segmentation_job(tmp_path, lr=1e-9, schedule="constant"))
    assert len(result.history) == 5
    assert not result.stopped_early


def test_waits_for_data_are_told_of_every_epoch_and_are_no_part_of_the_result(
    straight: Straight, tmp_path: Path
) -> None:
    ticks, heard = itertools.count(), []
    job = dataclasses.replace(
        case.job(tmp_path), clock=lambda: float(next(ticks)), on_wait=lambda *waited: heard.append(waited)
    )
    result = fit(job)
    # every look at this clock is a second: one passes in waiting and one in the step
    assert heard == [(epoch, 0.5) for epoch in range(1, 6)]
    assert result.data_wait_share == 0.5
    assert result == straight.result
    assert (tmp_path / "log.csv").read_bytes() == (straight.folder / "log.csv").read_bytes()
    again = fit(job)  # nothing is left to train, so nothing is waited for
    assert (again, again.data_wait_share, len(heard)) == (result, None, 5)


def test_batches_read_one_by_one_or_ahead_give_the_same_weights(
    straight: Straight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "_made_ahead", lambda loader, reading: iter(loader))
    monkeypatch.delattr(case.PatchDataset, "__getitems__")
    monkeypatch.setattr(case.PatchDataset, "__getitem__", lambda data, ticket: GETITEMS(data, [ticket])[0])
    job = case.job(tmp_path)
    assert fit(job) == straight.result
    assert weights_of(job.model) == straight.weights


class KilledError(RuntimeError):
    """Raised after an epoch's checkpoint, in the place of a kill."""


VARIANTS: dict[str, dict[str, object]] = {
    "sgd, poly": {},
    "sgd, poly, iterations": {"max_iterations": 19},  # 43 patches in batches of 8: 6 steps, so 4 epochs
    "rmsprop, plateau": {"optimizer": "rmsprop", "schedule": "plateau", "lr": 0.01, "plateau_patience": 0},
    "adam, constant": {"optimizer": "adam", "schedule": "constant", "lr": 0.01},
    "adamw, one_cycle, ema": {"optimizer": "adamw", "schedule": "one_cycle", "lr": 0.01, "keep": "ema"},
    "stated epochs, cosine, metric": {"iterations_per_epoch": 4, "schedule": "cosine", "keep": "val_metric"},
}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_segmenter_stopped_and_started_again_ends_in_the_same_bytes(variant: str, tmp_path: Path) -> None:
    def die(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 2:
            raise KilledError

    settings = VARIANTS[variant]
    straight = case.segmentation_job(tmp_path / "straight", **settings)
    expected = fit(straight)
    assert len(expected.history) == (4 if "iterations" in variant else 5)
    with pytest.raises(KilledError):
        fit(case.segmentation_job(tmp_path / "resumed", die, **settings))
    torch.manual_seed(999)
    resumed = case.segmentation_job(tmp_path / "resumed", **settings)
    assert fit(resumed) == expected
    assert weights_of(resumed.model) == weights_of(straight.model)
    mine, theirs = (checkpoints.load(tmp_path / one / "checkpoints" / "last.ckpt") for one in ("resumed", "straight"))
    torch.testing.assert_close(mine.optimizer, theirs.optimizer, rtol=0, atol=0)
    assert (mine.plateau, mine.precision) == (theirs.plateau, theirs.precision)
    torch.testing.assert_close(mine.average, theirs.average, rtol=0, atol=0)


def test_poly_falls_with_every_step_to_the_last_one(tmp_path: Path) -> None:
    result = fit(case.segmentation_job(tmp_path, poly_power=1.0))
    last_steps = [6 * epoch - 1 for epoch in range(1, 6)]
    assert [record.lr for record in result.history] == pytest.approx([0.05 * (1 - step / 30) for step in last_steps])


def test_a_segmenter_learns_and_its_figures_are_those_of_all_known_pixels(tmp_path: Path) -> None:
    job = case.segmentation_job(tmp_path)
    result = fit(job)
    record = result.history[result.best_epoch - 1]
    images, masks = zip(*(job.val[(0, item)] for item in range(len(job.val))), strict=True)
    with torch.inference_mode():
        logits = job.model((torch.stack(images) / 255 - 0.5) / 0.2)
    truth = torch.stack(masks).long()
    known, guess = truth != 255, logits.argmax(dim=1)
    majority = float((truth[known] == 0).float().mean())
    assert record.val_acc == pytest.approx(float((guess == truth)[known].float().mean()))
    assert record.val_acc > majority + 0.05
    counts = torch.tensor(job.train.pixel_counts(3), dtype=torch.float64)
    entropy = torch.nn.functional.cross_entropy(logits.double(), truth, weight=counts.sum() / counts, ignore_index=255)
    p, dice = logits.double().softmax(dim=1), []
    for index in range(3):
        here, said = (truth == index)[known].double(), p[:, index][known]
        dice.append(1 - 2 * (here * said).sum() / (here.sum() + said.sum()))
    assert record.val_loss == pytest.approx(float(entropy + sum(dice) / 3), rel=1e-4)


def test_frozen_weights_stay_and_the_rest_learns(tmp_path: Path) -> None:
    job = case.segmentation_job(tmp_path, optimizer="adam", schedule="constant", lr=0.01)
    job.model[0].requires_grad_(False)
    frozen, free = job.model[0].weight.clone(), job.model[4].weight.clone()
    result = fit(job)
    assert result.history[-1].train_loss < result.history[0].train_loss
    torch.testing.assert_close(job.model[0].weight, frozen, rtol=0, atol=0)
    assert (job.model[4].weight != free).any()
    whole = case.segmentation_job(tmp_path / "whole")
    whole.model.requires_grad_(False)
    with pytest.raises(AcinusError, match="every weight is frozen"):
        fit(whole)


def test_a_batch_norm_that_its_model_keeps_in_evaluation_stays_so(tmp_path: Path) -> None:
    class Frozen(torch.nn.Sequential):
        def train(self, mode: bool = True) -> "Frozen":
            super().train(mode)
            self[1].eval()
            return self

    job = case.segmentation_job(tmp_path)
    job = dataclasses.replace(job, model=Frozen(*job.model))
    fit(job)
    torch.testing.assert_close(job.model[1].running_mean, torch.zeros(8), rtol=0, atol=0)


def test_data_of_another_task_and_masks_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    job = case.segmentation_job(tmp_path)
    with pytest.raises(AcinusError, match="task patch_classification: data sets with masks found"):
        fit(dataclasses.replace(job, task="patch_classification"))
    plain = case.PatchDataset(case.SpotStore(False), job.val.keys, job.val.labels, 16)
    with pytest.raises(AcinusError, match="task segmentation: data sets without masks found"):
        fit(dataclasses.replace(job, val=plain))
    with pytest.raises(AcinusError, match=r"no pixels of class dead \(.*set train.loss.class_weights"):
        fit(dataclasses.replace(job, classes=(*case.CLASSES, "dead")))
    with pytest.raises(AcinusError, match=r"mask train/0/0: value 2 found, expected classes 0..1 or 255"):
        fit(dataclasses.replace(job, classes=case.CLASSES[:2]))

    class Unknown(FakeStore):
        def read(self, key: str) -> np.ndarray:
            return np.full((16, 16), 255, np.uint8)

    unknown = case.PatchDataset(case.SpotStore(False), job.val.keys, job.val.labels, 16, masks=Unknown())
    with pytest.raises(AcinusError, match="validation split: no pixel of a known class"):
        fit(dataclasses.replace(job, val=unknown))


def snapshot(*val_losses: float) -> checkpoints.Snapshot:
    history = tuple(EpochRecord(i + 1, 1.0, 0.5, loss, 0.5, 0.001) for i, loss in enumerate(val_losses))
    return checkpoints.Snapshot({"w": torch.full((2,), float(len(history)))}, {}, {}, {}, history)


def test_another_key_or_a_lost_best_epoch_starts_afresh(tmp_path: Path) -> None:
    assert checkpoints.restore(tmp_path, "a") is None
    checkpoints.save(tmp_path, snapshot(2.0), every=1)
    checkpoints.save(tmp_path, snapshot(2.0, 3.0), every=1)
    again = checkpoints.restore(tmp_path, "a")
    assert again is not None
    assert again.epoch == 2
    assert checkpoints.restore(tmp_path, "b") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key"]
    checkpoints.save(tmp_path, snapshot(2.0, 3.0), every=1)  # best.ckpt, of epoch 1, was never written
    assert checkpoints.restore(tmp_path, "b") is None


def test_a_kill_between_last_and_best_is_mended(tmp_path: Path) -> None:
    assert checkpoints.restore(tmp_path, "a") is None
    checkpoints.save(tmp_path, snapshot(2.0), every=9)
    stale = (tmp_path / "best.ckpt").read_bytes()
    checkpoints.save(tmp_path, snapshot(2.0, 1.0), every=9)
    (tmp_path / "best.ckpt").write_bytes(stale)
    assert checkpoints.restore(tmp_path, "a") is not None
    assert checkpoints.load(tmp_path / "best.ckpt").model["w"].tolist() == [2.0, 2.0]


def test_damaged_and_hostile_checkpoints_are_one_line(tmp_path: Path) -> None:
    assert checkpoints.restore(tmp_path, "a") is None
    checkpoints.save(tmp_path, snapshot(2.0), every=9)
    whole = (tmp_path / "last.ckpt").read_bytes()
    for bad in (b"", whole[:100], whole[: len(whole) // 2], b"junk"):
        (tmp_path / "last.ckpt").write_bytes(bad)
        with pytest.raises(AcinusError, match=r"last.ckpt: not a whole checkpoint .*; delete"):
            checkpoints.restore(tmp_path, "a")
    torch.save({"history": [], "model": Path("x")}, tmp_path / "last.ckpt")  # a class, which pickle would run
    with pytest.raises(AcinusError, match="not a whole checkpoint"):
        checkpoints.restore(tmp_path, "a")


@pytest.mark.parametrize(
    ("losses", "patience", "best", "stop"),
    [
        ([1.0, 2.0, 3.0, 4.0], None, 1, False),
        ([], 2, 0, False),
        ([3.0], 2, 1, False),
        ([3.0, 2.0, 2.5], 2, 2, False),
        ([3.0, 2.0, 2.5, 2.1], 2, 2, True),
        ([3.0, 2.0, 2.0, 2.0], 2, 2, True),  # equal is no better
        ([3.0, 2.0, 2.5, 1.9], 2, 4, False),
        ([3.0, 2.0], 0, 2, False),
        ([3.0, 4.0], 0, 1, True),
    ],
)
def test_best_epoch_and_stopping_by_hand(losses: list[float], patience: int | None, best: int, stop: bool) -> None:
    history = snapshot(*losses).history
    assert best_epoch(history) == best
    assert stops_early(history, patience) is stop


def test_csv_by_hand() -> None:
    records = [EpochRecord(1, 0.5, 1 / 3, 2.0, 1.0, 0.1, val_metric=0.25), EpochRecord(2, 0.5, 1.0, None, None, 0.1)]
    heading = "epoch,train_loss,train_acc,val_loss,val_acc,val_dice"
    assert to_csv(records, "val_dice") == f"{heading}\n1,0.5,0.333333333,2,1,0.25\n2,0.5,1,,,\n"


def test_devices() -> None:
    assert pick("cpu") == torch.device("cpu")
    assert pick("auto").type in {"cpu", "cuda", "mps"}
    with pytest.raises(AcinusError, match="'warp': not a device"):
        pick("warp")
    with pytest.raises(AcinusError, match=r"'cuda:77': this machine .* has none; use cpu or auto"):
        pick("cuda:77")


def test_torchs_settings_are_put_back() -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with reproducible(torch.device("cpu"), 3):
        assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (3, True)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert math.isfinite(before[0])
