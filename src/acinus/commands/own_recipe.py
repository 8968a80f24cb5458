"""The recipe for slides of one's own: what was seen of them -> family `slides`, its classes, resolution and split."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Task = Literal["patches", "segmentation", "slides"]

BASES: dict[Task, str] = {"patches": "camelyon", "slides": "camelyon", "segmentation": "camelyon-segmentation"}
"""The published recipe whose network and training are the beginning."""
RESOLUTIONS = (0.5, 1.0, 2.0)
"""um per px at which tissue is usually judged; the finest that every slide has is taken."""
SLIGHTLY = 1.1
"""A slide may be so much coarser than a usual resolution without another one being taken."""
SPLITS = 3
_NOT_LOOKED_FOR = re.compile(r"(normal|benign|healthy|background|negative|other|stroma)\b", re.IGNORECASE)
_IGNORED = re.compile(r".*\*\Z|exclu|ignore", re.IGNORECASE)
"""QuPath's own classes that are to be passed over end with an asterisk."""
_REGION = re.compile(r"regions?\b", re.IGNORECASE)
UNCLASSIFIED = "unclassified"


@dataclass(frozen=True)
class ClassSeen:
    """A class of outlines: name as the tool has it (None: without), outlines, slides that have it, area in mm²."""

    name: str | None
    outlines: int
    slides: int
    area_mm2: float | None


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


def own_recipe(
    title: str, seen: Seen, task: Task, base: Mapping[str, Any], weights: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the recipe's document, without its root, and what to say of its values (dotted key -> text).

    base: the published recipe of BASES. weights: `package` or `imagenet`, whichever this machine can have.
    """
    meant, outside = _meant(seen.classes)
    values = {int(one.name or 0): "normal" if one.name == "0" else f"value_{one.name}" for one in seen.values}
    classes = list(dict.fromkeys([*([outside] if outside != "ignore" else []), *_of_recipe(meant), *values.values()]))
    classes.sort(key=lambda name: not _NOT_LOOKED_FOR.match(name))  # what is not looked for comes first
    notes = {f"cohort.annotations.classes.{one.name or UNCLASSIFIED}": _said(one) for one in seen.classes}
    notes |= {f"cohort.mask_values.{one.name}": f"In masks of {_number(one.slides, 'slide')}." for one in seen.values}
    of_outlines = {"annotations": {"classes": meant, "unmapped": "refuse", "outside": outside}} if meant else {}
    document = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    document |= {"title": title, "family": "slides", "classes": classes, "positive": classes[1:]}
    document["cohort"] = {
        "root": "",
        **of_outlines,
        **({"mask_values": values} if values else {}),
        "mpp": None,
        "split_by": "patient",
        "test_fraction": 0.2,
        "val_fraction": 0.2,
        "max_bad_fraction": 0.1,
        "probe_tiles": 16,
    }
    document["index"], notes_of_index = _index(document["index"], seen)
    if seen.bare > document["validate"]["max_unlabelled"] * len(seen.mpps):
        document["validate"]["max_unlabelled"] = 1.0
        notes["validate.max_unlabelled"] = (
            f"{seen.bare} of {len(seen.mpps)} slides have no annotation: they teach nothing and are in no figure. "
            "Those that are normal can be told by a column of slides.csv: see cohort.label."
        )
    graded = task == "slides"
    document["train"] |= {"weights": weights, "batch_size": 16} | _network(task, weights)
    document["calibrate"]["objective"] = "dice"
    document["quantify"]["froc"] = False
    document["grade"]["target"] = "tumor" if graded else "none"
    document["infer"] |= {"splits": ["train", "val", "test"] if graded else ["test"], "map_downsample": 16.0}
    if task != "segmentation":
        document["tune"]["space"] = {"lr": {"low": 0.0001, "high": 0.003, "log": True}}
        document["train"]["loss"] = {"terms": {"cross_entropy": 1.0}, "class_weights": "balanced"}
    return document, notes | notes_of_index


def _meant(classes: Sequence[ClassSeen]) -> tuple[dict[str, str], str]:
    """Return name in the tool -> class of the recipe, ignore or region; and what is not outlined.

    Where one class is what is not looked for (normal, stroma, ...) both kinds were outlined: outside nothing is known.
    """
    meant: dict[str, str] = {}
    for one in classes:
        name = one.name or UNCLASSIFIED
        if _REGION.match(name):
            meant[name] = "region"
        elif _IGNORED.match(name) or (one.name is None and len(classes) > 1):
            meant[name] = "ignore"
        else:
            meant[name] = _safe(name)
    has_both = any(_NOT_LOOKED_FOR.match(name) for name in _of_recipe(meant))
    return meant, "ignore" if has_both else "normal"


def _of_recipe(meant: Mapping[str, str]) -> list[str]:
    return [name for name in dict.fromkeys(meant.values()) if name not in ("ignore", "region")]


def _safe(name: str) -> str:
    """Return a class's name as recipes have it: letters, digits, _ and -."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")
    return safe if safe[:1].isalpha() and safe.lower() not in ("ignore", "region") else f"class_{safe or 'unnamed'}"


def _said(one: ClassSeen) -> str:
    """Return how much there is of a class, and whether it is too little."""
    area = "" if one.area_mm2 is None else f", {one.area_mm2:.3g} mm²"
    rare = " Rare: too few slides for train, val and test; map it to another class or ignore it."
    many = f"{_number(one.outlines, 'outline')} on {_number(one.slides, 'slide')}{area}."
    return many + (rare if one.slides < SPLITS else "")


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _index(index: Mapping[str, Any], seen: Seen) -> tuple[dict[str, Any], dict[str, str]]:
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
        notes["cohort.mpp"] = f"{lacking} slides do not tell theirs: set it here, or for each in the table."
    return {**kept, "mpp": mpp, "tissue": tissue}, notes


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
