"""Attention maps as other programs read them: places and values worked by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile

from acinus.annotations.frame import Frame
from acinus.annotations.reading import read_annotations
from acinus.maps.attention import write_attention_geojson, write_attention_map
from acinus.maps.tiff import MapInfo, read_map


def patch(x0: int, y0: int, attention: float, patch_px: int = 64, downsample: float = 2.0) -> dict[str, Any]:
    return {"x0": x0, "y0": y0, "downsample": downsample, "patch_px": patch_px, "attention": attention}


PATCHES = [patch(0, 128, 0.1), patch(128, 128, 0.5), patch(896, 640, 0.4)]
SIZE0 = (1000, 700)


def test_a_px_is_a_quarter_patch_and_the_highest_attention_is_one(tmp_path: Path) -> None:
    write_attention_map(tmp_path / "a.tif", PATCHES, SIZE0, MapInfo("s", ("attention",), (0.5, 0.5)))
    pixels, geometry, _ = read_map(tmp_path / "a.tif")
    assert (geometry.downsample, pixels.shape) == (32.0, (22, 32))
    assert set(np.unique(pixels)) == {0, 51, 204, 255}  # 0.1, 0.4 and 0.5 over 0.5
    assert (pixels[4:8, 0:4] == 51).all()
    assert (pixels[4:8, 4:8] == 255).all()
    assert (pixels[20:22, 28:32] == 204).all(), "a patch that reaches beyond the slide is cut there"
    assert (pixels > 0).sum() == 16 + 16 + 8
    with openslide.OpenSlide(tmp_path / "a.tif") as opened:
        assert opened.dimensions == (32, 22)
        assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(16.0)


def test_a_large_map_is_a_pyramid_and_of_overlapping_patches_the_strongest_is_seen(tmp_path: Path) -> None:
    many = [patch(x0, y0, 1 + (x0 + y0) % 7, 16, 1.0) for y0 in range(0, 2048, 8) for x0 in range(0, 2048, 256)]
    write_attention_map(tmp_path / "a.tif", many, (2048, 2048), MapInfo("s", ("attention",), None))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert [page.shape for page in tiff.pages] == [(512, 512), (256, 256)]
    pixels, _, _ = read_map(tmp_path / "a.tif")
    expected = np.zeros((512, 512))
    for one in many:
        row, column = one["y0"] // 4, one["x0"] // 4
        view = expected[row : row + 4, column : column + 4]
        np.maximum(view, one["attention"] / 7, out=view)
    assert np.array_equal(pixels, np.rint(expected * 255).astype(np.uint8))


def test_a_slide_without_patches_has_an_empty_map(tmp_path: Path) -> None:
    write_attention_map(tmp_path / "a.tif", [], SIZE0, MapInfo("s", ("attention",), None))
    write_attention_geojson(tmp_path / "a.geojson", [])
    assert not read_map(tmp_path / "a.tif")[0].any()
    assert json.loads((tmp_path / "a.geojson").read_text()) == {"type": "FeatureCollection", "features": []}


def test_qupath_has_a_tile_per_patch_at_its_own_corner(tmp_path: Path) -> None:
    write_attention_geojson(tmp_path / "a.geojson", PATCHES, corner0=(10, 20))
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert [one["properties"]["measurements"] for one in features] == [
        {"attention": 0.1, "share_of_largest": 0.2},
        {"attention": 0.5, "share_of_largest": 1.0},
        {"attention": 0.4, "share_of_largest": 0.8},
    ]
    assert features[1]["geometry"]["coordinates"] == [
        [[118.0, 108.0], [246.0, 108.0], [246.0, 236.0], [118.0, 236.0], [118.0, 108.0]]
    ]
    drawn = read_annotations(tmp_path / "a.geojson", Frame(*SIZE0, bounds=(10, 20, 990, 680)))
    assert [(one.object_type, one.area.bounds) for one in drawn.outlines][:2] == [
        ("tile", (0.0, 128.0, 128.0, 256.0)),
        ("tile", (128.0, 128.0, 256.0, 256.0)),
    ]
