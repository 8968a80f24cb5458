"""The parts of a page about tuning, calibration, grades, lesions and instances, as lines of metrics."""

from typing import Any

from acinus.metrics.grades import MAIN_GRADE
from acinus.metrics.metric import MEAN_OF_CLASSES, Metric, Metrics
from acinus.metrics.registry import METRICS, shown_in
from acinus.pages.contexts import RecipePage

SECTIONS = ("tuning", "calibration", "grades", "lesions")
"""Parts of a page that have charts of their own; all others stand together as curves."""

OBJECTIVES = {"dice": "Dice", "f1": "F1"}
"""Objectives of the calibration that are no metric of a report by that name."""

BY_BURDEN = ("tumor_mil_accuracy", "tumor_rule_accuracy")
"""What the rule's accuracy as a grader says already."""

CALIBRATED = {
    "ece": "Expected calibration error, test",
    "brier": "Brier score, test",
    "val.ece": "Expected calibration error, validation",
}


Pair = tuple[str, str, str]
"""What a number is of, in words, and the metrics that have it before and after something."""


def parts(page: RecipePage) -> dict[str, Any]:
    """Return what the template needs for these parts; an empty part is left out of the page."""
    metrics, many = page.metrics, len(page.setup.classes) > 2
    # the rule's own accuracy as a grader says what tumour by burden says
    left_out = BY_BURDEN if "grade_accuracy.rule" in metrics else ()
    grade = MAIN_GRADE.get(page.grade, "")
    rule = "burden" if metrics.get("n_tumor_rule") or metrics.get("n_graded") else ""
    offsets = [(key.name, f"bias.{key.name}") for key in page.classes]
    return {
        "tuned": _tuned(metrics),
        "calibrated": _calibrated(metrics, many),
        "not_lowered": _not_lowered(metrics),
        "offsets": [(name, metrics[offset]) for name, offset in offsets if offset in metrics],
        "grades": [metric for metric in _lines(page, "grades") if metric.name not in left_out],
        "seeds": METRICS[grade] if metrics.get(f"{grade}.seeds_mean") is not None else None,
        "rule": "grades" if f"{grade}.rule" in metrics else rule,  # the rule gives grades too, or it cannot
        "lesions": _lines(page, "lesions"),
        "instances": _lines(page, "instances"),
        "objective": _named(page.tuning.get("objective")),
        "chosen_by": _named((page.point.get("source") or {}).get("objective"), many),
        "charts_of": {name: tuple(chart for chart in page.charts if chart.section == name) for name in SECTIONS},
        "curves": tuple(chart for chart in page.charts if chart.section not in SECTIONS),
    }


def _lines(page: RecipePage, section: str) -> list[Metric]:
    """Return the metrics of a section that the recipe has anything of."""
    task = page.setup.task
    metrics = [METRICS[name].worded(task) for name in shown_in(section, page.metrics, task)]
    return [metric for metric in metrics if page.metrics.get(metric.counts) != 0]


def _named(objective: str | None, many: bool = False) -> str:
    """Return an objective in words, empty where there is none. many: of several foreground classes."""
    if many and objective == "dice":
        return f"Dice, {MEAN_OF_CLASSES}"
    name = objective or ""
    return METRICS[name].label if name in METRICS else OBJECTIVES.get(name, name.replace("_", " "))


def _tuned(metrics: Metrics) -> list[Pair]:
    """Return the recipe's own values against the best ones found, on validation and test patches."""
    names = sorted(key.removeprefix("untuned.") for key in metrics if key.startswith("untuned."))
    pairs = []
    for name in sorted(names, key=lambda name: not name.startswith("val.")):
        split = "validation" if name.startswith("val.") else "test"
        text = f"{_named(name.removeprefix('val.'))}, {split} patches"
        pairs.append((text, f"untuned.{name}", f"tuned.{name}"))
    return _defined(pairs, metrics)


def _calibrated(metrics: Metrics, many: bool) -> list[Pair]:
    """Return numbers before and after: those of the calibration, and those of the plain and of the chosen point."""
    pairs = [(text, f"{name}.uncalibrated", name) for name, text in CALIBRATED.items()]
    for key in sorted(metrics):
        name = key.removesuffix(".at_half")
        if name != key:
            text = f"{_named(name.removeprefix('val.'), many)}, validation slides: plain point, chosen point"
            pairs.append((text, key, name))
    return _defined([pair for pair in pairs if {pair[1], pair[2]} <= metrics.keys()], metrics)


def _defined(pairs: list[Pair], metrics: Metrics) -> list[Pair]:
    return [pair for pair in pairs if (metrics.get(pair[1]), metrics.get(pair[2])) != (None, None)]


def _not_lowered(metrics: Metrics) -> list[str]:
    """Return the splits whose ECE is not lower after the calibration; none where nothing was done."""
    if metrics.get("temperature") in (None, 1.0) and not any(name.startswith("bias.") for name in metrics):
        return []
    splits = []
    for name, split in (("ece", "test"), ("val.ece", "validation")):
        before, after = metrics.get(f"{name}.uncalibrated"), metrics.get(name)
        if before is not None and after is not None and after >= before:
            splits.append(split)
    return splits
