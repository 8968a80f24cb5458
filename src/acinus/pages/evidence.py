"""The parts of a page about tuning, calibration, grades, lesions and instances, as lines of metrics."""

from dataclasses import dataclass
from typing import Any

from acinus.metrics.grades import MAIN_GRADE
from acinus.metrics.metric import MEAN_OF_CLASSES, Metric, Metrics
from acinus.metrics.registry import METRICS, shown_in
from acinus.pages.contexts import Chart, RecipePage

Value = float | int | None

SECTIONS = ("tuning", "calibration", "grades", "lesions")
"""Parts of a page that have charts of their own; all others stand together as curves."""


@dataclass(frozen=True)
class Line:
    """A metric as one line of a table; low and high are its interval, None where it has none."""

    words: Metric
    value: Value
    low: Value
    high: Value


@dataclass(frozen=True)
class Pair:
    """A number before and after something."""

    label: str
    before: Value
    after: Value
    low: Value = None
    high: Value = None


def lines(page: RecipePage, section: str) -> list[Line]:
    """Return the metrics of a section that the recipe has anything of, as lines."""
    metrics = page.metrics
    found = []
    for name in shown_in(section, metrics, page.setup.task):
        words = METRICS[name].worded(page.setup.task)
        if metrics.get(words.counts) != 0:
            low, high = metrics.get(f"{name}_ci_low"), metrics.get(f"{name}_ci_high")
            found.append(Line(words, metrics[name], low, high))
    return found


def parts(page: RecipePage) -> dict[str, Any]:
    """Return what the template needs for these parts; an empty part is left out of the page."""
    metrics, many = page.metrics, len(page.setup.classes) > 2
    return {
        "tuned": _tuned(metrics),
        "calibrated": _calibrated(metrics, many),
        "not_lowered": _not_lowered(metrics),
        "offsets": _offsets(page),
        "grades": _grades(page),
        "seeds": _seeds(page),
        "rule": _rule(page),
        "lesions": lines(page, "lesions"),
        "instances": lines(page, "instances"),
        "objective": named(page.tuning.get("objective")),
        "chosen_by": named((page.point.get("source") or {}).get("objective"), many),
        "charts_of": {name: _charts(page, name) for name in SECTIONS},
        "curves": tuple(one for one in page.charts if one.section not in SECTIONS),
    }


def named(objective: str | None, many: bool = False) -> str:
    """Return an objective in words, empty where there is none. many: of several foreground classes."""
    if many and objective == "dice":
        return f"Dice, {MEAN_OF_CLASSES}"
    metric = METRICS.get(objective or "")
    return metric.label if metric else OBJECTIVES.get(objective or "", (objective or "").replace("_", " "))


OBJECTIVES = {"dice": "Dice", "f1": "F1"}
"""Objectives of the calibration that are no metric of a report by that name."""


def _charts(page: RecipePage, section: str) -> tuple[Chart, ...]:
    return tuple(one for one in page.charts if one.section == section)


def _grades(page: RecipePage) -> list[Line]:
    """Return the metrics of graders and calls; tumour by burden where the rule's own accuracy does not say it."""
    said = "grade_accuracy.rule" in page.metrics
    return [line for line in lines(page, "grades") if not (said and line.words.name in BY_BURDEN)]


BY_BURDEN = ("tumor_mil_accuracy", "tumor_rule_accuracy")
"""What the rule's accuracy as a grader says already."""


@dataclass(frozen=True)
class Seeds:
    """What the graders of single seeds reach alone."""

    label: str
    mean: Value
    std: Value
    low: Value
    high: Value


def seeds_of(metrics: Metrics, name: str) -> Seeds | None:
    """Return the single graders of a metric; None where it has none."""
    if metrics.get(f"{name}.seeds_mean") is None:
        return None
    ends = (metrics.get(f"{name}.seeds_{end}") for end in ("mean", "std", "low", "high"))
    return Seeds(METRICS[name].label, *ends)


def _seeds(page: RecipePage) -> Seeds | None:
    main = MAIN_GRADE.get(page.grade)
    return seeds_of(page.metrics, main) if main else None


def _rule(page: RecipePage) -> str:
    """Return what stands beside the graders: grades (the rule gives them too), burden (it cannot), or nothing."""
    main, metrics = MAIN_GRADE.get(page.grade), page.metrics
    if main and f"{main}.rule" in metrics:
        return "grades"
    return "burden" if metrics.get("n_tumor_rule") or metrics.get("n_graded") else ""


def _tuned(metrics: Metrics) -> list[Pair]:
    """Return the recipe's own values against the best ones found, on validation and test patches."""
    names = sorted(key.removeprefix("untuned.") for key in metrics if key.startswith("untuned."))
    pairs = []
    for name in sorted(names, key=lambda one: not one.startswith("val.")):
        split, measure = ("validation", name[4:]) if name.startswith("val.") else ("test", name)
        pairs.append(
            Pair(f"{named(measure)}, {split} patches", metrics[f"untuned.{name}"], metrics.get(f"tuned.{name}"))
        )
    return [one for one in pairs if one.before is not None or one.after is not None]


CALIBRATED = {
    "ece": "Expected calibration error, test",
    "brier": "Brier score, test",
    "val.ece": "Expected calibration error, validation",
}


def _offsets(page: RecipePage) -> list[tuple[str, Value]]:
    """Return the classes with their offsets in the operating point, none where there is no bias."""
    names = {one.name: f"bias.{one.name}" for one in page.classes}
    return [(name, page.metrics[key]) for name, key in names.items() if key in page.metrics]


def _not_lowered(metrics: Metrics) -> list[str]:
    """Return the splits whose ECE is not lower after the calibration; none where nothing was done."""
    if metrics.get("temperature") in (None, 1.0) and not any(name.startswith("bias.") for name in metrics):
        return []
    found = []
    for name, split in (("ece", "test"), ("val.ece", "validation")):
        before, after = metrics.get(f"{name}.uncalibrated"), metrics.get(name)
        if before is not None and after is not None and after >= before:
            found.append(split)
    return found


def _calibrated(metrics: Metrics, many: bool) -> list[Pair]:
    """Return numbers before and after: those of the calibration, and those of the plain and of the chosen point."""
    pairs = [
        Pair(
            text,
            metrics[f"{name}.uncalibrated"],
            metrics[name],
            metrics.get(f"{name}_ci_low"),
            metrics.get(f"{name}_ci_high"),
        )
        for name, text in CALIBRATED.items()
        if name in metrics and f"{name}.uncalibrated" in metrics
    ]
    for key in sorted(metrics):
        name = key.removesuffix(".at_half")
        if name != key and name in metrics:
            label = f"{named(name.removeprefix('val.'), many)}, validation slides: plain point, chosen point"
            pairs.append(Pair(label, metrics[key], metrics[name]))
    return [one for one in pairs if one.before is not None or one.after is not None]
