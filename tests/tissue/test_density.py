"""Tissue by optical density, on drawn overviews whose truth is known."""

import numpy as np
import pytest
from scipy import ndimage

from acinus.tissue.density import Sizes, classify, find_glass
from acinus.tissue.pixels import least, mean_of_nine, most

GLASS, STAIN, MUCIN, DAB = (244, 243, 245), (190, 110, 170), (230, 226, 238), (214, 190, 160)
GREY, BLACK, GREEN_PEN, BLUE_PEN = (150, 150, 152), (18, 6, 9), (20, 160, 60), (30, 60, 170)
SIZES = Sizes(closing=2, hole=400.0)
Colour = tuple[int, int, int]


def draw(shape: tuple[int, int], colour: Colour, spread: float = 1.0, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0.0, spread, (*shape, 3))
    return np.clip(np.rint(np.asarray(colour) + noise), 0, 255).astype(np.uint8)


def slide(glass: Colour = GLASS, shape: tuple[int, int] = (120, 160), spread: float = 1.0) -> np.ndarray:
    """Glass with a square of stained tissue, px 30 to 90 each way."""
    picture = draw(shape, glass, spread)
    picture[30:90, 30:90] = draw((60, 60), STAIN, spread=10.0, seed=1)
    return picture


TRUTH = np.zeros((120, 160), dtype=bool)
TRUTH[30:90, 30:90] = True


def found(picture: np.ndarray) -> np.ndarray:
    return classify(picture, 0.02, SIZES)


@pytest.mark.parametrize("glass", [GLASS, (255, 255, 255), (226, 222, 229), (245, 240, 226)])
@pytest.mark.parametrize("spread", [0.0, 1.0, 2.5])
def test_tissue_on_glass_of_any_tint_and_noise_is_found_where_it_was_drawn(glass: Colour, spread: float) -> None:
    assert (found(slide(glass, spread=spread)) == TRUTH).mean() > 0.998


@pytest.mark.parametrize("pale", [MUCIN, DAB, (232, 222, 232), (226, 230, 236)])
def test_pale_tissue_beside_the_stained_is_found(pale: Colour) -> None:
    picture = slide()
    picture[30:90, 90:130] = draw((60, 40), pale, spread=4.0, seed=2)
    truth = TRUTH.copy()
    truth[30:90, 90:130] = True
    assert (found(picture) == truth).mean() > 0.99


def test_lumina_up_to_a_size_are_tissue_and_larger_holes_are_not() -> None:
    picture = draw((200, 200), GLASS)
    picture[20:180, 20:180] = draw((160, 160), STAIN, spread=10.0, seed=1)
    picture[40:58, 40:58] = draw((18, 18), GLASS, seed=2)  # 324 px
    picture[100:130, 100:130] = draw((30, 30), GLASS, seed=3)  # 900 px
    tissue = found(picture)
    assert tissue[40:58, 40:58].all()
    assert not tissue[103:127, 103:127].any()


def test_gaps_up_to_two_closings_are_closed_and_wider_ones_are_not() -> None:
    picture = slide()
    picture[30:90, 50:54] = draw((60, 4), GLASS, seed=2)
    picture[30:90, 70:77] = draw((60, 7), GLASS, seed=3)
    tissue = found(picture)
    assert tissue[32:88, 50:54].all()
    assert not tissue[32:88, 71:76].any()


@pytest.mark.parametrize("pen", [GREEN_PEN, BLUE_PEN, BLACK])
def test_pen_and_black_edges_are_no_tissue_and_hide_none(pen: Colour) -> None:
    picture = slide()
    picture[100:115] = draw((15, 160), pen, spread=3.0, seed=2)
    tissue = found(picture)
    assert (tissue[:98] == TRUTH[:98]).mean() > 0.998
    assert tissue[98:].mean() < 0.01


