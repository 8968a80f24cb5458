"""Windows cover the whole slide, start inside it and keep to tissue; where the model looked, as the blender has it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus import params
from acinus.maps.blend import blended_rows
from acinus.maps.geometry import MapGeometry
from acinus.maps.windows import Coverage, Windows, chosen_windows, grid, with_tissue
from acinus.patches.index import cell_tissue
from acinus.slides.geometry import Resolution
from acinus.tissue.mask import TissueMask


def test_worked_by_hand() -> None:
    found = grid(width=500, height=256, edge0=256, step0=128)
    assert found.x0.tolist() == [0, 128, 256, 384] * 2
    assert found.y0.tolist() == [0] * 4 + [128] * 4
    assert found.x0.dtype == np.int64


@given(st.integers(1, 70), st.integers(1, 70), st.floats(1.0, 40.0), st.floats(0.1, 1.0))
def test_every_level0_px_is_covered(width: int, height: int, edge0: float, share: float) -> None:
    step0 = max(1.0, edge0 * share)
    found = grid(width, height, edge0, step0)
    covered = np.zeros((height, width), dtype=bool)
    for x0, y0 in zip(found.x0, found.y0, strict=True):
        assert 0 <= x0 < width
        assert 0 <= y0 < height
        covered[y0 : y0 + int(np.ceil(edge0)), x0 : x0 + int(np.ceil(edge0))] = True
    assert covered.all()
    assert len(set(zip(found.x0.tolist(), found.y0.tolist(), strict=True))) == len(found)


def test_rounded_starts_do_not_drift() -> None:
    found = grid(width=100_000, height=1, edge0=256.6, step0=256.6)
    assert np.abs(found.x0 - np.arange(len(found)) * 256.6).max() <= 0.5


def test_windows_without_tissue_never_run() -> None:
    windows = grid(width=40, height=10, edge0=10, step0=10)
    share = {0: 0.0, 10: 0.001, 20: 0.5, 30: 1.0}

    def fractions(x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
        assert (y0 == 0).all()
        assert edge0 == 10
        return np.array([share[x] for x in x0.tolist()])

    assert with_tissue(windows, fractions, 0.0).x0.tolist() == [10, 20, 30]
    assert with_tissue(windows, fractions, 0.5).x0.tolist() == [20, 30]
    assert len(with_tissue(windows, lambda x0, y0, edge0: np.zeros(len(x0)), 0.0)) == 0


def test_tissue_is_asked_for_a_part_of_many_windows_at_a_time() -> None:
    windows, asked = grid(width=300, height=300, edge0=2, step0=1), []

    def fractions(x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
        asked.append(len(x0))
        return ((x0 * 7 + y0) % 5) / 4

    found = with_tissue(windows, fractions, 0.5)
    expected = windows.only((windows.x0 * 7 + windows.y0) % 5 >= 2)
    assert np.array_equal(found.x0, expected.x0)
    assert np.array_equal(found.y0, expected.y0)
    assert sum(asked) == len(windows) == 90_000
    assert max(asked) < len(windows) / 4


def test_gaps_and_disorder_are_refused() -> None:
    with pytest.raises(ValueError, match="step of 12 level-0 px"):
        grid(100, 100, edge0=10, step0=12)
    with pytest.raises(ValueError, match="top to bottom"):
        Windows(np.array([0, 0]), np.array([5, 0]), 10)


# ------------------------------------------------------------------ the px that windows cover


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
