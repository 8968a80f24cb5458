"""slides.csv, the table in which a person says what is known of slides, read as people write it.

Ids and labels are text: leading zeros stay. Every fault is collected, so that all of them are told at once.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from acinus.cohorts.slide_names import SlideNames
from acinus.cohorts.tables import csv_rows
from acinus.errors import AcinusError
from acinus.params.base import SPLITS
from acinus.slides.slide import MPP_RANGE

NAME = "slides.csv"
COLUMNS = ("slide", "patient", "split", "site", "mpp", "annotation", "exclude", "reason")
"""Columns with a meaning of their own, in any case; every other one is a column of labels."""
SHOWN = 30
"""So many faults of a table are told in one line; `acinus look` lists all."""
_SPLITS: dict[str, str] = {
    **{split: split for split in SPLITS},
    "training": "train",
    "validation": "val",
    "testing": "test",
}
_YES = frozenset({"1", "1.0", "x", "y", "yes", "true", "exclude", "excluded"})
_NO = frozenset({"", "0", "0.0", "n", "no", "false"})
_NUMBER = re.compile(r"\d+([.,]\d*)?|[.,]\d+", re.ASCII)
_UM_PER_PX = re.compile(
    r"((mpp|resolution) )?[\[(]?([uµ\u03bc]m|micro(n|meter|metre)s?)[ _]?(/|per)[ _]?(px|pixels?)[\])]?"
)
_ROUNDED = re.compile(r"\d([.,]\d+)?[eE]\+\d+", re.ASCII)
"""What a spreadsheet makes of a long number; its other digits are lost."""


@dataclass(frozen=True)
class Entry:
    """One row. slide: as written, "" in a row of a patient. mpp: um per level-0 px. None or "": the row does not say.

    excluded: left out, for `reason`. labels: column -> text, of those that are not empty.
    """

    row: int
    slide: str = ""
    patient: str = ""
    split: str | None = None
    site: str = ""
    mpp: float | None = None
    annotation: str = ""
    excluded: bool = False
    reason: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SlidesTable:
    """A table as read. columns: as written. label_columns: those that mean nothing else. faults: a line each."""

    name: str
    columns: tuple[str, ...]
    label_columns: tuple[str, ...]
    entries: tuple[Entry, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Joined:
    """A table and slides together. by_slide: path of a slide -> its row, filled up from other rows of its patient.

    rows_without: faults of rows that name no slide. slides_without: slides that no row names. faults: all others.
    """

    by_slide: dict[str, Entry]
    rows_without: tuple[str, ...]
    slides_without: tuple[str, ...]
    faults: tuple[str, ...]


def parse(text: str, name: str) -> SlidesTable:
    """Return the table of a CSV text; `name` stands in messages.

    Raises:
        AcinusError: text that is no CSV, or a header that cannot be used: no column slide, one that stands twice.
    """
    rows = csv_rows(text, name)
    header = rows[0][1] if rows else []
    _check_header(header, name)
    faults: list[str] = []
    entries = []
    for number, cells in rows[1:]:
        where = f"{name}: row {number}"
        width = len(header)
        if any(cells[width:]) or any(cell for title, cell in zip(header, cells, strict=False) if not title):
            faults.append(f"{where}: a field without a column name above it; name the column or empty the field")
        padded = [*cells[:width], *[""] * (width - len(cells))]
        values = {key_of(title): cell for title, cell in zip(header, padded, strict=True) if title}
        labels = {title: cell for title, cell in zip(header, padded, strict=True) if cell and _is_label(title)}
        entries.append(_entry(number, values, labels, where, faults))
    columns = tuple(title for title in header if title)
    return SlidesTable(name, columns, tuple(filter(_is_label, columns)), tuple(entries), tuple(faults))


def _check_header(header: list[str], name: str) -> None:
    keys = [key_of(title) for title in header if title]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise AcinusError(
            f"{name}: row 1: column {', '.join(twice)} stands twice; keep one (upper and lower case are one)"
        )
    if "slide" not in keys:
        raise AcinusError(
            f"{name}: row 1: no column slide among {', '.join(filter(None, header)) or 'none'}; call the column slide "
            "that has each slide's path, file name or stem"
        )


def _entry(number: int, values: Mapping[str, str], labels: Mapping[str, str], where: str, faults: list[str]) -> Entry:
    """Return one row, noting every fault in `faults`."""
    text = {column: values.get(column, "") for column in COLUMNS}
    split, mpp = _SPLITS.get(text["split"].lower()), _mpp(text["mpp"])
    if text["split"] and split is None:
        faults.append(f"{where}: split {text['split']!r}; write {', '.join(SPLITS)} or nothing")
    if text["mpp"] and mpp is None:
        low, high = MPP_RANGE
        faults.append(f"{where}: mpp {text['mpp']!r}; write um per px, {low:g} to {high:g}, or nothing")
    if text["exclude"].lower() not in _YES | _NO:
        faults.append(f"{where}: exclude {text['exclude']!r}; write yes or no")
    faults.extend(
        f"{where}: {column} {text[column]!r} is an id that a spreadsheet has rounded; make the column text and enter "
        "the ids again"
        for column in ("slide", "patient")
        if _ROUNDED.fullmatch(text[column])
    )
    if not text["slide"] and not text["patient"]:
        faults.append(f"{where}: neither slide nor patient; name one or remove the row")
    excluded = text["exclude"].lower() in _YES
    named = {column: text[column] for column in ("slide", "patient", "site", "annotation", "reason")}
    return Entry(number, split=split, mpp=mpp, excluded=excluded, labels=labels, **named)


def _mpp(text: str) -> float | None:
    """Return a plausible number, of which a comma is a decimal mark; None for any other text."""
    value = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else math.nan
    return value if MPP_RANGE[0] <= value <= MPP_RANGE[1] else None


def key_of(title: str) -> str:
    """Return a column's title as it is compared: in one case, and mpp for µm/px in its usual spellings."""
    key = title.casefold()
    return "mpp" if _UM_PER_PX.fullmatch(key) else key


