"""Many squares in one pass: every pixel as read one by one, every tile decoded once, memory and threads bounded."""

import threading
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from acinus.errors import SlideError
from acinus.slides.array import ArraySlide
from acinus.slides.geometry import Resolution, at_downsample
from acinus.slides.jpeg_tiles import tiles_of
from acinus.slides.open import SlidePixels, open_slide
from acinus.slides.pixels import Source
from acinus.slides.slide import Slide
from acinus.slides.tile_pass import PassCounts, ReadAhead, TilePass
from acinus.slides.touches import NEVER, touches_of

Write = Callable[..., Path]
LEVEL_0 = Resolution(1.0, 0, 1.0)


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory: pytest.TempPathFactory, jpeg_tiff: Write, picture: np.ndarray) -> Path:
    """Levels of 450 x 371, 225 x 186 (1.997 down) and 90 x 75 px, tiles of 64 px."""
    levels = [picture, picture[:-1:2, ::2], picture[::5, ::5]]
    return jpeg_tiff(tmp_path_factory.mktemp("pass") / "a.tif", levels, tables=True, holes=(2,))


@pytest.fixture(scope="module")
def even_path(tmp_path_factory: pytest.TempPathFactory, jpeg_tiff: Write, picture: np.ndarray) -> Path:
    """Levels of 448 x 368, 224 x 184 and 112 x 92 px: exactly 2 and 4 down."""
    whole = picture[:368, :448]
    return jpeg_tiff(tmp_path_factory.mktemp("pass") / "b.tif", [whole, whole[::2, ::2], whole[::4, ::4]])


def assert_as_read(
    slide: SlidePixels, at: Resolution, x0: np.ndarray, y0: np.ndarray, edge_px: int, threads: int = 2, mib: int = 256
) -> PassCounts:
    with TilePass(slide, at, np.stack([x0, y0], axis=1), edge_px, threads, mib) as squares:
        assert len(squares) == len(x0)
        for x, y, pixels in zip(x0.tolist(), y0.tolist(), squares, strict=True):
            assert pixels.dtype == np.uint8
            assert pixels.flags.writeable == (pixels.base is None)  # a part of a tile is not to be written to
            np.testing.assert_array_equal(pixels, slide.read(x, y, edge_px, edge_px, at))
        return squares.counts


def grid(slide: SlidePixels, step: int) -> tuple[np.ndarray, np.ndarray]:
    y0, x0 = np.mgrid[0 : slide.height : step, 0 : slide.width : step]
    return x0.ravel(), y0.ravel()


@pytest.mark.parametrize("edge_px", [1, 48, 64, 75, 200])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_grid_over_the_border(slide_path: Path, edge_px: int, threads: int) -> None:
    with Slide(slide_path, "a") as slide:
        x0, y0 = grid(slide, 48)
        counts = assert_as_read(slide, LEVEL_0, x0 - 20, y0 - 20, edge_px, threads)
    assert counts.squares == len(x0)
    assert counts.decoded == counts.tiles
    assert counts.through_openslide == 0


@pytest.mark.parametrize("downsample", [1.0, 1.3, 2.0, 3.0, 4.0, 7.5])
def test_every_level_and_between(even_path: Path, downsample: float) -> None:
    with Slide(even_path, "a") as slide:
        at = at_downsample(slide.level_downsamples, downsample)
        x0, y0 = grid(slide, 32)
        counts = assert_as_read(slide, at, x0 - 64, y0 - 64, 40)
        assert counts == PassCounts(counts.tiles, counts.tiles, len(x0), 0)
        odd = assert_as_read(slide, at, x0 + 1, y0, 40)
    # there OpenSlide interpolates between the level's px, and only it can be asked; shrinking starts on whole ones
    assert (odd.through_openslide > 0) == (downsample in (2.0, 4.0))


