"""The table that people have of their slides, of whatever columns: which slides it names, what it says of them."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PurePosixPath

from acinus.cohorts import slides
from acinus.cohorts.adapter import COMMON_TABLES
from acinus.cohorts.slide_names import SlideNames, patient_of, stem_of
from acinus.cohorts.slides_table import COLUMNS, NAME, key_of, parse
from acinus.cohorts.tables import csv_rows, read_text
from acinus.commands.own_legend import legend
from acinus.commands.own_meanings import MOST_VALUES, LabelColumn, is_label, is_patient
from acinus.errors import AcinusError
from acinus.slides.open import below

FOLDER = "folder"
SHOWN = 5
"""So many slides, columns or texts stand in one line."""
_PERSON = re.compile(r"pat|mrn|medical")


@dataclass(frozen=True)
class Known:
    """What a table says. path: below the root. rows: path of a slide -> column -> text. lost: texts that name no slide.

    faults: rows and columns that stand twice, a line each; the first counts.
    """

    path: str
    column: str
    titles: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]
    lost: tuple[str, ...]
    faults: tuple[str, ...] = ()

    @property
    def patient_column(self) -> str | None:
        """The column that says whose slide it is: the one called patient, else so in other words, else a case."""
        said = [
            title
            for title in self.titles
            if is_patient(title) and title != self.column and any(row.get(title) for row in self.rows.values())
        ]
        return min(said, key=lambda one: (key_of(one) != "patient", not _PERSON.match(one.casefold())), default=None)


def read_known(root: Path, path: str, names: SlideNames) -> Known | None:
    """Return what a table says of the slides, by the column that names most of them; None where no column names any.

    Raises:
        AcinusError: a file that is no CSV.
    """
    rows = csv_rows(read_text(below(root, path)), path)
    header, body = (rows[0][1], rows[1:]) if rows else ([], [])
    titles = tuple(header)
    slides_of = {
        place: [_slide(cells, place, names) for _, cells in body] for place, title in enumerate(titles) if title
    }
    place = max(slides_of, key=lambda one: len(set(slides_of[one]) - {None}), default=None)
    if place is None or not any(slides_of[place]):
        return None
    found: dict[str, dict[str, str]] = {}
    numbers: dict[str, list[int]] = {}
    lost = []
    for slide, (number, cells) in zip(slides_of[place], body, strict=True):
        if slide is None:
            lost.append(cells[place] if place < len(cells) else "")
            continue
        numbers.setdefault(slide, []).append(number)
        fields = list(zip(titles, cells, strict=False))
        found.setdefault(slide, {title: cell for title, cell in reversed(fields) if title})
    faults = [f"{slide} (rows {', '.join(map(str, those))})" for slide, those in numbers.items() if len(those) > 1]
    twice = [repr(title) for title, count in Counter(filter(None, titles)).items() if count > 1]
    lines = [f"{path}: slides of several rows, of which the first counts: {_shown(faults)}"] * bool(faults)
    lines += [f"{path}: columns of one name, of which the first counts: {_shown(twice)}"] * bool(twice)
    return Known(path, titles[place], titles, found, tuple(lost), tuple(lines))


def _shown(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")


def _slide(cells: Sequence[str], place: int, names: SlideNames) -> str | None:
    """Return the slide that a row names in one of its fields."""
    found = names.find(cells[place]) if place < len(cells) and cells[place] else []
    return found[0] if len(found) == 1 else None


def best_known(root: Path, tables: Iterable[str], paths: Iterable[str]) -> tuple[Known | None, list[str], list[str]]:
    """Return the table that names most of the slides, a line for what of the others is not used, and lines of what a
    person has to mend: tables that cannot be read, what stands twice."""
    names, known, lines, first = SlideNames(paths), [], [], []
    for path in tables:
        name = Path(path).name.lower()
        if name in COMMON_TABLES:
            continue
        if not name.endswith((".csv", ".tsv")):
            first.append(f"{path}: only CSV is read; save it as CSV")
            continue
        try:
            one = read_known(root, path, names)
        except AcinusError as error:
            first.append(str(error))
            continue
        if one is None:
            lines.append(f"{path}: no column of it names slides of this folder, so that nothing of it is used")
        else:
            known.append(one)
    if not known:
        return None, lines, first
    best, *others = sorted(known, key=lambda one: -len(one.rows))
    lines += [
        f"{one.path}: names slides too, but slides.csv has what {best.path} says; copy into it what else counts"
        for one in others
    ]
    if best.lost:
        lost = [f"{text!r}{names.near(text)}" for text in best.lost[:SHOWN]]
        more = f" and {len(best.lost) - SHOWN} more" if len(best.lost) > SHOWN else ""
        lines.append(
            f"{best.path}: {len(best.lost)} of its rows name no slide of this folder in column {best.column}: "
            f"{', '.join(lost)}{more}"
        )
    return best, lines, [*first, *best.faults]


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
    of_id: Mapping[str, str], annotations: Mapping[str, str], known: Known | None, faults: Mapping[str, str]
) -> str:
    """Return a slides.csv of slides (id -> path): what names, files and a table say of each already stands there.

    Slides of several folders have a column of these, which may say what they are. annotations: slide id -> file.
    faults: path of a slide that does not open -> why; such a slide is left out.
    """
    titles, patients = _labels_of(known), known.patient_column if known else None
    folders = {path: PurePosixPath(path).parent.name for path in of_id.values()}
    several = 1 < len(set(folders.values())) <= MOST_VALUES and FOLDER not in titles.values()
    written = StringIO()
    table = csv.DictWriter(
        written, [*COLUMNS, *titles.values(), *([FOLDER] if several else [])], restval="", lineterminator="\n"
    )
    table.writeheader()
    for slide_id, path in sorted(of_id.items()):
        row = dict(known.rows.get(path, {})) if known else {}
        said = {key_of(title): text for title, text in row.items() if key_of(title) in COLUMNS}
        patient = row.get(patients, "") if patients else ""
        entry = {column: said.get(column, "") for column in COLUMNS} | {"slide": path}
        entry["patient"] = patient or patient_of(stem_of(path)) or ""
        entry["annotation"] = entry["annotation"] or annotations.get(slide_id, "")
        if path in faults:
            entry |= {"exclude": "yes", "reason": entry["reason"] or faults[path].partition(";")[0]}
        entry |= {FOLDER: folders[path]} if several else {}
        table.writerow(entry | {titles[title]: text for title, text in row.items() if title in titles})
    return written.getvalue()


@dataclass(frozen=True)
class TakenOver:
    """A slides.csv made of a person's own table, where there is one, and what lies there by it.

    told: what of other tables is not used. first: what a person has to look at. Both a line each.
    """

    text: str
    known: Known | None
    found: slides.Found
    told: tuple[str, ...]
    first: tuple[str, ...]


def taken_over(
    root: Path, paths: list[str], found: slides.Found, shown: Mapping[str, str], unread: Mapping[str, str]
) -> TakenOver:
    """Return the table of slides (id -> path) without a slides.csv. unread: path -> why it does not open."""
    legend_path = legend(root, found.match.tables)[1]
    tables = [path for path in found.match.tables if path != legend_path]
    known, told, first = best_known(root, tables, found.match.slides.values())
    text = table_text(shown, found.match.annotations, known, unread)
    by_table = slides.with_table(root, paths, parse(text, NAME))
    left = set(by_table.match.faults)
    settled = [f"{fault}; for now it names the first" for fault in found.match.faults if fault not in left]
    first += settled[:SHOWN]
    if len(settled) > SHOWN:
        first.append(f"and {len(settled) - SHOWN} more like these, which acinus look lists")
    return TakenOver(text, known, by_table, tuple(told), tuple(first))


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
        own = key_of(title)
        if own in COLUMNS and own != "slide":
            continue
        name = title
        while name.casefold() in taken:
            name += "_"
        titles[title] = name
        taken.add(name.casefold())
    return titles
