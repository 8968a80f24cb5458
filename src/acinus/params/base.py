"""What every section of params.yaml and of a recipe is, and the plain types they share."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Mpp = Annotated[float, Field(ge=0.05, le=20.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Channel = Annotated[int, Field(ge=0, le=255)]
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class Section(BaseModel):
    """A part of a file: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class AtResolution(Section):
    """A working resolution: exactly one of `level` (of the slide's pyramid) and `mpp` (um per px)."""

    level: Annotated[int, Field(ge=0, le=15)] | None = None
    """Work at this level of the slide's pyramid; 0 is the finest."""
    mpp: Mpp | None = None
    """Or work at this many µm per px, whatever the slide's levels are."""

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.level is None) == (self.mpp is None):
            raise ValueError("give exactly one of level and mpp")
        return self
