"""Features against the networks that they come from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from acinus.encoders.loading import (
    BATCH,
    ENCODER_FILE,
    load_encoder,
    make_encoder,
    own_encoder,
    patch_features,
)
from acinus.encoders.spec import EncoderSpec
from acinus.errors import AcinusError
from acinus.learning.card import Card, save_model
from acinus.learning.models import build_model
from acinus.learning.weights import ModelSpec

TINY = "test_resnet"


def trained(folder: Path, **changes: object) -> tuple[nn.Module, Card]:
    """Write a drawn network as if it had been trained."""
    values: dict[str, object] = {
        "version": "0",
        "task": "patch_classification",
        "architecture": TINY,
        "weights": "none",
        "classes": ("normal", "tumor"),
        "positive": ("tumor",),
        "patch_px": 32,
        "input_px": 32,
        "level": 0,
        "mpp": None,
        "mpp_mean": None,
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.3, 0.4),
        "index": {"patch_px": 32},
        "recipe_hash": "abc",
        "data_hashes": {},
        "epochs": 1,
        "best_epoch": 1,
        "seed": 0,
    }
    card = Card.model_validate({**values, **changes})
    torch.manual_seed(0)
    model = build_model(card.spec()).eval()
    save_model(folder, model, card)
    return model, card


def pixels(n: int = 3, px: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, px, px, 3), dtype=np.uint8)


def as_input(patches: np.ndarray) -> torch.Tensor:
    """Normalise as the card above says, independently of the code."""
    values = (patches / 255.0 - np.array([0.4, 0.5, 0.6])) / np.array([0.2, 0.3, 0.4])
    return torch.from_numpy(values.astype(np.float32).transpose(0, 3, 1, 2))


def features(folder: Path, patches: np.ndarray) -> np.ndarray:
    spec = own_encoder(folder)
    return patch_features(load_encoder(spec, folder, folder), patches, spec, "cpu")


def test_a_classifier_gives_what_its_last_layer_sees(tmp_path: Path) -> None:
    model: Any = trained(tmp_path)[0]
    found = features(tmp_path, pixels())
    with torch.inference_mode():
        logits = model(as_input(pixels()))
        assert model.get_classifier()(torch.from_numpy(found)).numpy() == pytest.approx(logits.numpy(), abs=1e-4)


def test_below_a_hidden_layer_it_is_the_backbone(tmp_path: Path) -> None:
    model: Any = trained(tmp_path, head_units=6)[0]
    found = features(tmp_path, pixels())
    with torch.inference_mode():
        assert found == pytest.approx(model.backbone(as_input(pixels())).numpy(), abs=1e-4)


def test_a_segmenter_gives_the_mean_of_its_encoders_last_map(tmp_path: Path) -> None:
    names = ("other", "cancer")
    card = {"task": "segmentation", "architecture": "unet", "encoder": "resnet18", "classes": names}
    model: Any = trained(tmp_path, **card, positive=("cancer",))[0]
    found = features(tmp_path, pixels(px=64)[:, :32, :32])
    with torch.inference_mode():
        last = model.net.encoder(as_input(pixels(px=64)[:, :32, :32]))[-1]
    assert found.shape == (3, 512)
    assert found == pytest.approx(last.numpy().mean(axis=(2, 3)), abs=1e-4)


def test_any_edge_will_do_for_a_segmenter(tmp_path: Path) -> None:
    card = {"task": "segmentation", "architecture": "unet", "encoder": "resnet18", "input_px": 40}
    trained(tmp_path, **card)
    assert features(tmp_path, pixels(px=40)).shape == (3, 512)


def test_a_timm_encoder_travels_with_the_grader(tmp_path: Path) -> None:
    spec = make_encoder(TINY, "none", 32, tmp_path, 7)
    one = patch_features(load_encoder(spec, tmp_path, tmp_path), pixels(), spec, "cpu")
    again = tmp_path / "again"
    assert make_encoder(TINY, "none", 32, again, 7) == spec  # same seed, same bytes
    assert make_encoder(TINY, "none", 32, again, 8) != spec
    torch.manual_seed(99)
    assert np.array_equal(patch_features(load_encoder(spec, again, tmp_path), pixels(), spec, "cpu"), one)
    assert one.dtype == np.float32
    assert one.shape[0] == 3


def test_an_encoder_of_one_size_gets_it(tmp_path: Path) -> None:
    spec = make_encoder("test_vit", "none", 32, tmp_path, 0)
    assert spec.px == 160
    assert patch_features(load_encoder(spec, tmp_path, tmp_path), pixels(2), spec, "cpu").shape[0] == 2


def test_more_patches_than_a_pass_takes(tmp_path: Path) -> None:
    trained(tmp_path)
    many = pixels(BATCH + 3)
    assert features(tmp_path, many)[BATCH:] == pytest.approx(features(tmp_path, many[BATCH:]), abs=1e-5)


def test_other_weights_than_the_graders_are_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    spec = own_encoder(tmp_path)
    assert spec.name == "model"
    changed = EncoderSpec.model_validate({**spec.model_dump(), "weights_sha256": "0" * 64})
    with pytest.raises(AcinusError, match="not the weights that the grader was trained on"):
        load_encoder(changed, tmp_path, tmp_path)
    with pytest.raises(AcinusError, match=f"{ENCODER_FILE}: not found"):
        load_encoder(EncoderSpec.model_validate({**spec.model_dump(), "name": TINY}), tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("name", "weights", "match"),
    [
        ("resnet19", "none", "embed.encoder = 'resnet19': timm has no such model; close to it: resnet1"),
        ("resnet18", "package", "embed.weights = 'package' holds tf_efficientnet_lite0 only"),
    ],
)
def test_an_encoder_that_cannot_be_had_is_named(tmp_path: Path, name: str, weights: str, match: str) -> None:
    with pytest.raises(AcinusError, match=match):
        make_encoder(name, weights, 32, tmp_path, 0)


def test_the_packages_weights_are_those_of_imagenet(tmp_path: Path) -> None:
    spec = make_encoder("tf_efficientnet_lite0", "package", 64, tmp_path, 0)
    model = ModelSpec(task="patch_classification", name="tf_efficientnet_lite0", weights="package", classes=2)
    net: Any = build_model(model).eval()
    found = patch_features(load_encoder(spec, tmp_path, tmp_path), pixels(2, 64), spec, "cpu")
    with torch.inference_mode():
        x = torch.from_numpy(((pixels(2, 64) / 255.0 - 0.5) / 0.5).astype(np.float32).transpose(0, 3, 1, 2))
        assert found == pytest.approx(net.forward_head(net.forward_features(x), pre_logits=True).numpy(), abs=1e-3)
