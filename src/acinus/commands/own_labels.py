"""What annotations and tables of one's own mean: classes of outlines, values and colours of masks, labels of slides."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acinus.commands.own_meanings import LabelColumn

SPLITS = 3
MOST = 12
"""So many classes are taken at most: a mask with more colours has borders smoothed by a program."""
SHOWN = 6
"""So many colours or columns are named in a comment."""
WITHOUT_LABELS = (
    "put annotation files beside the slides, or a slides.csv with the columns slide and diagnosis, or start from a "
    "published recipe with --like"
)
UNCLASSIFIED, IGNORE, REGION = "unclassified", "ignore", "region"
_NOT_LOOKED_FOR = re.compile(r"(normal|benign|healthy|background|negative|other|stroma)\b", re.IGNORECASE)
_IGNORED = re.compile(r".*\*\Z|exclu|ignore", re.IGNORECASE)
"""QuPath's own classes that are to be passed over end with an asterisk."""
_REGION = re.compile(r"regions?\b", re.IGNORECASE)


@dataclass(frozen=True)
class ClassSeen:
    """A class of outlines, a value of masks (name: the number) or a colour of masks (name: #rrggbb).

    name: as the tool has it; None: without. area_mm2: of outlines, None where a slide's um per px is unknown.
    patients: that have it; None: each slide is another one's. px: of masks.
    """

    name: str | None
    outlines: int
    slides: int
    area_mm2: float | None
    patients: int | None = None
    px: int = 0

    @property
    def of_patients(self) -> int:
        """How many patients have it."""
        return self.slides if self.patients is None else self.patients

    @property
    def told(self) -> str:
        """How much there is of it, for a person."""
        if self.px:
            return f"{self.px:,} px in masks of {number(self.slides, 'slide')}"
        area = "" if self.area_mm2 is None else f", {self.area_mm2:.3g} mm²"
        return f"{number(self.outlines, 'outline')} on {number(self.slides, 'slide')}{area}"


@dataclass(frozen=True)
class Meaning:
    """A class that was seen. key: how `cohort` writes it. name: the class of the recipe, ignore or region."""

    seen: ClassSeen
    key: str
    name: str


@dataclass(frozen=True)
class Labels:
    """cohort: keys of the section. classes: of the recipe, what is not looked for first. notes: dotted key -> text.

    outside: what is not outlined. left_out: classes that are not learned.
    """

    cohort: dict[str, Any]
    classes: list[str]
    notes: dict[str, str]


def labels_of(
    classes: Sequence[ClassSeen],
    values: Sequence[ClassSeen],
    colours: Sequence[ClassSeen],
    columns: Sequence[LabelColumn],
    legend: Mapping[str, str],
) -> Labels:
    """Return what the recipe says of labels.

    columns: of the table, first the one that tells normal from tumour. legend: value or colour of masks -> its name.
    """
    outlines, outside = _of_outlines(classes)
    of_value = [Meaning(one, one.name or "0", _value_name(one.name or "0", legend)) for one in values]
    of_colour = _of_colours(colours, legend)
    every = [*outlines, *of_value, *of_colour]
    rare = _rare(every, outside)
    notes: dict[str, str] = {}
    cohort: dict[str, Any] = {}
    if outlines:
        of_name = {one.key: _kept(one, rare) for one in outlines}
        cohort["annotations"] = {"classes": of_name, "unmapped": "refuse", "outside": outside}
        notes |= {f"cohort.annotations.classes.{one.key}": _told(one, rare) for one in outlines}
    if of_value:
        cohort["mask_values"] = {int(one.key): _kept(one, rare) for one in of_value}
        notes |= {f"cohort.mask_values.{one.key}": _told(one, rare) for one in of_value}
    if of_colour:
        kept = [one for one in of_colour if one.name not in rare]
        cohort["mask_colours"] = {one.key: _rgb(one) for one in kept}
        notes |= {f"cohort.mask_colours.{one.key}": _told(one, rare) for one in kept}
        left = [f"{one.key}: {_rgb(one)} ({one.seen.told})" for one in of_colour if one.name in rare]
        if left:
            more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
            notes["cohort.mask_colours"] = f"Left out, since they are rare or many: {', '.join(left[:SHOWN])}{more}."
    cohort |= _label(columns, notes)
    names = [outside] * bool(outlines) + [one.name for one in every if one.name not in rare]
    wanted = [name for name in dict.fromkeys(names) if name not in (IGNORE, REGION)] or ["normal"]
    if len(wanted) == 1:  # a recipe has two
        wanted.append("tumor" if wanted == ["normal"] else "normal")
    return Labels(cohort, sorted(wanted, key=lambda name: not _NOT_LOOKED_FOR.match(name)), notes)


