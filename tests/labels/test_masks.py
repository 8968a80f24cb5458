"""Mask TIFFs against counts on the array that was written, and every kind of mask that must be refused."""

import tracemalloc

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from acinus.errors import SlideError
from acinus.labels import blocks, masks
from acinus.labels.labels import RasterLabels
from acinus.labels.masks import Mask, Values

VALUES = Values(2, {0: 0, 1: 1, 2: 255}, "cohort.mask_values has 0 = normal, 1 = tumor, 2 = ignore")
rng = np.random.default_rng(7)
TRUTH = np.kron(rng.choice([0, 0, 1, 2], size=(40, 30)), np.ones((16, 16))).astype(np.uint8)  # (640, 480)
TRUTH[100, 100] = 1 - TRUTH[100, 100] % 2  # one pixel of its own
ROWS, COLUMNS = TRUTH.shape


def write(path, data=TRUTH, levels=0, **options):
    options = {"tile": (64, 64), "compression": "lzw"} | options
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(data, subifds=0, **options)
        for level in range(1, levels + 1):  # nearest levels, with other values on purpose where they are not read
            tiff.write(data[:: 2**level, :: 2**level] * 0, subfiletype=1, **options)
    return path


def mask_of(path, width=COLUMNS, height=ROWS, values=VALUES, exhaustive=True):
    return RasterLabels("m", Mask(path, width, height, values, exhaustive))


def counted(x0, y0, edge, value, data=TRUTH):
    return [float((data[y : y + edge, x : x + edge] == value).sum()) / edge**2 for x, y in zip(x0, y0, strict=True)]


def refusal(mask, action=lambda mask: mask.source.open_check()):
    with pytest.raises(SlideError) as caught:
        action(mask)
    message = str(caught.value)
    assert "\n" not in message
    assert message.removeprefix("slide m: ").startswith(f"{mask.source.path.name}: ")
    return message


def counted_px(mask):
    return mask.source.counts()


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_PX", 128)


LAYOUTS = {
    "tiles": {},
    "strips": {"tile": None, "rowsperstrip": 7},
    "one strip": {"tile": None, "rowsperstrip": ROWS},
    "deflate, predictor": {"compression": "zlib", "predictor": True},
    "uncompressed": {"compression": None},
    "zstd, big tiles": {"compression": "zstd", "tile": (256, 256)},
    "big-endian BigTIFF of 16 bits": {},
}


@pytest.fixture(params=LAYOUTS)
def written(request, tmp_path):
    path = tmp_path / "slide_mask.tif"
    if request.param.startswith("big-endian"):
        tifffile.imwrite(path, TRUTH.astype(np.uint16), bigtiff=True, byteorder=">", tile=(64, 64), compression="lzw")
        return path
    return write(path, **LAYOUTS[request.param])


@pytest.mark.usefixtures("small_blocks")
def test_fractions_are_exact_counts_however_the_mask_is_stored(written):
    x0, y0 = np.array([0, 13, 96, 200, 420, 470]), np.array([0, 7, 96, 333, 600, 630])
    for edge in (10, 200, 700):  # inside one block, over several, more than the slide
        _, tumour, ignored = mask_of(written).fractions(x0, y0, edge)
        np.testing.assert_allclose(tumour, counted(x0, y0, edge, 1), rtol=1e-12)
        np.testing.assert_allclose(ignored, counted(x0, y0, edge, 2), rtol=1e-12)
    assert mask_of(written).source.counts().tolist() == [int((value == TRUTH).sum()) for value in (0, 1, 2)]


@pytest.mark.usefixtures("small_blocks")
def test_one_pixel_is_not_lost(tmp_path):
    lone = np.zeros((640, 480), np.uint8)
    lone[333, 222] = 1
    _, tumour, _ = mask_of(write(tmp_path / "m.tif", lone, levels=3)).fractions(np.array([0]), np.array([0]), 512)
    assert tumour[0] == 1 / 512**2


