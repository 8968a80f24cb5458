"""Weights from a file of somebody else: tensors only, never code."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acinus.encoders.source import SUFFIXES
from acinus.errors import AcinusError, brief
from acinus.learning.weights import read_tensors

WRAPPERS = ("state_dict", "model")
"""Keys below which a training's checkpoint keeps its weights."""


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors, .bin, .pt or .pth file by name, floating point ones as float32.

    A pickled file is read by torch's weights_only alone, which builds tensors and refuses everything else.

    Raises:
        AcinusError: no file, another format, a damaged one, one that holds more than tensors, or NaN.
    """
    if path.suffix not in SUFFIXES:
        raise AcinusError(f"{path}: no file of weights; give one of {', '.join(SUFFIXES)}")
    tensors = read_tensors(path) if path.suffix == ".safetensors" else _pickled(path)
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise AcinusError(f"{path}: {len(bad)} tensors hold NaN or infinity ({', '.join(bad[:3])}); download it again")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _pickled(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise AcinusError(f"{path}: no such weights file; give a path relative to the project") from error
    except pickle.UnpicklingError as error:
        raise AcinusError(
            f"{path}: holds more than tensors ({brief(error, 80)}), so it was not opened; ask for a .safetensors file, "
            "or write one where you trust it: safetensors.torch.save_file(weights, 'model.safetensors')"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise AcinusError(f"{path}: not a whole file of weights ({brief(error, 80)}); download it again") from error
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise AcinusError(f"{path}: holds no weights by name but {type(content).__name__}; give a state_dict")
    others = [str(name)[:40] for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise AcinusError(
            f"{path}: {len(others)} of its {len(content)} entries are no tensors ({', '.join(others[:3])}); save the "
            "network's state_dict alone"
        )
    return {str(name): tensor for name, tensor in content.items()}
