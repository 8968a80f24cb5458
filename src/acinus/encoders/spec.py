"""What an encoder is: all that is needed to find it again, and to know that it is the same."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

OWN = "model"
"""The name of the trained network's own encoder."""

IMPORTED = "imported"
"""What embed.weights says where another program made the features (`acinus embed --import`)."""

ENCODER_FILE = "encoder.safetensors"
"""Weights that have no other place of their own, beside what was made with them."""

Rgb = tuple[float, float, float]
Value = bool | int | float | str
"""Of an argument of a timm network, as a recipe or config.json may say it."""
Pooling = Literal["cls", "mean", "cls+mean"]
"""From tokens to features: the class token, the mean of the patches' tokens (no class or register token), or both."""


def _unless(default: object) -> Any:
    """Return a field that is written only where it says something else than `default`."""
    return Field(default=default, exclude_if=lambda value: value == default)


class Place(BaseModel):
    """Where weights lie that were not copied: a file of this machine, or of a model on the hub."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    file: str  # path as the recipe has it; on the hub the file's name
    hub: str | None = None  # org/name
    revision: str | None = None  # the commit on the hub


class EncoderSpec(BaseModel):
    """An encoder: how to find it again and what it takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str  # as the recipe has it; "model" is the trained network's own
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # of the file of weights
    px: Annotated[int, Field(ge=8, le=4096)]  # edge of its input; patches are resized to it
    mean: Rgb  # normalisation of RGB in [0, 1]
    std: Rgb
    architecture: str | None = _unless(None)  # timm's name; None: `name` is
    arguments: dict[str, Value] = _unless({})  # of timm's network, in words
    pooling: Pooling | None = _unless(None)  # None: the network's own
    width: Annotated[int, Field(ge=1)] | None = _unless(None)  # features per patch; None: not noted
    mpp: Annotated[float, Field(gt=0)] | None = _unless(None)  # um per px that it is meant for; None: any
    place: Place | None = _unless(None)  # of the weights; None: beside, or the trained network's

    def __hash__(self) -> int:
        """Return a hash for caches of loaded encoders; pydantic's own fails on a dict."""
        return hash(self.model_dump_json())

    def identity(self) -> str:
        """Return a digest of all that makes its features what they are: not its name, nor where its weights lie."""
        facts = self.model_dump(mode="json", include={"weights_sha256", "px", "mean", "std", "arguments", "pooling"})
        facts["architecture"] = self.architecture or self.name
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
