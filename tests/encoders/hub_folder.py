"""Small vision transformers in the hub's layout: config.json and model.safetensors, made with timm alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from acinus.learning.weights import timm

UNI: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
"""A transformer of UNI's kind: LayerScale, dynamic size, the class token."""
UNI_OWN: dict[str, Any] = {"init_values": 1e-5, "dynamic_img_size": True}
"""What its config.json does not say, and the recipe has to."""
VIRCHOW2: dict[str, Any] = {**UNI, "img_size": 28, "patch_size": 7, "init_values": 1e-5, "mlp_ratio": 5.3375}
VIRCHOW2 |= {"reg_tokens": 4, "dynamic_img_size": True, "global_pool": ""}
"""One of Virchow2's kind: a gated MLP, 4 registers, class token and mean."""
GATED = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}

NETWORK = "vit_tiny_patch16_224"
MEAN, STD = (0.7, 0.5, 0.6), (0.2, 0.25, 0.3)


def drawn(**arguments: Any) -> nn.Module:
    """Return a network of timm with weights drawn wide, so that every part of it shows in its features."""
    if arguments.get("mlp_layer") == "SwiGLUPacked":
        arguments |= {"mlp_layer": timm().layers.SwiGLUPacked, "act_layer": nn.SiLU}
    torch.manual_seed(3)
    net = timm().create_model(NETWORK, pretrained=False, num_classes=0, **arguments).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.randn_like(weight) * 0.3)
    return net


def write(folder: Path, net: nn.Module, model_args: dict[str, Any], px: int) -> Path:
    """Write a network as the hub keeps it and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architecture": NETWORK,
        "num_features": 24,
        "model_args": model_args,
        "pretrained_cfg": {"input_size": [3, px, px], "mean": MEAN, "std": STD, "fixed_input_size": True},
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(net.state_dict(), folder / "model.safetensors")
    return folder


def pixels(n: int, px: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, px, px, 3), dtype=np.uint8)


def as_input(patches: np.ndarray, mean: Any = MEAN, std: Any = STD) -> torch.Tensor:
    """Normalise patches, independently of the code."""
    values = (patches / 255.0 - np.array(mean)) / np.array(std)
    return torch.from_numpy(values.astype(np.float32).transpose(0, 3, 1, 2))
