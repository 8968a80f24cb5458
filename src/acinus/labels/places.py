"""Where a manifest row's image and label lie, and what it says of their resolution."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acinus.slides.open import below


@dataclass(frozen=True)
class Places:
    """The two folders that a manifest speaks of. root: of the cohort. rasters: what ingest made of it."""

    root: Path
    rasters: Path

    def image(self, row: Mapping[str, Any]) -> Path:
        """Return the slide's file (`<array>.npy#<row>` for a tile of an array)."""
        if row["derived"]:
            return below(self.rasters, f"{row['slide_id']}.tif")
        return below(self.root, row["image"])

    def label(self, row: Mapping[str, Any]) -> Path | None:
        """Return the label's file, or None for a slide without one."""
        if row["label_source"] is None:
            return None
        if row["label_kind"] == "outlines":  # of any tool: ingest has read them
            return below(self.rasters, f"{row['slide_id']}_areas.parquet")
        if row["label_kind"] == "class_mask" or (row["derived"] and row["label_kind"] == "mask"):
            return below(self.rasters, f"{row['slide_id']}_mask.tif")
        return below(self.root, row["label_source"])


def mpp_of(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return (x, y) um per level-0 px of a manifest row, or None where it is not known."""
    if row["mpp_x"] is None or row["mpp_y"] is None:
        return None
    return float(row["mpp_x"]), float(row["mpp_y"])


def mean_mpp(row: Mapping[str, Any]) -> float | None:
    """Return the mean of both directions, or None where it is not known."""
    mpp = mpp_of(row)
    return (mpp[0] + mpp[1]) / 2 if mpp else None
