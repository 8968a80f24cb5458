"""Outlines that cannot belong to a slide as it is: beyond it, of another level, in degrees."""

import json
from pathlib import Path

import pytest

from acinus.annotations.frame import Frame
from acinus.annotations.reading import read_annotations
from acinus.errors import SlideError

FRAME = Frame(40_000, 30_000)


def square(left: float, top: float, edge: float) -> list[list[float]]:
    return [[left, top], [left + edge, top], [left + edge, top + edge], [left, top + edge], [left, top]]


def warnings(folder: Path, *rings: list[list[float]], frame: Frame = FRAME) -> tuple[str, ...]:
    path = folder / "a.geojson"
    path.write_text(json.dumps([{"type": "Polygon", "coordinates": [ring]} for ring in rings]))
    return read_annotations(path, frame).warnings


def test_nothing_to_say_of_outlines_in_place(tmp_path: Path) -> None:
    assert warnings(tmp_path, square(0, 0, 30_000), square(39_000, 100, 1001.5)) == ()  # tools round


def test_an_outline_over_the_border_is_a_warning_with_figures(tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, square(0, 0, 20_000), square(39_000, 0, 1500), square(-100, 0, 200))
    assert "2 of 3 outlines pass the border of the slide 40000 x 30000 px, by up to 500 px, first feature 1" in warning


@pytest.mark.parametrize(
    "ring", [square(40_000, 10, 50), square(-60, 10, 50), square(10, 30_500, 9), square(5, -10, 9)]
)
def test_an_outline_wholly_beyond_is_refused(tmp_path: Path, ring: list[list[float]]) -> None:
    with pytest.raises(SlideError) as caught:
        warnings(tmp_path, square(0, 0, 20_000), ring)
    assert str(caught.value).startswith("a.geojson: 1 of 2 outlines lie wholly outside the slide of 40000 x 30000")
    assert "feature 1" in str(caught.value)


@pytest.mark.parametrize(
    ("edge", "level"),
    [(7_600, None), (7_500, 4), (3_800, 4), (3_700, 8), (1_800, 16), (100, 256)],  # 30,000 / edge, rounded down to 2^n
)
def test_all_in_the_first_part_of_the_slide_looks_like_another_level(
    tmp_path: Path, edge: int, level: int | None
) -> None:
    said = warnings(tmp_path, square(0, 0, edge), square(10, 10, 5))
    assert len(said) == (0 if level is None else 1)
    if level:
        assert f"all coordinates lie in the first 1/{level} of the slide (x to {edge} of 40000, y to {edge}" in said[0]
        assert f"a level {level} times smaller" in said[0]


def test_other_level_is_told_from_the_bounds_corner(tmp_path: Path) -> None:
    frame = Frame(40_000, 30_000, bounds=(10_000, 10_000, 16_000, 16_000))
    (warning,) = warnings(tmp_path, square(0, 0, 1000), frame=frame)
    assert "first 1/16 of the slide (x to 1000 of 16000" in warning


def test_beyond_the_bounds_but_on_the_slide_is_a_warning(tmp_path: Path) -> None:
    frame = Frame(40_000, 30_000, bounds=(10_000, 10_000, 16_000, 16_000))
    (warning,) = warnings(tmp_path, square(0, 0, 17_000), frame=frame)
    assert "that QuPath counts from (corner at 10000, 10000), 16000 x 16000 px, by up to 1000 px" in warning


def test_longitude_and_latitude_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="longitude and latitude"):
        warnings(tmp_path, square(-71.10721, 42.33552, 0.00213), square(-71.2031, 42.3012, 0.01351))
    (warning,) = warnings(tmp_path, square(13.37721, 52.51633, 0.00213))  # none negative: may be px after all
    assert "or degrees" in warning


@pytest.mark.parametrize(
    ("properties", "corner"),
    [
        ({}, (0, 0)),
        ({"openslide.bounds-x": "8", "openslide.bounds-y": "6"}, (0, 0)),
        (
            {
                f"openslide.bounds-{name}": value
                for name, value in zip(("x", "y", "width", "height"), "8634", strict=True)
            },
            (8, 6),
        ),
        ({f"openslide.bounds-{name}": "nan" for name in ("x", "y", "width", "height")}, (0, 0)),
    ],
)
def test_bounds_of_openslides_properties(properties: dict[str, str], corner: tuple[int, int]) -> None:
    frame = Frame.of((100, 80), properties, (0.5, 0.25))
    assert frame.corner == corner
    assert (frame.width, frame.height, frame.mpp_x, frame.mpp_y) == (100, 80, 0.5, 0.25)
    assert frame.bounds == ((8, 6, 3, 4) if any(corner) else None)
