"""Map, truth and tissue of one slide lie on one grid: a perfect model is perfect on a slide of any size."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from acinus.labels.labels import Outlined
from acinus.maps.blend import blended_rows, shown
from acinus.maps.geometry import MapGeometry
from acinus.maps.windows import grid
from acinus.regions.amounts import Amounts, Rows, Terms
from acinus.tissue.mask import TissueMask

NOTHING = shapely.MultiPolygon()


def counted(prob: np.ndarray, tissue: TissueMask, truth: Outlined, geometry: MapGeometry) -> dict[str, object]:
    """The amounts of a slide whose map is cut at one half."""
    amounts, place = Amounts(geometry, Terms(), (0.5, 0.5), "tag"), (geometry.columns, geometry.rows)
    inside, true = (raster.raster(*place, geometry.downsample) for raster in (tissue, truth))
    amounts.add(Rows(prob[None], inside, (prob >= 128).astype(np.uint8), np.ones_like(inside), true))
    return amounts.result()


def amounts(width: int, height: int, downsample: float, mask_downsample: float) -> dict[str, object]:
    """The amounts of a slide that is all tissue, all tumour, and predicted so."""
    geometry = MapGeometry(width, height, downsample)
    own = (round(height / mask_downsample) or 1, round(width / mask_downsample) or 1)
    tissue = TissueMask(np.ones(own, dtype=bool), width, height)
    truth = Outlined(shapely.box(0, 0, width, height), NOTHING, None, width, height)
    edge = int(np.ceil(downsample * 2))
    windows = shown(geometry, grid(width, height, edge, edge))
    answers = (np.ones((min(8, len(windows) - start), 1), dtype=np.float32) for start in range(0, len(windows), 8))
    ones = blended_rows(geometry, windows, answers, 1, 8)
    prob = np.concatenate([np.rint(band.probs[0] * 255).astype(np.uint8) for band in ones])
    return counted(prob, tissue, truth, geometry)


@given(
    width=st.integers(40, 1500),
    height=st.integers(40, 1500),
    downsample=st.floats(4, 300),
    mask_downsample=st.sampled_from([4.0, 32.0, 37.3]),
)
def test_a_perfect_model_is_perfect(width: int, height: int, downsample: float, mask_downsample: float) -> None:
    found = amounts(width, height, downsample, mask_downsample)
    assert found["intersection_px"] == found["pred_px"] == found["true_px"] == found["tissue_px"]
    assert found["burden_pred"] == found["burden_true"] == 100.0


def test_tissue_that_is_the_tumour_has_a_burden_of_a_hundred() -> None:
    """The same rectangle as tissue and as outline: a grid stretched over the slide slips by up to a px."""
    width, height, downsample = 4112, 4112, 128.0
    geometry = MapGeometry(width, height, downsample)
    mask = np.zeros((4112, 4112), dtype=bool)
    mask[1000:4000, 2000:4100] = True
    tissue = TissueMask(mask, width, height)
    truth = Outlined(shapely.box(2000, 1000, 4100, 4000), NOTHING, None, width, height)
    found = counted(np.zeros(geometry.shape, dtype=np.uint8), tissue, truth, geometry)
    assert found["burden_true"] == pytest.approx(100.0)
