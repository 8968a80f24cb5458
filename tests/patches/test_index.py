"""The index of a slide: which patches are candidates and what they are called, worked by hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely

from acinus import params, records
from acinus.errors import SlideError
from acinus.patches import index as index_module
from acinus.patches.index import LabelRule, SlideFacts, cell_tissue, cell_truth, class_of, foreground_of, label_of
from acinus.slides.geometry import Resolution
from acinus.tissue.mask import TissueMask

EMPTY = shapely.Polygon()


def index_slide(*arguments: Any) -> pd.DataFrame:
    """The rows as the next stage reads them; whatever the contract of the table refuses fails here."""
    rows = index_module.index_slide(*arguments)
    assert rows.schema == records.INDEX.schema
    checked = records.check(records.INDEX, rows.to_pandas())
    assert checked[["x0", "y0"]].to_numpy().tolist() == rows.select(["x0", "y0"]).to_pandas().to_numpy().tolist()
    return checked


@dataclass(frozen=True)
class Outlines:
    """Labels by brute force: one intersection per patch."""

    tumour: shapely.Geometry
    ignored: shapely.Geometry = EMPTY
    others: tuple[shapely.Geometry, ...] = ()  # of classes 2, 3, ...

    def fractions(self, x0: np.ndarray, y0: np.ndarray, edge0: float) -> np.ndarray:
        squares = shapely.box(x0, y0, x0 + edge0, y0 + edge0)
        areas = (self.tumour, *self.others, self.ignored)
        shares = np.stack([shapely.area(shapely.intersection(squares, one)) / edge0**2 for one in areas])
        return np.concatenate([1.0 - shares.sum(axis=0, keepdims=True), shares])

    def raster(self, columns: int, rows: int, downsample: float, top: int = 0) -> np.ndarray:
        raise NotImplementedError

    def windows(self, x0: np.ndarray, y0: np.ndarray, edge_px: int, downsample: float) -> Iterator[np.ndarray]:
        raise NotImplementedError


SLIDE = SlideFacts("tumor_001", "train", 400, 200)
SETTINGS = params.Index(level=1, patch_px=50, stride_px=50, min_tissue_fraction=0.25)
BINARY = LabelRule(2, (1,), "patch_classification")
SEGMENTED = LabelRule(2, (1,), "segmentation")
AT = Resolution(downsample=2.0, level=1, level_downsample=2.0)  # patches of 100 level-0 px: 4 columns, 2 rows


def tissue(mask: list[list[int]]) -> TissueMask:
    return TissueMask(np.array(mask, dtype=bool), SLIDE.width, SLIDE.height)


ALL = tissue([[1] * 4] * 2)
NONE = tissue([[0] * 4] * 2)


def test_fractions_and_labels_of_a_slide_worked_by_hand():
    lesion = shapely.box(0, 0, 150, 100)  # the first patch whole, half of the second
    index = index_slide(SLIDE, AT, ALL, Outlines(lesion), SETTINGS, BINARY)
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
    index = index_slide(SLIDE, AT, NONE, Outlines(lesion), SETTINGS, BINARY)
    assert index[["x0", "y0"]].to_numpy().tolist() == [[300, 100]]
    assert index["tumour_fraction"].tolist() == pytest.approx([1e-4], abs=1e-12)
    assert index["label"].tolist() == [records.IGNORE]


def test_the_label_never_decides_whether_tissue_is_kept():
    in_between = shapely.box(0, 0, 30, 100)  # 0.3: neither tumour nor normal
    index = index_slide(SLIDE, AT, ALL, Outlines(in_between, shapely.box(100, 0, 110, 10)), SETTINGS, BINARY)
    labels = index.set_index(["x0", "y0"])["label"]
    assert len(index) == 8
    assert labels[(0, 0)] == records.IGNORE
    assert labels[(100, 0)] == records.IGNORE  # a part of it is not known
    assert labels[(200, 0)] == records.NORMAL


def test_tissue_at_the_limit_is_kept_and_just_below_is_not():
    quarter = TissueMask(np.zeros((4, 8), dtype=bool), 400, 200)  # 50 x 50 level-0 px each: a quarter of a patch
    quarter.mask[0, 0] = True
    index = index_slide(SLIDE, AT, quarter, Outlines(EMPTY), SETTINGS, BINARY)
    assert index[["x0", "y0"]].to_numpy().tolist() == [[0, 0]]
    assert index["tissue_fraction"].tolist() == [0.25]
    stricter = SETTINGS.model_copy(update={"min_tissue_fraction": 0.26})
    assert index_slide(SLIDE, AT, quarter, Outlines(EMPTY), stricter, BINARY).empty


def test_a_slide_without_candidates_is_an_empty_valid_table(tmp_path):
    index = index_slide(SLIDE, AT, NONE, Outlines(EMPTY), SETTINGS, BINARY)
    assert records.write(records.INDEX, index, tmp_path / "index.parquet").empty
    assert records.read(records.INDEX, tmp_path / "index.parquet").empty


def test_the_areas_of_all_patches_add_up_to_the_lesion():
    lesion = shapely.Point(190, 95).buffer(80).difference(shapely.Point(190, 95).buffer(20))
    index = index_slide(SLIDE, AT, NONE, Outlines(lesion), SETTINGS, BINARY)
    assert index["tumour_fraction"].sum() * 100**2 == pytest.approx(lesion.area, rel=1e-9)


def test_label_rule_worked_by_hand():
    tumour = np.array([0.0, 0.0, 0.1, 0.1, 0.3, 0.5, 0.5, 1.0])
    ignored = np.array([0.0, 0.2, 0.0, 0.2, 0.0, 0.0, 0.5, 0.0])
    assert label_of(tumour, ignored, 0.5, 0.1).tolist() == [0, -1, 0, -1, -1, 1, 1, 1]
    assert label_of(np.array([1.0 - 1e-12]), np.zeros(1), 1.0, 0.0).tolist() == [1]  # a whole patch, but for rounding


def test_label_rule_of_three_classes_worked_by_hand():
    shares = np.array(
        [  # of classes 0, 1, 2; what is missing to 1 is ignored
            (1.0, 0.0, 0.0, 0),
            (0.0, 0.5, 0.3, 1),
            (0.3, 0.3, 0.4, -1),  # the largest is too small
            (0.5, 0.5, 0.0, -1),  # two alike
            (0.0, 0.5 - 1e-12, 0.5, -1),  # alike, but for rounding
            (0.0, 0.0, 0.5 - 1e-12, 2),  # enough, but for rounding
            (0.0, 0.0, 0.4, -1),  # all that is known, but most is not
            (0.0, 0.0, 0.0, -1),
        ]
    )
    assert class_of(shares[:, :3].T, 0.5).tolist() == shares[:, 3].tolist()
    thirds = np.array([[0.34, 0.2], [0.33, 0.35], [0.33, 0.45]])
    assert class_of(thirds, 0.34).tolist() == [0, 2]
    assert class_of(thirds, 0.34).dtype == np.int64


def test_patches_and_cells_of_three_classes_have_one_rule():
    labels = Outlines(shapely.box(0, 0, 60, 100), shapely.box(60, 0, 100, 100), (shapely.box(100, 0, 145, 200),))
    rule = LabelRule(3, (1, 2), "patch_classification")
    index = index_slide(SLIDE, AT, ALL, labels, SETTINGS, rule)
    assert kept(index) == {(0, 0): 1, (100, 0): 0, (200, 0): 0, (300, 0): 0} | {(x, 100): 0 for x in range(0, 400, 100)}
    strict = SETTINGS.model_copy(update={"min_class_fraction": 0.61})
    assert kept(index_slide(SLIDE, AT, ALL, labels, strict, rule)) == kept(index) | {
        (0, 0): -1, (100, 0): -1, (100, 100): -1
    }  # fmt: skip
    truth = cell_truth(labels, 4, 2, 100.0, 0, strict)
    assert truth.tolist() == [[255, 255, 0, 0], [0, 255, 0, 0]]
    assert cell_truth(labels, 4, 2, 100.0, 0, SETTINGS)[0, 0] == 1


def test_class_fractions_are_in_class_order_and_leave_out_what_is_ignored():
    labels = Outlines(shapely.box(0, 0, 50, 100), shapely.box(50, 0, 60, 100), (shapely.box(60, 0, 80, 100),))
    index = index_slide(SLIDE, AT, ALL, labels, SETTINGS, LabelRule(3, (1, 2), "patch_classification"))
    first = index.iloc[0]
    assert first["class_fractions"] == pytest.approx((0.2, 0.5, 0.2), abs=1e-12)
    assert first["tumour_fraction"] == pytest.approx(0.7, abs=1e-12)
    only_last = index_slide(SLIDE, AT, ALL, labels, SETTINGS, LabelRule(3, (2,), "patch_classification"))
    assert only_last.iloc[0]["tumour_fraction"] == pytest.approx(0.2, abs=1e-12)
    assert only_last["class_fractions"].tolist() == index["class_fractions"].tolist()
    assert index.iloc[1]["class_fractions"] == (1.0, 0.0, 0.0)


def test_labels_of_another_number_of_classes_are_refused():
    with pytest.raises(SlideError, match="tumor_001: labels of 2 classes, the recipe has 6"):
        index_slide(SLIDE, AT, ALL, Outlines(EMPTY), SETTINGS, LabelRule(6, (1,), "segmentation"))


HALF = tissue([[1, 1, 0, 0]] * 2)
"""Tissue under the first two columns of patches."""


def kept(index: pd.DataFrame) -> dict[tuple[int, int], int]:
    return {(x0, y0): label for x0, y0, label in index[["x0", "y0", "label"]].itertuples(index=False)}


def test_a_segmentations_tiles_are_kept_by_tissue_or_foreground_and_labelled_by_area():
    tumour = shapely.union_all([shapely.box(0, 0, 50, 100), shapely.box(100, 0, 110, 100), shapely.box(300, 0, 301, 1)])
    ignored = shapely.box(0, 100, 99, 200)  # all of patch (0, 100) but a strip
    labels = Outlines(tumour, ignored)
    index = index_slide(SLIDE, AT, HALF, labels, SETTINGS, SEGMENTED)
    # (100, 0) is in between, (0, 100) mostly unknown: both would be IGNORE for a classifier; (300, 0) has no tissue
    assert kept(index) == {(0, 0): 1, (100, 0): 0, (300, 0): 0, (0, 100): 0, (100, 100): 0}
    assert kept(index_slide(SLIDE, AT, HALF, labels, SETTINGS, BINARY)) == {
        (0, 0): 1,
        (100, 0): -1,
        (300, 0): -1,
        (0, 100): -1,
        (100, 100): 0,
    }


def test_a_tile_of_which_nothing_is_known_is_to_be_ignored():
    slide = SlideFacts("a", "train", 350, 150)  # patches of 100: the last column and row hang over
    whole = TissueMask(np.ones((1, 1), dtype=bool), 350, 150)
    unknown = shapely.box(100, 0, 200, 150).union(shapely.box(300, 100, 350, 150))
    index = index_slide(slide, AT, whole, Outlines(EMPTY, unknown), SETTINGS, SEGMENTED)
    assert kept(index) == {
        (0, 0): 0,
        (100, 0): -1,
        (200, 0): 0,
        (300, 0): 0,
        (0, 100): 0,
        (100, 100): -1,  # all of it that is on the slide
        (200, 100): 0,
        (300, 100): -1,
    }


@pytest.mark.parametrize(
    ("least", "tiles"), [(0.0, [(0, 0), (100, 0), (200, 0)]), (0.1, [(0, 0), (100, 0)]), (0.101, [(0, 0)])]
)
def test_a_least_share_of_foreground_drops_tiles_whatever_their_tissue(least: float, tiles: list[tuple[int, int]]):
    labels = Outlines(shapely.box(0, 0, 110, 100))
    first_rows = tissue([[1, 1, 1, 0], [0, 0, 0, 0]])
    settings = SETTINGS.model_copy(update={"min_foreground_fraction": least})
    assert list(kept(index_slide(SLIDE, AT, first_rows, labels, settings, SEGMENTED))) == tiles


CELLS = params.Index(
    level=0, patch_px=299, stride_px=128, cell_px=128, min_tissue_fraction=0.25, tumor_min_fraction=1e-6
)


def test_a_cell_is_judged_by_itself_and_its_window_begins_85_px_before():
    slide = SlideFacts("tumor_001", "train", 300, 257)
    whole = TissueMask(np.ones((1, 1), dtype=bool), 300, 257)
    dot = shapely.box(130, 2, 131, 3)  # one px, in the central 128 px of cell (1, 0) only; 4 windows see it
    index = index_slide(slide, Resolution(1.0, 0, 1.0), whole, Outlines(dot), CELLS, BINARY)
    # the last row of cells is 1 px high: 1/128 of it is tissue, too little; the last column 44 px: 0.34
    assert kept(index) == {(-85, -85): 0, (43, -85): 1, (171, -85): 0, (-85, 43): 0, (43, 43): 0, (171, 43): 0}
    fractions = index.set_index(["x0", "y0"])
    assert fractions.loc[(43, -85), "tumour_fraction"] == pytest.approx(128**-2, rel=1e-9)
    assert fractions.loc[(171, 43), "tissue_fraction"] == pytest.approx(44 / 128, rel=1e-9)
    assert set(index["patch_px"]) == {299}


def test_a_cell_at_a_downsample_of_2_covers_256_level_0_px():
    slide = SlideFacts("tumor_001", "train", 600, 256)
    whole = TissueMask(np.ones((1, 1), dtype=bool), 600, 256)
    lesion = shapely.box(256, 0, 512, 128)  # the upper half of the second cell
    index = index_slide(slide, Resolution(2.0, 1, 2.0), whole, Outlines(lesion), CELLS, BINARY)
    assert index["x0"].tolist() == [-170, 86, 342]
    assert index["y0"].tolist() == [-170] * 3
    assert index["tumour_fraction"].tolist() == [0.0, 0.5, 0.0]


def test_foreground_rule_worked_by_hand():
    tumour, unknown = np.array([0.0, 0.1, 0.5, 1.0, 0.0]), np.array([False, False, False, False, True])
    assert foreground_of(tumour, unknown, 0.5).tolist() == [0, 0, 1, 1, -1]
    assert foreground_of(np.array([0.1 - 1e-12]), np.array([False]), 0.1).tolist() == [1]


def test_the_truth_of_cells_is_that_of_the_index_not_of_their_centres() -> None:
    """A speck of tumour in a cell's corner makes the cell positive, however far from its centre."""
    tumour = shapely.union_all([shapely.box(129, 1, 131, 3), shapely.box(256, 128, 384, 256)])
    labels = Outlines(tumour)
    mask = np.ones((300, 500), dtype=bool)
    mask[:, 256:] = False
    tissue = TissueMask(mask, 500, 300)
    settings = params.Index(patch_px=299, stride_px=128, cell_px=128, level=0, tumor_min_fraction=1e-6)
    assert cell_truth(labels, 4, 2, 128.0, 1, settings).tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]  # rows 1 and 2
    assert cell_truth(labels, 4, 1, 128.0, 0, settings).tolist() == [[0, 1, 0, 0]]
    half_known = cell_truth(Outlines(tumour, shapely.box(0, 0, 64, 64)), 4, 1, 128.0, 0, settings)
    assert half_known.tolist() == [[255, 1, 0, 0]]
    assert cell_tissue(tissue, 4, 1, 128.0, 0, 0.5).tolist() == [[True, True, False, False]]
