"""The codec source: a slide's own bytes where it has them, and everything else as the codec jpeg has it."""

import hashlib
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pytest
import tifffile
from PIL import Image

from acinus.errors import SlideError
from acinus.patches import reading
from acinus.patches.codec import decode
from acinus.patches.extract import (
    ShardJob,
    SlidePatches,
    SlideSource,
    StorePlan,
    Written,
    finish_stores,
    write_shard_of,
)
from acinus.patches.facts import ShardFacts
from acinus.patches.lossless import cutter
from acinus.patches.reading import ELSEWHERE, origins
from acinus.patches.store import StoreFormat, open_store
from acinus.slides.geometry import Resolution
from acinus.slides.jpeg_tiles import tiles_of
from acinus.slides.slide import Slide

TILE = 64
CAN_CUT = cutter() is not None
needs_cutter = pytest.mark.skipif(not CAN_CUT, reason="the optional package turbojpeg is not installed")
Places = list[tuple[int, int]]


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., ShardJob]:
    def make(path: Path, edge: int, places: Places, codec: str = "source", **more) -> ShardJob:
        form = StoreFormat(more.pop("backend", "lmdb"), codec, 90, edge)
        folder = tmp_path / more.pop("name", codec)
        plan = StorePlan(folder / "store", folder / "ledger", form, 256, ("normal", "tumor"), "code")
        slide = SlidePatches("s", SlideSource(path, "f"), more.pop("downsample", 1.0), tuple((*p, 0) for p in places))
        return ShardJob("s", (slide,), replace(plan, **more))

    return make


def written(own: ShardJob) -> Written:
    found = write_shard_of(own)
    finish_stores(own.plan, [found], None)  # type: ignore[arg-type]
    return found


def ways(facts: ShardFacts) -> tuple[int, int, int]:
    return facts.tile, facts.cut, facts.encoded


def stored(own: ShardJob) -> dict[tuple[int, int], bytes]:
    """The bytes of every patch, read without the store's own reader."""
    found = {}
    path = own.plan.store.with_name("copy.lmdb")  # LMDB opens a file once per process
    shutil.copy(own.plan.store / "shards" / "s.lmdb", path)
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as env, env.begin() as transaction:
        for key, value in transaction.cursor():
            x0, _, y0 = key.decode().partition("/")[2].partition("_")
            found[int(x0), int(y0)] = bytes(value)
    return found