@pytest.mark.usefixtures("small_blocks")
def test_a_mask_of_another_scale_lies_over_the_slide_by_the_ratio_of_sizes(tmp_path):
    # The slide has 4 level-0 px per mask px, so patches cut through mask pixels; levels must not matter.
    path = write(tmp_path / "m.tif", levels=2)
    x0, y0 = np.array([0, 3, 401, 1000, 1800]), np.array([1, 2, 398, 2000, 2500])
    _, tumour, ignored = mask_of(path, COLUMNS * 4, ROWS * 4).fractions(x0, y0, 150)
    big = np.kron(TRUTH, np.ones((4, 4), np.uint8))
    np.testing.assert_allclose(tumour, counted(x0, y0, 150, 1, big), rtol=1e-12)
    np.testing.assert_allclose(ignored, counted(x0, y0, 150, 2, big), rtol=1e-12)
    # And a mask finer than the slide: 2 mask px per level-0 px.
    _, tumour, _ = mask_of(path, COLUMNS // 2, ROWS // 2).fractions(x0[:1], y0[:1], 75)
    np.testing.assert_allclose(tumour, counted([0], [2], 150, 1), rtol=1e-12)


@pytest.mark.usefixtures("small_blocks")
def test_fractions_over_a_tiling_conserve_area(tmp_path):
    x, y = np.meshgrid(np.arange(0, 1400, 37), np.arange(0, 1900, 37))
    edge, scale = 37, 1920 / ROWS
    mask = mask_of(write(tmp_path / "m.tif"), 1440, 1920)
    _, tumour, ignored = mask.fractions(x.ravel(), y.ravel(), edge)
    inside = TRUTH[:, :]  # the tiling covers 1406 x 1924 level-0 px; count the last columns by hand
    share = np.clip((1406 - np.arange(COLUMNS) * scale) / scale, 0, 1)
    for found, value in ((tumour, 1), (ignored, 2)):
        assert found.sum() * edge**2 == pytest.approx(((inside == value) * share).sum() * scale**2, rel=1e-9)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("downsample", "scale"), [(1.0, 1), (4.0, 1), (7.3, 1), (2.0, 4), (100.0, 1)])
def test_a_raster_shows_the_value_under_each_centre(written, downsample, scale):
    columns, rows = int(COLUMNS * scale / downsample) + 3, int(ROWS * scale / downsample) + 2
    found = mask_of(written, COLUMNS * scale, ROWS * scale).raster(columns, rows, downsample)
    expected = np.zeros((rows, columns), np.uint8)  # beyond the mask: normal
    for r in range(rows):
        for c in range(columns):
            left, top = c * downsample, r * downsample  # a px cut by the border is looked at in its part on the slide
            right, bottom = min(left + downsample, COLUMNS * scale), min(top + downsample, ROWS * scale)
            x, y = int((left + right) / 2 / scale), int((top + bottom) / 2 / scale)
            if left < COLUMNS * scale and top < ROWS * scale:
                expected[r, c] = {0: 0, 1: 1, 2: 255}[TRUTH[y, x]]
    np.testing.assert_array_equal(found, expected)


def test_not_exhaustive_means_that_all_but_tumour_is_ignored(tmp_path):
    mask = mask_of(write(tmp_path / "m.tif"), exhaustive=False)
    x0, y0 = np.array([0, 450]), np.array([0, 600])
    _, tumour, ignored = mask.fractions(x0, y0, 100)
    np.testing.assert_allclose(tumour, counted(x0, y0, 100, 1))
    np.testing.assert_allclose(ignored, 1 - tumour)
    raster = mask.raster(COLUMNS + 5, ROWS, 1.0)
    assert set(np.unique(raster)) == {1, 255}
    np.testing.assert_array_equal(raster[:, :COLUMNS] == 1, TRUTH == 1)


@pytest.mark.parametrize("layout", ["equal", "red only", "alpha"])
def test_a_mask_in_colours_of_one_meaning_is_read(tmp_path, layout):
    others = {"equal": [TRUTH, TRUTH], "red only": [TRUTH * 0] * 2, "alpha": [TRUTH, TRUTH, TRUTH * 0 + 255]}[layout]
    data = np.stack([TRUTH, *others], axis=-1)
    extra = {"extrasamples": ["unassalpha"]} if layout == "alpha" else {}
    path = write(tmp_path / "m.tif", data, photometric="rgb", **extra)
    np.testing.assert_array_equal(mask_of(path).raster(COLUMNS, ROWS, 1.0) == 1, TRUTH == 1)


