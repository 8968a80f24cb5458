"""The index of a slide: which patches are candidates and what they are called, worked by hand."""

from dataclasses import dataclass

import numpy as np
import pytest
import shapely

from acinus import params, records
from acinus.patches.index import SlideFacts, index_slide, label_of
from acinus.slides.geometry import Resolution
from acinus.slides.tissue import TissueMask

EMPTY = shapely.Polygon()


@dataclass(frozen=True)
class Outlines:
    """Labels by brute force: one intersection per patch."""

    tumour: shapely.Geometry
    ignored: shapely.Geometry = EMPTY

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> tuple[np.ndarray, np.ndarray]:
        squares = shapely.box(x0, y0, x0 + edge0, y0 + edge0)
        return tuple(shapely.area(shapely.intersection(squares, one)) / edge0**2 for one in (self.tumour, self.ignored))

    def raster(self, columns: int, rows: int, downsample: float) -> np.ndarray:
        raise NotImplementedError


SLIDE = SlideFacts("tumor_001", "train", 400, 200)
SETTINGS = params.Index(level=1, patch_px=50, stride_px=50, min_tissue_fraction=0.25)
AT = Resolution(downsample=2.0, level=1, level_downsample=2.0)  # patches of 100 level-0 px: 4 columns, 2 rows


def tissue(mask: list[list[int]]) -> TissueMask:
    return TissueMask(np.array(mask, dtype=bool), SLIDE.width, SLIDE.height)


ALL = tissue([[1] * 4] * 2)
NONE = tissue([[0] * 4] * 2)


def test_fractions_and_labels_of_a_slide_worked_by_hand():
    lesion = shapely.box(0, 0, 150, 100)  # the first patch whole, half of the second
    index = index_slide(SLIDE, AT, ALL, Outlines(lesion), SETTINGS)
    first_row = index[index["y0"] == 0]
    assert first_row["x0"].tolist() == [0, 100, 200, 300]
    assert first_row["tumour_fraction"].tolist() == [1.0, 0.5, 0.0, 0.0]
    assert first_row["label"].tolist() == [1, 1, 0, 0]
    assert len(index) == 8
    assert set(index["split"]) == {"train"}
    assert set(index["downsample"]) == {2.0}
    assert set(index["patch_px"]) == {50}


def test_a_lesion_outside_the_tissue_mask_is_a_candidate_and_glass_is_not():
    lesion = shapely.box(330, 130, 331, 131)  # one level-0 px
    index = index_slide(SLIDE, AT, NONE, Outlines(lesion), SETTINGS)
    assert index[["x0", "y0"]].to_numpy().tolist() == [[300, 100]]
    assert index["tumour_fraction"].tolist() == pytest.approx([1e-4], abs=1e-12)
    assert index["label"].tolist() == [records.IGNORE]


def test_the_label_never_decides_whether_tissue_is_kept():
    in_between = shapely.box(0, 0, 30, 100)  # 0.3: neither tumour nor normal
    index = index_slide(SLIDE, AT, ALL, Outlines(in_between, shapely.box(100, 0, 110, 10)), SETTINGS)
    labels = index.set_index(["x0", "y0"])["label"]
    assert len(index) == 8
    assert labels[(0, 0)] == records.IGNORE
    assert labels[(100, 0)] == records.IGNORE  # a part of it is not known
    assert labels[(200, 0)] == records.NORMAL


def test_tissue_at_the_limit_is_kept_and_just_below_is_not():
    quarter = TissueMask(np.zeros((4, 8), dtype=bool), 400, 200)  # 50 x 50 level-0 px each: a quarter of a patch
    quarter.mask[0, 0] = True
    index = index_slide(SLIDE, AT, quarter, Outlines(EMPTY), SETTINGS)
    assert index[["x0", "y0"]].to_numpy().tolist() == [[0, 0]]
    assert index["tissue_fraction"].tolist() == [0.25]
    stricter = SETTINGS.model_copy(update={"min_tissue_fraction": 0.26})
    assert index_slide(SLIDE, AT, quarter, Outlines(EMPTY), stricter).empty


def test_a_slide_without_candidates_is_an_empty_valid_table(tmp_path):
    index = index_slide(SLIDE, AT, NONE, Outlines(EMPTY), SETTINGS)
    assert records.write(records.INDEX, index, tmp_path / "index.parquet").empty
    assert records.read(records.INDEX, tmp_path / "index.parquet").empty


def test_the_areas_of_all_patches_add_up_to_the_lesion():
    lesion = shapely.Point(190, 95).buffer(80).difference(shapely.Point(190, 95).buffer(20))
    index = index_slide(SLIDE, AT, NONE, Outlines(lesion), SETTINGS)
    assert index["tumour_fraction"].sum() * 100**2 == pytest.approx(lesion.area, rel=1e-9)


def test_label_rule_worked_by_hand():
    tumour = np.array([0.0, 0.0, 0.1, 0.1, 0.3, 0.5, 0.5, 1.0])
    ignored = np.array([0.0, 0.2, 0.0, 0.2, 0.0, 0.0, 0.5, 0.0])
    assert label_of(tumour, ignored, 0.5, 0.1).tolist() == [0, -1, 0, -1, -1, 1, 1, 1]
    assert label_of(np.array([1.0 - 1e-12]), np.zeros(1), 1.0, 0.0).tolist() == [1]  # a whole patch, but for rounding
