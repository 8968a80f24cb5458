"""Levels and resolutions against tables worked by hand."""

import numpy as np
import pytest

from acinus.errors import SlideError
from acinus.slides.geometry import Resolution, at_downsample, pixel_centres, resolve, window_centres

PANDA = (1.0, 4.000147, 16.0051)  # downsamples as they occur: sizes are rounded
CAMELYON = tuple(2.0**level for level in range(10))


def test_a_level_is_taken_with_its_own_downsample() -> None:
    assert resolve(PANDA, None, level=1) == Resolution(4.000147, 1, 4.000147)


@pytest.mark.parametrize(
    ("levels", "mpp0", "mpp", "expected"),
    [
        (CAMELYON, 0.25, 0.25, Resolution(1.0, 0, 1.0)),
        (CAMELYON, 0.25, 1.0, Resolution(4.0, 2, 4.0)),
        (CAMELYON, 0.25, 0.75, Resolution(3.0, 1, 2.0)),  # between levels: from the finer one
        (PANDA, 0.5, 2.0, Resolution(4.000147, 1, 4.000147)),  # a rounded level is that level
        (CAMELYON, 0.2499, 0.25, Resolution(1.0, 0, 1.0)),  # a rounded tag is that resolution
        (CAMELYON, 0.2505, 0.25, Resolution(1.0, 0, 1.0)),
        ((1.0,), 0.25, 8.0, Resolution(32.0, 0, 1.0)),  # no pyramid
    ],
)
def test_mpp_becomes_a_downsample_and_a_level(
    levels: tuple[float, ...], mpp0: float, mpp: float, expected: Resolution
) -> None:
    assert resolve(levels, mpp0, mpp=mpp) == expected


def test_more_resolution_than_the_slide_has_is_refused_with_what_it_has() -> None:
    with pytest.raises(SlideError, match=r"0\.25 um/px asked for.*0\.5 um/px at best"):
        resolve(CAMELYON, 0.5, mpp=0.25)
    with pytest.raises(SlideError, match="finer than the slide's level 0"):
        at_downsample(CAMELYON, 0.5)


def test_a_level_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(SlideError, match=r"level 3 .*levels 0 to 2 \(downsamples 1, 4\.00015, 16\.0051\)"):
        resolve(PANDA, None, level=3)


def test_mpp_without_the_slides_own_names_the_key() -> None:
    with pytest.raises(SlideError, match=r"set cohort\.mpp"):
        resolve(CAMELYON, None, mpp=0.5)


@pytest.mark.parametrize("both", [{}, {"level": 1, "mpp": 0.5}])
def test_exactly_one_of_level_and_mpp(both: dict[str, float]) -> None:
    with pytest.raises(SlideError, match="exactly one"):
        resolve(CAMELYON, 0.25, **both)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("downsample", "level"),
    [(1.0, 0), (3.99, 0), (4.0, 1), (4.000147, 1), (15.9, 1), (16.0, 2), (500.0, 2)],
)
def test_the_coarsest_level_that_is_fine_enough(downsample: float, level: int) -> None:
    at = at_downsample(PANDA, downsample)
    assert (at.downsample, at.level, at.level_downsample) == (downsample, level, PANDA[level])


def test_centres_from_a_row_on_are_those_of_the_whole_grid() -> None:
    whole = pixel_centres(12, 9.7, 110)
    np.testing.assert_allclose(whole[:3], [4.85, 14.55, 24.25])
    assert whole[11] == pytest.approx((11 * 9.7 + 110) / 2)  # cut by the border: the centre of its part on the slide
    for first, count in ((0, 12), (5, 4), (11, 1)):
        np.testing.assert_array_equal(pixel_centres(count, 9.7, 110, first), whole[first : first + count])


@pytest.mark.parametrize(
    ("start0", "extent", "on_slide", "centres"),
    [
        (100.0, 1000, slice(0, 4), [101.0, 103.0, 105.0, 107.0]),
        (-4.0, 1000, slice(2, 4), [1.0, 3.0]),
        (94.0, 100, slice(0, 3), [95.0, 97.0, 99.0]),
        (95.0, 100, slice(0, 2), [96.0, 98.0]),  # a centre on the border is beyond it
        (-1.0, 4, slice(0, 2), [0.0, 2.0]),
        (-50.0, 4, slice(4, 4), []),
        (50.0, 4, slice(0, 0), []),
    ],
)
def test_which_px_of_a_window_lie_on_the_slide(
    start0: float, extent: int, on_slide: slice, centres: list[float]
) -> None:
    found, places = window_centres(start0, 4, 2.0, extent)
    assert found == on_slide
    assert places.tolist() == centres
