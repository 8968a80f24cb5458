"""Windows cover the whole slide, start inside it and keep to tissue."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus.maps.windows import Windows, grid, with_tissue


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