@pytest.mark.parametrize("kind", ["444", "422", "420"])
def test_whole_tiles_keep_their_bytes_and_their_pixels(kind: str, jpeg_slide, tiles_in, job) -> None:
    path = jpeg_slide(kind)
    places = [(x, y) for y in range(0, 192, TILE) for x in range(0, 256, TILE)]  # all that lie on the slide whole
    own = job(path, TILE, places)
    facts = written(own).facts
    assert ways(facts) == (12, 0, 0)
    assert (facts.source_tiles, facts.decodes, facts.through_openslide, facts.sampled) == (12, 0, {}, 0)
    tiles, found, store = tiles_in(path), stored(own), open_store(own.plan.store)
    with Slide(path, "s") as slide:
        for x0, y0 in places:
            assert found[x0, y0] == tiles[y0 // TILE * 5 + x0 // TILE]
            assert np.array_equal(store.read(f"s/{x0}_{y0}"), slide.read(x0, y0, TILE, TILE, Resolution(1, 0, 1)))


def test_an_rgb_jpeg_is_told_and_stays_rgb(jpeg_slide, job) -> None:
    path = jpeg_slide("rgb")
    for edge in (TILE, 32) if CAN_CUT else (TILE,):
        own = job(path, edge, [(0, 0), (64, 64), (128, 64)], name=f"rgb-{edge}")
        assert sum(ways(written(own).facts)[:2]) == 3
        store = open_store(own.plan.store)
        with Slide(path, "s") as slide:
            for x0, y0 in ((0, 0), (64, 64), (128, 64)):
                expected = slide.read(x0, y0, edge, edge, Resolution(1, 0, 1))
                assert np.array_equal(store.read(f"s/{x0}_{y0}"), expected)
                with Image.open(io.BytesIO(stored(own)[x0, y0])) as other:
                    assert np.abs(np.asarray(other.convert("RGB")).astype(int) - expected).max() <= 2


@needs_cutter
@pytest.mark.parametrize("kind", ["444", "420"])
def test_parts_on_the_grid_are_cut_and_the_others_encoded_as_jpeg_has_them(kind: str, jpeg_slide, job) -> None:
    path, edge = jpeg_slide(kind), 32
    aligned = [(0, 0), (32, 0), (96, 160), (256, 192)]
    others = [(8 if kind == "420" else 4, 16), (48, 0), (33, 7), (288, 0), (64, 224), (-16, 0)]
    own, all_encoded = job(path, edge, aligned + others), job(path, edge, aligned + others, "jpeg")
    facts = written(own).facts
    assert ways(facts) == (0, 4, 6)
    assert ways(written(all_encoded).facts) == (0, 0, 10)
    found, encoded = stored(own), stored(all_encoded)
    with Slide(path, "s") as slide:
        for place in aligned:
            expected = slide.read(*place, edge, edge, Resolution(1, 0, 1))
            back, border = decode(found[place], "source"), 0 if kind == "444" else 1
            inner = np.s_[border : edge - border, border : edge - border]
            assert np.array_equal(back[inner], expected[inner])
    for place in others:
        assert found[place] == encoded[place]
    assert (facts.source_tiles, facts.sampled) == (len(touched([*aligned, *others], edge)), sampled(others))


def touched(places: Places, edge: int) -> set[tuple[int, int]]:
    """The tiles under squares of a slide of 5 x 4 tiles, px by px."""
    px = ((x + dx, y + dy) for x, y in places for dx in range(edge) for dy in range(edge))
    return {(x // TILE, y // TILE) for x, y in px if 0 <= x < 300 and 0 <= y < 232}


def sampled(places: Places) -> int:
    return sum(hashlib.blake2b(f"s/{x}_{y}".encode()).digest()[0] % 16 == 0 for x, y in places)


def test_without_a_cutter_parts_are_encoded(jpeg_slide, job, monkeypatch) -> None:
    monkeypatch.setattr(reading, "cutter", lambda: None)
    path, places = jpeg_slide(), [(0, 0), (32, 32), (64, 0)]
    own, expected = job(path, 32, places), job(path, 32, places, "jpeg")
    assert ways(written(own).facts) == (0, 0, 3)
    written(expected)
    assert stored(own) == stored(expected)
    assert ways(written(job(path, TILE, [(64, 64)], name="whole")).facts) == (1, 0, 0)


def test_coarser_levels_have_tiles_of_their_own_and_between_them_there_are_none(jpeg_slide, tiles_in, job) -> None:
    path = jpeg_slide()
    own = job(path, TILE, [(0, 0), (128, 0)], downsample=2.0)
    assert ways(written(own).facts) == (2, 0, 0)
    assert stored(own)[128, 0] == tiles_in(path, 1)[1]
    shrunk = job(path, TILE, [(0, 0)], downsample=1.5, name="between")
    assert ways(written(shrunk).facts) == (0, 0, 1)


def test_a_slide_without_jpeg_tiles_is_encoded_and_the_facts_say_why(tmp_path, picture, job) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, picture(128, 128), tile=(TILE, TILE), photometric="rgb", compression="zlib")
    facts = written(job(path, TILE, [(0, 0), (64, 0)])).facts
    assert ways(facts) == (0, 0, 2)
    assert (facts.source_tiles, facts.through_openslide) == (0, {reading.NO_TILES: 2})
    exact = written(job(path, TILE, [(0, 0)], "png")).facts
    assert (exact.stored, exact.encoded, exact.sampled) == (1, 0, 0)


@pytest.mark.parametrize("edge", [TILE, 32, 40])
@pytest.mark.parametrize("codec", ["source", "jpeg", "png"])
def test_threads_and_memory_change_no_byte(edge: int, codec: str, jpeg_slide, job) -> None:
    path = jpeg_slide()
    places = [(x, y) for y in range(-20, 232, edge) for x in range(0, 300, edge)]
    places += [(x, y) for y in range(0, 192, edge) for x in range(0, 256, edge) if (x, y) not in places]
    one = written(job(path, edge, places, codec, name="one"))
    many = written(job(path, edge, places, codec, name="many", decode_threads=3, memory_mib=16))
    assert one == many  # sizes, checksums and facts


def test_facts_outlive_a_second_run(jpeg_slide, job) -> None:
    own = job(jpeg_slide(), 32, [(x, y) for y in range(0, 200, 33) for x in range(0, 260, 33)])
    first = written(own)
    assert first.facts.sampled > 0
    before = (own.plan.store / "shards" / "s.lmdb").stat().st_ino
    assert written(own) == first
    assert (own.plan.store / "shards" / "s.lmdb").stat().st_ino == before
    note = own.plan.ledger / "s.json"
    note.write_text(note.read_text().replace('"encoded"', '"unheard_of"'))
    assert written(own).facts == first.facts  # written again, since its facts are lost


@pytest.mark.parametrize("backend", ["hdf5", "files"])
def test_other_backends_hold_the_same_bytes(backend: str, jpeg_slide, job) -> None:
    places = [(0, 0), (64, 64), (10, 10)]
    own, other = job(jpeg_slide(), TILE, places), job(jpeg_slide(), TILE, places, backend=backend, name=backend)
    written(own)
    written(other)
    store = open_store(other.plan.store)
    for (x0, y0), data in stored(own).items():
        assert np.array_equal(store.read(f"s/{x0}_{y0}"), decode(data, "source"))
    store.verify()
    if backend == "files":
        images = sorted((other.plan.store / "images").rglob("*.jpg"))
        assert sorted(path.read_bytes() for path in images) == sorted(stored(own).values())


def test_a_damaged_tile_is_named(jpeg_slide, job) -> None:
    path = jpeg_slide()
    with tifffile.TiffFile(path) as tiff:
        at, count = tiff.pages[0].dataoffsets[6], tiff.pages[0].databytecounts[6]
    data = bytearray(path.read_bytes())
    data[at + 2 : at + count - 2] = b"\0" * (count - 4)  # its markers stand, what lies between does not
    path.write_bytes(data)
    for edge in (TILE, 32):
        with pytest.raises(SlideError, match=r"slide s: level 0, tile 6"):
            write_shard_of(job(path, edge, [(0, 0), (64, 64)], name=f"damaged-{edge}"))


def test_own_bytes_are_found_where_a_slow_search_finds_them(jpeg_slide) -> None:
    with Slide(jpeg_slide("420"), "s") as slide:
        for level in (0, 1):
            tiles, down = tiles_of(slide, level), 2**level
            assert tiles is not None
            corners = np.array([(x, y) for y in range(-70, 240, 3) for x in range(-70, 310, 3)])
            for edge in (16, 24, 32, 64):
                found = origins(tiles, Resolution(down, level, down), corners, edge, can_cut=True)
                for number, (x0, y0) in enumerate(corners.tolist()):
                    expected = slow_origin(x0, y0, edge, level)
                    assert int(found.tile[number]) == (ELSEWHERE if expected is None else expected)
                    if expected is not None:
                        assert bool(found.whole[number]) == (edge == TILE)
            none = origins(tiles, Resolution(down * 1.1, level, down), corners, 32, can_cut=True)
            assert (none.tile == ELSEWHERE).all()


def slow_origin(x0: int, y0: int, edge: int, level: int) -> int | None:
    """The tile with a patch's own bytes in a 4:2:0 slide of 300 x 232 px with tiles of 64 px."""
    wide, high = (300, 232) if level == 0 else (150, 116)
    if x0 % 2**level or y0 % 2**level:
        return None
    x, y = x0 // 2**level, y0 // 2**level
    if x < 0 or y < 0 or x + edge > wide or y + edge > high or edge % 16 or x % 16 or y % 16:
        return None
    if x // TILE != (x + edge - 1) // TILE or y // TILE != (y + edge - 1) // TILE:
        return None
    return y // TILE * -(-wide // TILE) + x // TILE
