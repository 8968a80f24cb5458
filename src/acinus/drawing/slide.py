"""The pictures of one slide: side by side for the recipe's page, and as layers for its own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acinus.annotations.frame import qupath_corner
from acinus.charts import heatmaps, layers
from acinus.charts.classes import class_pair, patch_strip
from acinus.drawing.source import Row, Source
from acinus.files import read_json
from acinus.labels.places import mpp_of
from acinus.maps.tiff import open_map
from acinus.pages.contexts import Layer, Pictures, SlideView
from acinus.pages.outlines import outlines
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
    slide_id, colours = job.row["slide_id"], job.source.colours
    with open_slide(job.source.places.image(job.row), slide_id) as slide:
        rasters = _rasters(job, slide)
        strip = _strip(job, slide)
        corner0 = qupath_corner(slide.properties)
    downsample, several = rasters.frame.thumbnail_downsample, len(colours) > 2
    shown = []
    if rasters.truth is not None:
        png = layers.class_layer(rasters.truth, colours)
        shown.append(_layer(job, "truth", png, "the annotation, by class", 0.0))
    png = layers.tissue_layer(rasters.tissue)
    shown.append(_layer(job, "tissue", png, "what was taken for glass is shaded", 0.0))
    if several:
        png = layers.class_layer(rasters.predicted, colours)
        shown.append(_layer(job, "prediction", png, "predicted classes after clean-up", 0.8))
    about = "probability of the positive classes: clear at 0, from blue to red"
    shown.append(_layer(job, "heatmap", layers.heat_layer(rasters.prob), about, 0.0 if several else 0.8))
    if job.attention:
        squares = [layers.square(patch, downsample) for patch in job.attention]
        png = layers.attention_layer(rasters.prob.shape, squares)
        shown.append(_layer(job, "attention", png, "what the graders look at: yellow most, violet least", 0.0))
    photo = job.layers / f"{slide_id}_thumbnail.jpg"
    photo.write_bytes(layers.photograph(rasters.thumbnail))
    height, width = rasters.prob.shape
    regions = job.source.paths.regions / f"{slide_id}.geojson"
    paint = colours if several else None  # one class: apart from the truth's colour
    lines = outlines(read_json(regions), 1 / downsample, str(regions), paint, corner0)
    view = SlideView(slide_id, (width, height), f"{LAYERS}/{photo.name}", tuple(shown), lines, strip)
    return _side_by_side(job, rasters), view


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
        grid = (columns, rows, downsample)
        prob = positive_values(reader.geometry.sampled(reader.bands(), *grid), source.positive)
        predicted = reader.geometry.sampled(source.classes(row, reader), *grid)
    frame = heatmaps.Frame(downsample, downsample, mpp_of(row))
    truth = labels.raster(columns, rows, downsample) if labels else None
    return Rasters(thumbnail, truth, prob, predicted, source.tissue(row).raster(columns, rows, downsample), frame)


def _side_by_side(job: SlideJob, rasters: Rasters) -> Pictures:
    """Write the slide with its annotation, and with its heatmap or its predicted classes."""
    slide_id, source, folder = job.row["slide_id"], job.source, job.pictures
    thumbnail, truth, frame = rasters.thumbnail, rasters.truth, rasters.frame
    if len(source.colours) > 2:
        png = class_pair(thumbnail, rasters.predicted, truth, frame, source.colours)
        (folder / f"{slide_id}.png").write_bytes(png)
        return Pictures(slide_id, f"pictures/{slide_id}.png")
    heat = heatmaps.overlay(thumbnail, rasters.prob, truth, frame, source.point.threshold)
    (folder / f"{slide_id}_slide.png").write_bytes(heatmaps.annotated(thumbnail, truth, frame))
    (folder / f"{slide_id}_heatmap.png").write_bytes(heat)
    return Pictures(slide_id, f"pictures/{slide_id}_slide.png", f"pictures/{slide_id}_heatmap.png")


def _strip(job: SlideJob, slide: SlidePixels) -> str | None:
    """Write the patches of highest attention side by side."""
    if not job.attention:
        return None
    images, captions = [], []
    for patch in job.attention[:STRIP]:
        at, edge = at_downsample(slide.level_downsamples, patch["downsample"]), patch["patch_px"]
        images.append(slide.read(patch["x0"], patch["y0"], edge, edge, at))
        captions.append(f"attention {patch['attention']:.3f}")
    file = job.layers / f"{job.row['slide_id']}_patches.png"
    file.write_bytes(patch_strip(images, captions))
    return f"{LAYERS}/{file.name}"
