"""The map's grid covers the slide once: areas are conserved."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus.maps.geometry import MapGeometry

GEOMETRY = st.builds(
    MapGeometry, st.integers(1, 300), st.integers(1, 300), st.one_of(st.integers(1, 40), st.floats(1.0, 40.0))
)


def test_worked_by_hand() -> None:
    geometry = MapGeometry(1000, 512, 256.0)
    assert (geometry.columns, geometry.rows, geometry.shape) == (4, 2, (2, 4))
    assert geometry.edges_x0.tolist() == [0, 256, 512, 768, 1000]
    mask = np.array([[0, 0, 0, 1], [1, 0, 0, 1]], dtype=bool)
    assert geometry.area_px(mask) == pytest.approx(1 + 2 * 232 / 256)


@given(GEOMETRY)
def test_all_px_together_have_the_slides_area(geometry: MapGeometry) -> None:
    full = np.ones(geometry.shape, dtype=bool)
    assert geometry.area_px(full) * geometry.downsample**2 == pytest.approx(geometry.width * geometry.height)
    assert geometry.edges_x0[-1] == geometry.width
    assert geometry.edges_y0[-1] == geometry.height


@given(GEOMETRY, st.integers(0, 999))
def test_area_is_the_sum_of_px_areas(geometry: MapGeometry, seed: int) -> None:
    mask = np.random.default_rng(seed).random(geometry.shape) < 0.5
    areas = np.outer(np.diff(geometry.edges_y0), np.diff(geometry.edges_x0)) / geometry.downsample**2
    assert geometry.area_px(mask) == pytest.approx(areas[mask].sum(), abs=1e-9)


@pytest.mark.parametrize(("width", "downsample"), [(0, 4.0), (10, 0.5), (10, float("nan")), (10, float("inf"))])
def test_impossible_grids_are_refused(width: int, downsample: float) -> None:
    with pytest.raises(ValueError, match="expected a slide"):
        MapGeometry(width, 10, downsample)
