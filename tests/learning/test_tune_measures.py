"""The measure that a search goes by: right in every epoch, also after a kill, and nothing changed by it."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, roc_auc_score

from acinus.errors import AcinusError
from acinus.learning import checkpoints
from acinus.learning.augmentation import Augmentation
from acinus.learning.checkpoints import EpochRecord
from acinus.learning.course import DivergedError
from acinus.learning.dataset import PatchDataset, plain_tickets
from acinus.learning.fit import FitJob, fit
from acinus.learning.inputs import to_input
from acinus.learning.measures import gauge, measured
from tests.learning import fit_case


def answers(job: FitJob, data: PatchDataset) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, classes, ...) and truth of a split, patch by patch."""
    items = [data[ticket] for ticket in plain_tickets(data)]
    with torch.inference_mode():
        logits = torch.cat([job.model(to_input(item[0][None], job.inputs)) for item in items])
    return torch.softmax(logits, dim=1).numpy(), np.stack([np.asarray(item[1]) for item in items])


def test_auc_of_patches_is_that_of_scikit_learn(tmp_path: Path) -> None:
    heard: dict[int, float] = {}
    job = replace(
        fit_case.job(tmp_path, lambda epoch, metrics: heard.update({epoch: metrics["val_patch_auc"]}), lr=2e-5),
        measure="patch_auc",
    )
    result = fit(job)
    probs, labels = answers(job, job.val)
    assert heard[result.best_epoch] == pytest.approx(roc_auc_score(labels, probs[:, 1]), abs=1e-9)
    assert [record.val_measure for record in result.history] == list(heard.values())
    assert len(set(heard.values())) > 1
    test = fit_case.dataset("test", 30, Augmentation())
    probs, labels = answers(job, test)
    assert measured(job, "patch_auc", test) == pytest.approx(roc_auc_score(labels, probs[:, 1]), abs=1e-9)
    assert measured(job, "accuracy", test) == accuracy_score(labels, probs.argmax(axis=1))


def test_auc_of_three_classes_is_the_mean_of_each_against_the_rest_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    logits, labels = torch.tensor(random.normal(size=(60, 3)), dtype=torch.float32), random.integers(0, 3, 60)
    probs = torch.softmax(logits, dim=1).numpy().astype(np.float64)
    counted = gauge("auc_macro", 3)
    for start in (0, 25, 50):
        counted.batch(logits[start : start + 25], torch.tensor(labels[start : start + 25]))
    own = np.mean([roc_auc_score(labels == label, probs[:, label]) for label in range(3)])
    assert counted.close() == pytest.approx(own, abs=1e-12)
    counted.batch(logits[labels < 2], torch.tensor(labels[labels < 2]))
    assert counted.close() is None  # a class is missing
    counted.batch(torch.full((2, 3), torch.nan), torch.tensor([0, 1]))
    assert counted.close() == 0.0  # diverged


def test_figures_of_a_segmentation_are_those_of_scikit_learn_over_all_known_px(tmp_path: Path) -> None:
    job = replace(fit_case.segmentation_job(tmp_path), measure="miou")
    result = fit(job)
    probs, masks = answers(job, job.val)
    known = masks != 255
    true, predicted = masks[known], probs.argmax(axis=1)[known]
    best = result.history[result.best_epoch - 1].val_measure
    assert best == pytest.approx(jaccard_score(true, predicted, average="macro"), abs=1e-9)
    assert measured(job, "miou", job.val) == best
    assert measured(job, "mdice", job.val) == pytest.approx(f1_score(true, predicted, average="macro"), abs=1e-9)
    assert measured(job, "accuracy", job.val) == pytest.approx(accuracy_score(true, predicted), abs=1e-9)


def test_measuring_changes_neither_weights_nor_log_nor_what_is_heard_beside_it(tmp_path: Path) -> None:
    heard: list[list[dict[str, float]]] = [[], []]
    plain = fit_case.segmentation_job(tmp_path / "plain", lambda epoch, metrics: heard[0].append(metrics))
    other = fit_case.segmentation_job(tmp_path / "other", lambda epoch, metrics: heard[1].append(metrics))
    fit(plain)
    fit(replace(other, measure="mdice", prune=lambda epoch, value: False))
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name])
    assert plain.log.read_bytes() == other.log.read_bytes()
    assert [{**one, "val_mdice": None} for one in heard[0]] == [{**one, "val_mdice": None} for one in heard[1]]
    assert all("val_mdice" in one for one in heard[1])
    state = torch.load(plain.checkpoints / "last.ckpt", weights_only=True)
    assert {len(row) for row in state["history"]} == {len(fields(EpochRecord))}


class KilledError(Exception):
    """Where a process would have been killed."""


def test_the_measure_survives_a_kill(tmp_path: Path) -> None:
    straight = fit(replace(fit_case.job(tmp_path / "straight"), measure="patch_auc"))

    def die(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 3:
            raise KilledError

    with pytest.raises(KilledError):
        fit(replace(fit_case.job(tmp_path / "killed", die), measure="patch_auc"))
    resumed = fit(replace(fit_case.job(tmp_path / "killed"), measure="patch_auc"))
    assert resumed == straight


def test_a_pruned_training_ends_there_and_has_the_weights_of_its_best_epoch(tmp_path: Path) -> None:
    asked: list[tuple[int, float]] = []

    def prune(epoch: int, value: float) -> bool:
        asked.append((epoch, value))
        return epoch == 2

    job = replace(fit_case.job(tmp_path), measure="accuracy", prune=prune)
    result = fit(job)
    assert result.pruned
    assert [epoch for epoch, _ in asked] == [1, 2] == [record.epoch for record in result.history]
    assert [value for _, value in asked] == [record.val_acc for record in result.history]
    best = checkpoints.load(job.checkpoints / "best.ckpt")
    assert best.epoch == result.best_epoch
    assert all(torch.equal(value, best.model[name]) for name, value in job.model.state_dict().items())
    asked.clear()
    again = fit(replace(fit_case.job(tmp_path), measure="accuracy", prune=prune))
    assert again == result, "a training that was given up is not trained on after a kill"
    assert [epoch for epoch, _ in asked] == [1, 2]


def test_a_training_at_its_end_is_complete_whatever_the_pruner_says(tmp_path: Path) -> None:
    job = fit_case.segmentation_job(tmp_path, max_epochs=2)
    result = fit(replace(job, measure="miou", prune=lambda epoch, value: epoch == 2))
    assert not result.pruned
    assert len(result.history) == 2


def test_a_measure_that_is_undefined_is_one_line(tmp_path: Path) -> None:
    job = replace(fit_case.job(tmp_path), measure="patch_auc")
    one = PatchDataset(fit_case.StripeStore(), ["val/1/0", "val/2/0"], [0, 0], 32)
    with pytest.raises(AcinusError, match=r"tune\.objective = patch_auc: undefined on the validation patches"):
        fit(replace(job, val=one))
    assert measured(job, "patch_auc", one) is None
    assert measured(job, "accuracy", fit_case.dataset("test", 0, Augmentation())) is None


def test_divergence_can_be_told_from_other_errors(tmp_path: Path) -> None:
    job = fit_case.segmentation_job(tmp_path, lr=1e30, max_epochs=3)
    with pytest.raises(DivergedError, match="training diverged"):
        fit(replace(job, measure="miou"))
