"""The operating point: how probabilities are scaled, cut and cleaned up, and where that came from."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acinus.errors import AcinusError
from acinus.files import read_json, write_json, write_text
from acinus.params.strict_yaml import read_mapping
from acinus.scoring.scaling import Scaling

PRECISION, ENGINE = "32-true", "torch"
"""How `acinus predict` runs a network, whatever the maps were made with that its operating point was chosen on."""
ASSUMED_MPP = 0.5
"""um per level-0 px (20x) that sizes in um2 are taken at on a slide which does not tell its own; for nothing else."""
LARGEST_UM2 = 1e12
_CLOSE = 1e-9  # share of a px by which a size may miss a whole number of them


@dataclass(frozen=True)
class CleanUp:
    """What an operating point is on one map: thresholds on p, and sizes in px of the map; see `cleaned_classes`."""

    threshold: float = 0.5
    min_peak: float = 0.0
    smoothing_px: float = 0.0
    min_region_px: int = 0
    max_hole_px: int = 0


class Maps(BaseModel):
    """How the maps are made that the point was chosen on (a recipe's section `infer`).

    um_per_px: mean um per map px of the slides that it was chosen on, for a model that works at so many um per px:
    on a slide of another resolution the same clean-up needs map px of the same size. None: by level, or unknown.
    precision, engine: what ran the network, left out where it was torch in 32 bits. tta: as infer.tta, left out where
    it is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    stride_px: Annotated[int, Field(ge=1)]
    map_downsample: Annotated[float, Field(ge=1.0)]
    min_tissue_fraction: Annotated[float, Field(ge=0.0, le=1.0)]
    um_per_px: Annotated[float, Field(gt=0.0)] | None = None
    precision: Annotated[str, Field(exclude_if=lambda value: value == PRECISION)] = PRECISION
    engine: Annotated[str, Field(exclude_if=lambda value: value == ENGINE)] = ENGINE
    tta: Annotated[Literal["none", "flips", "d4"], Field(exclude_if=lambda value: value == "none")] = "none"


class OperatingPoint(BaseModel):
    """What stands between the network's logits and a slide's mask.

    temperature: logits are divided by it, bias: then an offset per class is added, left out where there is none (maps
    are made so already: infer does it). threshold: on p of the positive class
    where there are two classes. smoothing_px: sigma of a Gaussian over the map in its px, 0 none. min_region_um2:
    smaller regions (8-connected) are removed, min_peak: and those whose smoothed p reaches this nowhere (a
    threshold for being there beside the one for how far it goes). max_hole_um2: holes (4-connected, enclosed) up to
    this size are filled before. maps: how a map is made. source: what it was chosen on and what that gave.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    bias: Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(exclude_if=lambda value: not value)] = []
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    smoothing_px: Annotated[float, Field(ge=0.0)] = 0.0
    min_peak: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    min_region_um2: Annotated[float, Field(ge=0.0, le=LARGEST_UM2)] = 0.0
    max_hole_um2: Annotated[float, Field(ge=0.0, le=LARGEST_UM2)] = 0.0
    maps: Maps | None = None
    source: dict[str, Any] = {}

    @property
    def scaling(self) -> Scaling:
        """What is done to the network's logits."""
        return Scaling(self.temperature, tuple(self.bias))

    def with_threshold(self, threshold: float | None) -> "OperatingPoint":
        """Return the same with another threshold, where one is given."""
        return self if threshold is None else self.model_copy(update={"threshold": threshold})

    def on_map(self, downsample: float, mpp: tuple[float, float] | None) -> CleanUp:
        """Return the same in px of a map: kept regions have at least min_region_um2, filled holes at most max_hole_um2.

        downsample: level-0 px per map px. mpp: (x, y) um per level-0 px of the slide; None: ASSUMED_MPP both ways.
        """
        x, y = mpp or (ASSUMED_MPP, ASSUMED_MPP)
        px_um2 = x * y * downsample**2
        return CleanUp(
            threshold=self.threshold,
            min_peak=self.min_peak,
            smoothing_px=self.smoothing_px,
            min_region_px=math.ceil(self.min_region_um2 / px_um2 - _CLOSE),
            max_hole_px=math.floor(self.max_hole_um2 / px_um2 + _CLOSE),
        )


def write_point(path: Path, point: OperatingPoint) -> None:
    """Write an operating point as YAML; the same point gives the same bytes."""
    write_text(path, yaml.safe_dump(point.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def read_point(path: Path) -> OperatingPoint:
    """Read an operating point.

    Raises:
        AcinusError: missing or invalid, in one line.
    """
    if not path.is_file():
        raise AcinusError(f"{path}: no operating point here; run the calibrate stage (dvc repro)")
    try:
        return OperatingPoint.model_validate(read_mapping(path))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors())
        raise AcinusError(f"{path}: not an operating point ({faults}); run the calibrate stage again") from error


def write_scaling(path: Path, scaling: Scaling) -> None:
    """Write a scaling alone, which is all of an operating point that a map depends on: JSON, `bias` where any."""
    write_json(path, {"temperature": scaling.temperature} | ({"bias": list(scaling.bias)} if scaling.bias else {}))


def read_scaling(path: Path) -> Scaling:
    """Read what `write_scaling` wrote.

    Raises:
        AcinusError: missing or invalid, in one line.
    """
    if not path.is_file():
        raise AcinusError(f"{path}: not found; run the calibrate stage (dvc repro)")
    data = read_json(path)
    try:
        return Scaling(float(data["temperature"]), tuple(float(offset) for offset in data.get("bias", ())))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AcinusError(f"{path}: not a temperature with offsets; run the calibrate stage again") from error