def test_a_bilevel_mask_is_read(tmp_path):
    path = write(tmp_path / "m.tif", TRUTH == 1, compression=None, photometric="minisblack")
    np.testing.assert_array_equal(mask_of(path).raster(COLUMNS, ROWS, 1.0), TRUTH == 1)


def test_values_equal_what_openslide_reads(tmp_path):
    path = write(tmp_path / "m.tif", (TRUTH > 0).astype(np.uint8) * 255)
    with openslide.OpenSlide(path) as slide:
        red = np.asarray(slide.read_region((0, 0), 0, (COLUMNS, ROWS)))[..., 0]
    found = mask_of(path, values=Values(2, {0: 0, 255: 1}, "")).raster(COLUMNS, ROWS, 1.0)
    np.testing.assert_array_equal(found == 1, red == 255)


def test_tiles_that_the_file_leaves_out_are_value_0(tmp_path):
    path = tmp_path / "m.tif"
    tiles = [None if i % 2 else np.ones((64, 64), np.uint8) for i in range(80)]
    tifffile.imwrite(path, iter(tiles), shape=(640, 512), dtype=np.uint8, tile=(64, 64), compression="lzw")
    found = mask_of(path, 512, 640).raster(8, 10, 64.0)
    np.testing.assert_array_equal(found.ravel(), [1 - i % 2 for i in range(80)])


def test_an_undeclared_value_is_named_with_its_place(tmp_path):
    data = TRUTH.copy()
    data[500, 333] = 7
    mask = mask_of(write(tmp_path / "m.tif", data))
    mask.source.open_check()  # the header cannot tell
    for action in (counted_px, lambda m: m.raster(COLUMNS, ROWS, 1.0)):
        message = refusal(mask, action)
        assert "value 7 at mask pixel (333, 500)" in message
        assert "0 = normal, 1 = tumor, 2 = ignore" in message
        assert "cohort.mask_values" in message


def test_padding_of_the_last_tiles_is_no_value(tmp_path):
    path = tmp_path / "m.tif"
    tiles = [np.full((64, 64), 9, np.uint8) for _ in range(4)]
    for i, tile in enumerate(tiles):
        tile[: 64 if i < 2 else 36, : 64 if i % 2 == 0 else 6] = 1  # image of 100 x 70 px, the rest is padding
    tifffile.imwrite(path, iter(tiles), shape=(100, 70), dtype=np.uint8, tile=(64, 64))
    mask = mask_of(path, 70, 100)
    mask.source.counts()
    assert mask.raster(70, 100, 1.0).all()


@pytest.mark.parametrize(
    ("width", "height"),
    [(ROWS, COLUMNS), (COLUMNS, ROWS + 5), (COLUMNS * 4, ROWS * 4 + 30), (2000, 2000), (COLUMNS * 10, ROWS * 10 + 150)],
)
def test_a_mask_of_another_shape_is_refused_with_both_sizes(tmp_path, width, height):
    message = refusal(mask_of(write(tmp_path / "m.tif"), width, height))
    assert f"{COLUMNS} x {ROWS}" in message
    assert f"{width} x {height}" in message


@pytest.mark.parametrize(("width", "height"), [(COLUMNS, ROWS), (COLUMNS * 128 + 90, ROWS * 128 + 100), (962, 1281)])
def test_rounding_of_a_level_is_no_other_shape(tmp_path, width, height):
    mask_of(write(tmp_path / "m.tif"), width, height).source.open_check()


@pytest.mark.parametrize(
    ("options", "data", "says"),
    [
        ({"compression": "jpeg"}, TRUTH, "compression JPEG may change values"),
        ({}, TRUTH.astype(np.float32), "pixels are float32"),
        ({}, TRUTH.astype(np.uint32), "pixels are uint32"),
        ({"photometric": "miniswhite"}, TRUTH, "MINISWHITE"),
        ({"photometric": "rgb", "planarconfig": "separate"}, np.stack([TRUTH] * 3), "colour planes"),
    ],
)
def test_masks_that_could_not_be_exact_are_refused(tmp_path, options, data, says):
    assert says in refusal(mask_of(write(tmp_path / "m.tif", data, **options)))


