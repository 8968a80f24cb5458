"""Colour-coded masks against tables worked by hand, a brute-force search, and the label raster they were drawn from."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from acinus.errors import SlideError
from acinus.labels import colours
from acinus.labels.labels import LabelRow, LabelRules, open_labels
from acinus.slides import raster

NAMES = ["background", "yellow", "grey", "green", "blue", "red"]
COLOURS = [(0, 0, 0), (255, 255, 0), (150, 150, 150), (0, 255, 0), (0, 0, 255), (0, 150, 255)]

HEIGHT, WIDTH = 700, 610
rng = np.random.default_rng(3)
TRUTH = np.kron(rng.integers(0, 6, (70, 61), dtype=np.uint8), np.ones((10, 10), dtype=np.uint8))
RGB = np.array(COLOURS, dtype=np.uint8)[TRUTH]


@pytest.mark.parametrize(
    ("rgb", "tolerance", "expected"),
    [
        ((0, 150, 255), 0, 5),
        ((0, 151, 255), 0, 255),
        ((0, 151, 255), 1, 5),
        ((10, 0, 10), 10, 0),
        ((10, 0, 11), 10, 255),  # one channel beyond is enough
        ((0, 75, 255), 75, 4),  # as near to blue as to red: the first of them
        ((0, 76, 255), 75, 5),
        ((0, 203, 127), 127, 3),  # 127 from green, 128 from red
        ((75, 75, 75), 75, 0),
        ((76, 76, 76), 75, 2),
        ((255, 255, 255), 104, 255),
        ((255, 255, 255), 105, 2),
    ],
)
def test_decoding_by_hand(rgb: tuple[int, int, int], tolerance: int, expected: int) -> None:
    found = colours.decode(np.array([[rgb, rgb]], dtype=np.uint8), COLOURS, tolerance)
    assert found.dtype == np.uint8
    assert found.tolist() == [[expected, expected]]


def brute(rgb: np.ndarray, table: list[tuple[int, int, int]], tolerance: int) -> np.ndarray:
    result = np.full(rgb.shape[:2], 255)
    for place in np.ndindex(*rgb.shape[:2]):
        pixel = [int(value) for value in rgb[place]]
        apart = [max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) for colour in table]
        if min(apart) <= tolerance:
            result[place] = apart.index(min(apart))
    return result


@given(
    arrays(np.uint8, (5, 7, 3), elements=st.sampled_from([0, 1, 60, 75, 128, 150, 200, 254, 255])),
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=9, unique=True),
    st.integers(0, 127),
)
def test_decoding_is_the_nearest_within_the_tolerance(
    rgb: np.ndarray, table: list[tuple[int, int, int]], tolerance: int
) -> None:
    np.testing.assert_array_equal(colours.decode(rgb, table, tolerance), brute(rgb, table, tolerance))


def palette(path: Path) -> None:
    indexed = Image.fromarray(TRUTH, "P")
    indexed.putpalette([value for colour in COLOURS for value in colour])
    indexed.save(path)


def encoded(pixels: np.ndarray) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))


def tiff(**options: object) -> Callable[[Path], object]:
    return lambda path: tifffile.imwrite(path, RGB, photometric="rgb", metadata=None, **options)


def saved(pixels: np.ndarray, **options: object) -> Callable[[Path], object]:
    return lambda path: Image.fromarray(pixels).save(path, **options)


OPAQUE = np.full((HEIGHT, WIDTH, 1), 128, dtype=np.uint8)  # half transparent: the colour still tells
FORMS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "rgb": (".png", saved(RGB)),
    "palette": (".png", palette),
    "alpha": (".png", saved(np.concatenate([RGB, OPAQUE], axis=2))),
    "16 bit": (".png", encoded(RGB.astype(np.uint16) * 257)),
    "lzw strips": (".tif", tiff(compression="lzw", rowsperstrip=9)),
    "deflate tiles": (".tiff", tiff(compression="zlib", predictor=True, tile=(64, 64))),
    "plain": (".tif", tiff()),
}


def rules() -> LabelRules:
    values = dict(enumerate(NAMES)) | {255: "ignore"}
    return LabelRules(tuple(NAMES), {"*": values}, (), (), "refuse")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_the_class_mask_that_labels_are_read_from(form: str, tmp_path: Path) -> None:
    suffix, write = FORMS[form]
    source, target = tmp_path / f"a{suffix}", tmp_path / "out" / "a_mask.tif"
    write(source)
    counts = colours.to_class_mask(source, target, COLOURS, 0, NAMES)
    np.testing.assert_array_equal(tifffile.imread(target), TRUTH)
    assert counts.exact_px == dict(zip(NAMES, np.bincount(TRUTH.ravel()).tolist(), strict=True))
    assert set(counts.near_px.values()) == {0}
    assert (counts.ignored_px, counts.transparent_px, counts.unknown) == (0, 0, ())
    assert [path.name for path in target.parent.iterdir()] == ["a_mask.tif"]
    labels = open_labels(LabelRow("a", target, "mask", True, "unknown", WIDTH, HEIGHT), rules())
    np.testing.assert_array_equal(labels.raster(WIDTH, HEIGHT, 1.0), TRUTH)


def test_every_pixel_is_accounted_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blended edges, noise of many colours and transparent parts, counted one by one."""
    rgba = np.concatenate([RGB, np.full((HEIGHT, WIDTH, 1), 255, dtype=np.uint8)], axis=2)
    rgba[::7, ::3, 0] = np.minimum(rgba[::7, ::3, 0].astype(int) + 5, 255)
    rgba[100:150, 100:400, :3] = rng.integers(0, 256, (50, 300, 3))
    rgba[300:310, :, 3] = 0
    rgba[500:520, 20:60, :3] = (90, 10, 10)
    rgba[520:530, 20:60, :3] = (90, 10, 11)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    monkeypatch.setattr(colours, "_CHUNK", 1000)
    counts = colours.to_class_mask(tmp_path / "a.png", tmp_path / "a.tif", COLOURS, 8, NAMES)

    seen = Counter(map(tuple, rgba.reshape(-1, 4).tolist()))
    exact, near, unknown, clear = Counter[str](), Counter[str](), Counter[tuple[int, ...]](), 0
    for (*rgb, alpha), px in seen.items():
        index = int(brute(np.array([[rgb]]), COLOURS, 8)[0, 0])
        if not alpha:
            clear += px
        elif index == 255:
            unknown[tuple(rgb)] += px
        else:
            (exact if tuple(rgb) in COLOURS else near)[NAMES[index]] += px
    assert counts.exact_px == {name: exact[name] for name in NAMES}
    assert counts.near_px == {name: near[name] for name in NAMES}
    assert counts.transparent_px == clear == 10 * WIDTH
    assert counts.ignored_px == clear + unknown.total()
    assert list(counts.unknown) == sorted(unknown.items(), key=lambda one: (-one[1], one[0]))[:20]
    assert counts.unknown[:2] == (((90, 10, 10), 800), ((90, 10, 11), 400))
    assert sum(counts.exact_px.values()) + sum(counts.near_px.values()) + counts.ignored_px == HEIGHT * WIDTH
    values = tifffile.imread(tmp_path / "a.tif")
    assert int((values == 255).sum()) == counts.ignored_px
    assert (values[300:310] == 255).all()