def _is_label(title: str) -> bool:
    return bool(title) and key_of(title) not in COLUMNS


def join(table: SlidesTable, slides: Iterable[str]) -> Joined:
    """Return which row is which slide's (paths below the root), with what is said of a patient given to each slide.

    A split, site or label that is empty in a slide's row is taken from the other rows of the patient where these
    agree: a patient's label may stand once, in any row, also in one that names no slide.
    """
    paths = list(slides)
    names = SlideNames(paths)
    by_slide: dict[str, Entry] = {}
    faults = list(table.faults)
    rows_without: list[str] = []
    for entry in (entry for entry in table.entries if entry.slide):
        where = f"{table.name}: row {entry.row}: slide {entry.slide!r}"
        found = names.find(entry.slide)
        if not found:
            near = names.near(entry.slide) if len(rows_without) < SHOWN else ""
            rows_without.append(f"{where} is no slide below the root{near}; correct or remove the row")
        elif len(found) > 1:
            faults.append(f"{where} may be {' or '.join(found)}; write its path")
        elif found[0] in by_slide:
            faults.append(f"{where} stands in row {by_slide[found[0]].row} too; keep one row for {found[0]}")
        else:
            by_slide[found[0]] = entry
    patients = {entry.patient for entry in by_slide.values()}
    rows_without += [
        f"{table.name}: row {entry.row}: patient {entry.patient!r} has no slide; name one in the row, or remove it"
        for entry in table.entries
        if not entry.slide and entry.patient and entry.patient not in patients
    ]
    filled = _filled(by_slide, table)
    without = tuple(path for path in paths if path not in by_slide)
    return Joined(filled, tuple(rows_without), without, tuple(faults))


def _filled(by_slide: Mapping[str, Entry], table: SlidesTable) -> dict[str, Entry]:
    """Return the rows with what their patient's other rows agree on where they are empty."""
    of_patient: dict[str, list[Entry]] = {}
    for entry in table.entries:
        if entry.patient:
            of_patient.setdefault(entry.patient, []).append(entry)
    shared = {patient: _agreed(rows, table.label_columns) for patient, rows in of_patient.items() if len(rows) > 1}
    result = {}
    for path, entry in by_slide.items():
        if entry.patient in shared:
            agreed = shared[entry.patient]
            labels = {**agreed.labels, **entry.labels}
            entry = replace(entry, split=entry.split or agreed.split, site=entry.site or agreed.site, labels=labels)
        result[path] = entry
    return result


def _agreed(rows: list[Entry], label_columns: tuple[str, ...]) -> Entry:
    """Return what all rows of a patient that say something say alike."""
    splits, sites = {row.split for row in rows} - {None}, {row.site for row in rows} - {""}
    labels = {}
    for column in label_columns:
        texts = {row.labels[column] for row in rows if column in row.labels}
        if len(texts) == 1:
            labels[column] = texts.pop()
    only_split, only_site = (values.pop() if len(values) == 1 else None for values in (splits, sites))
    return Entry(0, split=only_split, site=only_site or "", labels=labels)


def refuse(faults: Iterable[str], more: str) -> None:
    """Raise all faults as one line; more: who lists the rest where there are more than SHOWN."""
    lines = list(faults)
    if lines:
        rest = f" | and {len(lines) - SHOWN} more; {more}" if len(lines) > SHOWN else ""
        raise AcinusError(" | ".join(lines[:SHOWN]) + rest)
