"""One slide of `acinus predict`: probability map, regions, amounts, grade and picture."""

import math
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from acinus import params
from acinus.charts import heatmaps
from acinus.charts.classes import class_pair
from acinus.files import atomic_path
from acinus.grading.apply import SlideToGrade, grade_slide
from acinus.maps.slide_map import MapJob, map_slide
from acinus.maps.tiff import MapReader, open_map
from acinus.maps.windows import Coverage, chosen_windows, tissue_of
from acinus.predict.model import ASAP, OVERLAY, PROBABILITY, REGIONS, Model
from acinus.predict.opening import Opened, Order, open_order
from acinus.regions.amounts import Amounts, Rows, Terms
from acinus.regions.files import Legend, exported
from acinus.regions.table import Found, find_regions
from acinus.slides.geometry import at_downsample
from acinus.slides.open import open_slide
from acinus.tissue.mask import load_tissue

BATCH = 16
DECODE_THREADS = 2
PICTURE_PX = 1200
TOP_REGIONS = 10
AMOUNTS = ("tumour_px", "tissue_px", "map_downsample", "tumour_mm2", "tissue_mm2", "score_max", "score_p99")
"""What a result says of the whole slide under the names of records.QUANTITIES."""


def predict_slide(order: Order, model: Model) -> dict[str, Any]:
    """Write a slide's probability map, regions and picture to its folder and return its result, ready for JSON.

    Raises:
        AcinusError: the slide does not open, cannot give the model's resolution, or has damaged pixels.
    """
    with tempfile.TemporaryDirectory(prefix=".work.", suffix=".part", dir=order.folder) as scratch:
        work = Path(scratch)
        opened = open_order(order, model, work)
        order.step("probability map")
        windows = map_slide(_map_job(order, model, opened)).windows
        with open_map(order.folder / PROBABILITY) as reader:
            order.step("regions")
            regions, amounts = _quantified(order, model, opened, reader)
            order.step("grade")
            grade = None
            if model.grader is not None:
                slide = SlideToGrade(
                    slide_id=order.name,
                    image=opened.image,
                    mpp=sum(opened.mpp) / 2 if opened.mpp else None,
                    map=order.folder / PROBABILITY,
                    tissue=opened.tissue,
                    class_px=tuple(amounts["class_px"]),
                    burden_pred=amounts["burden_pred"],
                )
                grade = grade_slide(model.grader, model.folder, slide, order.device, order.threads)
            order.step("picture")
            _write_picture(order, model, opened, reader, regions)
    return _result(order, model, opened, regions, amounts) | {"grade": grade, "windows": windows}


def _map_job(order: Order, model: Model, opened: Opened) -> MapJob:
    index, maps = model.index, model.maps
    edge0 = (index.cell_px or index.patch_px) * opened.at.downsample
    # a cell is a px of the map; otherwise a px may not be larger than what the model looks at
    wanted = maps.map_downsample
    if maps.um_per_px is not None and opened.mpp is not None:
        wanted = maps.um_per_px / (sum(opened.mpp) / 2)
    downsample = edge0 if index.cell_px is not None else min(wanted, float(math.floor(edge0)))
    mpp_x, mpp_y = opened.mpp or (None, None)
    return MapJob(
        row={"slide_id": order.name, "mpp_x": mpp_x, "mpp_y": mpp_y},
        image=opened.image,
        tissue=opened.tissue,
        model=model.folder,
        weights=model.weights,
        target=order.folder / PROBABILITY,
        index=index,
        infer=params.Infer(
            stride_px=maps.stride_px,
            map_downsample=max(1.0, downsample),
            batch_size=BATCH,
            min_tissue_fraction=maps.min_tissue_fraction,
            tta=maps.tta,
        ),
        compute=params.Compute(threads=order.threads, decode_threads=DECODE_THREADS).model_copy(
            update={"device": order.device}  # whatever torch knows
        ),
        scaling=model.point.scaling,
    )


