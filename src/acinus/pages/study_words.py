"""A study of slide labels in words: what was predicted, from what, and how."""

from acinus.pages.study_table import Study
from acinus.params import Embed, Folds, Grade

AGGREGATORS = {
    "attention": "gated attention over a slide's patches",
    "mean": "a linear model of the mean of a slide's features",
    "clam": "gated attention over a slide's patches with CLAM's loss on the patches of highest and lowest attention",
    "transformer": "a small transformer over a slide's patches",
}
KINDS = {
    "binary": "one of two classes",
    "classes": "one of several classes",
    "ordinal": "one of several classes in an order",
    "regression": "a number",
    "survival": "the time until an event",
}


def model_name(embed: Embed, grade: Grade) -> str:
    """Return encoder and aggregator in a few words."""
    weights = f" ({embed.weights} weights)" if embed.weights in ("imagenet", "package", "none") else ""
    return f"{embed.encoder}{weights}, frozen; {grade.aggregator}, {grade.seeds} seed{'s' if grade.seeds > 1 else ''}"


def how(study: Study, embed: Embed, grade: Grade, folds: Folds | None) -> tuple[str, ...]:
    """Return what was predicted and how, a sentence each."""
    classes = f" ({', '.join(study.classes)})" if study.classes else ""
    judged, patients = study.judged, study.judged["patient"].nunique()
    seeds = f"{grade.seeds} of them, of other seeds, whose answers are averaged" if grade.seeds > 1 else "one of them"
    return (
        f"What is predicted: {study.target}{classes}, {KINDS[study.kind]}, from labels of whole slides; no outline was "
        f"used. Patches of all tissue become features by {embed.encoder}, which is not trained; what is learned from "
        f"them is {AGGREGATORS[grade.aggregator]}, {seeds}.",
        f"The figures are of {len(judged)} slides of {patients} patients. {_split(study, folds)} Brackets are 95 % "
        "intervals over patients.",
    )


def _split(study: Study, folds: Folds | None) -> str:
    if folds is not None:
        unit = "patient" if folds.by == "patient" else "slide"
        whole = ", each site in one of them" if folds.preserve_site else ""
        alike = f", alike in {study.target}" if folds.stratify else ""
        repeats = (
            f" The folds were drawn {folds.repeats} times; slides and charts are shown of the first."
            if folds.repeats > 1
            else ""
        )
        held_out = (study.first["model"] == "ensemble") & study.first["true"].notna()
        together = (
            f" {int(held_out.sum())} slides of the test split were predicted once by the models of all folds together."
            if held_out.any()
            else ""
        )
        return (
            f"Each slide was predicted once, by the models of the folds that its {unit} is not in ({folds.k} folds by "
            f"{unit}{whole}{alike}).{repeats}{together}"
        )
    return "They are the test split, which no choice depended on; training and validation slides are in no figure."
