"""What the tissue mask costs, on three slides worked by hand."""

import pytest

from acinus.metrics.setup import MetricSetup
from acinus.pages.columns import shown_columns

SETUP = MetricSetup("segmentation", ("other", "cancer"))


def with_truth(given: dict, outside: int, ceiling: tuple[int, ...], source: str = "tissue mask") -> dict:
    return given | {
        "outside_px": outside,
        "outside_mm2": outside / 1000,
        "true_tissue_px": 1000,
        "burden_source": source,
        "confusion": ceiling,
        "confusion_ceiling": ceiling,
        "confusion_majority": ceiling,
        "confusion_colour": ceiling,
    }


@pytest.fixture
def cohort(build, rows):
    amount, slide = rows.amount, rows.slide
    return build(
        slides=[slide("a", "tumor", "p1"), slide("b", "tumor", "p2"), slide("c", "normal", "p3")],
        amounts=[
            with_truth(amount("a", (80, 80, 100), (8.0, 10.0), 0.9), 20, (900, 0, 20, 80), "annotation"),
            with_truth(amount("b", (300, 300, 300), (30.0, 30.0), 0.9), 3, (700, 0, 0, 300)),
            with_truth(amount("c", (0, 0, 0), (0.0, 0.0), 0.1), 0, (1000, 0, 0, 0)),
        ],
        scores=[],
        setup=SETUP,
    )


def test_figures_of_each_slide(cohort) -> None:
    table = cohort.per_slide.set_index("slide_id")
    assert table["tumour_outside_share"].tolist()[:2] == [0.2, 0.01]
    assert table["tumour_outside_share"].isna().tolist() == [False, False, True]  # c has no tumour to lose
    assert table["tumour_outside_mm2"].tolist() == [0.02, 0.003, 0.0]
    assert table["dice_ceiling"].tolist()[:2] == [pytest.approx(160 / 180), 1.0]
    assert table["burden_source"].tolist() == ["annotation", "tissue mask", "tissue mask"]
    assert ["tumor_outside_tissue" in one.split(";") for one in table["flags"]] == [True, False, False]  # b: not above


def test_figures_of_the_recipe(cohort) -> None:
    found = cohort.metrics
    assert found["ceiling_dice_mean"] == found["ceiling_dice_mean_tumor"] == pytest.approx((160 / 180 + 1) / 2)
    assert found["ceiling_dice_pooled"] == pytest.approx(760 / 780)
    assert found["tumour_outside_share"] == pytest.approx(23 / 400)
    assert (found["n_tumour_outside"], found["n_burden_annotation"]) == (1, 1)
    keys = [column.key for column in shown_columns(cohort.per_slide, SETUP, "tumour")]
    assert {"burden_source", "tumour_outside_mm2", "tumour_outside_share", "dice_ceiling"} < set(keys)


def test_without_truth_there_is_nothing_to_say(build, rows) -> None:
    amounts = [rows.amount("a", (None, None, None), (8.0, None), 0.9)]
    found = build(slides=[rows.slide("a", "tumor", "p1")], amounts=amounts, scores=[])
    assert found.metrics["ceiling_dice_pooled"] is found.metrics["tumour_outside_share"] is None
    assert "dice_ceiling" not in {column.key for column in shown_columns(found.per_slide, SETUP, "tumour")}
