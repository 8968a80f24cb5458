"""Every figure that pages may show has words."""

import pytest

from acinus.reporting import metrics, wording
from acinus.reporting.summary import COLUMNS


def test_every_headline_has_words_and_every_word_a_headline() -> None:
    assert set(wording.HEADLINES) == set(metrics.HEADLINES)
    assert set(COLUMNS) <= set(wording.HEADLINES)
    assert not set(wording.PLAIN) & set(wording.HEADLINES)


@pytest.mark.parametrize("task", metrics.HEADLINES_OF)
def test_words_say_what_is_counted(task: str) -> None:
    for name in (*metrics.HEADLINES_OF[task], *wording.PLAIN):
        found = wording.words(name, task)
        assert found.label, name
        assert found.about, name
        assert found.counts.startswith("n_"), name


def test_a_figure_that_is_a_mean_over_classes_says_so() -> None:
    for name in ("dice_mean", "dice_mean_tumor", "iou_mean"):
        two, three = (wording.words(name, "segmentation", classes) for classes in (2, 3))
        assert (two.label, two.short) == (wording.HEADLINES[name].label, wording.HEADLINES[name].short)
        assert all("mean of classes" in text for text in (three.label, three.short))
    assert wording.classes_of({"class_dice.a": 1, "class_dice.b": None, "class_dice.c": 0.5, "dice_mean": 1}) == 3
    assert wording.classes_of({"patch_auc": 1}) == 2


def test_scores_of_px_are_not_called_patches() -> None:
    assert wording.words("ece", "segmentation").things != wording.words("ece", "patch_classification").things
    assert "foreground classes" in wording.words("dice_mean", "segmentation", 3).about


def test_a_segmentation_of_two_classes_has_no_mean_of_classes() -> None:
    """A card of cancer or not said: per slide the mean Dice of its foreground classes."""
    for name in wording.HEADLINES:
        assert name == "pq" or "foreground classes" not in wording.words(name, "segmentation", 2).about
