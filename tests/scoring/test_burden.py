"""Burden and its errors against tables worked by hand."""

import math

import pytest

from acinus.scoring.burden import burden_bias, burden_error, burden_mae, burden_percent
from acinus.scoring.defined import mean_defined


@pytest.mark.parametrize(("tumour", "tissue", "expected"), [(0, 0, None), (0, 10, 0.0), (10, 10, 100.0), (1, 8, 12.5)])
def test_burden(tumour: int, tissue: int, expected: float | None) -> None:
    assert burden_percent(tumour, tissue) == expected


def test_tumour_outside_tissue_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="5 tumour px inside 4 tissue px"):
        burden_percent(5, 4)


def test_errors_leave_undefined_slides_out_and_count_them() -> None:
    pairs = [(10.0, 4.0), (3.0, 5.0), (None, 5.0), (2.0, math.nan), (7.0, 7.0)]
    assert burden_mae(pairs) == (pytest.approx(8 / 3), 3, 2)
    assert burden_bias(pairs) == (pytest.approx(4 / 3), 3, 2)
    assert burden_error(3.0, 5.0) == -2.0


def test_no_slide_gives_no_error() -> None:
    assert burden_mae([(None, 1.0)]) == (None, 0, 1)
    assert burden_bias([]) == (None, 0, 0)
    assert mean_defined([0.0, None, math.nan, 1.0]) == (0.5, 2, 2)
