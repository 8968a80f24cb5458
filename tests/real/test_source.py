"""The codec source on real slides: whole tiles and parts of tiles are the pixels that OpenSlide shows."""

from pathlib import Path

import numpy as np
import pytest

from acinus.patches.extract import ShardJob, SlidePatches, SlideSource, StorePlan, finish_stores, write_shard_of
from acinus.patches.lossless import cutter
from acinus.patches.store import StoreFormat, open_store
from acinus.slides.geometry import Resolution
from acinus.slides.slide import Slide


@pytest.mark.parametrize(
    ("name", "edge", "way"),
    [
        ("cmu-1-small-region.svs", 240, "tile"),  # Aperio, RGB JPEG with tables of their own
        ("cmu-1-small-region.svs", 120, "cut"),
        ("CRC-AI-8_E_X40_IHC.tif", 256, "tile"),  # YCbCr 4:2:0
        ("CRC-AI-8_E_X40_IHC.tif", 128, "cut"),
    ],
)
def test_kept_and_cut_bytes_are_the_pixels_of_openslide(
    shared_data: Path, tmp_path: Path, name: str, edge: int, way: str
) -> None:
    if way == "cut" and cutter() is None:
        pytest.skip("the optional package turbojpeg is not installed")
    path = shared_data / "slides" / name
    places = tuple((x, y, 0) for y in range(0, 8 * edge, edge) for x in range(0, 8 * edge, edge))
    plan = StorePlan(tmp_path / "s", tmp_path / "l", StoreFormat("lmdb", "source", 90, edge), 9, ("a",), "", None, 2)
    found = write_shard_of(ShardJob("s", (SlidePatches("s", SlideSource(path, ""), 1.0, places),), plan))
    finish_stores(plan, [found], None)  # type: ignore[arg-type]
    assert (getattr(found.facts, way), found.facts.decodes, found.facts.through_openslide) == (64, 0, {})
    store, border = open_store(plan.store), 0 if way == "tile" or name.endswith("svs") else 1
    inner = np.s_[border : edge - border, border : edge - border]
    with Slide(path, "s") as slide:
        for x0, y0, _ in places:
            expected = slide.read(x0, y0, edge, edge, Resolution(1.0, 0, 1.0))
            assert np.array_equal(store.read(f"s/{x0}_{y0}")[inner], expected[inner])
