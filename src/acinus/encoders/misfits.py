"""Why weights do not fit a network: which tensors, and which arguments of timm would explain them.

Names and shapes alone, so that it is known before anything is built. The names are those of timm's vision
transformers (timm/models/vision_transformer.py).
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor -> its shape."""

SHOWN = 3
"""Tensors named of each kind of misfit."""
BLOCK = re.compile(r"blocks\.(\d+)\.")
FC1, FC2 = "blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight"
PATCH = "patch_embed.proj.weight"


def misfit(weights: Shapes, network: Shapes) -> str | None:
    """Return why `weights` are not those of `network`, with the arguments that would explain it; None: they are."""
    missing = sorted(network.keys() - weights.keys())
    unknown = sorted(weights.keys() - network.keys())
    other = sorted(name for name in network.keys() & weights.keys() if network[name] != weights[name])
    if not (missing or unknown or other):
        return None
    shapes = [f"{name} is {_text(weights[name])}, needed {_text(network[name])}" for name in other]
    parts = [
        f"{len(names)} {what} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
        if names
    ]
    reasons = explained(weights, network)
    why = "; ".join(reasons) if reasons else "no argument explains it: these are weights of another architecture"
    return f"tensors do not fit: {', '.join(parts)}. {why}"


def explained(weights: Shapes, network: Shapes) -> list[str]:
    """Return what of `weights` the network lacks or has too much, each with the argument that would mend it."""
    named = _foreign_names(weights, network)
    if named is not None:
        return [named]
    if 4 * len(weights.keys() & network.keys()) < min(len(weights), len(network)):
        return []  # hardly a name in common: what differs then tells nothing
    return [reason for explain in _RULES for reason in explain(weights, network)]


def _foreign_names(weights: Shapes, network: Shapes) -> str | None:
    """Return whose names these are where they are not timm's."""
    if not weights:
        return "the file has no tensors"
    if any(name.startswith(("embeddings.", "encoder.layer.", "vit.encoder.")) for name in weights):
        return "these names are those of transformers; take the model in timm's format"
    if "mask_token" in weights and any("mlp.w12." in name for name in weights):
        return "these names are those of DINOv2's own code; take the model in timm's format"
    first = next(iter(weights)).partition(".")[0] + "."
    inner = {name.removeprefix(first) for name in weights}
    if all(name.startswith(first) for name in weights) and len(inner & network.keys()) > len(network) // 2:
        return f"every name begins with {first!r}: these are weights of a wrapper; save those of the network inside it"
    return None


def _layer_scale(weights: Shapes, network: Shapes) -> Iterable[str]:
    has, needs = _any(weights, ".ls1.gamma"), _any(network, ".ls1.gamma")
    if has and not needs:
        yield "they have LayerScale: set embed.arguments.init_values: 1.0e-05"
    if needs and not has:
        yield "they have no LayerScale: leave embed.arguments.init_values out"


def _registers(weights: Shapes, network: Shapes) -> Iterable[str]:
    has, needs = _registers_of(weights), _registers_of(network)
    if has != needs:
        yield f"they have {has} register tokens, the network {needs}: set embed.arguments.reg_tokens: {has}"


def _mlp(weights: Shapes, network: Shapes) -> Iterable[str]:
    if "blocks.0.mlp.fc1_g.weight" in weights and FC1 in network:
        yield "their MLP has a gate of its own: set embed.arguments.mlp_layer: SwiGLU, with act_layer: SiLU"
    if any(len(shapes.get(name, ())) != 2 for shapes in (weights, network) for name in (FC1, FC2)):
        return
    has, needs = _gated(weights), _gated(network)
    if has and not needs:
        yield "fc1 is twice as wide as fc2 takes: set embed.arguments.mlp_layer: SwiGLUPacked, with act_layer: SiLU"
    if needs and not has:
        yield "their MLP has no gate: set embed.arguments.mlp_layer: Mlp"
    ratio, other = (shapes[FC1][0] / max(shapes[FC1][1], 1) for shapes in (weights, network))
    if not math.isclose(ratio, other, rel_tol=1e-3):
        yield f"fc1 is {ratio:.6g} times the width: set embed.arguments.mlp_ratio: {ratio:.6g}"


