"""The parts of a page about tuning, calibration, grades, lesions and instances, as lines of figures."""

from dataclasses import dataclass
from typing import Any

from acinus.reporting import wording
from acinus.reporting.contexts import Chart, RecipePage
from acinus.reporting.metrics import Metrics

Value = float | int | None

SECTIONS = ("tuning", "calibration", "grades", "lesions")
"""Parts of a page that have charts of their own; all others stand together as curves."""


@dataclass(frozen=True)
class Line:
    """A figure as one line of a table; low and high are its interval, None where it has none."""

    label: str
    about: str
    value: Value
    low: Value
    high: Value
    kind: str
    signed: bool


@dataclass(frozen=True)
class Pair:
    """A figure before and after something."""

    label: str
    before: Value
    after: Value
    low: Value = None
    high: Value = None


def line(metrics: Metrics, name: str, task: str) -> Line | None:
    """Return a figure of `metrics` in words, or None where the recipe has no such figure."""
    if name not in metrics:
        return None
    words = wording.words(name, task) if name in wording.HEADLINES else wording.PLAIN[name]
    low, high = metrics.get(f"{name}_ci_low"), metrics.get(f"{name}_ci_high")
    return Line(words.label, words.about, metrics[name], low, high, words.kind, words.signed)


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
        "lesions": _lines(page, "froc", "n_lesions", "n_itc"),
        "instances": _lines(page, "pq"),
        "objective": named(page.tuning.get("objective")),
        "chosen_by": named((page.point.get("source") or {}).get("objective"), many),
        "charts_of": {name: _charts(page, name) for name in SECTIONS},
        "curves": tuple(one for one in page.charts if one.section not in SECTIONS),
    }


def named(objective: str | None, many: bool = False) -> str:
    """Return an objective in words, empty where there is none. many: of several foreground classes."""
    if many and objective == "dice":
        return f"Dice, {wording.MEAN_OF_CLASSES}"
    words = wording.HEADLINES.get(objective or "")
    return words.label if words else OBJECTIVES.get(objective or "", (objective or "").replace("_", " "))


OBJECTIVES = {"dice": "Dice", "f1": "F1", "froc": "FROC"}
"""Objectives of the calibration that are no headline of a report by that name."""


def _charts(page: RecipePage, section: str) -> tuple[Chart, ...]:
    return tuple(one for one in page.charts if one.section == section)


def _lines(page: RecipePage, *names: str) -> list[Line]:
    found = [line(page.metrics, name, page.provenance.task) for name in names]
    return [one for one in found if one is not None]


MAIN_GRADE = {"isup": "qwk", "tumor": "grade_accuracy"}
"""What is graded -> the figure by which its graders are known."""


def _grades(page: RecipePage) -> list[Line]:
    """Return the graders' figures, then those of tumour by burden where they say more and any slide is labelled."""
    found = _lines(page, "qwk", "qwk.rule", "grade_accuracy", "grade_accuracy.rule", "grade_auc")
    if page.metrics.get("n_tumor_rule") and "grade_accuracy.rule" not in page.metrics:
        by_mil = ["tumor_mil_accuracy"] if page.metrics.get("n_tumor_mil") else []
        found += _lines(page, *by_mil, "tumor_rule_accuracy")
    if page.metrics.get("n_normal_mapped"):
        found += _lines(page, "slide_sensitivity", "slide_specificity", "false_area_share", "false_area_mm2")
    return found


@dataclass(frozen=True)
class Seeds:
    """What the graders of single seeds reach alone."""

    label: str
    mean: Value
    std: Value
    low: Value
    high: Value


def seeds_of(metrics: Metrics, name: str, task: str) -> Seeds | None:
    """Return the single graders of a figure; None where it has none."""
    if metrics.get(f"{name}.seeds_mean") is None:
        return None
    ends = (metrics.get(f"{name}.seeds_{end}") for end in ("mean", "std", "low", "high"))
    return Seeds(wording.words(name, task).label, *ends)


def _seeds(page: RecipePage) -> Seeds | None:
    main = MAIN_GRADE.get(page.grade)
    return seeds_of(page.metrics, main, page.provenance.task) if main else None


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
    """Return figures before and after: those of the calibration, and those of the plain and of the chosen point."""
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
