"""Keyword arguments of a timm network, as a recipe or a config.json may give them: which, of what type and size.

Both are outside text. Only what stands here goes on to timm, so nothing in them names a file, a download or a class
of their own; sizes are bounded, and the weights' shapes decide in the end (`misfits`).
"""

import math
from collections.abc import Mapping
from typing import Any

from acinus.encoders.spec import Value
from acinus.errors import AcinusError

INTEGERS = {
    "img_size": (8, 4096),
    "patch_size": (1, 64),
    "embed_dim": (1, 16384),
    "depth": (1, 200),
    "num_heads": (1, 256),
    "reg_tokens": (0, 64),
    "in_chans": (3, 3),
}
"""Argument -> smallest and largest value."""
NUMBERS = {"init_values": (0.0, 10.0), "mlp_ratio": (0.01, 16.0)}
"""The same for those that are no integers."""
SWITCHES = (
    *("dynamic_img_size", "dynamic_img_pad", "strict_img_size", "class_token", "no_embed_class", "pre_norm"),
    *("final_norm", "fc_norm", "qkv_bias", "qk_norm", "proj_bias", "scale_attn_norm", "scale_mlp_norm"),
)
"""Arguments that are true or false."""
NAMES: dict[str, tuple[str, ...]] = {
    "global_pool": ("", "token", "avg", "avgmax", "max", "map"),
    "pos_embed": ("learn", "none"),
    "act_layer": ("GELU", "SiLU", "ReLU", "QuickGELU", "GELUTanh"),
    "mlp_layer": ("Mlp", "GluMlp", "SwiGLUPacked", "SwiGLU"),
    "norm_layer": ("LayerNorm", "RmsNorm"),
}
"""Argument -> the names it may have, a layer's included."""
ACTIVATIONS = {"GELU": "gelu", "SiLU": "silu", "ReLU": "relu", "QuickGELU": "quick_gelu", "GELUTanh": "gelu_tanh"}
"""Name of an activation -> timm's."""
GATED = ("GluMlp", "SwiGLUPacked", "SwiGLU")
NEUTRAL = (
    *("num_classes", "drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate"),
    *("drop_path_rate", "weight_init", "fix_init"),
)
"""Arguments of training or of a classifier: they change no feature and are left out."""


def checked(arguments: Mapping[str, Any], where: str) -> dict[str, Value]:
    """Return the arguments that go on to timm, in words; `where` says whose they are.

    Raises:
        AcinusError: an argument that is not known, or a value of another type or size.
    """
    kept: dict[str, Value] = {}
    for name, value in arguments.items():
        if name in NEUTRAL or value is None:
            continue
        kept[name] = _checked(str(name), value, f"{where}.{name}"[:120])
    return kept


def _checked(name: str, value: Any, where: str) -> Value:
    if name == "img_size" and isinstance(value, list) and len(set(map(str, value))) == 1:
        value = value[0]  # timm writes [224, 224]
    if name in INTEGERS:
        low, high = INTEGERS[name]
        if type(value) is int and low <= value <= high:
            return value
        raise AcinusError(f"{where} = {_short(value)}: give an integer from {low} to {high}")
    if name in NUMBERS:
        least, most = NUMBERS[name]
        if type(value) in {int, float} and math.isfinite(value) and least <= value <= most:
            return float(value)
        raise AcinusError(f"{where} = {_short(value)}: give a number from {least:g} to {most:g}")
    if name in SWITCHES:
        if isinstance(value, bool):
            return value
        raise AcinusError(f"{where} = {_short(value)}: give true or false")
    if name in NAMES:
        match = [known for known in NAMES[name] if isinstance(value, str) and known.lower() == value.lower()]
        if match:
            return match[0]
        raise AcinusError(f"{where} = {_short(value)}: give one of {', '.join(map(repr, NAMES[name]))}")
    known = sorted([*INTEGERS, *NUMBERS, *SWITCHES, *NAMES])
    raise AcinusError(f"{where}: no argument that is passed on to timm; known: {', '.join(known)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]} ..."


def gate_fault(arguments: Mapping[str, Value]) -> str | None:
    """Return why a gated layer has no sure activation: timm would take GELU, without a word, whatever the gate's is."""
    if arguments.get("mlp_layer") in GATED and "act_layer" not in arguments:
        return (
            f"mlp_layer = {arguments['mlp_layer']!r} without act_layer: timm would gate with GELU; "
            "give act_layer too (SiLU is usual for SwiGLU)"
        )
    return None


def to_timm(arguments: Mapping[str, Value]) -> dict[str, Any]:
    """Return checked arguments as timm takes them: a layer's name becomes its class."""
    from timm import layers

    given: dict[str, Any] = dict(arguments)
    if "mlp_layer" in given:
        given["mlp_layer"] = getattr(layers, given["mlp_layer"])  # one of NAMES
    if "act_layer" in given:
        given["act_layer"] = ACTIVATIONS[given["act_layer"]]
    if "norm_layer" in given:
        given["norm_layer"] = given["norm_layer"].lower()
    return given
