"""Layers over a thumbnail: what is clear, what is tinted, and where; same bytes from the same input."""

import io

import numpy as np
import pytest
from PIL import Image

from acinus.charts import classes as pictures
from acinus.charts import heatmaps, layers
from acinus.errors import AcinusError
from acinus.scoring.confusion import IGNORE

COLOURS = {"other": (255, 255, 255), "gland": (0, 114, 178), "stroma": (230, 159, 0)}


def pixels(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("PNG", "RGBA")
    return np.asarray(image)


def test_classes_are_tinted_with_a_solid_border_and_class_0_is_clear() -> None:
    classes = np.zeros((40, 50), np.uint8)
    classes[10:20, 10:30] = 1
    classes[30:, :] = IGNORE
    drawn = pixels(layers.class_layer(classes, COLOURS))
    assert drawn.shape == (40, 50, 4)
    assert drawn[15, 20].tolist() == [0, 114, 178, layers.TINT]
    assert drawn[10, 20].tolist() == drawn[15, 29].tolist() == [0, 114, 178, 255]
    assert not drawn[:9, :, 3].any()
    hatch = drawn[31:, :, 3]
    assert set(np.unique(hatch)) == {0, 255}
    assert 0.2 < (hatch == 255).mean() < 0.3  # two of eight diagonals


def test_a_value_that_is_no_class_is_refused() -> None:
    with pytest.raises(AcinusError, match="class 3"):
        layers.class_layer(np.full((4, 4), 3, np.uint8), COLOURS)


def test_heat_over_paper_is_what_the_overlay_shows() -> None:
    """Blended over a grey slide, the layer gives the overlay's own pixels."""
    prob = np.arange(256, dtype=np.uint8).reshape(16, 16)
    drawn = pixels(layers.heat_layer(prob)).astype(float)
    grey = np.full((16, 16, 3), 200, np.uint8)
    share = drawn[..., 3:] / 255
    blended = grey * (1 - share) + drawn[..., :3] * share
    overlay = Image.open(io.BytesIO(heatmaps.overlay(grey, prob, None, heatmaps.Frame(1.0, 1.0, None)))).convert("RGB")
    np.testing.assert_allclose(blended, np.asarray(overlay)[:16, :16], atol=1.1)
    assert drawn[0, 0, 3] == 0


def test_attention_is_strongest_where_it_is_highest_and_lies_on_top() -> None:
    squares = [(0, 0, 10, 10, 0.5), (5, 5, 15, 15, 0.125), (-4, 12, 3, 40, 0.25)]
    drawn = pixels(layers.attention_layer((20, 30), squares))
    assert drawn[7, 7].tolist() == drawn[0, 0].tolist()  # where two overlap the stronger is seen
    assert drawn[7, 7, 3] > drawn[12, 12, 3] > 0
    assert drawn[7, 7, 3] > drawn[19, 0, 3] > drawn[12, 12, 3]
    covered = np.zeros((20, 30), bool)
    covered[:10, :10] = covered[5:15, 5:15] = covered[12:, :3] = True
    np.testing.assert_array_equal(drawn[..., 3] > 0, covered)


def test_no_attention_and_attention_of_nothing_are_pictures_too() -> None:
    assert not pixels(layers.attention_layer((4, 5), [])).any()
    assert pixels(layers.attention_layer((4, 5), [(0, 0, 2, 2, 0.0)]))[0, 0, 3] > 0
    with pytest.raises(AcinusError, match=r"-0\.1"):
        layers.attention_layer((4, 5), [(0, 0, 2, 2, -0.1)])


def test_same_input_same_bytes_and_the_size_is_read_from_them() -> None:
    photo = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert layers.photograph(photo) == layers.photograph(photo)
    assert Image.open(io.BytesIO(layers.photograph(photo))).size == (40, 30)
    prob = photo[..., 0]
    assert layers.heat_layer(prob) == layers.heat_layer(prob)
    assert layers.png_size(layers.heat_layer(prob)) == (40, 30)


def test_patches_stand_side_by_side() -> None:
    left, right = np.full((8, 8, 3), 10, np.uint8), np.full((16, 16, 3), 240, np.uint8)
    drawn = np.asarray(Image.open(io.BytesIO(pictures.patch_strip([left, right], ["attention 0.5", "attention 0.2"]))))
    assert drawn.shape[1] == 2 * pictures.PANEL_PX + pictures.GAP_PX
    assert drawn[-1, 0].tolist() == [10, 10, 10]
    assert drawn[-1, -1].tolist() == [240, 240, 240]


def test_the_tissue_layer_shades_what_is_none_and_is_clear_within() -> None:
    tissue = np.zeros((20, 30), dtype=bool)
    tissue[5:15, 10:25] = True
    drawn = pixels(layers.tissue_layer(tissue))
    assert drawn.shape == (20, 30, 4)
    assert not drawn[6:14, 11:24, 3].any()  # clear
    assert (drawn[tissue != np.roll(tissue, 1, axis=0)][:, 3] == 255).all()  # the line between them
    assert ((drawn[:3, :, 3] > 0) & (drawn[:3, :, 3] < 255)).all()
