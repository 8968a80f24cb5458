"""Networks as wide as UNI and Virchow2, of few blocks, in the hub's layout: embedded as timm itself does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from acinus.encoders.known import IMAGENET, KNOWN
from acinus.encoders.loading import load_encoder, make_encoder, patch_features
from acinus.learning.weights import timm
from acinus.params import Embed
from tests.encoders.hub_folder import as_input, pixels


def folder_of(name: str, folder: Path, depth: int, said: dict[str, Any]) -> Path:
    """Write a network of the encoder's shape but for its depth; config.json says `said` of its arguments."""
    known = KNOWN[name]
    layers = (
        {"mlp_layer": timm().layers.SwiGLUPacked, "act_layer": torch.nn.SiLU} if "mlp_layer" in known.arguments else {}
    )
    torch.manual_seed(0)
    arguments = {**known.arguments, **layers, "depth": depth, "num_classes": 0}
    net = timm().create_model(known.architecture, pretrained=False, **arguments)
    with torch.no_grad():
        for part, weight in net.named_parameters():
            if part.endswith("gamma") or "token" in part or part == "pos_embed":
                weight.copy_(torch.rand_like(weight) + 0.5)  # as drawn they hardly show
    folder.mkdir()
    save_file(net.state_dict(), folder / "model.safetensors")
    config = {"architecture": known.architecture, "model_args": {"depth": depth, **said}}
    cfg = {"input_size": [3, 224, 224], "mean": IMAGENET[0], "std": IMAGENET[1]}
    (folder / "config.json").write_text(json.dumps({**config, "pretrained_cfg": cfg}))
    return folder


def embedded(folder: Path, patches: np.ndarray, **keys: Any) -> np.ndarray:
    spec = make_encoder(str(folder), "imagenet", 224, folder, 0, Embed.model_validate(keys))
    return patch_features(load_encoder(spec, folder, folder), patches, spec, "cpu")


def test_unis_shape(tmp_path: Path) -> None:
    own = {"init_values": 1e-5, "dynamic_img_size": True}
    folder = folder_of("UNI", tmp_path / "uni", 2, {})
    found = embedded(folder, pixels(2, 224), arguments=own, pooling="cls")
    reference: Any = timm().create_model(f"local-dir:{folder}", pretrained=True, num_classes=0, **own).eval()
    with torch.inference_mode():
        expected = reference(as_input(pixels(2, 224), *IMAGENET)).numpy()
    assert found.shape == (2, 1024)
    assert np.abs(expected).max() > 0.5
    assert np.abs(found - expected).max() < 1e-5


def test_virchow2s_shape(tmp_path: Path) -> None:
    said = {"img_size": 224, "init_values": 1e-5, "mlp_ratio": 5.3375, "reg_tokens": 4, "global_pool": ""}
    folder = folder_of("Virchow2", tmp_path / "virchow2", 1, {**said, "dynamic_img_size": True})
    gate = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
    found = embedded(folder, pixels(2, 224), arguments=gate, pooling="cls+mean")
    layers = {"mlp_layer": timm().layers.SwiGLUPacked, "act_layer": torch.nn.SiLU}
    reference: Any = timm().create_model(f"local-dir:{folder}", pretrained=True, num_classes=0, **layers).eval()
    with torch.inference_mode():
        tokens = reference(as_input(pixels(2, 224), *IMAGENET))
    assert tokens.shape == (2, 261, 1280)
    expected = torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], dim=-1).numpy()
    assert found.shape == (2, 2560)
    assert np.abs(found - expected).max() < 1e-5
