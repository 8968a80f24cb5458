"""Numbers that other stages leave: what was chosen on validation slides and what it gave, and how patches were kept."""

from collections.abc import Mapping
from typing import Any

from acinus.errors import AcinusError
from acinus.metrics.metric import Metrics
from acinus.metrics.setup import MetricSetup, Tables

EXTRACTION: dict[str, str] = {
    "patches_tile": "patches, of all splits, that are whole tiles of their slide, in its own JPEG bytes",
    "patches_cut": "patches cut from tiles without loss, in their slide's own JPEG bytes",
    "patches_encoded": "patches decoded and encoded as JPEG again",
    "patches_stored": "patches decoded and kept exactly",
    "patches_openslide": "patches of these last two that were read through OpenSlide",
    "source_tiles": "distinct JPEG tiles of the slides under the patches",
    "second_jpeg_sampled": "encoded patches of which the loss was measured",
    "second_jpeg_psnr_db": "what encoding cost these patches in the mean: PSNR in dB",
    "second_jpeg_psnr_db_min": "what encoding cost at worst: PSNR in dB",
}
"""The numbers of extraction.json, in words."""

IN_WORDS: dict[str, str] = {
    "tumor_rule_burden_percent": "predicted burden, percent of tissue, from which on the rule calls a slide tumour",
    "n_resamples_undefined": "most resamples in which a metric that has a value was undefined; they are left out",
    "n_trials": "trials of the search for settings",
    "best.<setting>": "a number among the settings that the search chose",
    "tuned.<metric>": "metric of the test patches with the settings that the search chose",
    "tuned.val.<metric>": "metric of the validation patches with the settings that the search chose",
    "untuned.<metric>": "metric of the test patches with the recipe's own settings",
    "untuned.val.<metric>": "metric of the validation patches with the recipe's own settings",
    "temperature": "what the network's logits are divided by; above 1 it was too sure of itself",
    "bias.<class>": "what is added to the logit of a class",
    "threshold": "probability from which a pixel of the map is tumour, chosen on validation slides",
    "smoothing_px": "how far a map is smoothed, map pixels",
    "min_region_um2": "regions smaller than this are removed, µm²",
    "min_peak": "regions that reach this probability nowhere are removed",
    "max_hole_um2": "holes up to this size are filled, µm²",
    "n_slides_calibrated": "validation slides that chose the operating point",
    "n_point_trials": "trials of the search for the operating point",
    "val.<metric>": "metric of whole validation slides at the chosen operating point",
    "val.<metric>.at_half": "the same at the plain operating point: threshold 0.5, no clean-up",
    "val.<score>": "ece, brier or nll (log-loss) of validation patches after calibration",
    "val.<score>.uncalibrated": "the same before calibration",
    **EXTRACTION,
}
"""What each number is that no metric of the registry makes; <...> stands for a name."""

CLEAN_UP = ("smoothing_px", "min_region_um2", "min_peak", "max_hole_um2")
"""How the operating point cleans a map up."""


def choice_values(given: Tables, setup: MetricSetup) -> Metrics:
    """Return the numbers of search, calibration and operating point; a recipe without any of them has none.

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


def extraction_values(extraction: Mapping[str, Any]) -> Metrics:
    """Return the numbers of extraction.json (EXTRACTION), of all splits; none where there is no such file's content.

    Raises:
        AcinusError: one that is missing or no number.
    """
    if not extraction:
        return {}
    values: Metrics = {}
    for name in EXTRACTION:
        value = extraction.get(name, "nothing")
        if value is not None and not is_number(value):
            raise AcinusError(f"extraction.json: {name}: {value!r} found, expected a number or null; run extract again")
        values[name] = value
    return values