def test_a_colour_coded_mask_is_refused(tmp_path):
    data = np.stack([TRUTH, TRUTH * 2, TRUTH], axis=-1)
    path = write(tmp_path / "m.tif", data, photometric="rgb")
    assert "colours differ between channels" in refusal(mask_of(path), counted_px)


def test_a_mask_in_one_huge_strip_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(masks, "MAX_SEGMENT_PX", 100_000)
    path = write(tmp_path / "m.tif", tile=None, rowsperstrip=ROWS)
    assert "write it in tiles" in refusal(mask_of(path))


def test_a_mask_s_directory_is_read_once_for_all_bands(tmp_path, monkeypatch):
    parsed = []

    class Noting(tifffile.TiffFile):
        def __init__(self, stream, *rest, **options):
            parsed.append(stream.name)
            super().__init__(stream, *rest, **options)

    path = write(tmp_path / "m.tif")
    monkeypatch.setattr(tifffile, "TiffFile", Noting)
    own = mask_of(path)
    bands = [own.raster(COLUMNS, 64, 1.0, top) for top in range(0, ROWS, 64)]
    np.testing.assert_array_equal(np.concatenate(bands), VALUES_OF[TRUTH])
    tissue = mask_of(path, values=Values(2, {0: 0, 1: 1, 2: 1}, ""))  # the same file read otherwise
    np.testing.assert_array_equal(tissue.raster(COLUMNS, ROWS, 1.0), TRUTH > 0)
    assert parsed == [str(path)]
    write(path, np.zeros_like(TRUTH))  # another mask in its place
    assert not own.raster(COLUMNS, ROWS, 1.0).any()


VALUES_OF = np.array([0, 1, 255], dtype=np.uint8)


def test_damaged_masks_are_one_line(tmp_path):
    whole = write(tmp_path / "m.tif", compression="zlib").read_bytes()
    path = tmp_path / "bad.tif"
    for content in (b"", b"no tiff", whole[:20], whole[:200]):
        path.write_bytes(content)
        refusal(mask_of(path))
    with tifffile.TiffFile(tmp_path / "m.tif") as tiff:
        offsets, counts = tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts
    path.write_bytes(whole[: offsets[-1] + counts[-1] - 1])
    if offsets[0] > len(whole) // 2:
        pytest.fail("tile data expected after the directory")
    assert "before its tiles do" in refusal(mask_of(path))
    start, end = offsets[40], offsets[40] + counts[40]
    path.write_bytes(whole[:start] + bytes(end - start) + whole[end:])
    mask_of(path).source.open_check()  # the directory is whole
    assert "not a sound mask TIFF" in refusal(mask_of(path), counted_px)
    assert "No such file" in refusal(mask_of(tmp_path / "gone.tif"))


def test_random_damage_never_ends_in_a_traceback(tmp_path, caplog):
    caplog.set_level("CRITICAL", "tifffile")
    whole = bytearray(write(tmp_path / "m.tif", compression="zlib").read_bytes())
    refusals = []
    for seed in range(150):
        path = tmp_path / f"{seed}.tif"
        flips = np.random.default_rng(seed)
        data = bytearray(whole)
        for place in flips.integers(0, 400, size=6):  # the header and the directory
            data[place] = flips.integers(0, 256)
        path.write_bytes(data)
        try:
            mask_of(path).source.counts()
        except SlideError as error:
            refusals.append(str(error))
    assert len(refusals) > 50
    assert not any("\n" in message for message in refusals)


CLASSES = 5
MANY = Values(CLASSES, {value: value for value in range(CLASSES)} | {9: 255}, "")


