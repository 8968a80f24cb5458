"""Several networks as one: the mean of their probabilities, saved and read as one model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from acinus.encoders.loading import Pooled
from acinus.learning.card import Card, load_model, save_model, selection_of
from acinus.learning.models import Ensemble, build_model
from acinus.learning.predict import predict_probs
from acinus.learning.weights import ModelSpec
from acinus.scoring.scaling import Scaling

SPEC = ModelSpec(task="segmentation", name="unet", encoder="test_resnet", classes=3)
CARD = Card.model_validate(
    {
        "version": "0", "task": "segmentation", "architecture": "unet", "encoder": "test_resnet", "weights": "none",
        "classes": ("a", "b", "c"), "positive": ("b",), "patch_px": 32, "input_px": 32, "level": 0, "mpp": None,
        "mpp_mean": None, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "index": {}, "recipe_hash": "",
        "data_hashes": {}, "epochs": 1, "best_epoch": 1, "seed": 0, "members": 3,
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def members() -> list[torch.nn.Module]:
    torch.manual_seed(1)
    return [build_model(SPEC).eval() for _ in range(3)]


PATCHES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


def test_the_model_on_disk_answers_with_the_mean_of_its_members(members: list[torch.nn.Module], tmp_path: Path) -> None:
    each = [predict_probs(one, PATCHES, CARD, "cpu") for one in members]
    save_model(tmp_path, Ensemble(members), CARD)
    model, card = load_model(tmp_path)
    found = predict_probs(model, PATCHES, card, "cpu")
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)
    cooled = predict_probs(model, PATCHES, card, "cpu", Scaling(2.0))
    by_hand = np.mean(each, axis=0) ** 0.5  # the temperature is of the mean
    np.testing.assert_allclose(cooled, by_hand / by_hand.sum(axis=1, keepdims=True), atol=1e-5)


def test_a_probability_of_zero_stays_one() -> None:
    class Sure(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[500.0, -500.0]])

    assert Ensemble([Sure(), Sure()])(torch.zeros(1)).softmax(1).tolist() == [[1.0, 0.0]]


def test_a_grader_sees_the_first_member_s_encoder(members: list[torch.nn.Module]) -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Pooled(Ensemble(members)).eval()(x), Pooled(members[0]).eval()(x))


def test_what_validation_judges_is_the_model_that_has_not_seen_it(tmp_path: Path) -> None:
    assert selection_of(tmp_path) == tmp_path
    (tmp_path / "selection").mkdir()
    assert selection_of(tmp_path) == tmp_path / "selection"
