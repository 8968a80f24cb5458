"""Our own work with whole slides, beside inference: the index of a slide and the regions of its map."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from acinus import params
from acinus.labels.labels import LabelRules
from acinus.labels.places import Places
from acinus.maps.geometry import MapGeometry
from acinus.maps.tiff import MapInfo, write_map
from acinus.patches.index import LabelRule
from acinus.regions.files import Legend
from acinus.regions.operating_point import OperatingPoint
from acinus.slides.open import open_slide
from acinus.stages.index import Job as IndexJob
from acinus.stages.index import index_one
from acinus.stages.quantify import Job as QuantifyJob
from acinus.stages.quantify import quantify_one
from acinus.tissue.mask import find_tissue, save_tissue
from benchmarks.slides import MPP, TILE_PX, BenchSlide, load
from benchmarks.tasks import Done, Work

CLASSES = ("normal", "tumor")
RULES = LabelRules(CLASSES, {}, ("_0",), ("_2",))
MAP_DOWNSAMPLE = 32.0
SPECK_UM2 = 16 * (MPP * MAP_DOWNSAMPLE) ** 2
INDEX = params.Index(level=0, patch_px=256, stride_px=256, tissue=params.Tissue(downsample=128.0))


def row_of(slide: BenchSlide) -> dict[str, Any]:
    """Return the slide's manifest row."""
    return {
        "slide_id": slide.path.stem,
        "image": slide.path.name,
        "label_source": slide.annotation.name,
        "label_kind": "asap_xml",
        "exhaustive": True,
        "split": "test",
        "provider": "",
        "mpp_x": MPP,
        "mpp_y": MPP,
        "mpp_source": "tag",
        "width": slide.width,
        "height": slide.height,
        "derived": False,
    }


def tissue_of(slide: BenchSlide, path: Path) -> None:
    """Write the slide's tissue mask as the index does."""
    with open_slide(slide.path, slide.path.stem) as opened:
        save_tissue(find_tissue(opened, INDEX.tissue, (MPP, MPP)), path)


def index(out: str, slide: str) -> Work:
    """A slide's tissue and every candidate patch of it with its exact areas of annotation."""
    own = load(Path(slide))
    rule = LabelRule(len(CLASSES), (1,), "patch_classification")
    job = IndexJob(row_of(own), Places(own.path.parent, own.path.parent), Path(out), INDEX, RULES, rule)
    return lambda: Done(1, {"candidates": len(index_one(job))})


def quantify(out: str, slide: str) -> Work:
    """A slide's map into regions, files and amounts."""
    own, folder = load(Path(slide)), Path(out)
    geometry = MapGeometry(own.width, own.height, MAP_DOWNSAMPLE)
    write_map(folder / "map.tif", _bands(own, geometry), geometry, MapInfo(own.path.stem, CLASSES[1:], (MPP, MPP)))
    tissue_of(own, folder / "tissue.png")
    job = QuantifyJob(
        row=row_of(own),
        places=Places(own.path.parent, own.path.parent),
        map=folder / "map.tif",
        tissue=folder / "tissue.png",
        rules=RULES,
        positive=(1,),
        point=OperatingPoint(smoothing_px=1.0, min_region_um2=SPECK_UM2, max_hole_um2=SPECK_UM2),
        index=INDEX,
        infer=params.Infer(stride_px=INDEX.stride_px, map_downsample=MAP_DOWNSAMPLE, min_tissue_fraction=0.1),
        baseline=None,
        legend=Legend.of(CLASSES),
        mask=folder / "mask.png",
        coloured=False,
        regions=folder / own.path.stem,
        froc=False,
    )
    return lambda: Done(1, {"regions": len(quantify_one(job)[1])})


def _bands(slide: BenchSlide, geometry: MapGeometry) -> Iterator[np.ndarray]:
    """Yield a map with one soft spot in every third tile of tissue, band by band: float32 (1, rows, columns)."""
    px = int(TILE_PX / geometry.downsample)
    y, x = np.mgrid[0:px, 0:px] - (px - 1) / 2
    spot = np.exp(-(x**2 + y**2) / (2 * (px / 4) ** 2)).astype(np.float32)
    rows: dict[int, list[int]] = {}
    for row, column in slide.tissue[::3]:
        rows.setdefault(row, []).append(column)
    for top in range(0, geometry.rows, px):
        band = np.zeros((1, px, geometry.columns + px), dtype=np.float32)
        for column in rows.get(top // px, ()):
            band[0, :, column * px : (column + 1) * px] = spot
        yield band[:, : geometry.rows - top, : geometry.columns]
