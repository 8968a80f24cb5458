"""A small cohort worked by hand: five test slides of four patients, one bad slide, one training slide."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pandas as pd
import pytest

from acinus import records
from acinus.reporting import metrics, tables


class Cohort(NamedTuple):
    manifest: pd.DataFrame
    quantities: pd.DataFrame
    scores: pd.DataFrame
    per_slide: pd.DataFrame
    metrics: dict[str, Any]


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
        "intersection_px": counts[0],
        "pred_px": counts[1],
        "true_px": counts[2],
        "score_max": 1.0,
        "score_p99": score,
    }


def patches(slide_id: str, labels: list[int], probs: list[float]) -> list[dict[str, Any]]:
    return [
        {"slide_id": slide_id, "x0": 10 * i, "y0": 0, "label": label, "probs": prob, "preds": int(prob >= 0.5)}
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


@pytest.fixture
def build() -> Callable[..., Cohort]:
    """Build the tables and figures of a cohort; without arguments of the one worked by hand."""

    def make(
        slides: list | None = None, amounts: list | None = None, scores: list | None = None, bootstrap: int = 200
    ) -> Cohort:
        manifest = records.frame(records.MANIFEST, SLIDES if slides is None else slides)
        quantities = records.frame(records.QUANTITIES, AMOUNTS if amounts is None else amounts)
        found = records.frame(records.SCORES, PATCHES if scores is None else scores)
        table = tables.per_slide(manifest, quantities, found)
        return Cohort(
            manifest, quantities, found, table, metrics.recipe_metrics(table, found, bootstrap=bootstrap, seed=7)
        )

    return make


@pytest.fixture
def cohort(build: Callable[..., Cohort]) -> Cohort:
    return build()


@pytest.fixture
def rows() -> SimpleNamespace:
    """The makers of rows, for cohorts other than the one worked by hand."""
    return SimpleNamespace(slide=slide, amount=amount, patches=patches, AMOUNTS=AMOUNTS, PATCHES=PATCHES)
