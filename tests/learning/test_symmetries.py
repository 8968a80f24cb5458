"""Test-time augmentation against numpy: the mean over turned patches, turned back."""

import numpy as np
import pytest
import torch
from torch import nn

from acinus.learning.augmentation import transform
from acinus.learning.card import Card
from acinus.learning.device import Running
from acinus.learning.predict import PASSES, predictor
from acinus.scoring.scaling import Scaling

SCALING = Scaling(1.7, (0.1, -0.2, 0.0))


def card(task: str) -> Card:
    return Card.model_validate(
        {
            "version": "0", "task": task, "architecture": "x", "weights": "none", "classes": ("a", "b", "c"),
            "positive": ("b",), "patch_px": 12, "input_px": 12, "level": 0, "mpp": None, "mpp_mean": None,
            "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "index": {}, "recipe_hash": "", "data_hashes": {},
            "epochs": 1, "best_epoch": 1, "seed": 0,
        }
    )  # fmt: skip


def network(task: str) -> nn.Module:
    torch.manual_seed(3)
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 5, padding=2)]
    return nn.Sequential(*layers, *([] if task == "segmentation" else [nn.Flatten(), nn.Linear(3 * 144, 3)])).eval()


def undone(probs: np.ndarray, symmetry: int) -> np.ndarray:
    """(classes, h, w) of a turned patch, as that of the patch itself: flip, then quarter turns backwards."""
    unflipped = probs[:, :, ::-1] if symmetry >= 4 else probs
    return np.rot90(unflipped, -(symmetry % 4), axes=(1, 2))


@pytest.mark.parametrize("task", ["segmentation", "patch_classification"])
@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_probabilities_are_the_mean_over_turned_patches(task: str, tta: str) -> None:
    patches = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), dtype=np.uint8)
    once = predictor(network(task), card(task), "cpu", SCALING)
    found = predictor(network(task), card(task), "cpu", SCALING, Running(tta=tta))(patches)
    every = []
    for symmetry in PASSES[tta]:
        probs = once(np.stack([transform(patch, symmetry) for patch in patches]))
        every.append([undone(one, symmetry) for one in probs] if task == "segmentation" else probs)
    np.testing.assert_allclose(found, np.mean(every, axis=0), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert np.abs(found - once(patches)).max() > 0.01


def test_the_passes_are_the_flips_and_all_symmetries_of_the_square() -> None:
    square = np.arange(9).reshape(3, 3)

    def group(tta: str) -> set[bytes]:
        return {np.ascontiguousarray(transform(square, one)).tobytes() for one in PASSES[tta]}

    flips = (square, square[::-1], square[:, ::-1], square[::-1, ::-1])
    assert group("flips") == {np.ascontiguousarray(one).tobytes() for one in flips}
    assert len(group("d4")) == len(PASSES["d4"]) == 8
    assert PASSES["none"] == (0,)


def test_a_network_that_turns_with_its_input_gives_what_it_gave() -> None:
    one_px = nn.Sequential(nn.Conv2d(3, 3, 1)).eval()
    patches = np.random.default_rng(1).integers(0, 256, (1, 12, 12, 3), dtype=np.uint8)
    whole = [predictor(one_px, card("segmentation"), "cpu", how=Running(tta=tta))(patches) for tta in ("none", "d4")]
    np.testing.assert_allclose(whole[0], whole[1], atol=1e-6)
