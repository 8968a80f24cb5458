"""Pictures of one probability: the geometry of the rasters, what is drawn where, same bytes from the same input."""

import io

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from acinus.charts import canvas, heatmaps
from acinus.errors import AcinusError

FRAME = heatmaps.Frame(thumbnail_downsample=4.0, map_downsample=16.0, mpp=(0.5, 0.5))


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


@pytest.fixture
def thumbnail() -> np.ndarray:
    return np.random.default_rng(3).integers(120, 256, (480, 640, 3), dtype=np.uint8)


@pytest.fixture
def truth() -> np.ndarray:
    raster = np.zeros((480, 640), np.uint8)
    raster[100:300, 200:400] = 1
    return raster


def test_zero_probability_leaves_the_slide_as_it_is(thumbnail) -> None:
    drawn = pixels(heatmaps.overlay(thumbnail, np.zeros((120, 160), np.uint8), None, FRAME))
    assert drawn.shape[0] > 480
    np.testing.assert_array_equal(drawn[:480, :640], thumbnail)


def test_heat_lies_where_the_map_says(thumbnail) -> None:
    prob = np.zeros((120, 160), np.uint8)
    prob[30, 50] = 255  # covers level-0 800..816, 480..496: thumbnail columns 200..203, rows 120..123
    drawn = pixels(heatmaps.overlay(thumbnail, prob, None, FRAME))[:480, :640]
    changed = np.argwhere((drawn != thumbnail).any(axis=2))
    assert changed.min(axis=0).tolist() == [120, 200]
    assert changed.max(axis=0).tolist() == [123, 203]
    colour = np.array(colormaps["turbo"](0.94, bytes=True)[:3])
    expected = thumbnail[121, 201] * (1 - heatmaps.FULL_ALPHA) + colour * heatmaps.FULL_ALPHA
    np.testing.assert_allclose(drawn[121, 201], expected, atol=1)


def test_a_map_that_ends_before_the_thumbnail_is_continued(thumbnail) -> None:
    drawn = pixels(heatmaps.overlay(thumbnail, np.zeros((119, 159), np.uint8), None, FRAME))
    np.testing.assert_array_equal(drawn[:480, :640], thumbnail)


def test_truth_is_outlined_and_its_inside_untouched(thumbnail, truth) -> None:
    drawn = pixels(heatmaps.annotated(thumbnail, truth, FRAME))[:480, :640]
    assert drawn[100, 300].tolist() == list(heatmaps.OUTLINE)
    assert drawn[200, 399].tolist() == list(heatmaps.OUTLINE)
    np.testing.assert_array_equal(drawn[110:290, 210:390], thumbnail[110:290, 210:390])
    np.testing.assert_array_equal(drawn[:90], thumbnail[:90])


def test_the_border_of_the_picture_is_no_outline(thumbnail) -> None:
    everywhere = np.ones((480, 640), np.uint8)
    half = everywhere.copy()
    half[:, 320:] = 0
    np.testing.assert_array_equal(pixels(heatmaps.annotated(thumbnail, everywhere, FRAME))[:480, :640], thumbnail)
    np.testing.assert_array_equal(pixels(heatmaps.annotated(thumbnail, half, FRAME))[:480, :300], thumbnail[:, :300])


def test_truth_of_another_size_is_refused(thumbnail) -> None:
    with pytest.raises(AcinusError, match=r"\(10, 10\).*\(480, 640\)"):
        heatmaps.annotated(thumbnail, np.zeros((10, 10), np.uint8), FRAME)


def test_scale_bar_has_its_length(thumbnail) -> None:
    """0.5 um * 4 = 2 um per px: 640 px are 1.28 mm, so the bar is 0.2 mm = 100 px."""
    foot = pixels(heatmaps.annotated(thumbnail, None, FRAME))[480:]
    dark = (foot == np.array(canvas.INK)).all(axis=2)
    longest = max(int(row[: len(row) // 3].sum()) for row in dark)
    assert longest == pytest.approx(100, abs=2)
    unknown = pixels(heatmaps.annotated(thumbnail, None, heatmaps.Frame(4.0, 16.0, None)))[480:]
    assert max(int((row == np.array(canvas.INK)).all(axis=1).sum()) for row in unknown) < 20


@pytest.mark.parametrize(
    ("at_most", "expected"), [(1.0, 1.0), (1.99, 1.0), (2.0, 2.0), (0.3, 0.2), (7, 5), (0.05, 0.05)]
)
def test_nice_length(at_most: float, expected: float) -> None:
    assert heatmaps.nice_length_mm(at_most) == pytest.approx(expected)


def test_a_narrow_slide_keeps_room_for_its_key() -> None:
    strip = np.full((300, 20, 3), 200, np.uint8)
    drawn = pixels(heatmaps.overlay(strip, np.zeros((75, 5), np.uint8), None, FRAME))
    assert drawn.shape[1] == canvas.MIN_WIDTH_PX
    np.testing.assert_array_equal(drawn[:300, :20], strip)


def test_same_input_same_bytes(thumbnail, truth) -> None:
    prob = np.random.default_rng(1).integers(0, 256, (120, 160), dtype=np.uint8)
    assert heatmaps.overlay(thumbnail, prob, truth, FRAME) == heatmaps.overlay(thumbnail, prob, truth, FRAME)
