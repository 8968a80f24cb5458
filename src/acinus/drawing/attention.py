"""The pictures of a slide that was judged as a whole: the slide, what its model looked at, and patches of both ends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acinus.annotations.frame import qupath_corner
from acinus.charts import layers
from acinus.charts.classes import patch_strip
from acinus.maps.attention import write_attention_geojson, write_attention_map
from acinus.maps.tiff import MapInfo
from acinus.pages.contexts import Layer, SlideView
from acinus.slides.geometry import at_downsample
from acinus.slides.open import SlidePixels, open_slide
from acinus.tissue.mask import load_tissue

STRIP = 4
"""So many patches of highest and of lowest attention are shown side by side."""
Row = dict[str, Any]


@dataclass(frozen=True)
class AttentionJob:
    """One slide to draw; travels to a worker.

    attention: its rows of records.ATTENTION, the highest first. tissue: its mask, or None. folder: where the pictures
    and files go; at: what that folder is called in the page. drawn: with pictures, not with the files alone.
    """

    slide_id: str
    image: Path
    mpp: tuple[float, float] | None
    tissue: Path | None
    attention: tuple[Row, ...]
    folder: Path
    at: str
    picture_px: int
    drawn: bool = True


@dataclass(frozen=True)
class AttentionView:
    """What was written of a slide, files relative to its page. view: None without pictures. lowest: a strip."""

    slide_id: str
    view: SlideView | None
    lowest: str | None
    tiff: str
    geojson: str


def draw_attention(job: AttentionJob) -> AttentionView:
    """Write the attention map, its GeoJSON and the pictures of one slide, and say where they are."""
    tiff, geojson = (job.folder / f"{job.slide_id}_attention.{suffix}" for suffix in ("tif", "geojson"))
    with open_slide(job.image, job.slide_id) as slide:
        info = MapInfo(job.slide_id, ("attention",), job.mpp)
        write_attention_map(tiff, job.attention, (slide.width, slide.height), info)
        write_attention_geojson(geojson, job.attention, qupath_corner(slide.properties))
        view = _view(job, slide) if job.drawn else None
        lowest = _strip(job, slide, "lowest", job.attention[: -STRIP - 1 : -1]) if job.drawn else None
    return AttentionView(job.slide_id, view, lowest, f"{job.at}/{tiff.name}", f"{job.at}/{geojson.name}")


def _view(job: AttentionJob, slide: SlidePixels) -> SlideView:
    downsample = max(1.0, max(slide.width, slide.height) / job.picture_px)
    columns, rows = int(np.ceil(slide.width / downsample)), int(np.ceil(slide.height / downsample))
    thumbnail = slide.read(0, 0, columns, rows, at_downsample(slide.level_downsamples, downsample))
    photo = job.folder / f"{job.slide_id}_thumbnail.jpg"
    photo.write_bytes(layers.photograph(thumbnail))
    shown = []
    if job.tissue is not None:
        tissue = load_tissue(job.tissue, slide.width, slide.height).raster(columns, rows, downsample)
        shown.append(_layer(job, "tissue", layers.tissue_layer(tissue), "what was taken for glass is shaded", 0.0))
    squares = [layers.square(patch, downsample) for patch in job.attention]
    about = "which patches the answer rests on: yellow most, violet least"
    shown.append(_layer(job, "attention", layers.attention_layer((rows, columns), squares), about, 0.8))
    strip = _strip(job, slide, "highest", job.attention[:STRIP])
    return SlideView(job.slide_id, (columns, rows), f"{job.at}/{photo.name}", tuple(shown), (), strip)


def _layer(job: AttentionJob, name: str, png: bytes, about: str, opacity: float) -> Layer:
    file = job.folder / f"{job.slide_id}_{name}.png"
    file.write_bytes(png)
    return Layer(name.capitalize(), f"{job.at}/{file.name}", about, opacity)


def _strip(job: AttentionJob, slide: SlidePixels, name: str, patches: tuple[Row, ...]) -> str | None:
    """Write patches side by side, each with its attention as a multiple of an even share."""
    if not patches:
        return None
    images, captions = [], []
    for patch in patches:
        at, edge = at_downsample(slide.level_downsamples, patch["downsample"]), patch["patch_px"]
        images.append(slide.read(patch["x0"], patch["y0"], edge, edge, at))
        captions.append(f"{patch['attention'] * len(job.attention):.2f} x even")
    file = job.folder / f"{job.slide_id}_{name}.png"
    file.write_bytes(patch_strip(images, captions))
    return f"{job.at}/{file.name}"
