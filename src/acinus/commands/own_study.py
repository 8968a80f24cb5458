"""The recipe for slides of one's own of which only labels are known: task slide_labels, by the likeliest column."""

from collections.abc import Mapping, Sequence
from typing import Any

from acinus.commands.own_labels import number
from acinus.commands.own_recipe import PATCHES_ACROSS, Seen, index_of, patch_px_of
from acinus.commands.own_targets import TargetSeen

BASE = "slides-mil"
"""The published recipe that is the beginning."""
ENCODER = "tf_efficientnet_lite0"
FOLDS = 5
SMALL_PX = 128
"""Below this edge features of an encoder made for 224 px say little."""


def own_study(
    title: str, seen: Seen, targets: Sequence[TargetSeen], base: Mapping[str, Any], weights: str, split: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the recipe's document, without its root, and what to say of its values (dotted key -> text).

    targets: the first is learned. weights: `package` or `imagenet`, whichever this machine can have. split: the table
    says which slides are of the test split.
    """
    target, *others = targets
    document = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    document["title"] = title
    document["cohort"] = {**document["cohort"], "root": "", "mpp": None}
    document["index"], notes = index_of(document["index"], seen)
    patch_px = patch_px_of(document["index"], seen, PATCHES_ACROSS)
    if patch_px < document["index"]["patch_px"]:
        document["index"] |= {"patch_px": patch_px, "stride_px": patch_px}
        notes["index.patch_px"] = "The slides are small."
    document["embed"] |= {"encoder": ENCODER, "weights": weights, "precision": "32-true", "dtype": "float32"}
    notes["embed.encoder"] = (
        "It needs no GPU and no access, and knows little of tissue. A pathology encoder such as H-optimus-0 or UNI2-h "
        "does far better: acinus encoders lists them with their licences."
    )
    document["grade"] |= {
        "target": target.column,
        "kind": target.kind,
        "classes": list(target.classes) or None,
        "event": target.event,
    }
    notes["grade.kind"] = f"A guess. {target.why}"
    if others:
        notes["grade.target"] = f"Other columns that can be learned: {', '.join(one.told for one in others)}."
    if split:
        notes["cohort.folds"] = "The table's test slides are in no fold: the models of all folds predict them."
    return document, notes


def todo_of(target: TargetSeen, patients: int) -> list[str]:
    """Return what a person has to look at before it runs, a line each."""
    event = f" and {target.event}" if target.event else ""
    lines = [
        f"column {target.column}{event} of the table is learned as {target.kind} ({number(target.slides, 'slide')} of "
        f"{number(patients, 'patient')}): look at grade in the recipe; no outline is needed"
    ]
    if target.slips:
        pairs = ", ".join(f"{text!r} ({meant!r}?)" for text, meant in sorted(target.slips.items()))
        lines.append(
            f"column {target.column} says {pairs}: correct slides.csv, or name them in grade.classes"
            " if they are classes"
        )
    if patients < FOLDS:
        lines.append(
            f"{number(patients, 'patient')} with a label for {FOLDS} folds: write a smaller cohort.folds.k, or label "
            "slides of more patients"
        )
    return lines