def test_a_downsample_that_is_not_whole_is_read_through_openslide(slide_path: Path) -> None:
    with Slide(slide_path, "a") as slide:
        own = slide.level_downsamples[1]
        assert own != 2.0
        x0, y0 = grid(slide, 90)
        counts = assert_as_read(slide, Resolution(own, 1, own), x0, y0, 50)
    assert 0 < counts.through_openslide < counts.squares  # the corner of the level is whole whatever the downsample


@given(data=st.data())
def test_any_squares_in_any_order(slide_path: Path, even_path: Path, data: st.DataObject) -> None:
    with Slide(data.draw(st.sampled_from([slide_path, even_path])), "a") as slide:
        level = data.draw(st.integers(0, 2))
        own = slide.level_downsamples[level]
        at = Resolution(own * data.draw(st.sampled_from([1.0, 1.0, 1.001, 1.5, 2.2])), level, own)
        places = st.tuples(st.integers(-300, 700), st.integers(-300, 700))
        corners = np.array(data.draw(st.lists(places, max_size=25)), dtype=np.int64).reshape(-1, 2)
        edge = data.draw(st.integers(1, 150))
        mib, threads = data.draw(st.sampled_from([1, 64])), data.draw(st.integers(1, 3))
        counts = assert_as_read(slide, at, corners[:, 0], corners[:, 1], edge, threads, mib)
    assert counts.decoded >= counts.tiles


def test_overlapping_windows_decode_each_tile_once(slide_path: Path) -> None:
    """Each pixel is in up to nine windows; a tile is what the directory says it is."""
    with Slide(slide_path, "a") as slide, tifffile.TiffFile(slide_path) as tiff:
        x0, y0 = grid(slide, 32)
        counts = assert_as_read(slide, LEVEL_0, x0, y0, 75)
        assert counts == PassCounts(len(tiff.pages[0].dataoffsets), len(tiff.pages[0].dataoffsets), len(x0), 0)


def test_little_memory_decodes_again_and_changes_nothing(tmp_path: Path, jpeg_tiff: Write) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (512, 2048, 3), dtype=np.uint8)
    path = jpeg_tiff(tmp_path / "a.tif", [picture], tile_px=(256, 256))  # a row of tiles is 1.5 MiB
    with Slide(path, "a") as slide:
        x0, y0 = grid(slide, 128)
        assert assert_as_read(slide, LEVEL_0, x0, y0, 128, 1, 4).decoded == 16
        assert assert_as_read(slide, LEVEL_0, x0, y0, 128, 1, 1).decoded > 16
        assert assert_as_read(slide, LEVEL_0, x0[:1], y0[:1], 2048, 2, 1).decoded == 16  # more than the bound holds


def test_through_openslide_where_there_are_no_jpeg_tiles(tmp_path: Path, picture: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture, tile=(64, 64), compression="deflate", metadata=None)
    np.save(tmp_path / "b.npy", np.stack([picture, picture]))
    for path in (tmp_path / "a.tif", tmp_path / "b.npy#1"):
        with open_slide(path, "a") as slide:
            assert isinstance(slide, ArraySlide) == ("npy" in path.name)
            x0, y0 = grid(slide, 100)
            assert assert_as_read(slide, LEVEL_0, x0, y0, 100) == PassCounts(0, 0, 20, 20)
            assert_as_read(slide, Resolution(2.5, 0, 1.0), x0, y0, 100)


