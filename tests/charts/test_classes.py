"""Pictures of classes: every class in its colour where it lies, the unknown hatched, class 0 clear."""

import io

import numpy as np
import pytest
from PIL import Image

from acinus.charts import classes as pictures
from acinus.charts import heatmaps
from acinus.errors import AcinusError
from acinus.labels.palette import PALETTE, palette

COLOURS = {"other": (255, 255, 255), "gland": (255, 0, 0), "stroma": (0, 0, 255)}
FRAME = heatmaps.Frame(thumbnail_downsample=4.0, map_downsample=8.0, mpp=(0.5, 0.5))
GAP = pictures.GAP_PX


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB")).astype(int)


@pytest.fixture
def slide() -> np.ndarray:
    return np.full((200, 300, 3), 200, np.uint8)


@pytest.fixture
def classes() -> np.ndarray:
    raster = np.zeros((200, 300), np.uint8)
    raster[40:80, 50:100] = 1
    raster[100:150, 200:260] = 2
    raster[180:, :] = 255
    return raster


def mixed(colour: tuple[int, int, int]) -> list[int]:
    return [round(200 * (1 - pictures.ALPHA) + pictures.ALPHA * one) for one in colour]


def test_the_slide_stands_left_and_its_classes_right(slide, classes) -> None:
    drawn = pixels(pictures.class_overlay(slide, classes, COLOURS))
    np.testing.assert_array_equal(drawn[:200, :300], slide)
    right = drawn[:200, 300 + GAP : 600 + GAP]
    assert right[60, 75].tolist() == mixed(COLOURS["gland"])
    assert right[120, 230].tolist() == mixed(COLOURS["stroma"])
    assert right[40, 75].tolist() == list(COLOURS["gland"])  # the border is solid
    np.testing.assert_array_equal(right[10:38], slide[10:38])  # class 0 is clear
    hatch = (right[182:] == pictures.HATCH).all(axis=2)
    assert 0.15 < hatch.mean() < 0.35


def test_the_key_names_every_class_with_its_colour(slide, classes) -> None:
    foot = pixels(pictures.class_overlay(slide, classes, COLOURS))[200:]
    for colour in (COLOURS["gland"], COLOURS["stroma"], pictures.HATCH):
        assert (foot == colour).all(axis=2).sum() > 10, colour
    known = np.where(classes == 255, 0, classes)
    foot = pixels(pictures.class_overlay(slide, known, COLOURS))[200:]
    assert not (foot == pictures.HATCH).all(axis=2).any()


def test_a_key_of_many_classes_takes_more_lines() -> None:
    names = [f"class number {number}" for number in range(20)]
    small = np.full((50, 60, 3), 255, np.uint8)
    drawn = pixels(pictures.class_overlay(small, np.zeros((50, 60), np.uint8), palette(names)))
    assert drawn.shape[0] > 50 + 5 * pictures.KEY_PX
    for colour in list(palette(names).values())[1:]:
        assert (drawn == colour).all(axis=2).sum() > 10, colour


def test_predicted_classes_lie_where_the_map_says(slide, classes) -> None:
    """The map is half as fine: its px (10, 20) covers thumbnail rows 20, 21 and columns 40, 41."""
    predicted = np.zeros((100, 150), np.uint8)
    predicted[10, 20] = 1
    drawn = pixels(pictures.class_pair(slide, predicted, classes, FRAME, COLOURS))
    top = next(row for row in range(drawn.shape[0]) if drawn[row, 5].tolist() == [200] * 3)
    middle = drawn[top : top + 200, 300 + GAP : 600 + GAP]
    changed = np.argwhere((middle != 200).any(axis=2))
    # the border lies on both sides of the px's edge, and class 0 has none of its own
    assert changed.min(axis=0).tolist() == [20, 40]
    assert changed.max(axis=0).tolist() == [21, 41]
    right = drawn[top : top + 200, 600 + 2 * GAP :]
    assert right.shape[1] == 300
    assert right[120, 230].tolist() == mixed(COLOURS["stroma"])
    without = pixels(pictures.class_pair(slide, predicted, None, FRAME, COLOURS))
    assert without.shape[1] == 600 + GAP


def test_a_patch_row_has_five_panels(classes) -> None:
    edge = pictures.PANEL_PX
    image = np.full((64, 64, 3), 200, np.uint8)
    predicted, truth = np.zeros((64, 64), np.uint8), np.zeros((32, 32), np.uint8)
    predicted[:32] = 1
    truth[:, :16] = 2
    prob = np.zeros((64, 64), np.uint8)
    prob[32:] = 255
    drawn = pixels(pictures.patch_view(image, predicted, truth, prob, COLOURS))
    assert drawn.shape[1] == 5 * edge + 4 * GAP
    panels = [drawn[-edge:, at * (edge + GAP) :][:, :edge] for at in range(5)]
    quarter, threes = edge // 4, 3 * edge // 4
    assert panels[0][quarter, quarter].tolist() == [200] * 3
    assert panels[1][quarter, quarter].tolist() == [255, 0, 0]
    assert panels[1][threes, quarter].tolist() == list(pictures.CLEAR)
    assert panels[2][quarter, quarter].tolist() == mixed(COLOURS["gland"])
    assert panels[2][threes, quarter].tolist() == [200] * 3
    assert panels[3][quarter, quarter].tolist() == [0, 0, 255]
    assert panels[3][quarter, threes].tolist() == list(pictures.CLEAR)
    assert panels[4][quarter, quarter].tolist() == [200] * 3
    assert panels[4][threes, quarter].tolist() != [200] * 3
    unknown = pixels(pictures.patch_view(image, predicted, None, prob, COLOURS))[-edge:, 3 * (edge + GAP) :][:, :edge]
    assert {tuple(one) for one in unknown.reshape(-1, 3).tolist()} == {pictures.CLEAR, pictures.HATCH}


def test_same_input_same_bytes(slide, classes) -> None:
    predicted = np.zeros((100, 150), np.uint8)
    for draw in (
        lambda: pictures.class_overlay(slide, classes, COLOURS),
        lambda: pictures.class_pair(slide, predicted, classes, FRAME, COLOURS),
        lambda: pictures.patch_view(slide, predicted, classes, predicted, COLOURS),
    ):
        assert draw() == draw()


def test_what_does_not_fit_is_refused(slide, classes) -> None:
    with pytest.raises(AcinusError, match=r"\(10, 10\).*\(200, 300\)"):
        pictures.class_overlay(slide, np.zeros((10, 10), np.uint8), COLOURS)
    with pytest.raises(AcinusError, match=r"class 3 found.*0\.\.2 \(other, gland, stroma\)"):
        pictures.class_overlay(slide, np.full((200, 300), 3, np.uint8), COLOURS)


def test_every_class_of_the_largest_recipe_has_a_colour_of_its_own() -> None:
    names = [str(number) for number in range(64)]
    colours = palette(names)
    assert list(colours) == names
    assert len(set(colours.values())) == 64
    assert all(0 <= part <= 255 for colour in colours.values() for part in colour)


def test_the_first_colours_stay_apart_without_red_and_green() -> None:
    """Deuteranopia after Vienot, Brettel and Mollon (1999), in linear RGB: the first five differ there too."""
    simulate = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    linear = (np.array(PALETTE[:5]) / 255) ** 2.2
    seen = 255 * np.clip(linear @ simulate.T, 0, 1) ** (1 / 2.2)
    apart = np.linalg.norm(seen[:, None] - seen[None, :], axis=2) + 1e9 * np.eye(5)
    assert apart.min() > 30
