"""The recipe for slides of one's own: what was seen of them -> family `slides`, its classes, resolution and split."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from acinus.commands.own_labels import ClassSeen, labels_of, number
from acinus.commands.own_meanings import LabelColumn

Task = Literal["patches", "segmentation", "slides"]

BASES: dict[Task, str] = {"patches": "slides", "slides": "slides", "segmentation": "camelyon-segmentation"}
"""The published recipe whose network and training are the beginning."""
RESOLUTIONS = (0.5, 1.0, 2.0)
"""um per px at which tissue is usually judged; the finest that every slide has is taken."""
PATCHES_ACROSS, LEAST_PATCH_PX = 4, 64
"""Patches that a slide is to have side by side, and the smallest patch."""
SLIGHTLY = 1.1
"""A slide may be so much coarser than a usual resolution without another one being taken."""


@dataclass(frozen=True)
class Seen:
    """What was seen of a folder of slides.

    mpps: um per px of each slide, None where neither file nor table says. classes: of outlines. values: of masks, each
    a class whose name is its number; no area is known of them. bare: slides without an annotation.
    """

    mpps: Sequence[float | None]
    classes: Sequence[ClassSeen]
    values: Sequence[ClassSeen] = ()
    bare: int = 0
    colours: Sequence[ClassSeen] = ()
    columns: Sequence[LabelColumn] = ()
    legend: Mapping[str, str] = field(default_factory=dict)
    edges: Sequence[float] = ()

    @property
    def label(self) -> LabelColumn | None:
        """The column that says what slides are."""
        return self.columns[0] if self.columns and self.columns[0].values else None


def own_recipe(
    title: str, seen: Seen, task: Task, base: Mapping[str, Any], weights: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the recipe's document, without its root, and what to say of its values (dotted key -> text).

    base: the published recipe of BASES. weights: `package` or `imagenet`, whichever this machine can have.
    """
    labels = labels_of(seen.classes, seen.values, seen.colours, seen.columns, seen.legend)
    classes, notes = labels.classes, labels.notes
    document = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    document |= {"title": title, "family": "slides", "classes": classes, "positive": classes[1:]}
    document["cohort"] = {
        "root": "",
        **labels.cohort,
        "mpp": None,
        "split_by": "patient",
        "test_fraction": 0.2,
        "val_fraction": 0.2,
        "max_bad_fraction": 0.1,
        "probe_tiles": 16,
    }
    document["index"], notes_of_index = index_of(document["index"], seen)
    patch_px = patch_px_of(document["index"], seen, 1 if task == "segmentation" else PATCHES_ACROSS)
    if patch_px < document["index"]["patch_px"]:
        document["index"] |= {"patch_px": patch_px, "stride_px": patch_px}
        document["infer"]["stride_px"] = patch_px // 2
        notes_of_index["index.patch_px"] = "The slides are small."
    if seen.bare > document["validate"]["max_unlabelled"] * len(seen.mpps):
        document["validate"]["max_unlabelled"] = 1.0
        notes["validate.max_unlabelled"] = (
            f"{seen.bare} of {len(seen.mpps)} slides have neither annotation nor label: they teach nothing and are in "
            "no figure. Those that are normal can be told by a column of slides.csv: see cohort.label."
        )
    graded = task == "slides"
    document["train"] |= {"weights": weights, "batch_size": 16} | _network(task, weights)
    document["calibrate"]["objective"] = "dice"
    document["quantify"]["froc"] = False
    document["grade"]["target"] = "tumor" if graded else "none"
    document["infer"] |= {"splits": ["train", "val", "test"] if graded else ["test"], "map_downsample": 16.0}
    if task != "segmentation" and len(classes) > 2:
        document["tune"]["objective"] = "auc_macro"
        document["index"] = _without(document["index"], "tumor_min_fraction", "normal_max_fraction")
        document["index"]["min_class_fraction"] = 0.5
        document["sample"] = _without(document["sample"], "normal_per_tumor") | {"max_class_ratio": 2.0}
    if task != "segmentation":
        document["tune"]["space"] = {"lr": {"low": 0.0001, "high": 0.003, "log": True}}
        document["train"]["loss"] = {"terms": {"cross_entropy": 1.0}, "class_weights": "balanced"}
    return document, notes | notes_of_index


def _without(section: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}


def index_of(index: Mapping[str, Any], seen: Seen) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the section `index` with a resolution that every slide has, and what to say of it."""
    known = [mpp for mpp in seen.mpps if mpp is not None]
    kept = {key: value for key, value in index.items() if key not in ("level", "mpp", "tissue")}
    tissue = {**index["tissue"], "downsample": 32.0}
    if not known:
        note = "No slide says its µm per px: the finest level is taken as it is."
        return {**kept, "level": 0, "tissue": tissue}, {"index.level": note}
    coarsest = max(known)
    mpp = _resolution(coarsest)
    notes = {"index.mpp": f"The coarsest slide has {coarsest:.4g} µm per px."}
    lacking = len(seen.mpps) - len(known)
    if lacking:
        notes["cohort.mpp"] = f"{number(lacking, 'slide')} without: set it here, or for each in the table."
    return {**kept, "mpp": mpp, "tissue": tissue}, notes


def patch_px_of(index: Mapping[str, Any], seen: Seen, across: int) -> int:
    """Return the edge of a patch, a power of 2, of which the middle one of the slides has `across` at least."""
    mpp = index.get("mpp")
    edges = [edge * (known / mpp if mpp and known else 1.0) for edge, known in zip(seen.edges, seen.mpps, strict=False)]
    patch_px: int = index["patch_px"]
    while edges and patch_px > LEAST_PATCH_PX and patch_px * across > median(edges):
        patch_px //= 2
    return patch_px


def _resolution(coarsest: float) -> float:
    """Return the usual resolution that the coarsest slide has, or its own where that is little coarser."""
    for mpp in RESOLUTIONS:
        if coarsest <= mpp:
            return mpp
        if coarsest <= SLIGHTLY * mpp:
            break
    return math.ceil(coarsest * 1e4) / 1e4


def _network(task: Task, weights: str) -> dict[str, Any]:
    """Return the network: the one whose weights come as a package, where that is what there is."""
    if weights != "package":
        return {}
    return {"encoder" if task == "segmentation" else "model": "tf_efficientnet_lite0"}
