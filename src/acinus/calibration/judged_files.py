"""Maps with their truth on disk: those of many slides do not fit into memory, and a search reads them many times."""

import json
from pathlib import Path

import numpy as np

from acinus.calibration.point_score import Judged
from acinus.maps.geometry import MapGeometry
from acinus.regions.against_truth import LesionGrid
from acinus.scoring.froc import Lesions


def save_judged(folder: Path, slide: Judged) -> None:
    """Write a slide into a new folder, which is for this machine and this run only."""
    folder.mkdir()
    grid = slide.lesions
    arrays = {"prob": slide.prob, "tissue": slide.tissue, "truth": slide.truth, "looked": slide.looked}
    arrays["lesions"] = grid.lesions.labels if grid else None
    for name, values in arrays.items():
        if values is not None:
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
    geometry = slide.geometry
    facts = {
        "slide_id": slide.slide_id,
        "geometry": [geometry.width, geometry.height, geometry.downsample],
        "tumour": slide.tumour,
        "mpp": slide.mpp,
        "patient": slide.patient,
        "itc": grid.lesions.itc if grid else None,
        "lesion_downsample": grid.downsample if grid else None,
    }
    (folder / "slide.json").write_text(json.dumps(facts), encoding="utf-8")


def open_judged(folder: Path) -> Judged:
    """Return the slide of a folder; px are read from disk where they are looked at, and may leave memory again."""
    facts = json.loads((folder / "slide.json").read_text(encoding="utf-8"))
    grid = None
    labels, truth, looked = (_array(folder / f"{name}.npy") for name in ("lesions", "truth", "looked"))
    if labels is not None:
        grid = LesionGrid(Lesions(labels, tuple(facts["itc"])), facts["lesion_downsample"])
    prob, tissue = (np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("prob", "tissue"))
    geometry = MapGeometry(*facts["geometry"])
    mpp = tuple(facts["mpp"]) if facts["mpp"] is not None else None
    return Judged(
        facts["slide_id"], geometry, prob, tissue, truth, facts["tumour"], grid, mpp, facts["patient"], looked
    )


def _array(path: Path) -> np.ndarray | None:
    return np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else None
