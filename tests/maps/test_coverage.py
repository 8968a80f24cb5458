"""Where the model looked, against what the blender itself covers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from acinus import params
from acinus.maps.blend import blended_rows
from acinus.maps.geometry import MapGeometry
from acinus.maps.windows import Coverage, chosen_windows, grid
from acinus.patches.index import cell_tissue
from acinus.slides.geometry import Resolution
from acinus.tissue.mask import TissueMask


@given(
    st.integers(0, 10_000),
    st.integers(20, 300),
    st.integers(20, 300),
    st.floats(1.0, 9.0),
    st.floats(9.0, 60.0),
    st.sampled_from([0.3, 0.5, 1.0]),
    st.integers(1, 40),
)
def test_a_px_is_looked_at_where_the_blender_covers_it(
    seed: int, width: int, height: int, downsample: float, edge0: float, overlap: float, rows: int
) -> None:
    geometry, random = MapGeometry(width, height, downsample), np.random.default_rng(seed)
    every = grid(width, height, edge0, max(1.0, edge0 * overlap))
    windows = every.only(random.random(len(every)) < 0.4)
    answers = (np.full((1, 1), 0.5, dtype=np.float32) for _ in range(len(windows)))
    covered = np.concatenate([band.covered for band in blended_rows(geometry, windows, answers, 1, 1)])
    coverage = Coverage(geometry, windows)
    found = [coverage.rows(top, min(rows, geometry.rows - top)) for top in range(0, geometry.rows, rows)]
    np.testing.assert_array_equal(np.concatenate(found), covered)


def test_windows_with_too_little_tissue_are_not_looked_at() -> None:
    mask = np.zeros((10, 10), dtype=bool)
    mask[2, 3] = mask[7, 7:9] = True
    tissue = TissueMask(mask, 100, 100)
    index = params.Index(level=0, patch_px=20, stride_px=20)
    infer = params.Infer(stride_px=20, map_downsample=10.0, min_tissue_fraction=0.3)
    windows = chosen_windows(tissue, Resolution(1.0, 0, 1.0), index, infer)
    assert list(zip(windows.x0.tolist(), windows.y0.tolist(), strict=True)) == []
    more = infer.model_copy(update={"min_tissue_fraction": 0.0})
    windows = chosen_windows(tissue, Resolution(1.0, 0, 1.0), index, more)
    expected = np.zeros((10, 10), dtype=bool)
    expected[2:4, 2:4] = expected[6:8, 6:10] = True
    np.testing.assert_array_equal(Coverage(MapGeometry(100, 100, 10.0), windows).rows(0, 10), expected)


def test_a_cell_is_looked_at_where_it_is_tissue() -> None:
    mask = TissueMask(np.random.default_rng(3).random((37, 41)) < 0.3, 410, 370)
    index = params.Index(level=0, patch_px=48, cell_px=16, stride_px=16)
    infer = params.Infer(stride_px=16, map_downsample=16.0, min_tissue_fraction=0.25)
    windows = chosen_windows(mask, Resolution(1.0, 0, 1.0), index, infer)
    geometry = MapGeometry(410, 370, 16.0)
    found = Coverage(geometry, windows).rows(0, geometry.rows)
    np.testing.assert_array_equal(found, cell_tissue(mask, geometry.columns, geometry.rows, 16.0, 0, 0.25))
