"""Class scores against the network called by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from acinus import records
from acinus.learning.card import Card
from acinus.learning.predict import PX_PER_PATCH, ScoringMachine, class_scores
from tests.learning.fit_case import FakeStore

EDGE = 16


class Colour(nn.Module):
    """Logits (0, red of the input) of the patch as a whole, or of every px."""

    def __init__(self, dense: bool) -> None:
        super().__init__()
        self.dense = dense

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        red = patches[:, 0] if self.dense else patches[:, 0].mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(red), red], dim=1)


class Shelf(FakeStore):
    """A store of patches held in a dict."""

    def __init__(self, patches: dict[str, np.ndarray]) -> None:
        self.patches = patches

    def read(self, key: str) -> np.ndarray:
        return self.patches[key]


def card(task: str) -> Card:
    return Card.model_validate(
        {
            "version": "0",
            "task": task,
            "architecture": "none",
            "weights": "none",
            "classes": ("normal", "tumor"),
            "positive": ("tumor",),
            "patch_px": EDGE,
            "input_px": EDGE,
            "level": 0,
            "mpp": None,
            "mpp_mean": None,
            "mean": (0.0, 0.0, 0.0),
            "std": (1.0, 1.0, 1.0),
            "index": {},
            "recipe_hash": "",
            "data_hashes": {},
            "epochs": 1,
            "best_epoch": 1,
            "seed": 0,
        }
    )


@pytest.fixture
def patches() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {key: random.integers(0, 256, (EDGE, EDGE, 3), dtype=np.uint8) for key in ("a", "b", "c")}


def rows(labels: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"slide_id": ["s", "s", "t"], "x0": [0, 16, 0], "y0": [0, 0, 32], "label": labels})


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def test_a_classifier_answers_once_for_every_labelled_patch(patches: dict[str, np.ndarray]) -> None:
    found = class_scores(
        Colour(False),
        card("patch_classification"),
        rows([1, -1, 0]),
        (Shelf(patches), None),
        list("abc"),
        ScoringMachine("cpu", 2),
        1,
    )
    assert [(one["slide_id"], one["x0"], one["y0"], one["px"], one["label"]) for one in found] == [
        ("s", 0, 0, -1, 1),
        ("t", 0, 32, -1, 0),
    ]
    for key, one in zip("ac", found, strict=True):
        expected = sigmoid(patches[key][..., 0].mean() / 255)
        np.testing.assert_allclose(one["probs"], [1 - expected, expected], atol=1e-6)
    records.frame(records.CLASS_SCORES, found)


def test_a_segmentation_answers_for_drawn_px_of_known_truth(patches: dict[str, np.ndarray]) -> None:
    masks = {key: np.full((EDGE, EDGE), 255, dtype=np.uint8) for key in "abc"}
    masks["a"][:] = 1
    masks["b"][3, 5] = 0
    stores = (Shelf(patches), Shelf(masks))
    found = class_scores(
        Colour(True), card("segmentation"), rows([1, -1, 0]), stores, list("abc"), ScoringMachine("cpu", 2), 1
    )
    first = [one for one in found if one["x0"] == 0]
    assert len(first) == PX_PER_PATCH
    assert {one["label"] for one in first} == {1}
    assert len({one["px"] for one in first}) == PX_PER_PATCH
    (other,) = [one for one in found if one["x0"] == 16]
    assert (other["px"], other["label"]) == (3 * EDGE + 5, 0)
    for key, one in [("a", first[0]), ("a", first[-1]), ("b", other)]:
        expected = sigmoid(patches[key].reshape(-1, 3)[one["px"], 0] / 255)
        np.testing.assert_allclose(one["probs"][1], expected, atol=1e-6)
    assert found == class_scores(
        Colour(True), card("segmentation"), rows([1, -1, 0]), stores, list("abc"), ScoringMachine("cpu", 2), 1
    )
    assert found != class_scores(
        Colour(True), card("segmentation"), rows([1, -1, 0]), stores, list("abc"), ScoringMachine("cpu", 2), 2
    )
