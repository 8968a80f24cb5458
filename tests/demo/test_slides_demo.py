"""The drawn folder of mixed slides as a stranger finds it on disk."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openslide
import pytest
import shapely
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from acinus.params import SlidesDemo
from acinus.slides.open import open_slide
from acinus_demo import slides
from acinus_demo.slides import SlidePlan

SETTINGS = SlidesDemo(slides=10, width_px=600, height_px=512)

MEANING = {"stroma": 0, "immune cells": 1, "lymphocytes": 1, "tumor": 2, "tumour": 2}


@pytest.fixture(scope="module")
def plans() -> list[SlidePlan]:
    return slides.plan(20261121, SETTINGS)


@pytest.fixture(scope="module")
def root(plans: list[SlidePlan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "slides"
    for slide in plans:
        slides.draw_slide(slide, folder)
    slides.finish(plans, folder)
    return folder


def test_the_formats_are_what_their_names_say(root: Path, plans: list[SlidePlan]) -> None:
    suffixes = [".svs", ".ome.tif", ".svs", ".png", ".ome.tif"] * 2
    assert [slide.image[slide.image.index(".") :] for slide in plans] == suffixes
    without = []
    for slide in plans:
        path = root / slide.image
        if path.suffix == ".svs":
            with openslide.OpenSlide(path) as opened:
                assert opened.properties["openslide.vendor"] == "aperio"
                assert opened.dimensions == slide.size
                assert opened.level_count >= 4
                mpp = float(opened.properties["openslide.mpp-x"])
        elif path.suffix == ".tif":
            with tifffile.TiffFile(path) as tiff:
                assert tiff.is_ome
                assert tiff.series[0].shape == (*slide.size[::-1], 3)
                assert len(tiff.series[0].levels) >= 4
                pixels = ElementTree.fromstring(tiff.ome_metadata or "").find(".//{*}Pixels")
                assert pixels is not None
                mpp = float(pixels.attrib["PhysicalSizeX"])
        else:
            with Image.open(path) as image:
                assert image.size == slide.size
                if "dpi" not in image.info:
                    without.append(slide.slide_id)
                    continue
                mpp = 25_400 / image.info["dpi"][0]
        assert mpp == pytest.approx(slide.mpp, abs=1e-5)
    assert without == ["slide_04"]


def test_the_table_says_what_the_files_do_not(root: Path, plans: list[SlidePlan]) -> None:
    with (root / "slides.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["slide"] for row in rows] == [slide.image for slide in plans]
    assert [row["mpp"] for row in rows] == ["", "", "", str(plans[3].mpp), *[""] * 6]
    counts = np.unique([row["patient"] for row in rows], return_counts=True)[1]
    assert sorted(counts) == [1, 1, 1, 1, 1, 2, 3]
    assert {row["site"] for row in rows} == {"north", "south"}
    for patient in {row["patient"] for row in rows}:
        assert len({row["split"] for row in rows if row["patient"] == patient}) == 1
    assert [row["split"] for row in rows[:5]] == ["test", "train", "train", "test", "val"]


def areas(path: Path) -> Iterator[tuple[str, shapely.Geometry]]:
    """Yield class and area of each outline of an annotation file, as its tool's own documents describe the format."""
    if path.suffix == ".geojson":
        for feature in json.loads(path.read_text())["features"]:
            if feature["geometry"]["type"] == "Polygon":
                yield feature["properties"]["classification"]["name"], shapely.from_geojson(json.dumps(feature))
        return
    root = ElementTree.parse(path).getroot()
    for one in root.iterfind("Annotations/Annotation"):  # ASAP: in the order in which they lie
        ring = [(float(at.attrib["X"]), float(at.attrib["Y"])) for at in one.iter("Coordinate")]
        yield one.attrib["PartOfGroup"], shapely.Polygon(ring)
    for layer in root.iterfind("Annotation"):  # ImageScope
        rings = {"0": [], "1": []}
        for one in layer.iter("Region"):
            ring = [(float(at.attrib["X"]), float(at.attrib["Y"])) for at in one.iter("Vertex")]
            if one.attrib["Type"] == "0":
                rings[one.attrib["NegativeROA"]].append(shapely.Polygon(ring))
        if rings["0"]:
            yield layer.attrib["Name"], shapely.difference(*map(shapely.union_all, (rings["0"], rings["1"])))


def raster(parts: list[tuple[str, shapely.Geometry]], size: tuple[int, int]) -> NDArray[np.int64]:
    """Return the class whose area holds each pixel's centre, -1 for none; a later class lies on top."""
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    found = np.full(x.shape, -1)
    for name, area in parts:
        shapely.prepare(area)
        found[shapely.contains_xy(area, x, y)] = MEANING[name.lower()]
    return found


def test_outlines_are_exact_for_what_is_drawn(root: Path, plans: list[SlidePlan]) -> None:
    codes = np.array([-1, -1, 0, 1, 2, -1])  # tissues.TISSUES from 1: stroma, lymphoid, tumour
    classes = []
    for slide in plans:
        parts = list(areas(root / slide.annotation))
        assert all(area.is_valid and area.area > 1000 for _, area in parts)
        found, drawn = raster(parts, slide.size), codes[slides.labels(slide)]
        border = ndimage.maximum_filter(found, 5) != ndimage.minimum_filter(found, 5)  # PIL fills corners
        np.testing.assert_array_equal(found[~border], drawn[~border], err_msg=slide.slide_id)
        assert (found != drawn).mean() < 0.01  # half a px along them, which PIL fills too
        classes.append(set(np.unique(found)) - {-1})
    assert [len(found) for found in classes] == [3, 3, 2, 3, 3, 2, 3, 3, 2, 3]  # every third is without tumour
    assert set.union(*classes) == {0, 1, 2}


def test_what_is_outlined_is_tissue_and_the_rest_is_glass(root: Path, plans: list[SlidePlan]) -> None:
    for slide in plans:
        with open_slide(root / slide.image, slide.slide_id) as opened:
            pixels = opened.region((0, 0), 0, slide.size)
        stained = ndimage.uniform_filter(np.ptp(pixels, axis=2).astype(np.float32), 9) > 14
        outlined = slides.labels(slide) > 0
        assert (stained & outlined).sum() / (stained | outlined).sum() > 0.9, slide.slide_id


def test_rulers_are_left_on_the_slides(root: Path, plans: list[SlidePlan]) -> None:
    for slide in plans:
        text = (root / slide.annotation).read_text()
        marks = {"qupath": '"LineString"', "imagescope": 'Type="4" NegativeROA="0"', "asap": 'Type="Polygon"'}
        assert marks[slide.tool] in text


def test_patients_of_more_slides_are_others(plans: list[SlidePlan]) -> None:
    more = slides.plan(20261121, SETTINGS.model_copy(update={"slides": 20}))
    assert more[:10] == plans
    assert not {slide.patient for slide in more[10:]} & {slide.patient for slide in plans}