def _of_outlines(classes: Sequence[ClassSeen]) -> tuple[list[Meaning], str]:
    """Return what the classes of outlines mean, and what is not outlined.

    Where one class is what is not looked for (normal, stroma, ...) both kinds were outlined: outside nothing is known.
    """
    meant = []
    for one in classes:
        name = one.name or UNCLASSIFIED
        if _REGION.match(name):
            meant.append(Meaning(one, name, REGION))
        elif _IGNORED.match(name) or (one.name is None and len(classes) > 1):
            meant.append(Meaning(one, name, IGNORE))
        else:
            meant.append(Meaning(one, name, _safe(name)))
    names = {one.name for one in meant} - {IGNORE, REGION}
    if len(names) > 1 and any(_NOT_LOOKED_FOR.match(name) for name in names):
        return meant, IGNORE
    return meant, "other" if {name.casefold() for name in names} == {"normal"} else "normal"


def _value_name(value: str, legend: Mapping[str, str]) -> str:
    return _safe(legend[value]) if value in legend else "normal" if value == "0" else f"value_{value}"


def _of_colours(colours: Sequence[ClassSeen], legend: Mapping[str, str]) -> list[Meaning]:
    """Return what the colours of masks mean: black, else white, else the commonest is what is not looked for."""
    by_name = {one.name: one for one in colours}
    ground = by_name.get("#000000") or by_name.get("#ffffff") or max(colours, key=lambda one: one.px, default=None)
    names = {one.name: "normal" if one is ground else f"colour_{(one.name or '')[1:]}" for one in colours}
    names |= {one.name: _safe(legend[one.name]) for one in colours if one.name is not None and one.name in legend}
    return [Meaning(one, names[one.name], names[one.name]) for one in colours]


def _rgb(one: Meaning) -> list[int]:
    return list(bytes.fromhex((one.seen.name or "")[1:]))


def _rare(every: Sequence[Meaning], outside: str) -> set[str]:
    """Return the classes that are not to be learned: of too few patients for three splits, or more than MOST.

    No rare one is left out where the others would be no two classes, or nothing that is looked for.
    """
    names = [name for name in dict.fromkeys(one.name for one in every) if name not in (IGNORE, REGION)]
    most = {name: max(one.seen.of_patients for one in every if one.name == name) for name in names}
    many = set(names[MOST:])
    rare = {name for name in names if most[name] < SPLITS} | many
    kept = [name for name in names if name not in rare]
    enough = len({*kept, outside} - {IGNORE}) > 1 and any(not _NOT_LOOKED_FOR.match(name) for name in kept)
    return rare if enough else many


def _kept(one: Meaning, rare: Collection[str]) -> str:
    return IGNORE if one.name in rare else one.name


def _told(one: Meaning, rare: Collection[str]) -> str:
    """Return how much there is of a class, and whether it is too little."""
    text = f"{one.seen.told}."
    if one.name in (IGNORE, REGION) or one.seen.of_patients >= SPLITS:
        return text
    few = f"{text} Rare: {number(one.seen.of_patients, 'patient')} cannot be in train, val and test"
    return f"{few}, so it is not learned. To learn it: {one.name}." if one.name in rare else f"{few}."


def _label(columns: Sequence[LabelColumn], notes: dict[str, str]) -> dict[str, Any]:
    """Return the key cohort.label where a table has columns for it, and note what else it may be."""
    if not columns:
        return {}
    first = columns[0]
    others = _list(one.told for one in columns[1:])
    if not first.values:
        like = {"column": first.name, "values": dict.fromkeys(first.counts, "tumor, normal or unknown")}
        notes["cohort.label"] = (
            f"Columns of the table that may say it: {_list(one.told for one in columns)}. Write {like}."
        )
        return {"label": None}
    notes["cohort.label.column"] = f"By its texts: {first.told}." + (f" Other columns: {others}." if others else "")
    return {"label": {"column": first.name, "values": dict(first.values)}}


def _list(texts: Iterable[str]) -> str:
    several = list(texts)
    return ", ".join(several[:SHOWN]) + (f" and {len(several) - SHOWN} more" if len(several) > SHOWN else "")


def _safe(name: str) -> str:
    """Return a class's name as recipes have it: letters, digits, _ and -."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")
    return safe if safe[:1].isalpha() and safe.lower() not in (IGNORE, REGION) else f"class_{safe or 'unnamed'}"


def number(count: int, what: str) -> str:
    """Return a count with its noun."""
    return f"{count} {what}{'s' if count != 1 else ''}"
