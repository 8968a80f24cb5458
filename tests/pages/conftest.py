"""A small cohort worked by hand: five test slides of four patients, one bad slide, one training slide."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import pandas as pd
import pytest

from acinus import records
from acinus.metrics import per_slide, report
from acinus.metrics.metric import Case, Measure, usable_slides
from acinus.metrics.registry import METRICS
from acinus.metrics.setup import MetricSetup, Tables

SETUP = MetricSetup("patch_classification", ("normal", "tumor"))


class Cohort(NamedTuple):
    manifest: pd.DataFrame
    quantities: pd.DataFrame
    scores: pd.DataFrame
    per_slide: pd.DataFrame
    metrics: dict[str, Any]
    tables: Tables
    case: Case

    def measure(self, name: str) -> Measure:
        """How a metric of the cohort is taken."""
        return METRICS[name].measures(self.case)[name]


def slide(slide_id: str, label: str | None, patient: str, **changes: Any) -> dict[str, Any]:
    return {
        "slide_id": slide_id,
        "image": f"{slide_id}.tif",
        "label_source": None,
        "label_kind": "asap_xml",
        "exhaustive": True,
        "split": "test",
        "patient": patient,
        "provider": "",
        "slide_label": label,
        "mpp_x": 0.5,
        "mpp_y": 0.5,
        "mpp_source": "tag",
        "width": 1000,
        "height": 1000,
        "isup": None,
        "gleason": None,
        "tissue_type": None,
        "split_rule": "drawn",
        "derived": False,
        "findings": "",
        "status": "ok",
        "reason": "",
        "fingerprint": "",
        "label_fingerprint": None,
    } | changes


def amount(slide_id: str, counts: tuple[Any, Any, Any], burden: tuple[Any, Any], score: float | None) -> dict[str, Any]:
    """`counts` are intersection, predicted and true px; tissue is 1000 px."""
    return {
        "slide_id": slide_id,
        "tumour_px": counts[1] or 0,
        "tissue_px": 1000,
        "true_tumour_px": counts[2],
        "map_downsample": 16.0,
        "burden_pred": burden[0],
        "burden_true": burden[1],
        "tumour_mm2": 0.25,
        "tissue_mm2": 1.5,
        "mpp_source": "tag",
        "class_px": (1000 - (counts[1] or 0), counts[1] or 0),
        "confusion": None,
        "confusion_majority": None,
        "confusion_colour": None,
        "intersection_px": counts[0],
        "pred_px": counts[1],
        "true_px": counts[2],
        "score_max": 1.0,
        "score_p99": score,
        "num_regions": 0,
        "num_lesions": None,
        "num_itc": None,
        "pq_counts": None,
    }


def region(slide_id: str, number: int, prob: float, lesion: int | None, mm2: float | None = 0.5) -> dict[str, Any]:
    return {
        "slide_id": slide_id,
        "region": number,
        "class_index": 1,
        "area_px": 10,
        "area_mm2": mm2,
        **dict.fromkeys(("centroid_x0", "centroid_y0", "x0", "y0", "x1", "y1", "peak_x0", "peak_y0"), 1.0),
        "prob_max": prob,
        "prob_mean": prob / 2,
        "lesion": lesion,
    }


def grade(slide_id: str, true: int | None, mil: int, rule: int | None = None, **changes: Any) -> dict[str, Any]:
    """An ISUP grade; both seeds say the same unless told otherwise."""
    return {
        "slide_id": slide_id,
        "split": "test",
        "target": "isup",
        "true": true,
        "mil": mil,
        "mil_probs": [float(one == mil) for one in range(6)],
        "mil_by_seed": [mil, mil],
        "mil_spread": 0.25,
        "confidence": 0.75,
        "rule": rule,
        "rule_tumor": None,
        "num_patches": 4,
    } | changes


def class_score(slide_id: str, place: int, label: int, probs: list[float], px: int = -1) -> dict[str, Any]:
    return {"slide_id": slide_id, "x0": place, "y0": 0, "px": px, "label": label, "probs": probs}


def patches(slide_id: str, labels: list[int], probs: list[float]) -> list[dict[str, Any]]:
    return [
        {"slide_id": slide_id, "x0": 10 * i, "y0": 0, "label": label, "probs": prob, "preds": int(prob >= 0.5)}
        | {"colour_probs": 0.5 + 0.1 * label if i == 0 else 0.5}  # the colour baseline knows first patches only
        for i, (label, prob) in enumerate(zip(labels, probs, strict=True))
    ]


SLIDES = [
    slide("test_a", "tumor", "p1"),
    slide("test_b", "tumor", "p1"),
    slide("test_c", "normal", "p2"),
    slide("test_d", "normal", "p3"),
    slide("test_e", "tumor", "p4", mpp_x=None, mpp_y=None, mpp_source=None),
    slide("test_bad", "tumor", "p5", status="bad", reason="zeroed tiles <script>alert('x')</script>"),
    slide("train_a", "tumor", "p6", split="train"),
]
AMOUNTS = [
    amount("test_a", (80, 100, 100), (10.0, 10.0), 0.9),  # Dice 160/200 = 0.8, IoU 80/120
    amount("test_b", (30, 40, 110), (4.0, 11.0), 0.7),  # Dice 60/150 = 0.4, IoU 30/120
    amount("test_c", (0, 50, 0), (5.0, 0.0), 0.8),  # one empty: 0
    amount("test_d", (0, 0, 0), (0.0, 0.0), 0.1),  # both empty: undefined
    amount("test_e", (None, None, None), (6.0, None), 0.6) | {"tumour_px": 60, "tumour_mm2": None, "tissue_mm2": None},
]
PATCHES = [
    *patches("test_a", [1, 1, 0, 0], [0.9, 0.4, 0.6, 0.1]),  # pairs: 2 + 1 of 4 -> 0.75
    *patches("test_b", [1, 0, 0, -1], [0.5, 0.5, 0.2, 0.99]),  # a tie and a win of 2 -> 0.75; -1 does not count
    *patches("test_c", [0, 0], [0.7, 0.05]),
]


FURTHER = {"regions": records.REGIONS, "class_scores": records.CLASS_SCORES, "grades": records.GRADES}


def further(more: dict[str, Any]) -> dict[str, Any]:
    """Return lists of rows as the tables of FURTHER, everything else as it is."""
    return {key: records.frame(FURTHER[key], value) if key in FURTHER else value for key, value in more.items()}


@pytest.fixture
def build() -> Callable[..., Cohort]:
    """Build the tables and metrics of a cohort; without arguments of the one worked by hand."""

    def make(
        slides: list | None = None,
        amounts: list | None = None,
        scores: list | None = None,
        bootstrap: int = 50,
        setup: MetricSetup = SETUP,
        **more: Any,
    ) -> Cohort:
        manifest = records.frame(records.MANIFEST, SLIDES if slides is None else slides)
        quantities = records.frame(records.QUANTITIES, AMOUNTS if amounts is None else amounts)
        found = records.frame(records.SCORES, PATCHES if scores is None else scores)
        given = Tables(manifest, quantities, found, **further(more))
        table = per_slide.per_slide(given, setup)
        numbers = report.recipe_metrics(table, given, setup, bootstrap=bootstrap, seed=7)
        return Cohort(manifest, quantities, found, table, numbers, given, Case(usable_slides(table), setup, given))

    return make


@pytest.fixture
def cohort(build: Callable[..., Cohort]) -> Cohort:
    return build()


@pytest.fixture
def rows() -> SimpleNamespace:
    """The makers of rows, for cohorts other than the one worked by hand."""
    makers = {"slide": slide, "amount": amount, "patches": patches, "region": region, "grade": grade}
    return SimpleNamespace(**makers, class_score=class_score, SLIDES=SLIDES, AMOUNTS=AMOUNTS, PATCHES=PATCHES)


# ---------------------------------------------------------------- three classes, worked by hand

CLASSES = ("other", "gland", "stroma")
SEGMENTATION = MetricSetup("segmentation", CLASSES)
MATRICES = {  # true x predicted map px
    "seg_a": ((40, 10, 0), (0, 30, 10), (0, 0, 10)),  # Dice: gland 60/80, stroma 20/30
    "seg_b": ((50, 0, 0), (50, 0, 0), (0, 0, 0)),  # gland 0/50, stroma in neither
    "seg_c": ((90, 0, 10), (0, 0, 0), (0, 0, 0)),  # stroma 0/10, gland in neither
    "seg_d": ((100, 0, 0), (0, 0, 0), (0, 0, 0)),  # no foreground at all
}


def segmented(slide_id: str, matrix: Any) -> dict[str, Any]:
    """The amounts of a slide of 100 px, all tissue and of known truth; the baselines say other everywhere."""
    flat = [int(one) for row in matrix for one in row]
    predicted = tuple(sum(row[column] for row in matrix) for column in range(3))
    true = tuple(sum(row) for row in matrix)
    both = sum(matrix[row][column] for row in (1, 2) for column in (1, 2))
    nothing = [count for row in true for count in (row, 0, 0)]
    counts = (both, 100 - predicted[0], 100 - true[0])
    burden = (float(100 - predicted[0]), float(100 - true[0]))
    return amount(slide_id, counts, burden, 0.5) | {
        "class_px": predicted,
        "confusion": flat,
        "confusion_majority": nothing,
        "confusion_colour": flat if slide_id == "seg_a" else nothing,
    }


SEGMENTED = [
    slide("seg_a", "tumor", "q1", provider="left", tissue_type="lung", isup=3, findings="blank_mask"),
    slide("seg_b", "tumor", "q2", provider="right", tissue_type="lung", isup=4),
    slide("seg_c", "normal", "q3", provider="right", tissue_type="skin", isup=0),
    slide("seg_d", None, "q4", provider="right", tissue_type="skin"),
    slide("seg_e", "tumor", "q5", provider="left", label_kind="unknown", isup=2),
]


@pytest.fixture
def segment(build: Callable[..., Cohort]) -> Callable[..., Cohort]:
    """Build the tables and metrics of a segmentation; without arguments of the one worked by hand."""
    unknown = amount("seg_e", (None, None, None), (5.0, None), 0.4) | {"class_px": (95, 5, 0)}
    amounts = [*(segmented(name, matrix) for name, matrix in MATRICES.items()), unknown]
    return partial(build, slides=SEGMENTED, amounts=amounts, scores=[], setup=SEGMENTATION)


@pytest.fixture
def segmentation(segment: Callable[..., Cohort]) -> Cohort:
    return segment()
