"""The pictures of one slide: side by side for the recipe's page, and as layers for its own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acinus.charts import heatmaps, layers
from acinus.charts.classes import class_pair, patch_strip
from acinus.drawing.source import Row, Source
from acinus.files import read_json
from acinus.labels.places import mpp_of
from acinus.maps.tiff import MapReader, open_map
from acinus.pages.contexts import Layer, Pictures, SlideView
from acinus.pages.outlines import Outline, outlines
from acinus.regions.amounts import positive_values
from acinus.slides.geometry import at_downsample
from acinus.slides.open import SlidePixels, open_slide

STRIP = 4
"""So many patches of highest attention are shown side by side."""

LAYERS = "layers"
"""The folder of the layers, in that of the slides' pages."""


@dataclass(frozen=True)
class SlideJob:
    """One slide to draw. attention: its rows of records.ATTENTION, the highest first.

    pictures: folder for the recipe's page (there known as pictures/); layers: that of the slide's page.
    """

    source: Source
    row: Row
    attention: tuple[Row, ...]
    pictures: Path
    layers: Path


@dataclass(frozen=True)
class Rasters:
    """What is known of a slide on its thumbnail's grid: uint8 (h, w), the thumbnail (h, w, 3); truth may be None."""

    thumbnail: np.ndarray
    truth: np.ndarray | None
    prob: np.ndarray  # of any positive class
    predicted: np.ndarray
    tissue: np.ndarray  # bool
    frame: heatmaps.Frame  # of both grids, which are one


def draw_slide(job: SlideJob) -> tuple[Pictures, SlideView]:
    """Write the pictures of one slide and say where they are."""
    slide_id = job.row["slide_id"]
    with open_slide(job.source.places.image(job.row), slide_id) as slide:
        seen = _rasters(job, slide)
        strip = _strip(job, slide)
    pictures = _side_by_side(job, seen)
    shown, paint = [], job.source.colours
    if seen.truth is not None:
        shown.append(_layer(job, "truth", layers.class_layer(seen.truth, paint), "the annotation, by class", 0.0))
    shown.append(_layer(job, "tissue", layers.tissue_layer(seen.tissue), "what was taken for glass is shaded", 0.0))
    if len(paint) > 2:
        png = layers.class_layer(seen.predicted, paint)
        shown.append(_layer(job, "prediction", png, "predicted classes after clean-up", 0.8))
    about = "probability of the positive classes: clear at 0, from blue to red"
    shown.append(_layer(job, "heatmap", layers.heat_layer(seen.prob), about, 0.0 if len(paint) > 2 else 0.8))
    if job.attention:
        squares = [_square(one, seen.frame.thumbnail_downsample) for one in job.attention]
        png = layers.attention_layer(seen.prob.shape, squares)
        shown.append(_layer(job, "attention", png, "what the graders look at: yellow most, violet least", 0.0))
    photo = job.layers / f"{slide_id}_thumbnail.jpg"
    photo.write_bytes(layers.photograph(seen.thumbnail))
    height, width = seen.prob.shape
    drawn = _outlines(job, seen.frame.thumbnail_downsample)
    return pictures, SlideView(slide_id, (width, height), f"{LAYERS}/{photo.name}", tuple(shown), drawn, strip)


def _layer(job: SlideJob, name: str, png: bytes, about: str, opacity: float) -> Layer:
    file = job.layers / f"{job.row['slide_id']}_{name}.png"
    file.write_bytes(png)
    return Layer(name.capitalize(), f"{LAYERS}/{file.name}", about, opacity)


def _rasters(job: SlideJob, slide: SlidePixels) -> Rasters:
    """Return the slide on a grid of at most picture_px px."""
    row, source = job.row, job.source
    downsample = max(1.0, max(slide.width, slide.height) / source.picture_px)
    columns, rows = int(np.ceil(slide.width / downsample)), int(np.ceil(slide.height / downsample))
    thumbnail = slide.read(0, 0, columns, rows, at_downsample(slide.level_downsamples, downsample))
    labels = source.labels(row)
    with open_map(source.paths.maps / f"{row['slide_id']}.tif") as reader:
        prob = positive_values(reader.sampled(columns, rows, downsample), source.positive)
        predicted = _sampled_classes(source, row, reader, (columns, rows, downsample))
    frame = heatmaps.Frame(downsample, downsample, mpp_of(row))
    truth = labels.raster(columns, rows, downsample) if labels else None
    return Rasters(thumbnail, truth, prob, predicted, source.tissue(row).raster(columns, rows, downsample), frame)


def _sampled_classes(source: Source, row: Row, reader: MapReader, grid: tuple[int, int, float]) -> np.ndarray:
    """Return the class under the centre of every px of a grid of (columns, rows, downsample), uint8 (rows, columns)."""
    columns, rows, downsample = grid
    under = [
        np.minimum(((np.arange(count) + 0.5) * downsample / reader.geometry.downsample).astype(np.int64), size - 1)
        for count, size in ((rows, reader.geometry.rows), (columns, reader.geometry.columns))
    ]
    result = np.zeros((rows, columns), dtype=np.uint8)
    for top, band in source.classes(row, reader):
        wanted = (under[0] >= top) & (under[0] < top + len(band))
        result[wanted] = band[under[0][wanted] - top][:, under[1]]
    return result


def _side_by_side(job: SlideJob, seen: Rasters) -> Pictures:
    """Write the slide with its annotation, and with its heatmap or its predicted classes."""
    slide_id, source, folder = job.row["slide_id"], job.source, job.pictures
    if len(source.colours) > 2:
        png = class_pair(seen.thumbnail, seen.predicted, seen.truth, seen.frame, source.colours)
        (folder / f"{slide_id}.png").write_bytes(png)
        return Pictures(slide_id, f"pictures/{slide_id}.png")
    heat = heatmaps.overlay(seen.thumbnail, seen.prob, seen.truth, seen.frame, source.point.threshold)
    (folder / f"{slide_id}_slide.png").write_bytes(heatmaps.annotated(seen.thumbnail, seen.truth, seen.frame))
    (folder / f"{slide_id}_heatmap.png").write_bytes(heat)
    return Pictures(slide_id, f"pictures/{slide_id}_slide.png", f"pictures/{slide_id}_heatmap.png")


def _outlines(job: SlideJob, downsample: float) -> tuple[Outline, ...]:
    path = job.source.paths.regions / f"{job.row['slide_id']}.geojson"
    paint = job.source.colours if len(job.source.colours) > 2 else None  # one class: apart from the truth's colour
    return outlines(read_json(path), 1 / downsample, str(path), paint)


def _square(patch: Row, downsample: float) -> layers.Square:
    """Return a patch of records.ATTENTION in px of the thumbnail."""
    edge0 = patch["patch_px"] * patch["downsample"]
    corners = (patch["x0"], patch["y0"], patch["x0"] + edge0, patch["y0"] + edge0)
    left, top, right, bottom = (round(corner / downsample) for corner in corners)
    return left, top, right, bottom, patch["attention"]


def _strip(job: SlideJob, slide: SlidePixels) -> str | None:
    """Write the patches of highest attention side by side."""
    if not job.attention:
        return None
    best, images = job.attention[:STRIP], []
    for one in best:
        at = at_downsample(slide.level_downsamples, one["downsample"])
        images.append(slide.read(one["x0"], one["y0"], one["patch_px"], one["patch_px"], at))
    file = job.layers / f"{job.row['slide_id']}_patches.png"
    file.write_bytes(patch_strip(images, [f"attention {one['attention']:.3f}" for one in best]))
    return f"{LAYERS}/{file.name}"
