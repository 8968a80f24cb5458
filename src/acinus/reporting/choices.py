"""What was chosen on the validation slides, and what the choice gave there and on the test slides."""

from collections.abc import Mapping
from typing import Any

from acinus.errors import AcinusError
from acinus.reporting.figure_parts import Metrics
from acinus.reporting.setup import MetricSetup, Tables

CLEAN_UP = ("smoothing_px", "min_region_um2", "min_peak", "max_hole_um2")
"""How the operating point cleans a map up."""


def choice_values(given: Tables, setup: MetricSetup) -> Metrics:
    """Return the figures of search, calibration and operating point; a recipe without any of them has none.

    n_trials and best.<setting> (numbers only) of a search that ran; tuned.val.<objective> and tuned.<objective>
    (test) stand beside untuned.*, only where any of them was measured. The operating point's temperature, offsets
    (bias.<class>, where there are any) and clean-up, how many slides (n_slides_calibrated) and trials
    (n_point_trials) chose it; threshold only where there are two classes (more are decided by the likeliest);
    val.<objective> of whole validation slides beside the same `.at_half`, of the plain point at threshold 0.5, and
    val.slide_specificity and val.slide_sensitivity with theirs.
    """
    searched = _chosen(given.tuning) | _searched(given.comparison)
    return searched | _point(given.point, setup) | _calibrated(given.calibration)


def _chosen(tuning: Mapping[str, Any]) -> Metrics:
    if not tuning.get("trials"):
        return {}
    settings = tuning.get("settings") or {}
    numbers = {key: value for key, value in settings.items() if is_number(value)}
    return {"n_trials": int(tuning["trials"])} | {f"best.{key}": value for key, value in numbers.items()}


def is_number(value: Any) -> bool:
    """Return whether a setting is a number, which a choice between true and false is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _searched(comparison: Mapping[str, Any]) -> Metrics:
    objective = comparison.get("objective")
    if objective is None:
        return {}
    found = {
        f"{which}.{prefix}{objective}": _number(comparison.get(which, {}).get(split), f"{which}.{split}")
        for which in ("tuned", "untuned")
        for prefix, split in (("val.", "val"), ("", "test"))
    }
    return found if any(value is not None for value in found.values()) else {}


def _point(point: Mapping[str, Any], setup: MetricSetup) -> Metrics:
    if not point:
        return {}
    values: Metrics = {"temperature": _number(point["temperature"], "temperature")}
    offsets = setup.offsets(point.get("bias") or ())
    values |= {f"bias.{name}": _number(one, f"bias.{name}") for name, one in offsets.items()}
    if len(setup.classes) == 2:
        values["threshold"] = _number(point["threshold"], "threshold")
    values |= {name: _number(point[name], name) for name in CLEAN_UP if name in point}
    source = point.get("source") or {}
    if source.get("slides") is not None:
        values["n_slides_calibrated"] = len(source["slides"])
    if source.get("trials") is not None:
        values["n_point_trials"] = int(source["trials"])
    objective = source.get("objective")
    if objective is not None:
        values[f"val.{objective}"] = _number(source.get("value"), "source.value")
        values[f"val.{objective}.at_half"] = _number(source.get("value_at_half"), "source.value_at_half")
        for name in ("specificity", "sensitivity"):
            if name in source:
                values[f"val.slide_{name}"] = _number(source[name], f"source.{name}")
                values[f"val.slide_{name}.at_half"] = _number(source.get(f"{name}_at_half"), f"source.{name}_at_half")
    return values


def _calibrated(calibration: Mapping[str, Any]) -> Metrics:
    result: Metrics = {}
    for name in ("ece", "brier", "nll"):
        found = calibration.get(name)
        if isinstance(found, Mapping):
            result[f"val.{name}"] = _number(found.get("after"), f"{name}.after")
            result[f"val.{name}.uncalibrated"] = _number(found.get("before"), f"{name}.before")
    return result


def _number(value: Any, where: str) -> float | int | None:
    """Return a number of a JSON or YAML file, or refuse what is none."""
    if value is None:
        return None
    if not is_number(value):
        raise AcinusError(f"{where}: {value!r} found, expected a number or null; run the stage that wrote it again")
    number: float | int = value
    return number