def test_a_source_that_is_read_in_pieces(slide_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acinus.slides.pixels.MAX_SOURCE_PX", 9000)
    with Slide(slide_path, "a") as slide:
        x0, y0 = grid(slide, 200)
        assert assert_as_read(slide, Resolution(3.0, 0, 1.0), x0, y0, 60).through_openslide == len(x0)


def test_no_squares_and_squares_beyond_the_slide(slide_path: Path) -> None:
    none = np.array([], dtype=np.int64)
    far = np.array([-5000, 5000])
    with Slide(slide_path, "a") as slide:
        assert assert_as_read(slide, LEVEL_0, none, none, 64) == PassCounts(0, 0, 0, 0)
        assert assert_as_read(slide, LEVEL_0, far, far, 64) == PassCounts(0, 0, 2, 0)


def test_squares_larger_than_openslide_draws_at_once(tmp_path: Path, jpeg_tiff: Write) -> None:
    strip = np.random.default_rng(0).integers(0, 256, (64, 5000, 3), dtype=np.uint8)
    path = jpeg_tiff(tmp_path / "a.tif", [strip], tile_px=(256, 64))
    with Slide(path, "a") as slide:
        assert_as_read(slide, LEVEL_0, np.array([300]), np.array([-20]), 4100)


def alive() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")}


def fail_at_the_first(squares: TilePass) -> None:
    with squares:
        for _ in squares:
            raise KeyError


def test_threads_end_with_the_pass_an_early_break_and_a_failure(slide_path: Path) -> None:
    before = alive()
    with Slide(slide_path, "a") as slide:
        corners = np.stack(grid(slide, 32), axis=1)
        for at in (LEVEL_0, Resolution(1.5, 0, 1.0)):
            with TilePass(slide, at, corners, 64, 3) as squares:
                for number, _ in enumerate(squares):
                    assert alive() - before
                    if number == 3:
                        break
                assert squares.counts.squares == 4
            assert alive() == before
            with pytest.raises(KeyError):
                fail_at_the_first(TilePass(slide, at, corners, 64, 3))
            assert alive() == before
            assert sum(1 for _ in TilePass(slide, at, corners, 64, 3)) == len(corners)
            assert alive() == before


@pytest.mark.parametrize(("at", "sound"), [(LEVEL_0, 3), (Resolution(1.5, 0, 1.0), 2)])  # of x = 0, 50, 100, 150
@pytest.mark.parametrize("threads", [1, 3])
def test_a_damaged_tile_fails_at_its_square_after_all_before_it(
    tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray, at: Resolution, sound: int, threads: int
) -> None:
    path = jpeg_tiff(tmp_path / "a.tif", [picture])
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[18], tiff.pages[0].databytecounts[18]
    with path.open("r+b") as stream:
        stream.seek(offset + count // 2)
        stream.write(bytes(count - count // 2))
    x0, y0 = np.arange(8) * 50, np.full(8, 150)  # tile 18: 128 to 192 px each way
    got: list[np.ndarray] = []
    with Slide(path, "tumor_001") as slide, TilePass(slide, at, np.stack([x0, y0], axis=1), 20, threads) as squares:
        with pytest.raises(SlideError, match=r"slide tumor_001: level 0, tile 18: .* break off"):
            got.extend(squares)
        assert squares.counts.squares == sound
        for x, y, pixels in zip(x0.tolist(), y0.tolist(), got, strict=False):  # got ends where the damage is
            np.testing.assert_array_equal(pixels, slide.read(x, y, 20, 20, at))


@pytest.mark.parametrize("capacity", [4, 7, 12, 1000])
@pytest.mark.parametrize("limit", [1, 5])
def test_no_more_tiles_are_alive_than_the_bound(slide_path: Path, capacity: int, limit: int) -> None:
    alive: dict[int, weakref.ref[np.ndarray]] = {}
    most = 0

    def decode(tile: int) -> Future[np.ndarray]:
        nonlocal most
        pixels = np.zeros(1)
        alive[len(alive)] = weakref.ref(pixels)
        most = max(most, sum(one() is not None for one in alive.values()))
        done: Future[np.ndarray] = Future()
        done.set_result(pixels)
        return done

    with Slide(slide_path, "a") as slide:
        x0, y0 = grid(slide, 40)
        touches = touches_of(Source((64, 64), LEVEL_0), np.stack([x0, y0], axis=1), tiles_of(slide, 0))
    ahead = ReadAhead(touches, capacity, limit, decode, decode)
    for square in range(len(x0)):
        ahead.reach(square)
        assert len(ahead.tiles(square)) == touches.first[square + 1] - touches.first[square]
        ahead.leave(square)
    assert most <= capacity
    assert ahead.decoded == len(alive)
    assert sum(one() is not None for one in alive.values()) == 0  # all were let go after their last square
    if capacity == 1000:
        assert ahead.decoded == np.unique(touches.tile).size == 48


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What was handed to the threads so far, by the name of the function."""
    counts: Counter[str] = Counter()

    class Counting(ThreadPoolExecutor):
        def submit(self, work, /, *args, **more):  # type: ignore[no-untyped-def]
            counts[work.__name__] += 1
            return super().submit(work, *args, **more)

    monkeypatch.setattr("acinus.slides.tile_pass.ThreadPoolExecutor", Counting)
    return counts


def most_ahead(squares: TilePass, begun: Counter[str], what: str) -> int:
    """Return how many more of `what` were begun than given, at most."""
    begun.clear()
    with squares:
        return max(begun[what] - number for number, _ in enumerate(squares, 1))


def test_memory_bounds_the_squares_that_are_shrunk_ahead(slide_path: Path, begun: Counter[str]) -> None:
    at = Resolution(4.0, 0, 1.0)  # 100 px take 412 of the level: 1.16 MiB, with Pillow's copy
    x0, y0 = np.arange(0, 320, 8), np.zeros(40, dtype=np.int64)
    ahead = []
    with Slide(slide_path, "a") as slide:
        for mib in (1, 4, 6, 256):
            ahead.append(most_ahead(TilePass(slide, at, np.stack([x0, y0], axis=1), 100, 4, mib), begun, "_finish"))
            assert_as_read(slide, at, x0, y0, 100, 4, mib)
    assert ahead == [-1, -1, 1, 8]  # half of the memory, less the square that the consumer waits for; -1: none


def test_memory_bounds_the_reads_through_openslide(tmp_path: Path, picture: np.ndarray, begun: Counter[str]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture, tile=(64, 64), compression="deflate", metadata=None)
    corners = np.stack([np.arange(0, 320, 8), np.zeros(40, dtype=np.int64)], axis=1)
    ahead = []
    with Slide(tmp_path / "a.tif", "a") as slide:
        for at, mib in ((LEVEL_0, 1), (LEVEL_0, 4), (LEVEL_0, 256), (Resolution(4.0, 0, 1.0), 4)):
            ahead.append(most_ahead(TilePass(slide, at, corners, 300, 4, mib), begun, "read"))
    assert ahead == [1, 7, 32, 1]  # a square of 300 px takes 0.26 MiB, where shrunk 10.2


def test_touches_are_the_tiles_under_each_square(slide_path: Path) -> None:
    """Against a picture in which every pixel is its tile's number."""
    with Slide(slide_path, "a") as slide:
        tiles = tiles_of(slide, 0)
        assert tiles is not None
        y, x = np.mgrid[-300:800, -300:900]
        numbers = np.where((x >= 0) & (y >= 0) & (x < 450) & (y < 371), y // 64 * tiles.across + x // 64, -1)
        x0, y0 = (np.random.default_rng(0).integers(-200, 600, 400) for _ in "xy")
        touches = touches_of(Source((70, 70), LEVEL_0), np.stack([x0, y0], axis=1), tiles)
    assert touches.tile.dtype == touches.next_use.dtype == np.int32  # there are millions of them
    assert NEVER not in range(400)
    later: dict[int, int] = {}
    for square in reversed(range(400)):
        under = numbers[y0[square] + 300 :, x0[square] + 300 :][:70, :70]
        own = slice(touches.first[square], touches.first[square + 1])
        assert touches.tile[own].tolist() == sorted(set(under.ravel().tolist()) - {-1})
        assert touches.inside[square] == (under >= 0).all()
        assert touches.next_use[own].tolist() == [later.get(tile, NEVER) for tile in touches.tile[own].tolist()]
        later.update(dict.fromkeys(touches.tile[own].tolist(), square))
