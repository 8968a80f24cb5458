"""Where a patch lies on a map, and that bands of any height give the window that the whole map has there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus.drawing.patches import _Window
from acinus.maps.geometry import MapGeometry


@given(
    x0=st.integers(-40, 700),
    y0=st.integers(-40, 500),
    patch=st.sampled_from([16, 64]),
    band=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_a_window_put_together_from_bands_is_the_crop_of_the_whole(
    x0: int, y0: int, patch: int, band: int, seed: int
) -> None:
    grid = MapGeometry(640, 480, 8.0)
    whole = np.random.default_rng(seed).integers(1, 6, grid.shape, dtype=np.uint8)
    window = _Window.of((x0, y0, 2.0), patch, grid)
    for top in range(0, grid.rows, band):
        window.take(top, whole[top : top + band])
    edge = patch // 4
    assert window.predicted.shape == (edge, edge)
    padded = np.zeros((grid.rows + edge, grid.columns + edge), np.uint8)
    padded[: grid.rows, : grid.columns] = whole
    left, top = min(max(0, round(x0 / 8)), grid.columns - 1), min(max(0, round(y0 / 8)), grid.rows - 1)
    np.testing.assert_array_equal(window.predicted, padded[top : top + edge, left : left + edge])
    assert (window.rows, window.columns) == (min(edge, grid.rows - top), min(edge, grid.columns - left))


@pytest.mark.parametrize(("patch", "downsample", "edge"), [(100, 4.0, 50), (128, 1.0, 16), (7, 8.0, 7)])
def test_the_edge_of_a_window_is_the_patchs_in_map_px(patch: int, downsample: float, edge: int) -> None:
    assert _Window.of((0, 0, downsample), patch, MapGeometry(4000, 4000, 8.0)).edge == edge
