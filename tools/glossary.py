"""docs/glossary.md, written from the registry of metrics by `python -m tools.glossary`."""

from pathlib import Path

from acinus.files import write_text
from acinus.metrics.metric import Metric
from acinus.metrics.registry import METRICS
from acinus.metrics.setup import PATCHES, SEGMENTATION

PAGE = Path(__file__).resolve().parents[1] / "docs" / "glossary.md"

HEAD = """# Glossary of metrics

Every number in a report's `metrics.json`, on its pages, in MLflow and in `acinus compare`. This page is written from
the registry: change `src/acinus/metrics/` and run `python -m tools.glossary`.

All are of the test split, unless their name says `val`. A number is `null` where it is undefined, never 0.

**Dice** is twice the shared area over the sum of the predicted and the annotated area, **IoU** the shared over the
joint area, **AUC** the chance that a positive scores above a negative, **burden** the tumour's share of the tissue in
percent. The **operating point** says how a map of probabilities becomes regions: temperature, threshold, smoothing,
clean-up.
"""

AVERAGED = {"slides": "every slide", "patches": "every patch or px drawn from one", "pooled": "all slides pooled"}
BETTER = {"higher": "higher", "lower": "lower", "near zero": "near 0", "neither": "neither"}
TASKS = {PATCHES: "patch classifiers only", SEGMENTATION: "segmentations only"}
CLASSES = {"any": "", "two": "of two classes only", "many": "of more than two classes only"}
UNITS = {"share": "share", "percent": "share", "points": "percentage points", "mm²": "mm²", "number": "number"}

SUFFIXES: dict[str, str] = {
    "_ci_low": "lower end of the 95 % interval of a metric, by resampling whole patients",
    "_ci_high": "its upper end",
    ".baseline_majority": "what the majority class reaches on the same slides",
    ".baseline_colour": "what colour alone reaches on the same slides",
    ".seeds_low": "worst seed, graders alone; the metric itself is of their mean",
    ".seeds_high": "best seed, graders alone; the metric itself is of their mean",
    ".seeds_mean": "mean of seeds, graders alone; the metric itself is of their mean",
    ".seeds_std": "standard deviation of seeds, graders alone; the metric itself is of their mean",
}
"""What may follow a metric's name, and what the number then is."""

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
"""What each number is that no metric of the registry makes; <...> stands for a name."""


def glossary() -> str:
    """Return the page as Markdown."""
    scores = [metric for metric in METRICS.values() if metric.unit != "count"]
    plain = [metric for metric in METRICS.values() if metric.unit == "count"]
    parts = [
        HEAD,
        "## Metrics\n\n**Counts once** says what is averaged: the value of every slide, or of every patch, or the "
        "pixels, lesions\nand instances of all slides pooled. **Over** names the number that says how many.\n",
        *(_entry(metric) for metric in scores),
        "## What may follow a name\n",
        *(f"- `<metric>{suffix}`: {about}" for suffix, about in SUFFIXES.items()),
        "\n## Counts\n",
        *(f"- `{_name(metric)}`: {metric.about}" for metric in plain),
        *(f"- `{name}`: {things} behind {metrics}" for name, things, metrics in _counts()),
        "\n## Settings and what other stages measured\n",
        *(f"- `{name}`: {about}" for name, about in IN_WORDS.items()),
    ]
    return "\n".join(parts) + "\n"


def _name(metric: Metric) -> str:
    return f"{metric.name}.<class>" if metric.per_class else metric.name


def _entry(metric: Metric) -> str:
    """Return a metric's name, its sentence, and a line of what it is."""
    name = _name(metric)
    facts = [
        f"unit: {UNITS[metric.unit]}",
        f"better: {BETTER[metric.better]}",
        f"counts once: {AVERAGED[metric.averaged]}",
        f"over: `{metric.counts}`" if metric.counts else "",
        TASKS[metric.tasks[0]] if len(metric.tasks) == 1 else "",
        CLASSES[metric.classes],
        "" if metric.reported else "in `acinus compare` only",
        "95 % interval over patients" if metric.interval and metric.reported else "",
    ]
    lines = [f"### `{name}`\n", f"**{metric.label}**: {metric.about}.\n"]
    if "about" in metric.many:
        lines.append(f"With several foreground classes: {metric.many['about']}.\n")
    if metric.parts:
        lines.append(f"`{name}.<group>`, over `{metric.counts}.<group>`: of the {metric.parts}.\n")
    return "\n".join([*lines, "; ".join(fact for fact in facts if fact) + "\n"])


def _counts() -> list[tuple[str, str, str]]:
    """Return the numbers that only say over how many a metric is: name, of what things, of which metrics."""
    names = dict.fromkeys(metric.counts for metric in METRICS.values() if metric.counts not in {"", *METRICS})
    result = []
    for name in names:
        behind = [metric for metric in METRICS.values() if metric.counts == name]
        result.append((name, behind[0].things, ", ".join(f"`{metric.name}`" for metric in behind)))
    return result


if __name__ == "__main__":
    write_text(PAGE, glossary())
