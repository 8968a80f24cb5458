"""The card and the weights beside it, and the probabilities that they give."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from acinus.errors import AcinusError
from acinus.learning.card import Card, load_model, read_card, save_model
from acinus.learning.models import build_model
from acinus.learning.predict import map_channels, predict_probs
from acinus.learning.weights import ModelSpec
from acinus.scoring.scaling import Scaling, scaled

TINY = "test_resnet"


def card(**changes: object) -> Card:
    values: dict[str, object] = {
        "version": "0",
        "task": "patch_classification",
        "architecture": TINY,
        "weights": "none",
        "classes": ("normal", "tumor"),
        "positive": ("tumor",),
        "patch_px": 32,
        "input_px": 32,
        "level": 1,
        "mpp": None,
        "mpp_mean": 0.5,
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.3, 0.4),
        "index": {"patch_px": 96, "mpp": 1.0},
        "recipe_hash": "abc",
        "data_hashes": {"patches": "def"},
        "epochs": 3,
        "best_epoch": 2,
        "seed": 0,
    }
    return Card.model_validate({**values, **changes})


def tiny(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_model(card().spec())


def test_a_saved_model_predicts_the_same_and_has_the_same_bytes(tmp_path: Path) -> None:
    model, patches = tiny(), np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    probs = predict_probs(model, patches, card(), "cpu")  # leaves the model channels last
    save_model(tmp_path / "a", model, card())
    save_model(tmp_path / "b", tiny(), card())
    for name in ("model.safetensors", "card.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    loaded, its_card = load_model(tmp_path / "a")
    assert its_card == card()
    again = predict_probs(loaded, patches, its_card, "cpu")
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, probs)
    np.testing.assert_allclose(again.sum(axis=1), 1, atol=1e-6)
    with torch.inference_mode():  # the same by hand, in plain layout
        x = (patches.transpose(0, 3, 1, 2) / 255 - np.reshape((0.4, 0.5, 0.6), (3, 1, 1))) / np.reshape(
            (0.2, 0.3, 0.4), (3, 1, 1)
        )
        by_hand = tiny().eval()(torch.tensor(x, dtype=torch.float32)).softmax(1)
    np.testing.assert_allclose(again, by_hand, atol=1e-5)


def test_no_patches_give_an_empty_table() -> None:
    patches = np.zeros((0, 32, 32, 3), dtype=np.uint8)
    assert predict_probs(tiny(), patches, card(), "cpu").shape == (0, 2)


def test_a_card_or_weights_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match=r"card.json: no model here; run the train stage"):
        load_model(tmp_path)
    save_model(tmp_path, tiny(), card())
    values = json.loads((tmp_path / "card.json").read_text())
    for key, value, said in (
        ("colour", 1, "colour: Extra inputs are not permitted"),
        ("seed", "x", "seed: Input should be a valid integer"),
        ("format", 1, "card of format 1, this version reads 3; train again"),
        ("format", "x", "format: Input should be a valid integer"),
        ("task", "grading", "task: Input should be 'patch_classification', 'segmentation' "),
    ):
        (tmp_path / "card.json").write_text(json.dumps({**values, key: value}))
        with pytest.raises(AcinusError, match=said):
            load_model(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps({**values, "classes": ["a", "b", "c"]}))
    with pytest.raises(AcinusError, match=r"tensors 2 of another shape \(fc.bias, fc.weight\)"):
        load_model(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps(values))
    state = load_file(tmp_path / "model.safetensors")
    state.pop("fc.bias")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(AcinusError, match=r"model.safetensors: tensors 1 missing \(fc.bias\)"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(AcinusError, match=r"model.safetensors: no such weights file"):
        load_model(tmp_path)


def message(folder: Path, content: bytes) -> str:
    (folder / "card.json").write_bytes(content)
    with pytest.raises(AcinusError) as caught:
        read_card(folder)
    return str(caught.value).replace(str(folder), "models/demo-camelyon-context")


def test_a_card_of_another_format_is_told_by_that_alone(tmp_path: Path) -> None:
    """Whatever else has changed: its fields are those of another contract."""
    for number in (1, 2, 4, 10**30):
        content = json.dumps({"format": number, "net": "resnet18", "labels": ["a", "b"]}).encode()
        assert message(tmp_path, content) == (
            f"models/demo-camelyon-context/card.json: card of format {number}, this version reads 3; train again"
        )


HOSTILE = "x\n\x1b[31m" + "y" * 5000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "(file: Invalid JSON: EOF while parsing"),
        (b"\xff\xfe\x00", "(file: Invalid JSON: "),
        (b"[" * 100_000, "(file: Invalid JSON: recursion limit"),
        (b"[]", "(file: Input should be an object)"),
        (b"{}", "(version: Field required; task: Field required; architecture: Field required; 16 more)"),
        (json.dumps({HOSTILE: 1, "b c " * 2000: 2}).encode(), "(version: Field required; "),
        (json.dumps(card().model_dump() | {HOSTILE: 1, "b c " * 2000: 2}).encode(), "..."),
    ],
)
def test_garbage_for_a_card_is_one_short_line(tmp_path: Path, content: bytes, said: str) -> None:
    text = message(tmp_path, content)
    assert text.startswith("models/demo-camelyon-context/card.json: not a model card of this version (")
    assert text.endswith("; train again")
    assert said in text
    assert text.isprintable()
    assert len(text) < 300


def test_a_card_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "card.json").mkdir()
    with pytest.raises(AcinusError, match=r"card.json: cannot be read \(Is a directory\)"):
        read_card(tmp_path)


SEGMENTS: dict[str, object] = {
    "task": "segmentation",
    "architecture": "unet",
    "encoder": TINY,
    "classes": ("background", "gland", "nerve"),
    "positive": ("gland",),
}


@pytest.mark.parametrize(
    ("facts", "spec"),
    [
        (SEGMENTS, ModelSpec(task="segmentation", name="unet", encoder=TINY, classes=3)),
        (
            {"head_units": 8, "dropout": 0.3},
            ModelSpec(task="patch_classification", name=TINY, classes=2, head_units=8, dropout=0.3),
        ),
    ],
)
def test_a_saved_model_of_every_kind_comes_back_as_it_was(
    tmp_path: Path, facts: dict[str, object], spec: ModelSpec
) -> None:
    own = card(**facts)
    assert own.spec() == spec
    torch.manual_seed(0)
    model = build_model(spec)
    save_model(tmp_path, model, own)
    loaded, its_card = load_model(tmp_path)
    assert its_card == own
    patches = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    probs = predict_probs(model, patches, own, "cpu")
    np.testing.assert_array_equal(predict_probs(loaded, patches, its_card, "cpu"), probs)
    assert probs.std() > 1e-3


def test_a_model_trained_on_a_frozen_backbone_needs_no_word_of_it_on_its_card(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(ModelSpec(task="patch_classification", name=TINY, classes=2, head_units=8, freeze=True))
    own = card(head_units=8)
    save_model(tmp_path, model, own)
    loaded, _ = load_model(tmp_path)
    patches = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(predict_probs(loaded, patches, own, "cpu"), predict_probs(model, patches, own, "cpu"))


class Bright(nn.Module):
    """Logits that are known: the patch's own R, G, B, each times 10."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 10


