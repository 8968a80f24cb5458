"""The patch grid against tables worked by hand and against conservation of area."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus import params
from acinus.errors import AcinusError
from acinus.patches.grid import cell_margin, positions
from acinus.patches.index import SlideFacts, Squares, squares
from acinus.slides.geometry import Resolution


def test_a_grid_worked_by_hand_runs_row_by_row_and_hangs_over_the_border():
    x0, y0 = positions(300, 150, edge0=128, step0=128)
    assert list(zip(x0.tolist(), y0.tolist(), strict=True)) == [
        (0, 0),
        (128, 0),
        (256, 0),
        (0, 128),
        (128, 128),
        (256, 128),
    ]
    assert x0.dtype == y0.dtype == np.int64


def test_a_slide_that_ends_on_the_grid_has_no_patch_outside():
    x0, _ = positions(256, 100, edge0=128, step0=128)
    assert x0.tolist() == [0, 128]


def test_overlap_places_every_patch_that_begins_inside():
    x0, _ = positions(10, 1, edge0=4, step0=2)
    assert x0.tolist() == [0, 2, 4, 6, 8]


def test_a_step_that_is_not_whole_rounds_each_place_and_never_drifts():
    # 64 working px at a downsample of 4.000147: step 256.009408; the 200th patch is 1.9 px further than 200 * 256
    x0, _ = positions(60_000, 1, edge0=256.009408, step0=256.009408)
    assert x0[200] == 51_202
    assert np.abs(x0 - np.arange(x0.size) * 256.009408).max() <= 0.5


@given(width=st.integers(1, 400), height=st.integers(1, 400), edge=st.integers(1, 90))
def test_touching_patches_cover_each_pixel_of_the_slide_once(width: int, height: int, edge: int):
    x0, y0 = positions(width, height, edge, edge)
    hits = np.zeros((height, width), dtype=int)
    for x, y in zip(x0, y0, strict=True):
        hits[y : y + edge, x : x + edge] += 1
    assert (hits == 1).all()


@given(length=st.integers(1, 3000), step=st.floats(1.0, 200.0))
def test_places_are_distinct_sorted_and_inside(length: int, step: float):
    x0, _ = positions(length, 1, step, step)
    assert x0[0] == 0
    assert (np.diff(x0) >= 1).all()
    assert x0[-1] < length
    assert x0[-1] + step + 1 > length  # and nothing of the slide is left out


@pytest.mark.parametrize(
    ("edge", "step", "key"), [(0.5, 8, "patch_px"), (8, 0, "stride_px"), (8, float("nan"), "stride_px")]
)
def test_less_than_a_pixel_is_refused_by_name(edge: float, step: float, key: str):
    with pytest.raises(AcinusError, match=f"index.{key}"):
        positions(100, 100, edge, step)


def cells(width: int, height: int, downsample: float = 1.0) -> Squares:
    """Cells of 128 px seen through windows of 299 px."""
    settings = params.Index(level=0, patch_px=299, stride_px=128, cell_px=128)
    return squares(SlideFacts("s", "train", width, height), Resolution(downsample, 0, downsample), settings)


def test_cells_worked_by_hand_are_those_of_the_level_7_grid():
    """One level-7 px is 128 x 128 level-0 px; the 299-px window of cell (i, j) begins at (128 i - 85, 128 j - 85)."""
    margin0 = cell_margin(299, 128, 1.0)
    assert margin0 == 85
    under = cells(300, 257)  # 2.34 x 2.008 cells: 3 columns, 3 rows
    x0, y0 = under.x0, under.y0
    assert list(zip(x0.tolist(), y0.tolist(), strict=True)) == [
        (-85, -85),
        (43, -85),
        (171, -85),
        (-85, 43),
        (43, 43),
        (171, 43),
        (-85, 171),
        (43, 171),
        (171, 171),
    ]
    corners = np.stack([under.inner_x0, under.inner_y0], axis=1)
    assert (corners == np.stack([x0, y0], axis=1) + margin0).all()
    assert corners.tolist() == [[128 * i, 128 * j] for j in range(3) for i in range(3)]
    centres = corners + 64
    assert centres[4].tolist() == [192, 192]
    # the window's own middle: 149.5 px from its corner, half a px from the cell's
    assert (np.abs(np.stack([x0, y0], axis=1) + 149.5 - centres) == 0.5).all()


def test_cells_of_a_slide_of_whole_cells_have_none_outside():
    under = cells(256, 128)
    assert list(zip(under.x0.tolist(), under.y0.tolist(), strict=True)) == [(-85, -85), (43, -85)]


def test_cells_at_a_downsample_of_2_are_twice_as_far_apart_and_their_windows_twice_as_wide():
    assert cell_margin(299, 128, 2.0) == 170
    assert cells(600, 1, downsample=2.0).x0.tolist() == [-170, 86, 342]


@pytest.mark.parametrize(
    ("patch_px", "cell_px", "downsample", "margin0"),
    [(128, 128, 1.0, 0), (130, 128, 1.0, 1), (131, 128, 1.0, 1), (299, 128, 4.000147, 340), (299, 128, 0.5, 43)],
)
def test_margins_worked_by_hand(patch_px: int, cell_px: int, downsample: float, margin0: int):
    assert cell_margin(patch_px, cell_px, downsample) == margin0


def test_a_cell_of_less_than_a_pixel_is_refused_by_name():
    with pytest.raises(AcinusError, match=r"index\.cell_px"):
        cells(100, 100, downsample=0.5 / 128)
