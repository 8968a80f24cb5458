"""Grades, lesions, instances, calibration and agreement in words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """A figure in words. `counts` names the metric that says over how many of `things` it is taken."""

    label: str
    short: str
    about: str
    counts: str
    things: str
    kind: str  # share: 0..1; points: percentage points, signed where `signed`
    signed: bool = False


FURTHER: dict[str, Wording] = {
    "slide_sensitivity": Wording(
        "Sensitivity, slides",
        "sensitivity",
        "share of the tumour slides that their predicted burden alone calls tumour",
        "n_tumor_called",
        "slides",
        "share",
    ),
    "slide_specificity": Wording(
        "Specificity, slides",
        "specificity",
        "share of the normal slides that their predicted burden alone calls normal",
        "n_normal_called",
        "slides",
        "share",
    ),
    "qwk": Wording(
        "Quadratic kappa",
        "QWK",
        "agreement of the ISUP grade with the true one, weights (i - j)² / 25 over grades 0 to 5, all slides at once",
        "n_graded",
        "slides",
        "share",
    ),
    "grade_auc": Wording(
        "Grade AUC",
        "grade AUC",
        "tumour against normal slides, by the probability that attention MIL gives",
        "n_graded",
        "slides",
        "share",
    ),
    "grade_accuracy": Wording(
        "Grade accuracy", "grade accuracy", "share of slides given exactly their grade", "n_graded", "slides", "share"
    ),
    "froc": Wording(
        "Lesion FROC",
        "FROC",
        "mean share of lesions found at 1/4, 1/2, 1, 2, 4 and 8 false positives per slide; lesions less than 75 µm "
        "apart are one, isolated tumour cells count neither way",
        "n_lesions",
        "lesions",
        "share",
    ),
    "pq": Wording(
        "Panoptic quality",
        "PQ",
        "instances matched at IoU above 0.5, counted over all slides, then the mean over the foreground classes",
        "n_pq",
        "slides",
        "share",
    ),
    "ece": Wording(
        "Calibration error",
        "ECE",
        "gap between the probability of the likeliest class and how often it is right, after calibration, 15 bins; "
        "0 is best",
        "n_class_scores",
        "patches",
        "share",
    ),
    "brier": Wording(
        "Brier score",
        "Brier",
        "squared error of the probabilities summed over the classes, after calibration; 0 is best, 2 worst",
        "n_class_scores",
        "patches",
        "share",
    ),
}
"""Figures with an interval that a recipe may have beside those of overlap, burden and ranking."""

SEEDS = {"low": "worst seed", "high": "best seed", "mean": "mean of seeds", "std": "standard deviation of seeds"}
"""What stands of the seeds beside the figure of their mean."""

SIDE_FIGURES: dict[str, Wording] = {
    "burden_loa_low": Wording(
        "Limits of agreement, low",
        "burden LoA low",
        "bias of the burden minus 1.96 standard deviations of its error: 95 % of slides lie between the limits",
        "n_burden",
        "slides",
        "points",
        signed=True,
    ),
    "burden_loa_high": Wording(
        "Limits of agreement, high",
        "burden LoA high",
        "bias of the burden plus 1.96 standard deviations of its error: 95 % of slides lie between the limits",
        "n_burden",
        "slides",
        "points",
        signed=True,
    ),
    "ece.uncalibrated": Wording(
        "Calibration error, as trained",
        "ECE as trained",
        "the same before calibration, at temperature 1",
        "n_class_scores",
        "patches",
        "share",
    ),
    "brier.uncalibrated": Wording(
        "Brier score, as trained",
        "Brier as trained",
        "the same before calibration, at temperature 1",
        "n_class_scores",
        "patches",
        "share",
    ),
    "qwk.rule": Wording(
        "Quadratic kappa, rule",
        "QWK rule",
        "the same of the grade that follows from the predicted area shares of the Gleason patterns",
        "n_graded_rule",
        "slides",
        "share",
    ),
    "grade_accuracy.rule": Wording(
        "Grade accuracy, rule",
        "grade accuracy rule",
        "the same of a slide called tumour from a stated predicted burden on",
        "n_graded_rule",
        "slides",
        "share",
    ),
    "tumor_rule_accuracy": Wording(
        "Tumour by burden, accuracy",
        "tumour by burden",
        "share of slides labelled normal or tumour that the predicted burden alone calls rightly",
        "n_tumor_rule",
        "slides",
        "share",
    ),
    "false_area_share": Wording(
        "False area, normal slides",
        "false area",
        "mean share of the tissue of a normal slide that is predicted as tumour",
        "n_normal_mapped",
        "slides",
        "percent",
    ),
    "false_area_mm2": Wording(
        "False area, normal slides, mm²",
        "false area, mm²",
        "mean area of a normal slide that is predicted as tumour, where its um per px are known",
        "n_false_area_mm2",
        "slides",
        "points",
    ),
    "tumor_mil_accuracy": Wording(
        "Tumour by attention MIL, accuracy",
        "tumour by MIL",
        "share of slides labelled normal or tumour that the grade given calls rightly: above 0 is tumour",
        "n_tumor_mil",
        "slides",
        "share",
    ),
    **{
        name: Wording(label, label.lower(), about, "n_froc", "slides", "count")
        for name, label, about in (
            ("n_lesions", "Lesions", "lesions to be found on the slides whose lesions are known"),
            ("n_itc", "Isolated tumour cells", "too small to be lesions: neither to be found nor wrong to find"),
        )
    },
    **{
        f"{name}.seeds_{end}": Wording(
            f"{label}, {which}",
            f"{short} {which}",
            f"the {which} of the models trained from several seeds, alone; the grade is of their mean",
            "n_graded",
            "slides",
            "share",
        )
        for name, label, short in (("qwk", "Quadratic kappa", "QWK"), ("grade_accuracy", "Grade accuracy", "accuracy"))
        for end, which in SEEDS.items()
    },
    **{
        name: Wording(label, label.lower(), about, "n_class_scores", "patches", "share")
        for name, label, about in (
            (
                "temperature",
                "Temperature",
                "what the network's logits are divided by; above 1 it was too sure of itself",
            ),
            (
                "threshold",
                "Threshold",
                "probability from which a pixel of the map is tumour, chosen on validation slides",
            ),
        )
    },
}
"""Figures that stand beside the headlines, most without an interval of their own."""
