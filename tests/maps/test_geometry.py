"""The map's grid covers the slide once: areas are conserved."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus.maps.geometry import MapGeometry

GEOMETRY = st.builds(
    MapGeometry, st.integers(1, 300), st.integers(1, 300), st.one_of(st.integers(1, 40), st.floats(1.0, 40.0))
)


def area_px(geometry: MapGeometry, mask: np.ndarray) -> float:
    everywhere, column, row = (int(np.count_nonzero(part)) for part in (mask, mask[:, -1], mask[-1]))
    return geometry.area_of(everywhere, column, row, bool(mask[-1, -1]))


def test_worked_by_hand() -> None:
    geometry = MapGeometry(1000, 512, 256.0)
    assert (geometry.columns, geometry.rows, geometry.shape) == (4, 2, (2, 4))
    assert geometry.edges_x0.tolist() == [0, 256, 512, 768, 1000]
    mask = np.array([[0, 0, 0, 1], [1, 0, 0, 1]], dtype=bool)
    assert area_px(geometry, mask) == pytest.approx(1 + 2 * 232 / 256)


@given(GEOMETRY)
def test_all_px_together_have_the_slides_area(geometry: MapGeometry) -> None:
    full = np.ones(geometry.shape, dtype=bool)
    assert area_px(geometry, full) * geometry.downsample**2 == pytest.approx(geometry.width * geometry.height)
    assert geometry.edges_x0[-1] == geometry.width
    assert geometry.edges_y0[-1] == geometry.height


@given(GEOMETRY, st.integers(0, 999))
def test_area_is_the_sum_of_px_areas(geometry: MapGeometry, seed: int) -> None:
    mask = np.random.default_rng(seed).random(geometry.shape) < 0.5
    areas = np.outer(np.diff(geometry.edges_y0), np.diff(geometry.edges_x0)) / geometry.downsample**2
    assert area_px(geometry, mask) == pytest.approx(areas[mask].sum(), abs=1e-9)


@pytest.mark.parametrize(("width", "downsample"), [(0, 4.0), (10, 0.5), (10, float("nan")), (10, float("inf"))])
def test_impossible_grids_are_refused(width: int, downsample: float) -> None:
    with pytest.raises(ValueError, match="expected a slide"):
        MapGeometry(width, 10, downsample)


@given(GEOMETRY, st.integers(1, 60), st.integers(1, 60), st.floats(1.0, 50.0), st.integers(1, 9))
def test_another_grid_has_the_px_under_its_centres_whatever_the_bands(
    geometry: MapGeometry, columns: int, rows: int, downsample: float, height: int
) -> None:
    values = np.random.default_rng(columns).integers(0, 256, (2, *geometry.shape), dtype=np.uint8)
    bands = ((top, values[:, top : top + height]) for top in range(0, geometry.rows, height))
    found = geometry.sampled(bands, columns, rows, downsample)
    expected = [
        [
            values[
                :,
                min(int((row + 0.5) * downsample / geometry.downsample), geometry.rows - 1),
                min(int((column + 0.5) * downsample / geometry.downsample), geometry.columns - 1),
            ]
            for column in range(columns)
        ]
        for row in range(rows)
    ]
    assert np.array_equal(found, np.moveaxis(np.array(expected), -1, 0))