def _quantified(order: Order, model: Model, opened: Opened, reader: MapReader) -> tuple[Found, dict[str, Any]]:
    """Write the regions as GeoJSON and ASAP XML; return them, and the amounts of the cleaned map."""
    geometry, mask = reader.geometry, load_tissue(opened.tissue, opened.width, opened.height)
    coverage = Coverage(geometry, chosen_windows(mask, opened.at, model.index, _map_job(order, model, opened).infer))
    point = model.point.on_map(geometry.downsample, opened.mpp)
    found = find_regions(lambda: coverage.beside(reader.bands()), geometry, point, model.positive, opened.mpp)
    terms = Terms(len(model.card.classes), model.positive)
    source = None if opened.mpp is None else "--mpp" if order.mpp is not None else "tag"
    amounts = Amounts(geometry, terms, opened.mpp, source)
    legend = Legend.of(model.card.classes, tuple(model.colours.values()))
    wide, high = (np.diff(edges) / geometry.downsample for edges in (geometry.edges_x0, geometry.edges_y0))
    area_px = np.zeros(len(model.card.classes))
    for band in exported(found, legend, order.folder / REGIONS, order.folder / ASAP, opened.corner0):
        tissue = tissue_of(mask, geometry, band.top, len(band.classes), model.index, model.maps.min_tissue_fraction)
        amounts.add(Rows(band.prob, tissue, band.classes, band.looked))
        rows = slice(band.top, band.top + len(band.classes))
        shares = np.outer(high[rows], wide)[tissue]  # of each px on the slide
        area_px += np.bincount(band.classes[tissue], shares, minlength=len(area_px))
    return found, amounts.result() | {"class_area_px": area_px.tolist()}


def _write_picture(order: Order, model: Model, opened: Opened, reader: MapReader, found: Found) -> None:
    """Write the slide under its probabilities with the regions outlined, or beside its predicted classes."""
    downsample = max(1.0, max(opened.width, opened.height) / PICTURE_PX)
    columns, rows = math.ceil(opened.width / downsample), math.ceil(opened.height / downsample)
    with open_slide(opened.image, order.name) as slide:
        thumbnail = slide.read(0, 0, columns, rows, at_downsample(slide.level_downsamples, downsample))
    classes = found.geometry.sampled(found.classes(), columns, rows, downsample)
    frame = heatmaps.Frame(downsample, downsample, opened.mpp)
    if len(model.card.classes) > 2:
        picture = class_pair(thumbnail, classes, None, frame, model.colours)
    else:
        prob = reader.geometry.sampled(reader.bands(), columns, rows, downsample)[0]
        picture = heatmaps.overlay(thumbnail, prob, classes, frame, model.point.threshold)
    with atomic_path(order.folder / OVERLAY) as part:
        part.write_bytes(picture)


def _result(order: Order, model: Model, opened: Opened, found: Found, amounts: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of the slide, plain values."""
    px_mm2 = opened.mpp[0] * opened.mpp[1] * amounts["map_downsample"] ** 2 / 1e6 if opened.mpp else None
    largest = sorted(found.rows, key=lambda row: (-row["area_px"], row["region"]))[:TOP_REGIONS]
    density = None if opened.density is None else [round(float(value), 6) for value in opened.density]
    return {
        "slide": order.name,
        "version": version("acinus"),
        "note": "For research, not for diagnosis.",
        "size_px": [opened.width, opened.height],
        "mpp": list(opened.mpp) if opened.mpp else None,
        "mpp_source": amounts["mpp_source"],
        "working_downsample": opened.at.downsample,
        "burden_percent": amounts["burden_pred"],
        **{key: amounts[key] for key in AMOUNTS},
        "classes": [
            {
                "name": name,
                "colour": list(model.colours[name]),
                "px": px,
                "percent_of_tissue": 100 * px / amounts["tissue_px"] if amounts["tissue_px"] else None,
                "mm2": area_px * px_mm2 if px_mm2 is not None else None,
            }
            for name, px, area_px in zip(model.card.classes, amounts["class_px"], amounts["class_area_px"], strict=True)
        ],
        "regions": {
            "count": len(found.rows),
            "largest": [
                {key: value for key, value in row.items() if key not in ("lesion", "class_index")}
                | {"class": model.card.classes[row["class_index"]]}
                for row in largest
            ],
        },
        "stain": {"mean_optical_density": density, "distance": opened.distance},
        "operating_point": model.point.model_dump(mode="json"),
        "model": model.card.model_dump(mode="json"),
        "weights_sha256": model.weights,
        "warnings": list(opened.warnings),
    }
