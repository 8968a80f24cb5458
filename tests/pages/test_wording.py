"""Every metric that pages may show has words."""

import pytest

from acinus.metrics.grades import MAIN_GRADE
from acinus.metrics.metric import Case
from acinus.metrics.registry import BASELINES, MAIN_OF_FAMILY, METRICS, classes_of, headlines
from acinus.pages.rendering import _environment
from acinus.params import RECIPES


def test_every_metric_has_words_and_needs_what_there_is(cohort) -> None:
    tables = set(vars(cohort.tables))
    for name, metric in METRICS.items():
        assert metric.label, name
        assert metric.about, name
        assert not metric.about.endswith("."), name
        assert set(metric.tables) <= tables, name
        assert metric.counts.startswith("n_") or not metric.interval or not metric.reported, name


def test_what_names_metrics_names_those_of_the_registry() -> None:
    assert set(MAIN_OF_FAMILY.values()) | set(MAIN_GRADE.values()) <= set(METRICS)
    assert set(MAIN_OF_FAMILY) <= set(RECIPES)
    for name in ("patch_auc", *MAIN_OF_FAMILY.values()):
        assert METRICS[name].short, name
    for task in BASELINES:
        assert len(headlines(task)) > 10


def test_a_metric_that_is_a_mean_over_classes_says_so() -> None:
    for name in ("dice_mean", "dice_mean_tumor", "iou_mean"):
        two, three = (METRICS[name].worded("segmentation", classes) for classes in (2, 3))
        assert (two.label, two.short) == (METRICS[name].label, METRICS[name].short)
        assert "mean of classes" in three.label
        assert "mean of classes" in three.short or not METRICS[name].short
    assert classes_of({"class_dice.a": 1, "class_dice.b": None, "class_dice.c": 0.5, "dice_mean": 1}) == 3
    assert classes_of({"patch_auc": 1}) == 2


def test_scores_of_px_are_not_called_patches() -> None:
    assert METRICS["ece"].worded("segmentation").things != METRICS["ece"].worded("patch_classification").things
    assert "foreground classes" in METRICS["dice_mean"].worded("segmentation", 3).about


@pytest.mark.parametrize("name", headlines("segmentation"))
def test_a_segmentation_of_two_classes_has_no_mean_of_classes(name: str) -> None:
    """A card of cancer or not said: per slide the mean Dice of its foreground classes."""
    assert name == "pq" or "foreground classes" not in METRICS[name].worded("segmentation", 2).about


def test_a_metric_without_its_table_is_not_taken(cohort) -> None:
    alone = Case(cohort.case.slides, cohort.case.setup)
    assert METRICS["patch_auc"].measures(alone) == {}
    assert set(METRICS["dice_mean"].measures(alone)) == {"dice_mean"}


def test_a_name_cannot_turn_the_direction_of_a_sentence() -> None:
    assert _environment().from_string("{{ name }} was learned").render(name="b\u202eab<i>") == (
        "b\N{REPLACEMENT CHARACTER}ab&lt;i&gt; was learned"
    )