@given(
    seed=st.integers(0, 2**32 - 1),
    columns=st.integers(1, 90),
    rows=st.integers(1, 90),
    scale=st.sampled_from([1, 3]),
    edge=st.integers(1, 60),
)
def test_fractions_of_many_classes_equal_counting_pixels(tmp_path_factory, seed, columns, rows, scale, edge):
    draws = np.random.default_rng(seed)
    data = draws.choice([0, 1, 2, 3, 4, 9], size=(rows, columns)).astype(np.uint8)
    mask = mask_of(
        write(tmp_path_factory.mktemp("m") / "m.tif", data, tile=(16, 32)), columns * scale, rows * scale, MANY
    )
    x0, y0 = draws.integers(-20, columns * scale, 12), draws.integers(-20, rows * scale, 12)
    shares = mask.fractions(x0, y0, edge)
    assert shares.shape == (CLASSES + 1, 12)
    np.testing.assert_allclose(shares.sum(axis=0), 1.0, rtol=1e-12)
    full = np.zeros((rows * scale + 200, columns * scale + 200), np.uint8)  # beyond the mask: class 0
    full[100 : 100 + rows * scale, 100 : 100 + columns * scale] = np.kron(data, np.ones((scale, scale), np.uint8))
    for kind, value in enumerate([0, 1, 2, 3, 4, 9]):
        np.testing.assert_allclose(shares[kind], counted(x0 + 100, y0 + 100, edge, value, full), atol=1e-9)
    assert mask.source.counts().tolist() == [int((data == value).sum()) for value in (0, 1, 2, 3, 4, 9)]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("downsample", [1.0, 2.0, 4.000147])
@pytest.mark.parametrize("cache_px", [1, 2**26])
def test_windows_are_crops_of_the_whole_raster(written, monkeypatch, downsample, cache_px):
    """With room for one tile and with room for all, in an order that jumps to and fro, also beyond the border."""
    monkeypatch.setattr(blocks, "CACHE_PX", cache_px)
    mask, edge = mask_of(written), 50
    columns, rows = int(COLUMNS / downsample), int(ROWS / downsample)  # of px wholly on the slide
    whole = np.full((rows + 2 * edge, columns + 2 * edge), 255, np.uint8)
    whole[edge : edge + rows, edge : edge + columns] = mask.raster(columns, rows, downsample)
    left, top = np.array([0, 64, 13, -30, columns - 20, 77, 0]), np.array([0, 64, 91, -7, rows - 33, 5, rows - edge])
    found = list(mask.windows(left * downsample, top * downsample, edge, downsample))
    for window, c, r in zip(found, left.tolist(), top.tolist(), strict=True):
        expected = whole[r + edge : r + 2 * edge, c + edge : c + 2 * edge]
        part = window[: rows - r, : columns - c]  # a last column of a fraction of a px is not in the raster
        np.testing.assert_array_equal(part, expected[: rows - r, : columns - c])
        assert (window[rows - r + 1 :] == 255).all()
        assert (window[:, columns - c + 1 :] == 255).all()


def test_windows_cover_every_stretch_of_an_unaligned_mask_of_another_scale(tmp_path):
    mask = mask_of(write(tmp_path / "m.tif"), COLUMNS * 4, ROWS * 4)
    (window,) = mask.windows(np.array([1001]), np.array([803]), 300, 1.0)
    full = np.kron(TRUTH, np.ones((4, 4), np.uint8))[803:1103, 1001:1301]
    np.testing.assert_array_equal(window, np.array([0, 1, 255], np.uint8)[full])


def test_memory_of_windows_does_not_grow_with_the_mask(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "CACHE_PX", 2**18)
    tile = np.random.default_rng(0).integers(0, 2, (256, 256), dtype=np.uint8)
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, iter([tile] * 256), shape=(4096, 4096), dtype=np.uint8, tile=(256, 256), compression="zlib")
    x0, y0 = (grid.ravel() for grid in np.meshgrid(np.arange(0, 4096, 256), np.arange(0, 4096, 256)))
    mask = mask_of(path, 4096, 4096)
    tumour = 0
    next(mask.windows(x0, y0, 256, 1.0))  # what the libraries load once is none of it
    tracemalloc.start()
    for window in mask.windows(x0, y0, 256, 1.0):
        tumour += int(window.sum())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tumour == 256 * int(tile.sum())
    assert peak < 4 * 2**20  # the mask has 16 MiB


def test_undeclared_values_stop_windows_too(tmp_path):
    data = TRUTH.copy()
    data[500, 333] = 7
    windows = mask_of(write(tmp_path / "m.tif", data)).windows(np.array([0, 300]), np.array([0, 480]), 64, 1.0)
    next(windows)
    with pytest.raises(SlideError, match=r"value 7 at mask pixel \(333, 500\)"):
        next(windows)
