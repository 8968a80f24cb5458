"""What an encoder is: all that is needed to find it again, and to know that it is the same."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

OWN = "model"
"""The name of the trained network's own encoder."""

Rgb = tuple[float, float, float]


class EncoderSpec(BaseModel):
    """An encoder: how to find it again and what it takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str  # "model": the trained network's own; else a timm network, whose weights lie beside the grader's card
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # of the file of weights
    px: int  # edge of its input; patches are resized to it
    mean: Rgb  # normalisation of RGB in [0, 1]
    std: Rgb
