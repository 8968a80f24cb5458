"""docs/glossary.md, written from the registry of metrics by `python -m tools.glossary`."""

from pathlib import Path

from acinus.files import write_text
from acinus.metrics.metric import Metric
from acinus.metrics.registry import METRICS
from acinus.metrics.setup import PATCHES, SEGMENTATION, SLIDES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "glossary.md"

HEAD = """# Glossary of metrics

Every number in a report's `metrics.json`, on its pages, in MLflow and in `acinus compare`. This page is written from
the registry: change `src/acinus/metrics/` and run `python -m tools.glossary`.

All are of the test split, unless their name says `val`; those of labels of whole slides (`slide.`) are out of fold
where there are folds. An undefined number is `null`, never 0.

**Dice** is twice the intersection of the predicted and the annotated area divided by the sum of both areas, **IoU** the
intersection divided by the union, **AUC** the area under the ROC curve (the chance that a positive scores above a
negative), **burden** the tumour area in percent of the tissue area. The **operating point** says how a probability map
becomes regions: temperature, threshold, smoothing, clean-up.
"""

AVERAGED = {"slides": "per slide", "patches": "per patch or px drawn from one", "pooled": "pooled over slides"}
BETTER = {"higher": "higher", "lower": "lower", "near zero": "near 0", "neither": "neither"}
TASKS = {PATCHES: "patch classification only", SEGMENTATION: "segmentation only", SLIDES: "slide labels only"}
CLASSES = {"any": "", "two": "two classes only", "many": "more than two classes only"}
UNITS = {"share": "share", "percent": "share", "points": "percentage points", "mm²": "mm²", "number": "number"}

SUFFIXES: dict[str, str] = {
    "_ci_low": "lower end of the 95 % interval of a metric, by resampling whole patients",
    "_ci_high": "its upper end",
    ".baseline_majority": "the value of always predicting the most common class on the same slides",
    ".baseline_colour": "the value of a logistic regression on colours on the same slides",
    ".baseline_mean_pooling": "the value of a linear model of the mean features; slide labels only",
    ".baseline_size": "the value of a linear model of the number of tissue patches; slide labels only",
    ".fold_<number>": "the value of one fold, of the first repeat; the main metric of slide labels only",
    ".folds_mean": "mean over the folds of all repeats; the main metric of slide labels only",
    ".folds_std": "standard deviation over them; the main metric of slide labels only",
    ".seeds_low": "worst seed; graders only: the metric itself is of the mean of their seeds",
    ".seeds_high": "best seed; graders only",
    ".seeds_mean": "mean of the seeds' own values; graders only",
    ".seeds_std": "standard deviation of the seeds' own values; graders only",
}
"""What may follow a metric's name, and what the number then is."""

IN_WORDS: dict[str, str] = {
    "tumor_rule_burden_percent": "smallest predicted burden (percent of tissue) that the rule calls tumour",
    "n_resamples_undefined": "largest number of bootstrap resamples in which a metric was undefined; they are left out",
    "n_trials": "trials of the search for settings",
    "best.<setting>": "a numeric setting that the search chose",
    "tuned.<metric>": "metric of the test patches with the settings that the search chose",
    "tuned.val.<metric>": "metric of the validation patches with the settings that the search chose",
    "untuned.<metric>": "metric of the test patches with the recipe's own settings",
    "untuned.val.<metric>": "metric of the validation patches with the recipe's own settings",
    "temperature": "what the network's logits are divided by; above 1: the network was overconfident",
    "bias.<class>": "what is added to the logit of a class",
    "threshold": "probability from which a pixel of the map is tumour, chosen on validation slides",
    "smoothing_px": "smoothing of the map: sigma in map pixels",
    "min_region_um2": "regions smaller than this are removed, µm²",
    "min_peak": "regions whose highest probability is below this are removed",
    "max_hole_um2": "holes up to this size are filled, µm²",
    "n_slides_calibrated": "validation slides on which the operating point was chosen",
    "n_point_trials": "trials of the search for the operating point",
    "val.<metric>": "metric of whole validation slides at the chosen operating point",
    "val.<metric>.at_half": "the same at the plain operating point: threshold 0.5, the recipe's own limits of clean-up",
    "val.<score>": "ece, brier or nll (log-loss) of validation patches after calibration",
    "val.<score>.uncalibrated": "the same before calibration",
    "patches_tile": "patches, of all splits, that are whole tiles of their slide, copied as its own JPEG bytes",
    "patches_cut": "patches cut from tiles without loss, as their slide's own JPEG data",
    "patches_encoded": "patches decoded and encoded as JPEG again",
    "patches_stored": "patches decoded and stored without loss",
    "patches_openslide": "patches of the last two kinds that were read through OpenSlide",
    "source_tiles": "distinct JPEG tiles of the slides that the patches overlap",
    "second_jpeg_sampled": "re-encoded patches on which the loss was measured",
    "second_jpeg_psnr_db": "mean loss of these patches by re-encoding: PSNR in dB",
    "second_jpeg_psnr_db_min": "worst loss by re-encoding: PSNR in dB",
}
"""What each number is that no metric of the registry makes; <...> stands for a name."""


def glossary() -> str:
    """Return the page as Markdown."""
    scores = [metric for metric in METRICS.values() if metric.unit != "count"]
    plain = [metric for metric in METRICS.values() if metric.unit == "count"]
    parts = [
        HEAD,
        "## Metrics\n\n*Averaging* says how slides are combined: the mean of their values (per slide), all patches "
        "alike (per patch),\nor the sums of their pixels, lesions or instances (pooled). *Count* names the number that "
        "says how many there are.\n",
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
        f"averaging: {AVERAGED[metric.averaged]}",
        f"count: `{metric.counts}`" if metric.counts else "",
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
