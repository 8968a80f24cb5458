"""Tissue by Otsu's cut of saturation, on drawn overviews whose truth is known and against its definition."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu

from acinus.tissue.saturation import classify, saturation_threshold

GLASS, TISSUE, PALE, BLACK = (242, 240, 243), (190, 110, 170), (225, 200, 218), (18, 6, 9)
GREEN_PEN, BLUE_PEN = (20, 160, 60), (30, 60, 170)
FLOOR = 0.04


def draw(shape: tuple[int, int], colour: tuple[int, int, int], spread: float = 4.0, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0.0, spread, (*shape, 3))
    return np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)


def test_tissue_on_glass_is_found_where_it_was_drawn() -> None:
    picture = draw((100, 120), GLASS)
    truth = np.zeros((100, 120), dtype=bool)
    truth[20:70, 30:90] = True
    picture[truth] = draw((50, 60), TISSUE, spread=12.0).reshape(-1, 3)
    assert (classify(picture, FLOOR) == truth).mean() > 0.995


@pytest.mark.parametrize("colours", [(TISSUE, TISSUE), (TISSUE, PALE)])
def test_a_slide_that_is_all_tissue_is_kept_whole(colours: tuple[tuple[int, int, int], ...]) -> None:
    """Otsu alone would give away the paler half."""
    picture = np.concatenate([draw((60, 60), colour, spread=8.0) for colour in colours])
    assert classify(picture, FLOOR).mean() > 0.97


def test_a_slide_that_is_all_glass_has_no_tissue() -> None:
    """Otsu alone would call half of the noise tissue."""
    assert classify(draw((100, 100), GLASS, spread=1.0), FLOOR).mean() == 0.0


def test_a_little_tissue_and_a_little_glass_are_both_seen() -> None:
    for share in (0.03, 0.97):
        picture = draw((100, 100), GLASS, spread=2.0)
        rows = round(share * 100)
        picture[:rows] = draw((rows, 100), TISSUE, spread=10.0)
        assert classify(picture, FLOOR).mean() == pytest.approx(share, abs=0.01)


def test_black_is_not_tissue_however_saturated() -> None:
    picture = np.concatenate([draw((50, 100), GLASS), draw((50, 100), BLACK), draw((50, 100), TISSUE)])
    found = classify(picture, FLOOR)
    assert not found[50:100].any()
    assert found[100:].mean() > 0.99
    assert not found[:50].mean() > 0.01


@pytest.mark.parametrize("pen", [GREEN_PEN, BLUE_PEN])
def test_a_pen_mark_is_not_tissue_and_does_not_hide_the_tissue(pen: tuple[int, int, int]) -> None:
    picture = draw((100, 100), GLASS, spread=2.0)
    picture[:30] = draw((30, 100), PALE, spread=4.0)
    picture[80:95] = draw((15, 100), pen)
    found = classify(picture, FLOOR)
    assert found[:30].mean() > 0.97
    assert found[30:].mean() < 0.01


def test_a_flat_or_empty_histogram_leaves_the_floor() -> None:
    assert saturation_threshold(np.zeros(0), FLOOR, np.zeros(0, dtype=np.int64)) == FLOOR
    assert saturation_threshold(np.full(50, 0.3), FLOOR, np.ones(50, dtype=np.int64)) == FLOOR


def by_definition(rgb: np.ndarray, floor: float) -> np.ndarray:
    """classify px by px in floating point, as its docstring and the papers have it."""
    colour = rgb / 255.0
    value = colour.max(axis=2)
    saturation = (value - colour.min(axis=2)) / np.maximum(value, 1e-9)
    ink = ndimage.binary_dilation(
        (saturation > 0.5) & (colour[..., 1] - colour[..., 0] > 0.1 * value), np.ones((3, 3), dtype=bool)
    )
    stained = (value >= 0.2) & ~ink
    capped = np.minimum(saturation[stained], 0.4)
    if capped.size == 0 or np.ptp(capped) < 1e-3:
        return stained & (saturation >= floor)
    cut = threshold_otsu(capped)
    upper = capped > cut
    share, gap = upper.mean(), capped[upper].mean() - capped[~upper].mean()
    believed = capped[~upper].mean() <= 2 * floor and share * (1 - share) * gap**2 / capped.var() >= 0.7
    return stained & (saturation >= (max(cut, floor) if believed else floor))


@pytest.mark.parametrize("seed", range(6))
def test_every_px_is_what_the_definition_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    colours = [GLASS, TISSUE, PALE, BLACK, GREEN_PEN, BLUE_PEN]
    pairs = zip(rng.dirichlet(np.ones(len(colours)) * 0.7), colours, strict=True)
    strips = [draw((1 + round(90 * a), 80), c, float(rng.uniform(1, 25)), seed) for a, c in pairs]
    picture = np.concatenate([*strips, rng.integers(0, 256, (9, 80, 3), dtype=np.uint8)])
    for floor in (FLOOR, 0.15):
        np.testing.assert_array_equal(classify(picture, floor), by_definition(picture, floor))
    only = picture[: len(strips[0])]
    np.testing.assert_array_equal(classify(only, FLOOR), by_definition(only, FLOOR))
