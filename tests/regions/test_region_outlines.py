"""Outlines against the union of the px' squares, as another library has it."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label

from acinus.regions.outlines import Polygon, Shapes, cut, outlines


def drawn(text: str) -> np.ndarray:
    return np.array([[sign == "#" for sign in row] for row in text.split()])


def squares(mask: np.ndarray) -> shapely.Geometry:
    rows, columns = np.nonzero(mask)
    return shapely.union_all(shapely.box(columns, rows, columns + 1, rows + 1))


def geometry(polygons: list[Polygon]) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([shapely.Polygon(polygon[0], polygon[1:]) for polygon in polygons])


masks = st.builds(
    lambda seed, rows, columns, share: np.random.default_rng(seed).random((rows, columns)) < share,
    st.integers(0, 100_000),
    st.integers(1, 14),
    st.integers(1, 14),
    st.sampled_from([0.3, 0.5, 0.7, 0.9]),
)


@given(masks)
def test_outlines_cover_exactly_the_px(mask: np.ndarray) -> None:
    found = geometry(outlines(mask))
    assert shapely.is_valid(found), shapely.is_valid_reason(found)
    assert found.area == mask.sum()
    assert found.is_empty if not mask.any() else shapely.equals(found, squares(mask))


@given(masks)
def test_a_polygon_per_part_and_a_ring_per_hole(mask: np.ndarray) -> None:
    found = outlines(mask)
    assert len(found) == label(mask, connectivity=1).max()
    parts = label(mask, connectivity=1)
    for number, polygon in enumerate(found, start=1):
        around = ndimage.binary_fill_holes(parts == number) & (parts != number)
        assert len(polygon) - 1 == label(around, connectivity=1).max()


@given(masks)
def test_cut_polygons_have_no_holes_and_do_not_overlap(mask: np.ndarray) -> None:
    pieces = cut(mask)
    assert all(len(polygon) == 1 for polygon in pieces)
    areas = [shapely.Polygon(polygon[0]) for polygon in pieces]
    assert all(area.is_valid for area in areas)
    assert sum(area.area for area in areas) == mask.sum()
    assert not mask.any() or shapely.equals(shapely.union_all(areas), squares(mask))


def test_rings_by_hand() -> None:
    (polygon,) = outlines(drawn("###  #.#  ###"))
    assert [ring.tolist() for ring in polygon] == [
        [[0, 0], [3, 0], [3, 3], [0, 3]],
        [[1, 1], [2, 1], [2, 2], [1, 2]],
    ]


def test_px_that_meet_at_a_corner_are_two_polygons() -> None:
    assert [polygon[0].tolist() for polygon in outlines(drawn("#.  .#"))] == [
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [[1, 1], [2, 1], [2, 2], [1, 2]],
    ]


@pytest.mark.parametrize("height", [1, 2, 5, 40])
def test_shapes_are_whole_whatever_the_bands(height: int) -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(5).random((40, 21)), 1.2) > 0.5
    regions = label(mask, connectivity=2).astype(np.int64)
    slices = ndimage.find_objects(regions)
    boxes = np.array([[0] * 4, *[[y.start, x.start, y.stop - 1, x.stop - 1] for y, x in slices]])
    shapes, found = Shapes(boxes), {}
    for top in range(0, 40, height):
        ended = list(shapes.add(top, regions[top : top + height]))
        assert all(top <= boxes[shape.region, 2] < top + height for shape in ended)
        found |= {shape.region: shape for shape in ended}
    assert sorted(found) == list(range(1, regions.max() + 1))
    for number, shape in found.items():
        crop = regions[slices[number - 1]]
        assert (shape.top, shape.left) == tuple(boxes[number, :2])
        assert np.array_equal(shape.mask, crop == number)
        assert np.array_equal(shape.others, (crop > 0) & (crop != number))
