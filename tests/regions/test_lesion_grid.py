"""The grid of lesions against lesions placed by hand, and instances against counts by hand."""

import numpy as np
import pytest
import shapely

from acinus.labels.outlines import Outlined
from acinus.maps.geometry import MapGeometry
from acinus.regions.against_truth import LESION_UM, lesion_grid, pq_of_classes

NOTHING = shapely.MultiPolygon()


class Everywhere:
    """Labels that are one value wherever one looks."""

    def __init__(self, value: int) -> None:
        self.value = value

    def raster(self, columns: int, rows: int, downsample: float, top: int = 0) -> np.ndarray:
        return np.full((rows, columns), self.value, dtype=np.uint8)


def outlined(*boxes: tuple[float, float, float, float]) -> Outlined:
    return Outlined(shapely.MultiPolygon([shapely.box(*box) for box in boxes]), NOTHING, None, 12_000, 9_000)


def peak(x0: float, y0: float) -> dict[str, float]:
    return {"peak_x0": x0, "peak_y0": y0}


def test_lesions_in_um_whatever_the_slides_resolution() -> None:
    # 0.25 um per px: two areas of 500 um, 50 um apart (one lesion), one of 500 um far away, one of 60 um (ITC)
    labels = outlined((0, 0, 2000, 2000), (2200, 0, 4200, 2000), (6000, 4000, 8000, 6000), (500, 7000, 740, 7240))
    grid = lesion_grid(labels, (12_000, 9_000), 0.25, (1,))
    assert grid is not None
    assert grid.downsample == LESION_UM / 0.25 == pytest.approx(31.104)
    assert (grid.lesions.targets, grid.lesions.itc) == ((1, 2), (3,))
    assert [grid.under(peak(*at)) for at in ((100, 100), (4000, 1900), (7000, 5000), (620, 7120), (11_000, 200))] == [
        1,
        1,
        2,
        -1,
        0,
    ]


def test_the_slides_last_px_is_on_the_grid() -> None:
    grid = lesion_grid(outlined((0, 0, 2000, 2000)), (12_000, 9_000), 0.25, (1,))
    assert grid is not None
    assert grid.under(peak(11_999.5, 8_999.5)) == 0


def test_a_coarse_slide_is_judged_at_its_own_resolution() -> None:
    grid = lesion_grid(Everywhere(1), (40, 30), 20.0, (1,))
    assert grid is not None
    assert (grid.downsample, grid.lesions.targets) == (1.0, (1,))


def test_other_classes_and_unknown_truth_are_no_lesion() -> None:
    for value in (2, 255):
        grid = lesion_grid(Everywhere(value), (4000, 4000), 0.5, (1,))
        assert grid is not None
        assert not grid.lesions.labels.any()


def test_without_mpp_lesions_are_not_known() -> None:
    assert lesion_grid(outlined((0, 0, 2000, 2000)), (12_000, 9_000), None, (1,)) is None


def test_instances_of_a_coarse_map_by_hand() -> None:
    # a map of 2 x 2 px over 4 x 4: class 1 left, class 2 at the lower right
    classes = np.array([[1, 0], [1, 2]], dtype=np.uint8)
    true = np.zeros((3, 4, 4), dtype=np.int32)
    true[0] = 9  # background is not looked at
    true[1, :3, :2] = 4  # 6 of the 8 px predicted: IoU 0.75
    true[2, 0, 3] = 1  # missed; what was said is 4 px elsewhere
    found = pq_of_classes(true, classes, MapGeometry(4, 4, 2.0))
    assert found == [0, 0, 0, 0, 0.75, 1, 0, 0, 0, 0, 1, 1]


def test_instances_touching_by_a_corner_are_one() -> None:
    classes = np.array([[1, 0], [0, 1]], dtype=np.uint8)
    true = np.stack([np.zeros((2, 2), dtype=np.int32), classes.astype(np.int32)])
    assert pq_of_classes(true, classes, MapGeometry(2, 2, 1.0)) == [0, 0, 0, 0, 1.0, 1, 0, 0]