def plain(**changes: Any) -> Card:
    return card(**{**SEGMENTS, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), **changes})


def test_a_segmentation_answers_every_px_by_its_own_softmax() -> None:
    patches = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    probs = predict_probs(Bright(), patches, plain(), "cpu")
    assert probs.shape == (3, 3, 32, 32)
    assert probs.dtype == np.float32
    powers = np.exp(patches.transpose(0, 3, 1, 2) / 255 * 10)
    np.testing.assert_allclose(probs, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("input_px", [16, 33, 64])
def test_probabilities_come_back_at_the_size_of_the_patch_and_sum_to_one(input_px: int) -> None:
    patches = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    patches[:, :, :20, 0], patches[:, :, 20:, 2] = 255, 255  # class 0 on the left of column 20, class 2 right
    probs = predict_probs(Bright(), patches, plain(input_px=input_px), "cpu")
    assert probs.shape == (2, 3, 32, 32)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert probs.min() >= 0
    assert probs.max() <= 1
    assert (probs[:, 0, :, :18] > 0.99).all()  # nothing has moved
    assert (probs[:, 2, :, 22:] > 0.99).all()
    flat = np.full((1, 32, 32, 3), (255, 0, 0), dtype=np.uint8)
    sure = predict_probs(Bright(), flat, plain(input_px=input_px), "cpu")[0, 0]
    np.testing.assert_allclose(sure, 1 / (1 + 2 * np.exp(-10)), atol=1e-6)  # to the border


def test_offsets_are_added_after_the_temperature() -> None:
    patches = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    bias = np.array([0.5, -1.5, 1.0])
    probs = predict_probs(Bright(), patches, plain(), "cpu", Scaling(2.0, tuple(bias)))
    powers = np.exp(patches.transpose(0, 3, 1, 2) / 255 * 5 + bias[:, None, None])
    np.testing.assert_allclose(probs, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    with pytest.raises(AcinusError, match=r"2 offsets \(bias\) for a model of 3 classes; run the calibrate"):
        predict_probs(Bright(), patches, plain(), "cpu", Scaling(2.0, (0.5, -0.5)))


def test_the_offsets_of_a_classifier_are_those_of_its_probabilities() -> None:
    torch.manual_seed(0)
    model = build_model(card().spec())
    patches = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    scaling = Scaling(0.5, (1.0, -1.0))
    found = predict_probs(model, patches, card(), "cpu", scaling)
    np.testing.assert_allclose(found, scaled(predict_probs(model, patches, card(), "cpu"), scaling), atol=1e-5)


def test_shrinking_back_averages_instead_of_picking() -> None:
    """A line 1 px wide of 128 has 1/4 of a px of 32: picked out of every fourth it would be all or nothing."""

    class Lines(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            lines = (torch.arange(x.shape[-1]) % 16 == 0) * 40.0 - 20.0
            return torch.stack([-lines, lines])[:, None].expand(2, x.shape[-2], -1).expand(len(x), -1, -1, -1)

    own = plain(classes=("a", "b"), positive=("b",), input_px=128)
    line = predict_probs(Lines(), np.zeros((1, 32, 32, 3), dtype=np.uint8), own, "cpu")[0, 1]
    np.testing.assert_allclose(line.mean(axis=1), 1 / 16, atol=0.005)  # what there is stays, but for the border
    assert 0.1 < line.max() < 0.3


def test_no_patches_give_an_empty_table_of_px() -> None:
    patches = np.zeros((3, 32, 32, 3), dtype=np.uint8)
    assert predict_probs(Bright(), patches[:0], plain(), "cpu").shape == (0, 3, 32, 32)
    assert predict_probs(Bright(), patches, plain(), "cpu").shape == (3, 3, 32, 32)


def test_a_map_stores_the_positive_class_of_two_and_all_of_more() -> None:
    two = np.array([[[[0.25]], [[0.75]]]])
    np.testing.assert_array_equal(map_channels(two, card()), [[[[0.75]]]])
    np.testing.assert_array_equal(map_channels(np.array([[0.25, 0.75]]), card()), [[0.75]])
    three = np.random.default_rng(0).random((2, 3, 4, 4))
    np.testing.assert_array_equal(map_channels(three, plain()), three)
