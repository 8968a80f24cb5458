"""Which normal patches are seen again, and the training that does so."""

from pathlib import Path

import numpy as np
import pytest

from acinus.learning import checkpoints
from acinus.learning.fit import fit
from acinus.learning.members import false_positives, hardest, second_pass
from tests.learning import fit_case as case


def test_false_positives_by_hand() -> None:
    probs = np.zeros((2, 3, 2, 2), np.float32)
    called = np.array([[[0, 1], [2, 1]], [[1, 1], [0, 0]]])
    np.put_along_axis(probs, called[:, None], 1.0, axis=1)
    masks = np.array([[[0, 0], [2, 1]], [[255, 1], [255, 1]]], np.uint8)
    # the first: of 0, 0, 2 one is called 1; the second has no known negative
    np.testing.assert_allclose(false_positives(probs, masks, [1]), [1 / 3, 0])
    np.testing.assert_allclose(false_positives(probs, masks, [1, 2]), [1 / 2, 0])


@pytest.mark.parametrize(
    ("share", "chosen"),
    [(0.2, [5]), (0.21, [0, 5]), (0.6, [0, 3, 5]), (0.99, [0, 3, 5])],  # five normal patches, three with a score
)
def test_hardest_by_hand(share: float, chosen: list[int]) -> None:
    scores = [0.3, 0.9, 0.0, 0.3, 0.0, 0.5]
    keys = ["a", "b", "c", "d", "e", "f"]
    assert hardest(scores, keys, [0, 1, 0, 0, 0, 0], share) == chosen
    assert hardest(scores, ["z", *keys[1:]], [0, 1, 0, 0, 0, 0], 0.4) == [3, 5]  # of equals the lower key


def test_without_normal_patches_or_mistakes_there_is_nothing_to_see_again() -> None:
    assert hardest([0.5], ["a"], [1], 0.5) == []
    assert hardest([0.0, 0.0], ["a", "b"], [0, 0], 0.5) == []


def test_the_second_pass_goes_on_from_the_best_weights_in_a_folder_of_its_own(tmp_path: Path) -> None:
    heard: list[int] = []
    settings = {"hard_negatives": {"epochs": 2, "copies": 3}, "max_iterations": 12}
    job = case.segmentation_job(tmp_path, lambda epoch, metrics: heard.append(epoch), **settings)
    first = fit(job)
    log = job.log.read_bytes()
    second = second_pass(job, [0, 3], after=len(first.history))
    assert second.model is job.model
    assert len(second.train) == len(job.train) + 2 * 3
    assert second.key != second_pass(job, [0, 6]).key
    result = fit(second)
    assert heard == [1, 2, 3, 4]
    assert [record.epoch for record in result.history] == [1, 2]
    # the weights it began with: its first epoch is better than that of an untrained model
    assert result.history[0].train_loss < first.history[0].train_loss
    assert job.log.read_bytes() == log
    assert (tmp_path / "log_second.csv").read_text().count("\n") == 3
    assert checkpoints.load(tmp_path / "checkpoints" / "best.ckpt").epoch == first.best_epoch
    assert checkpoints.load(tmp_path / "checkpoints" / "second" / "last.ckpt").epoch == 2
    assert fit(job) == first  # the first pass is still there, to be found finished after a kill in the second