def test_a_grey_file_is_read_as_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 150, 149, 255]], dtype=np.uint8)).save(tmp_path / "a.png")
    counts = colours.to_class_mask(tmp_path / "a.png", tmp_path / "a.tif", COLOURS, 2, NAMES)
    assert tifffile.imread(tmp_path / "a.tif").tolist() == [[0, 2, 2, 255]]
    assert counts.as_json() == {
        "exact_px": {"background": 1, "yellow": 0, "grey": 1, "green": 0, "blue": 0, "red": 0},
        "near_px": {"background": 0, "yellow": 0, "grey": 1, "green": 0, "blue": 0, "red": 0},
        "ignored_px": 1,
        "transparent_px": 0,
        "unknown_colours": [{"rgb": [255, 255, 255], "px": 1}],
    }


def test_the_same_mask_gives_the_same_bytes(tmp_path: Path) -> None:
    palette(tmp_path / "a.png")
    for name in ("one.tif", "two.tif"):
        colours.to_class_mask(tmp_path / "a.png", tmp_path / name, COLOURS, 8, NAMES)
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "two.tif").read_bytes()


@pytest.mark.parametrize(
    ("suffix", "write", "message"),
    [
        (".jpg", saved(RGB, quality=100), r"a\.jpg: a JPEG is no mask: .*; export the mask again as PNG"),
        (".png", saved(RGB, format="JPEG"), r"a\.png: a JPEG is no mask"),
        (".tif", tiff(compression="jpeg", tile=(64, 64)), r"a\.tif: compression JPEG is no mask's"),
    ],
)
def test_lossy_masks_are_refused(suffix: str, write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    write(tmp_path / f"a{suffix}")
    with pytest.raises(SlideError, match=message):
        colours.to_class_mask(tmp_path / f"a{suffix}", tmp_path / "out" / "a.tif", COLOURS, 8, NAMES)
    assert not (tmp_path / "out").exists()


def test_a_mask_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    Image.fromarray(rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(SlideError, match="does not decode"):
        colours.to_class_mask(tmp_path / "a.png", tmp_path / "out" / "a.tif", COLOURS, 8, NAMES)
    assert list((tmp_path / "out").iterdir()) == []


def test_stripes_and_tiles_meet_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pixel of its own: rows of stripes and tiles out of step would show."""
    unique = np.arange(HEIGHT * WIDTH, dtype=np.uint32).reshape(HEIGHT, WIDTH)
    table = [(0, 0, value) for value in range(0, 100)]
    rgb = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    rgb[..., 2] = unique % 97
    Image.fromarray(rgb).save(tmp_path / "a.png")
    monkeypatch.setattr(raster, "STRIPE_ROWS", 13)
    colours.to_class_mask(tmp_path / "a.png", tmp_path / "a.tif", table, 0, [str(one) for one in range(100)])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), unique % 97)


def test_the_colours_of_a_mask_are_counted_and_a_small_copy_has_its_own_px(tmp_path: Path) -> None:
    mask = np.zeros((130, 90, 4), dtype=np.uint8)
    mask[..., 3] = 255
    mask[:65, :45, 0] = 200
    mask[65:, :, 2] = 7
    mask[100:, 80:, 3] = 0  # transparent: no colour
    Image.fromarray(mask).save(tmp_path / "a.png")
    counts, small = colours.colours_in(tmp_path / "a.png", (2, 2))
    expected = {
        (0, 0, 7): 65 * 90 - 30 * 10,
        (200, 0, 0): 65 * 45,
        (0, 0, 0): 65 * 45,
    }
    assert dict(counts) == expected
    assert counts[0] == ((0, 0, 7), 65 * 90 - 300)
    assert small.tolist() == [[[200, 0, 0], [0, 0, 0]], [[0, 0, 7], [0, 0, 7]]]
    assert colours.is_coloured(tmp_path / "a.png")
    Image.fromarray(mask[..., 0]).save(tmp_path / "grey.png")
    assert not colours.is_coloured(tmp_path / "grey.png")
