"""The patch grid against tables worked by hand and against conservation of area."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acinus.errors import AcinusError
from acinus.patches.grid import positions


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


@settings(deadline=None, max_examples=50)  # a busy machine is no failure
@given(width=st.integers(1, 400), height=st.integers(1, 400), edge=st.integers(1, 90))
def test_touching_patches_cover_each_pixel_of_the_slide_once(width: int, height: int, edge: int):
    x0, y0 = positions(width, height, edge, edge)
    hits = np.zeros((height, width), dtype=int)
    for x, y in zip(x0, y0, strict=True):
        hits[y : y + edge, x : x + edge] += 1
    assert (hits == 1).all()


@settings(deadline=None, max_examples=50)  # a busy machine is no failure
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
