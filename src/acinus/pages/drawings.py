"""All charts of a recipe's report, each with its title, what it shows in words and where it belongs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from acinus.charts import curves as charts
from acinus.metrics.grades import confusions_of
from acinus.metrics.lesions import lesion_curve
from acinus.metrics.metric import floats, scored_slides, usable_slides
from acinus.metrics.setup import MetricSetup, Tables
from acinus.pages.plots_data import confusion_matrix, patch_scores, plots, slide_scores


@dataclass(frozen=True)
class Drawing:
    """A chart: PNG bytes, title, what it shows in words (the alt text) and its section of the page."""

    png: bytes
    title: str
    alt: str
    section: Literal["training", "results", "calibration", "grades", "lesions"]


def draw(given: Tables, per_slide: pd.DataFrame, setup: MetricSetup) -> dict[str, Drawing]:
    """Return the charts for which the recipe has data, by the name of their file, in the order of the page.

    `per_slide` is `tables.per_slide` of the same `given` and `setup`.
    """
    curves, png = plots(given, per_slide, setup), charts.training_chart(given.log)
    result = {
        "training": Drawing(png, "Training", "loss and accuracy per epoch, training and validation", "training"),
        **(_of_pixels(given, per_slide, setup) if setup.segments else _of_patches(given, per_slide, setup)),
        **_of_precision(curves["pr"], patch_scores(usable_slides(per_slide), given, setup)[1], setup),
        **_of_burden(scored_slides(per_slide), setup),
        **_of_calibration(curves, given),
    }
    confusions = confusions_of(usable_slides(per_slide), given, setup)
    if confusions:
        names = [str(one) for one in range(setup.grades)] if setup.grade == "isup" else ["normal", "tumour"]
        png = charts.grade_chart(confusions, names)
        by = "attention MIL and by the rule" if "rule" in confusions else "attention MIL"
        text = f"test slides of each true grade by the grade given, by {by}"
        result["grades"] = Drawing(png, "Grades", text, "grades")
    lesions = lesion_curve(scored_slides(per_slide), given)
    if lesions:
        text = "share of lesions found against mean false positives per slide"
        result["froc"] = Drawing(charts.froc_chart(lesions), "Lesion FROC", text, "lesions")
    return result


def _of_pixels(given: Tables, per_slide: pd.DataFrame, setup: MetricSetup) -> dict[str, Drawing]:
    png = charts.confusion_chart(confusion_matrix(given, per_slide, setup), setup.classes)
    about = "which class the pixels of each true class were given, in percent"
    return {"confusion": Drawing(png, "Confusion", about, "results")}


def _of_patches(given: Tables, per_slide: pd.DataFrame, setup: MetricSetup) -> dict[str, Drawing]:
    usable = usable_slides(per_slide)
    patches = patch_scores(usable, given, setup)
    both = {"patches": patches, "slides": slide_scores(scored_slides(per_slide))}
    own: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name in usable["slide_id"]:
        one = patch_scores(usable[usable["slide_id"] == name], given, setup)
        own |= {str(name): one} if one[1].size else {}
    text = "ROC curve and AUC of the patches of each test slide that has both classes"
    return {
        "roc": Drawing(
            charts.roc_chart(both), "ROC", "ROC curves of the test patches and of the test slides", "results"
        ),
        "roc_slides": Drawing(charts.slide_roc_chart(own), "ROC within slides", text, "results"),
    }


def _of_precision(curve: pd.DataFrame, labels: np.ndarray, setup: MetricSetup) -> dict[str, Drawing]:
    if curve.empty:
        return {}
    things = "pixels drawn from the test patches" if setup.segments else "test patches"
    png = charts.pr_chart(curve, float(np.mean(labels)))
    return {"pr": Drawing(png, "Precision and recall", f"precision against recall of the {things}", "results")}


def _of_burden(scored: pd.DataFrame, setup: MetricSetup) -> dict[str, Drawing]:
    predicted, true = floats(scored, "burden_pred"), floats(scored, "burden_true")
    text = f"predicted against annotated {_burden(setup)} per slide"
    result = {"burden": Drawing(charts.burden_chart(predicted, true), "Burden", text, "results")}
    if np.isfinite(floats(scored, "burden_error")).any():
        png = charts.bland_altman_chart(predicted, true)
        text = f"error of the {_burden(setup)} against its size, bias and 95 % limits of agreement (Bland-Altman)"
        result["bland_altman"] = Drawing(png, "Limits of agreement", text, "results")
    return result


def _burden(setup: MetricSetup) -> str:
    """Return what the burden of a recipe is: of tumour, or of the positive classes by name."""
    if len(setup.classes) == 2:
        return "tumour burden"
    return f"burden (share of tissue that is {', '.join(setup.classes[one] for one in setup.positive_indices)})"


def _of_calibration(found: Mapping[str, pd.DataFrame], given: Tables) -> dict[str, Drawing]:
    result = {}
    if not found["reliability"].empty:
        png = charts.reliability_chart(found["reliability"])
        text = "how often the likeliest class is right by its probability, before and after calibration, test split"
        result["reliability"] = Drawing(png, "Reliability", text, "calibration")
    if not found["threshold"].empty:
        chosen = given.point.get("threshold")
        png = charts.threshold_chart(found["threshold"], None if chosen is None else float(chosen))
        text = (
            "Dice, F1, sensitivity and specificity of the validation slides' maps, before clean-up, against the "
            "threshold; the chosen one marked"
        )
        result["threshold"] = Drawing(png, "Threshold", text, "calibration")
    return result