def _patches(weights: Shapes, network: Shapes) -> Iterable[str]:
    has, needs = weights.get(PATCH, ()), network.get(PATCH, ())
    if len(has) != 4 or len(needs) != 4:
        return
    if has[0] != needs[0]:
        yield f"they are {has[0]} wide: set embed.arguments.embed_dim: {has[0]} (and num_heads, as the card says)"
    if has[1] != needs[1]:
        yield f"they take {has[1]} channels; RGB has 3"
    if has[2:] != needs[2:]:
        yield f"their tokens are {has[2]} px wide: set embed.arguments.patch_size: {has[2]}"


def _positions(weights: Shapes, network: Shapes) -> Iterable[str]:
    has, needs = weights.get("pos_embed", ()), network.get("pos_embed", ())
    if len(has) != 3 or len(needs) != 3 or has[1] == needs[1] or len(weights.get(PATCH, ())) != 4:
        return
    grid = _grid(has[1], weights)
    if grid is None:
        yield f"pos_embed has {has[1]} places, no square grid of tokens: set embed.arguments.img_size as the card says"
        return
    edge, prefix = grid
    own = _grid(needs[1], network)
    px = edge * weights[PATCH][-1]
    if own is None or edge * weights[PATCH][-1] != own[0] * network.get(PATCH, (0,))[-1]:
        yield (
            f"pos_embed is a grid of {edge} x {edge} tokens: set embed.arguments.img_size: {px} "
            "(and dynamic_img_size: true, if embed.input_px is another)"
        )
    if "cls_token" in weights and own is not None and bool(prefix) != bool(own[1]):
        answer = "false" if prefix else "true"
        yield f"pos_embed has {'a' if prefix else 'no'} place for it: set embed.arguments.no_embed_class: {answer}"


def _depth(weights: Shapes, network: Shapes) -> Iterable[str]:
    has, needs = (_blocks(shapes) for shapes in (weights, network))
    if has and needs and has != needs:
        yield f"they have {has} blocks, the network {needs}: set embed.arguments.depth: {has}"


def _others(weights: Shapes, network: Shapes) -> Iterable[str]:
    for part, argument in (("attn.q_norm.", "qk_norm"), ("norm_pre.", "pre_norm")):
        has, needs = (any(part in name for name in shapes) for shapes in (weights, network))
        if has != needs:
            what = f"{'' if has else 'no '}{part.rstrip('.')}"
            yield f"they have {what}: set embed.arguments.{argument}: {str(has).lower()}"
    if _any(network, "attn.qkv.bias") and _any(weights, "attn.qkv.weight") and not _any(weights, "attn.qkv.bias"):
        yield "their attention has no bias: set embed.arguments.qkv_bias: false"
    if "cls_token" in network and "cls_token" not in weights and PATCH in weights:
        yield "they have no class token: set embed.arguments.class_token: false, and embed.pooling: mean"
    if "fc_norm.weight" in weights and "fc_norm.weight" not in network:
        yield "they are normalised after pooling: set embed.arguments.global_pool: avg"


_RULES: tuple[Callable[[Shapes, Shapes], Iterable[str]], ...] = (
    *(_layer_scale, _registers, _mlp, _patches, _positions, _depth, _others),
)


def _any(shapes: Shapes, ending: str) -> bool:
    return any(name.endswith(ending) for name in shapes)


def _registers_of(shapes: Shapes) -> int:
    token = shapes.get("reg_token", ())
    return token[1] if len(token) == 3 else 0


def _gated(shapes: Shapes) -> bool:
    """Return whether the MLP's two halves multiply each other: its first layer gives twice what the second takes."""
    return shapes[FC1][0] == 2 * shapes[FC2][1]


def _blocks(shapes: Shapes) -> int:
    return max((int(match[1]) + 1 for name in shapes if (match := BLOCK.match(name)) is not None), default=0)


def _grid(places: int, shapes: Shapes) -> tuple[int, int] | None:
    """Return (edge of the grid of tokens, places of class and register tokens), or None for no square."""
    class_token = int("cls_token" in shapes)
    for prefix in dict.fromkeys((class_token + _registers_of(shapes), class_token, 0)):
        edge = math.isqrt(max(places - prefix, 0))
        if edge > 0 and edge * edge == places - prefix:
            return edge, prefix
    return None


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"
