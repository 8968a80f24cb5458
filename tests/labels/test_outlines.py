"""Areas and rasters of polygons against conservation laws and plain brute force."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from acinus.labels.outlines import area_fractions, polygonal, rasterise


def blob(vertices, centre=(500.0, 500.0), radius=300.0, seed=0):
    """A star-shaped, valid, jagged polygon with a round hole."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    r = radius * (1 + 0.3 * np.sin(5 * angle) + min(0.05, 15 / vertices) * rng.uniform(-1, 1, vertices))
    shell = np.column_stack([centre[0] + r * np.cos(angle), centre[1] + r * np.sin(angle)])
    return shapely.Polygon(shell).difference(shapely.Point(centre).buffer(radius / 4))


def tiling(edge, size):
    x, y = np.meshgrid(np.arange(0, size, edge), np.arange(0, size, edge))
    return x.ravel(), y.ravel()


def test_shares_worked_by_hand():
    square = shapely.box(10, 10, 30, 30)
    x0, y0 = np.array([10, 0, 25, 30, 40, 12]), np.array([10, 10, 25, 10, 40, 12])
    expected = [1.0, 0.0, 0.25, 0.0, 0.0, 1.0]  # same corner, touching, a quarter, touching, apart, within
    np.testing.assert_array_equal(area_fractions(square, x0, y0, 10), expected)


def test_a_lesion_smaller_than_a_patch_is_not_lost():
    triangle = shapely.Polygon([(5, 5), (8, 5), (5, 9)])
    np.testing.assert_allclose(area_fractions(triangle, np.array([0]), np.array([0]), 512), [6 / 512**2], rtol=1e-12)


@pytest.mark.parametrize("vertices", [8, 300, 20_000])
@pytest.mark.parametrize("edge", [7, 64, 33.25])
def test_shares_over_a_tiling_add_up_to_the_area(vertices, edge):
    geometry = blob(vertices)
    x0, y0 = tiling(edge, 1024)
    shares = area_fractions(geometry, x0, y0, edge)
    assert shares.min() == 0.0
    assert shares.max() == 1.0
    assert shares.sum() * edge**2 == pytest.approx(geometry.area, rel=1e-9)


def test_overlapping_patches_in_any_order_get_the_same_shares():
    geometry = blob(3000)
    x0, y0 = tiling(17, 1000)
    order = np.random.default_rng(1).permutation(len(x0))
    np.testing.assert_allclose(
        area_fractions(geometry, x0[order], y0[order], 50), area_fractions(geometry, x0, y0, 50)[order], atol=1e-12
    )
    one_by_one = [
        geometry.intersection(shapely.box(x, y, x + 50, y + 50)).area / 2500 for x, y in zip(x0, y0, strict=True)
    ]
    np.testing.assert_allclose(area_fractions(geometry, x0, y0, 50), one_by_one, atol=1e-9)


@given(
    st.lists(st.tuples(st.integers(-5, 45), st.integers(-5, 45)), min_size=3, max_size=9),
    st.floats(2.0, 25.0, allow_nan=False),
)
def test_shares_agree_with_a_supersampled_raster(points, edge):
    geometry = polygonal(shapely.make_valid(shapely.Polygon(points)))
    x0, y0 = np.array([0, 3, 11, 20, 37]), np.array([0, 14, 5, 20, 1])
    n = 100
    centre = (np.arange(n) + 0.5) / n * edge
    shares = area_fractions(geometry, x0, y0, edge)
    for x, y, share in zip(x0, y0, shares, strict=True):
        hits = shapely.contains_xy(geometry, (x + centre)[None, :], (y + centre)[:, None])
        # Only samples in cells that an edge crosses can be wrong: at most two per row, column and edge.
        assert abs(hits.mean() - share) <= 4 * len(points) / n * 0.5


@pytest.mark.parametrize("downsample", [1.0, 3.0, 7.31])
def test_a_raster_is_true_where_the_pixel_centre_is_inside(downsample):
    geometry = blob(5000)
    columns, rows = int(1100 / downsample), int(900 / downsample)
    x = (np.arange(columns) + 0.5) * downsample
    y = (np.arange(rows) + 0.5) * downsample
    shapely.prepare(geometry)
    expected = shapely.contains_xy(geometry, x[None, :], y[:, None])
    found = rasterise(geometry, x, y)
    assert found.shape == (rows, columns)
    assert expected.any()
    np.testing.assert_array_equal(found, expected)


def test_rasters_and_shares_of_nothing_are_empty():
    nothing = shapely.MultiPolygon()
    assert not rasterise(nothing, np.arange(20.0), np.arange(10.0)).any()
    assert rasterise(blob(10), np.array([]), np.arange(10.0)).shape == (10, 0)
    assert area_fractions(blob(10), np.array([]), np.array([]), 5).shape == (0,)
    assert not area_fractions(nothing, np.array([1]), np.array([1]), 5).any()


def test_polygonal_keeps_polygons_only():
    square, line = shapely.box(0, 0, 2, 2), shapely.LineString([(0, 0), (9, 9)])
    nested = shapely.GeometryCollection([shapely.MultiPolygon([square]), line, shapely.GeometryCollection([line])])
    assert polygonal(nested).equals(square)
    assert polygonal(line).is_empty
    assert polygonal(square) is square
