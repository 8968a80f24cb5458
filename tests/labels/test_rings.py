"""Points in many rings against shapely asked point by point, and against the raster of the whole."""

import time

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from acinus.labels.drawn import Drawn
from acinus.labels.layers import Areas
from acinus.labels.outlines import rasterise
from acinus.labels.rings import Rings
from acinus.scoring.confusion import IGNORE


def cells(side: int, seed: int, pitch: float = 60.0) -> shapely.Geometry:
    """Round cells that do not touch, side x side of them."""
    random = np.random.default_rng(seed)
    x, y = ((axis + 0.5) * pitch for axis in np.meshgrid(np.arange(side), np.arange(side)))
    shift, radius = random.uniform(-5, 5, (2, side * side)), random.uniform(2, 24, side * side)
    circles = shapely.buffer(shapely.points(x.ravel() + shift[0], y.ravel() + shift[1]), radius, quad_segs=4)
    return shapely.disjoint_subset_union_all(circles)


def nested(side: int, seed: int) -> shapely.Geometry:
    """A large polygon with cells cut out, in some of which lie islands, one with a hole of its own."""
    holes, islands = cells(side, seed), shapely.get_parts(shapely.buffer(cells(side, seed), -8))
    field = shapely.Point(30 * side, 30 * side).buffer(29 * side, quad_segs=300)
    ringed = [one.difference(one.buffer(-4)) for one in islands[::2]]
    return shapely.union_all([field.difference(holes), *ringed, *islands[1::2]])


def grid(count: int, first: float, step: float) -> np.ndarray:
    return first + step * np.arange(count)


@given(st.integers(3, 9), st.integers(0, 50), st.sampled_from([cells, nested]), st.floats(0.7, 40), st.floats(-50, 200))
def test_every_point_has_the_answer_of_shapely(side: int, seed: int, made, step: float, first: float) -> None:
    area = made(side, seed)
    x, y = grid(37, first, step), grid(29, first / 2, step * 1.1)
    expected = shapely.contains_xy(area, x[None, :], y[:, None])
    np.testing.assert_array_equal(Rings.of(area).raster(x, y), expected)


def test_large_rasters_are_those_of_the_whole_bit_by_bit() -> None:
    """Rings of many px and of many corners are asked in another way than small ones."""
    coast = shapely.Point(900, 900).buffer(700, quad_segs=300).difference(shapely.Point(900, 900).buffer(650, 200))
    for area in (cells(30, 1), nested(30, 2), shapely.union(coast, cells(8, 3))):
        x, y = grid(1500, 0.3, 1.2), grid(1500, 0.7, 1.2)
        whole = rasterise(area, x, y)
        assert 0.02 < whole.mean() < 0.9
        rings = Rings.of(area)
        np.testing.assert_array_equal(rings.raster(x, y), whole)
        np.testing.assert_array_equal(rings.raster(x[200:260], y[1000:1900]), whole[1000:1900, 200:260])


def test_points_on_borders_are_outside() -> None:
    squares = [shapely.box(x, y, x + 6, y + 6) for x in range(0, 100, 10) for y in range(0, 100, 10)]
    points = np.arange(0.0, 100.0)
    field = shapely.box(-1, -1, 101, 101).difference(shapely.union_all(squares))
    for area in (shapely.union_all(squares), field):
        expected = shapely.contains_xy(area, points[None, :], points[:, None])
        np.testing.assert_array_equal(Rings.of(area).raster(points, points), expected)
    assert expected[8, 8]
    assert not expected[6, 3]
    assert Rings.of(field).raster(np.array([500.0]), points).sum() == 0
    assert Rings.of(field).raster(np.empty(0), points).shape == (100, 0)


@pytest.mark.parametrize("holes", [126, 130, 300])
def test_a_point_in_which_many_holes_meet_is_outside(holes: int) -> None:
    turns = np.linspace(0, 2 * np.pi, holes, endpoint=False)[:, None] + [0.0, 2.0 / holes]
    corners = np.stack([np.cos(turns), np.sin(turns)], axis=-1) * 40
    wedges = [[(0.0, 0.0), *map(tuple, two)] for two in corners]
    area = shapely.Polygon(shapely.box(-50, -50, 50, 50).exterior.coords, wedges)
    assert area.is_valid
    points = np.array([-45.0, 0.0, 45.0])
    inside = Rings.of(area).raster(points, points)
    assert inside.sum() == 8
    assert not inside[1, 1]


def test_labels_of_many_outlines_are_those_of_each_by_itself() -> None:
    gland = cells(12, 4)
    areas = Areas({1: gland, IGNORE: shapely.buffer(gland, 4).difference(gland)}, 0)
    labels = Drawn(areas, 720, 700, 2)
    raster = labels.raster(90, 88, 8.0)
    x, y = np.arange(90) * 8.0 + 4, np.minimum(np.arange(88) * 8.0 + 4, (87 * 8 + 700) / 2)
    for label, area in areas.by_label.items():
        np.testing.assert_array_equal(raster == label, shapely.contains_xy(area, x[None, :], y[:, None]))
    np.testing.assert_array_equal(labels.raster(90, 30, 8.0, 40), raster[40:70])
    (window,) = labels.windows(np.array([80]), np.array([160]), 32, 8.0)
    np.testing.assert_array_equal(window, raster[20:52, 10:42])


@pytest.mark.slow  # seconds, which tell something on a quiet machine only; what is drawn, the tests above say
def test_time_is_in_proportion_to_the_outlines() -> None:
    def seconds(side: int) -> float:
        labels = Drawn(Areas({1: cells(side, 0)}, 0), 60 * side, 60 * side, 2)
        start = time.process_time()
        labels.raster(4 * side, 4 * side, 15.0)
        return time.process_time() - start

    seconds(20)
    least = {side: min(seconds(side) for _ in range(3)) for side in (80, 160)}  # the machine does other things too
    assert least[160] < 12 * least[80]  # four times as many


@pytest.mark.slow  # seconds, which tell something on a quiet machine only; what is drawn, the tests above say
def test_fifty_thousand_outlines_take_a_second() -> None:
    """0.5 s where this was written, of which 0.1 s for each further band; as one geometry it took 20 s."""
    labels = Drawn(Areas({1: cells(224, 0)}, 0), 13440, 13440, 2)
    start = time.process_time()
    raster = labels.raster(840, 840, 16.0)
    assert time.process_time() - start < 5
    assert raster.mean() == pytest.approx(labels.areas.by_label[1].area / 13440**2, rel=0.01)
