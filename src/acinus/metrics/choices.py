"""Numbers that other stages leave: what was chosen on validation slides and what it gave, and how patches were kept."""

from collections.abc import Mapping
from typing import Any

from acinus.errors import AcinusError
from acinus.metrics.metric import Metrics
from acinus.metrics.setup import MetricSetup, Tables

EXTRACTION = (
    *("patches_tile", "patches_cut", "patches_encoded", "patches_stored", "patches_openslide"),
    *("source_tiles", "second_jpeg_sampled", "second_jpeg_psnr_db", "second_jpeg_psnr_db_min"),
)
"""The numbers of extraction.json."""

CLEAN_UP = ("smoothing_px", "min_region_um2", "min_peak", "max_hole_um2")
"""How the operating point cleans a map up."""


def choice_values(tables: Tables, setup: MetricSetup) -> Metrics:
    """Return the numbers of search, calibration and operating point, by their names in docs/glossary.md.

    A recipe without any of them has none. tuned.* and untuned.* stand there only where any of them was measured, the
    threshold only where there are two classes (more are decided by the likeliest).

    Raises:
        AcinusError: one that is no number, or offsets that are not one per class.
    """
    values: Metrics = {}
    if tables.tuning.get("trials"):
        settings = tables.tuning.get("settings") or {}
        values["n_trials"] = int(tables.tuning["trials"])
        values |= {f"best.{key}": value for key, value in settings.items() if _is_number(value)}
    if tables.comparison.get("objective") is not None:
        values |= _searched(tables.comparison)
    if tables.point:
        values |= _point(tables.point, setup)
    for name in ("ece", "brier", "nll"):
        score = tables.calibration.get(name)
        if isinstance(score, Mapping):
            values[f"val.{name}"] = _number(score.get("after"), f"{name}.after")
            values[f"val.{name}.uncalibrated"] = _number(score.get("before"), f"{name}.before")
    return values


def _searched(comparison: Mapping[str, Any]) -> Metrics:
    values = {
        f"{which}.{prefix}{comparison['objective']}": _number(comparison.get(which, {}).get(split), f"{which}.{split}")
        for which in ("tuned", "untuned")
        for prefix, split in (("val.", "val"), ("", "test"))
    }
    return values if any(value is not None for value in values.values()) else {}


def _point(point: Mapping[str, Any], setup: MetricSetup) -> Metrics:
    names = ["temperature", "threshold"] if len(setup.classes) == 2 else ["temperature"]
    values = {name: _number(point[name], name) for name in (*names, *(key for key in CLEAN_UP if key in point))}
    offsets = setup.offsets(point.get("bias") or ())
    values |= {f"bias.{name}": _number(offset, f"bias.{name}") for name, offset in offsets.items()}
    source = point.get("source") or {}
    if source.get("slides") is not None:
        values["n_slides_calibrated"] = len(source["slides"])
    if source.get("trials") is not None:
        values["n_point_trials"] = int(source["trials"])
    if source.get("objective") is not None:
        measured = {source["objective"]: "value"}
        measured |= {f"slide_{key}": key for key in ("specificity", "sensitivity") if key in source}
        for name, key in measured.items():
            values[f"val.{name}"] = _number(source.get(key), f"source.{key}")
            values[f"val.{name}.at_half"] = _number(source.get(f"{key}_at_half"), f"source.{key}_at_half")
    return values


def _is_number(value: Any) -> bool:
    """Return whether a setting is a number, which a choice between true and false is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any, where: str, stage: str = "the stage that wrote it") -> float | int | None:
    """Return a number of a JSON or YAML file, or refuse what is none."""
    if value is not None and not _is_number(value):
        raise AcinusError(f"{where}: {value!r} found, expected a number or null; run {stage} again")
    number: float | int | None = value
    return number


def extraction_values(extraction: Mapping[str, Any]) -> Metrics:
    """Return the numbers of extraction.json (EXTRACTION), of all splits; none where there is no such file's content.

    Raises:
        AcinusError: one that is missing or no number.
    """
    names = EXTRACTION if extraction else ()
    return {name: _number(extraction.get(name, "nothing"), f"extraction.json: {name}", "extract") for name in names}
