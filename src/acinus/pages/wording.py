"""How numbers are written on pages and in the console, and what else stands there in words."""

UNDEFINED = "\N{EN DASH}"
"""What stands where a metric is undefined."""

SEEN = "patients of the test split were seen in training"
"""What stands beside every interval where it is so: the metrics are then not those of new patients."""

SPLIT_RULES: dict[str, str] = {
    "splits.csv": "as the cohort's splits.csv says",
    "slides.csv": "as the cohort's slides.csv says",
    "name": "by the slides' names",
    "drawn": "drawn by a seed, whole groups together",
    "official-1": "PanNuke's official split 1: train on fold 1, validate on 2, test on 3",
    "official-2": "PanNuke's official split 2: train on fold 2, validate on 1, test on 3",
    "official-3": "PanNuke's official split 3: train on fold 3, validate on 2, test on 1",
    "random": "drawn by a seed over all folds: another protocol than the official splits",
}
"""What each manifest.split_rule means."""

FILES: dict[str, str] = {
    "metrics.json": "every number of this page that is not of a single slide or patch",
    "per_slide.csv": "a row per slide: the table of slides and the numbers on their own pages",
    "regions.csv": "the regions on the slides' pages, the largest of each slide",
    "attention.csv": "the patches of highest attention on the slides' pages",
    "views.csv": "the patches shown, with their places and Dice",
    "validation.json": "shares of classes, tissue types and findings of the data",
}
"""What each file beside the page holds."""


def noun(classes: int) -> str:
    """Return what the positive classes are called together, by the number of all classes."""
    return "tumour" if classes == 2 else "foreground"


def text(value: float | int | None, unit: str = "share", signed: bool = False) -> str:
    """Return a number as text: 0.973 (share), 12.30 % (percent), 4.10 (points, mm²), +0.80 (signed), a dash (none)."""
    if value is None:
        return UNDEFINED
    if unit == "percent":
        return f"{100 * value:.2f} %"
    if unit == "count":
        return f"{int(value):,}"
    shown = f"{value:.3f}" if unit == "share" else f"{value:.2f}"
    if float(shown) == 0:
        shown = shown.lstrip("-")  # no minus zero
    return f"+{shown}" if signed and float(shown) > 0 else shown.replace("-", "\N{MINUS SIGN}")
