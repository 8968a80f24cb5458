"""Levels and resolutions against tables worked by hand."""

import pytest

from acinus.errors import SlideError
from acinus.slides.geometry import Resolution, at_downsample, resolve

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