def test_dust_hairs_bubbles_and_fillings_are_no_tissue() -> None:
    rows, columns = np.mgrid[:120, :160]
    away = np.hypot(rows - 40, columns - 130)
    picture = slide()
    picture[(away > 12) & (away < 14)] = GREY  # the rim of a bubble
    picture[away <= 12] = (232, 231, 233)  # what it holds: grey, and smooth
    picture[100, 20:140] = GREY  # a hair
    for row, column in ((10, 10), (12, 60), (105, 150)):
        picture[row : row + 2, column : column + 2] = GREY
    picture[112:] = (235, 235, 235)  # not scanned
    assert (found(picture) == TRUTH).mean() > 0.998


@pytest.mark.parametrize("end", [(224, 223, 225), (244, 236, 224)], ids=["light", "tint"])
def test_light_or_tint_that_changes_over_the_slide_is_no_tissue(end: Colour) -> None:
    share = np.linspace(0.0, 1.0, 160)[None, :, None]
    glass = np.asarray(GLASS) * (1 - share) + np.asarray(end) * share
    noise = np.random.default_rng(0).normal(0.0, 1.0, (120, 160, 3))
    picture = np.rint(np.clip(glass + noise, 0, 255)).astype(np.uint8)
    picture[TRUTH] = slide()[TRUTH]
    assert (found(picture) == TRUTH).mean() > 0.995


def test_single_cells_close_together_are_a_sheet_and_a_few_grains_are_not() -> None:
    """At this size a compressed picture keeps no colour of a cell of two px."""
    random, picture = np.random.default_rng(5), draw((160, 200), GLASS, spread=0.5)
    for row, column in random.integers(20, 120, (500, 2)).tolist():
        picture[row : row + 2, column : column + 2] = (170, 169, 172)
    for row, column in ((10, 150), (80, 170), (140, 190), (150, 20)):
        picture[row : row + 2, column : column + 2] = (170, 169, 172)
    tissue = found(picture)
    assert tissue[24:116, 24:116].mean() > 0.97
    assert not tissue[:, 135:].any()


def test_a_slide_of_tissue_alone_is_kept_and_one_of_glass_alone_has_none() -> None:
    both = np.concatenate([draw((60, 60), STAIN, 8.0), draw((60, 60), (225, 200, 218), 8.0)])
    assert found(both).mean() > 0.99
    assert not found(draw((100, 100), GLASS)).any()
    assert not found(np.full((100, 100, 3), 255, dtype=np.uint8)).any()


def test_the_glass_is_the_commonest_smooth_colour_not_the_filling() -> None:
    picture = slide()
    picture[:, 110:] = 255
    glass = find_glass(picture)
    np.testing.assert_allclose(glass.colour, GLASS, atol=0.5)
    only = np.full((50, 50, 3), 255, dtype=np.uint8)
    only[10:40, 10:40] = draw((30, 30), STAIN, 10.0)
    assert find_glass(only).colour.tolist() == [255.0] * 3


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    random, picture = np.random.default_rng(2), slide()
    for row, column in random.integers(0, 110, (150, 2)).tolist():
        picture[row : row + 3, column : column + 3] = random.integers(60, 250, 3)
    whole = found(picture)
    monkeypatch.setattr("acinus.tissue.density.STRIP_PX", 160 * 17)
    np.testing.assert_array_equal(found(picture), whole)


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 7])
def test_squares_are_scipys(radius: int) -> None:
    values, edge = np.random.default_rng(1).random((23, 31)).astype(np.float32), 2 * radius + 1
    np.testing.assert_array_equal(most(values, radius), ndimage.maximum_filter(values, edge, mode="nearest"))
    np.testing.assert_array_equal(least(values, radius), ndimage.minimum_filter(values, edge, mode="nearest"))
    np.testing.assert_allclose(mean_of_nine(values), ndimage.uniform_filter(values, 3, mode="nearest"), atol=1e-6)
    mask = values > 0.7
    np.testing.assert_array_equal(most(mask, radius), ndimage.binary_dilation(mask, np.ones((edge, edge), dtype=bool)))
