"""docs/glossary.md, written from the registry by `python -m acinus.metrics.glossary` in a checkout."""

from pathlib import Path

from acinus.files import write_text
from acinus.metrics.choices import IN_WORDS
from acinus.metrics.metric import Metric
from acinus.metrics.registry import METRICS, SUFFIXES
from acinus.metrics.setup import PATCHES, SEGMENTATION

HEAD = """# Glossary of metrics

Every number in a report's `metrics.json`, on its pages, in MLflow and in `acinus compare`. This page is written from
the registry: change `src/acinus/metrics/` and run `python -m acinus.metrics.glossary`.

All are of the test split, unless their name says `val`. A number is `null` where it is undefined, never 0.

**Dice** is twice the shared area over the sum of the predicted and the annotated area, **IoU** the shared over the
joint area, **AUC** the chance that a positive scores above a negative, **burden** the tumour's share of the tissue in
percent. The **operating point** says how a map of probabilities becomes regions: temperature, threshold, smoothing,
clean-up.
"""

AVERAGED = {"slides": "every slide", "patches": "every patch or px drawn from one", "pooled": "all slides pooled"}
BETTER = {"higher": "higher", "lower": "lower", "near zero": "near 0", "neither": "neither"}
TASKS = {PATCHES: "patch classifiers only", SEGMENTATION: "segmentations only"}
UNITS = {"share": "share", "percent": "share", "points": "percentage points", "mm²": "mm²", "number": "number"}


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
        *(f"- `{metric.name}`: {metric.about}" for metric in plain),
        *(f"- `{name}`: {things} behind {metrics}" for name, things, metrics in _counts()),
        "\n## Settings and what other stages measured\n",
        *(f"- `{name}`: {about}" for name, about in IN_WORDS.items()),
    ]
    return "\n".join(parts) + "\n"


def _entry(metric: Metric) -> str:
    """Return a metric's name, its sentence, and a line of what it is."""
    name = f"{metric.name}.<class>" if metric.per_class else metric.name
    facts = [
        f"unit: {UNITS[metric.unit]}",
        f"better: {BETTER[metric.better]}",
        f"counts once: {AVERAGED[metric.averaged]}",
        f"over: `{metric.counts}`" if metric.counts else "",
        TASKS[metric.tasks[0]] if len(metric.tasks) == 1 else "",
        "" if metric.reported else "in `acinus compare` only",
        "95 % interval over patients" if metric.interval and metric.reported else "",
    ]
    lines = [f"### `{name}`\n", f"**{metric.label}**: {metric.about}.\n"]
    if metric.many and metric.many.about:
        lines.append(f"With several foreground classes: {metric.many.about}.\n")
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
    write_text(Path("docs", "glossary.md"), glossary())
