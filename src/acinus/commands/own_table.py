"""The table that people have of their slides, of whatever columns: which slides it names, what it says of them."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PurePosixPath

from acinus.cohorts.adapter import COMMON_TABLES
from acinus.cohorts.slide_names import SlideNames, patient_of, stem_of
from acinus.cohorts.slides_table import COLUMNS, NAME
from acinus.cohorts.tables import csv_rows, read_text
from acinus.commands.own_meanings import MOST_VALUES, LabelColumn, is_label, is_patient
from acinus.errors import AcinusError
from acinus.slides.open import below

FOLDER = "folder"


@dataclass(frozen=True)
class Known:
    """What a table says. path: below the root. rows: path of a slide -> column -> text. lost: rows of no slide here."""

    path: str
    column: str
    titles: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]
    lost: int


def read_known(root: Path, path: str, names: SlideNames) -> Known | None:
    """Return what a table says of the slides, by the column that names most of them; None where no column names any.

    Raises:
        AcinusError: a file that is no CSV.
    """
    rows = csv_rows(read_text(below(root, path)), path)
    header, body = (rows[0][1], [cells for _, cells in rows[1:]]) if rows else ([], [])
    titles = tuple(header)
    slides_of = {place: [_slide(cells, place, names) for cells in body] for place, title in enumerate(titles) if title}
    place = max(slides_of, key=lambda one: len(set(slides_of[one]) - {None}), default=None)
    if place is None or not any(slides_of[place]):
        return None
    found: dict[str, dict[str, str]] = {}
    for slide, cells in zip(slides_of[place], body, strict=True):
        if slide is not None and slide not in found:
            found[slide] = {title: cell for title, cell in zip(titles, cells, strict=False) if title}
    lost = sum(slide is None for slide in slides_of[place])
    return Known(path, titles[place], titles, found, lost)


def _slide(cells: Sequence[str], place: int, names: SlideNames) -> str | None:
    """Return the slide that a row names in one of its fields."""
    found = names.find(cells[place]) if place < len(cells) and cells[place] else []
    return found[0] if len(found) == 1 else None


def best_known(root: Path, tables: Iterable[str], slides: Iterable[str]) -> tuple[Known | None, list[str]]:
    """Return the table that names most of the slides, and a line for each other one, what of it is not used and why."""
    names, known, lines = SlideNames(slides), [], []
    for path in tables:
        name = Path(path).name.lower()
        if name in COMMON_TABLES:
            continue
        if not name.endswith((".csv", ".tsv")):
            lines.append(f"{path}: only CSV is read; save it as CSV")
            continue
        try:
            one = read_known(root, path, names)
        except AcinusError as error:
            lines.append(str(error))
            continue
        if one is None:
            lines.append(f"{path}: no column of it names slides of this folder, so that nothing of it is used")
        else:
            known.append(one)
    known.sort(key=lambda one: -len(one.rows))
    lines += [
        f"{one.path}: names slides too, but slides.csv has what {known[0].path} says; copy into it what else counts"
        for one in known[1:]
    ]
    if known and known[0].lost:
        lines.append(
            f"{known[0].path}: {known[0].lost} of its rows name no slide of this folder in column {known[0].column}"
        )
    return (known[0] if known else None), lines


def table_lines(root: Path, path: str, names: SlideNames) -> list[str]:
    """Return what a table is, a line each: its columns, which of them names slides, and what the others say of them."""
    if not path.lower().endswith((".csv", ".tsv")):
        return [f"{path}: only CSV is read; save it as CSV"]
    try:
        rows = csv_rows(read_text(below(root, path)), path)
        known = read_known(root, path, names)
    except AcinusError as error:
        return [str(error)]
    lines = [f"{path}: {max(0, len(rows) - 1)} rows; columns {', '.join(rows[0][1] if rows else ()) or 'none'}"]
    if known is None:
        return [*lines, f"{path}: no column names slides of this folder"]
    where = f"{path}: column {known.column} names {len(known.rows)} slides"
    if PurePosixPath(path).name.lower() != NAME:
        call = "" if known.column.casefold() == "slide" else " call the column slide and"
        where += (
            f"; acinus init takes it over into slides.csv (in a project that you have:{call} set cohort.table: {path})"
        )
    told = []
    for title in known.titles:
        counts = Counter(text for row in known.rows.values() if (text := row.get(title)))
        if title != known.column and is_label(title, counts):
            told.append(f"{path}: {LabelColumn(title, dict(sorted(counts.items())), {}).told}")
    return [*lines, where, *told]


def table_text(
    slides: Mapping[str, str], annotations: Mapping[str, str], known: Known | None, faults: Mapping[str, str]
) -> str:
    """Return a slides.csv of the slides (id -> path): what names, files and a table say of each already stands there.

    Slides of several folders have a column of these, which may say what they are. annotations: slide id -> file.
    faults: path of a slide that does not open -> why; such a slide is left out.
    """
    titles = _labels_of(known)
    folders = {path: PurePosixPath(path).parent.name for path in slides.values()}
    several = 1 < len(set(folders.values())) <= MOST_VALUES and FOLDER not in titles.values()
    written = StringIO()
    table = csv.DictWriter(
        written, [*COLUMNS, *titles.values(), *([FOLDER] if several else [])], restval="", lineterminator="\n"
    )
    table.writeheader()
    for slide_id, path in sorted(slides.items()):
        row = dict(known.rows.get(path, {})) if known else {}
        said = {title.casefold(): text for title, text in row.items() if title.casefold() in COLUMNS}
        patient = next((text for title, text in row.items() if text and is_patient(title)), "")
        entry = {column: said.get(column, "") for column in COLUMNS} | {"slide": path}
        entry["patient"] = entry["patient"] or patient or patient_of(stem_of(path)) or ""
        entry["annotation"] = entry["annotation"] or annotations.get(slide_id, "")
        if path in faults:
            entry |= {"exclude": "yes", "reason": entry["reason"] or faults[path].partition(";")[0]}
        entry |= {FOLDER: folders[path]} if several else {}
        table.writerow(entry | {titles[title]: text for title, text in row.items() if title in titles})
    return written.getvalue()


def with_splits(text: str, splits: Mapping[str, str]) -> str:
    """Return the text of a slides.csv with a split for each slide (by its path) that has one."""
    rows = list(csv.DictReader(StringIO(text)))
    written = StringIO()
    table = csv.DictWriter(written, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(row | {"split": splits.get(row["slide"], row["split"])} for row in rows)
    return written.getvalue()


def _labels_of(known: Known | None) -> dict[str, str]:
    """Return title in a person's table -> title in slides.csv, of the columns that it does not have by itself."""
    titles: dict[str, str] = {}
    taken = set(COLUMNS)
    for title in known.titles if known else ():
        if not title or title == known.column or title in titles:  # type: ignore[union-attr]
            continue
        own = title.casefold()
        if own in COLUMNS and own != "slide":
            continue
        name = title
        while name.casefold() in taken:
            name += "_"
        titles[title] = name
        taken.add(name.casefold())
    return titles
