"""What an encoder is built and fed with: the recipe's word before the table's, the table's before config.json's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acinus.encoders.arguments import checked, gate_fault
from acinus.encoders.known import KnownEncoder
from acinus.encoders.source import Config
from acinus.encoders.spec import Pooling, Rgb, Value
from acinus.errors import AcinusError
from acinus.params import Embed

FREE = ("img_size", "dynamic_img_size", "dynamic_img_pad", "strict_img_size")
"""Arguments that may differ from a known encoder's own: the size of its input. Others would make another network."""


@dataclass(frozen=True)
class Defaults:
    """What timm says of an architecture. px: the edge that its input has to have; None: any."""

    mean: Rgb
    std: Rgb
    px: int | None


@dataclass(frozen=True)
class Settings:
    """How to build a network of timm (architecture, arguments), pool it and feed it."""

    architecture: str
    arguments: dict[str, Value]
    pooling: Pooling | None
    px: int
    mean: Rgb
    std: Rgb
    mpp: float | None


def settled(config: Config, known: KnownEncoder | None, embed: Embed, patch_px: int, timm: Defaults) -> Settings:
    """Return the settings of an encoder whose weights bring `config`; patch_px: edge of the patches that it will get.

    Raises:
        AcinusError: arguments that are not known, contradict a known encoder, or leave a gate's activation open.
    """
    given = checked(embed.arguments, "embed.arguments")
    arguments = {**config.arguments, **(known.arguments if known else {}), **given}
    if known is not None:
        _refuse_other(given, known)
    if "img_size" not in arguments and timm.px is not None and config.px is not None:
        arguments["img_size"] = config.px
    if (fault := gate_fault(arguments)) is not None:
        raise AcinusError(f"embed.arguments: {fault}")
    own_px = (known.px if known else None) or config.px or arguments.get("img_size") or timm.px
    mean, std = (known.mean, known.std) if known else (config.mean or timm.mean, config.std or timm.std)
    return Settings(
        architecture=config.architecture,
        arguments=arguments,
        pooling=embed.pooling or (known.pooling if known else None),
        px=embed.input_px or int(own_px or patch_px),
        mean=_rgb(embed.mean) or mean,
        std=_rgb(embed.std) or std,
        mpp=embed.mpp or (known.mpp[0] if known and known.mpp else None),
    )


def _refuse_other(given: Mapping[str, Value], known: KnownEncoder) -> None:
    for key, value in given.items():
        if key not in FREE and known.arguments.get(key) != value:
            own: Any = known.arguments.get(key, "timm's default")
            raise AcinusError(
                f"embed.arguments.{key} = {value!r}: {known.name} is built with {own}, another network would be made "
                f"of its weights; leave it out (only {', '.join(FREE)} may differ)"
            )


def _rgb(values: list[float] | None) -> Rgb | None:
    return None if values is None else (values[0], values[1], values[2])
