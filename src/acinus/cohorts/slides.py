"""Slides of one's own on disk: any folders, outlines of any tool or masks, a table or none -> manifest rows.

What ingest makes of a slide's annotation lies in rasters/: <id>_areas.parquet (disjoint areas of classes) of outlines,
<id>_mask.tif (class indices) of a mask that is coloured or no TIFF. Beside them labels.json, the table's other columns.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from acinus import params
from acinus.annotations.reading import tool_of
from acinus.cohorts import adapter, dicom, drawn, slide_labels, tables
from acinus.cohorts.adapter import Order, Row, new_row
from acinus.cohorts.matching import Match, annotated_name, is_mask, match
from acinus.cohorts.slide_names import named, patient_of, safe_id, stem_of
from acinus.cohorts.slides_table import NAME, Entry, Joined, SlidesTable, join, parse, refuse
from acinus.errors import AcinusError
from acinus.slides import brightfield
from acinus.slides.open import below

TABLES = frozenset({NAME})
NOTES, UNMAPPED = "_notes", "_unmapped"
"""What a worker adds to a row and `ingest` takes off: lines to say; class that no key names -> number of outlines."""


@dataclass(frozen=True)
class Found:
    """A cohort before its slides are opened: its files, its table (None: there is none), both together."""

    match: Match
    table: SlidesTable | None
    joined: Joined


def ingest(order: Order[params.SlidesCohort]) -> list[Row]:
    """Return the manifest rows of the cohort: every slide found, opened once, with its label and split.

    Raises:
        AcinusError: what no single slide is to blame for, all of it in one line: faults of the table, names that
            collide, annotations without a slide, classes that the recipe does not name, no label at all.
    """
    found = discover(order.root, order.files, order.cohort.table, order.own_table)
    _refuse(order, found)
    for line in [
        *named(found.match.slides),
        *(f"not used: {path}: {why}" for path, why in found.match.ignored.items()),
    ]:
        order.say(line)
    label = slide_labels.as_written(order.cohort.label, found.table)
    say = None if order.only_labels else order.say
    slide_labels.carry(found.match.slides, (found.table, found.joined), label, order.rasters, say)
    look = partial(
        examine, root=order.root, rasters=order.rasters, cohort=order.cohort, classes=order.classes, seed=order.seed
    )
    jobs = [(row, entry.mpp) for row, entry in _rows(order, found)]
    rows = list(order.map(partial(look, positive=order.positive), jobs))
    unmapped: Counter[str] = Counter()
    for row in rows:
        unmapped.update(row.pop(UNMAPPED, {}))
        for line in row.pop(NOTES, ()):
            order.say(line)
    _refuse_unmapped(order, unmapped)
    _name_unscaled(order, rows)
    rows = dicom.one_per_series(rows, order.root) + _foreign(order, found.match)
    if not order.only_labels:
        _refuse_unlabelled(order, rows)
    return adapter.with_splits(
        rows, order.cohort, order.seed, lambda row: row["slide_label"] or adapter.UNKNOWN, lambda row: row["provider"]
    )


def discover(root: Path, files: Iterable[str], table_name: str = NAME, own: Path | None = None) -> Found:
    """Return what lies below the root, by names, the table and the first bytes of annotation files.

    own: a table that does not lie below the root, in place of one that does.

    Raises:
        AcinusError: no table of a name other than slides.csv; two of it; one that cannot be read.
    """
    paths = list(files)
    table = parse(tables.read_text(own), table_name) if own else _read_table(root, paths, table_name)
    return with_table(root, paths, table)


def with_table(root: Path, paths: list[str], table: SlidesTable | None) -> Found:
    """Return what lies below the root, the table's rows with the slides that they name."""
    slides = match(paths, lambda path: None).slides.values()
    joined = _for_series(root, join(table, slides)) if table else Joined({}, (), (), ())
    stated = {path: entry.annotation for path, entry in joined.by_slide.items() if entry.annotation}
    return Found(match(paths, partial(_tool, root), stated), table, joined)


def _for_series(root: Path, joined: Joined) -> Joined:
    """Return what a table says with the row of one file of a DICOM series for all files of it that have none."""
    if not any(Path(path).suffix.lower() in dicom.SUFFIXES for path in joined.slides_without):
        return joined
    first = dicom.first_of_series(root, [*joined.by_slide, *joined.slides_without])
    rows = {first[path]: entry for path, entry in joined.by_slide.items() if path in first}
    others = {path: rows[first[path]] for path in joined.slides_without if first.get(path) in rows}
    by_slide = joined.by_slide | {path: replace(entry, annotation="") for path, entry in others.items()}
    return replace(joined, by_slide=by_slide, slides_without=tuple(p for p in joined.slides_without if p not in others))


def _read_table(root: Path, files: list[str], name: str) -> SlidesTable | None:
    path = name if name in files else adapter.only(files, name.lower(), "tables of the slides")
    if path is None and name != NAME:
        raise AcinusError(f"{name}: no such table below {root}; correct cohort.table")
    return None if path is None else parse(tables.read_text(below(root, path)), path)


def _tool(root: Path, path: str) -> str | None:
    """Return the tool that wrote a file; of one that cannot be read: reading it will say why."""
    try:
        return tool_of(below(root, path))
    except AcinusError:
        return "unreadable"


def _refuse(order: Order[params.SlidesCohort], found: Found) -> None:
    """Refuse everything that a person must decide, all at once."""
    cohort, joined, table = order.cohort, found.joined, found.table
    excluded = adapter.exclusions(cohort)
    faults = [*found.match.faults, *joined.faults]
    unlisted = [
        *joined.rows_without,
        *(
            f"{path}: {table.name} has no row for it; add one, with exclude = yes to leave it out"
            for path in joined.slides_without
            if table
        ),
    ]
    if cohort.unlisted == "refuse":
        faults += [line for line in unlisted if line]
    else:
        for line in joined.rows_without:
            order.say(line)
    faults += [
        f"{path}: an annotation without a slide: {why}"
        for path, why in found.match.orphans.items()
        if safe_id(annotated_name(path)[1]).casefold() not in excluded
    ]
    label = slide_labels.as_written(cohort.label, table)
    if table and label:
        faults += slide_labels.faults(table, label, joined)
    elif cohort.label:
        faults.append(f"cohort.label.column = {cohort.label.column!r}: there is no table {cohort.table}; add it")
    faults += _undeclared(cohort, found.match)
    more = f"acinus look {cohort.root} lists all"
    if cohort.unlisted == "refuse" and unlisted:
        more += "; or set cohort.unlisted: exclude"
    refuse(faults, more)


def _undeclared(cohort: params.SlidesCohort, found: Match) -> Iterable[str]:
    """Yield that annotations were found whose meaning the recipe does not say."""
    masks = [path for path in found.annotations.values() if is_mask(path)]
    outlines = [path for path in found.annotations.values() if not is_mask(path)]
    if outlines and cohort.annotations is None:
        yield (
            f"{len(outlines)} annotation file{'s' if len(outlines) > 1 else ''} beside the slides "
            f"({adapter.some(outlines)}), but cohort.annotations does not say what their classes mean; acinus look "
            f"{cohort.root} shows them"
        )
    if masks and not cohort.mask_values and not cohort.mask_colours:
        yield (
            f"{len(masks)} mask{'s' if len(masks) > 1 else ''} beside the slides ({adapter.some(masks)}); say in "
            "cohort.mask_values or cohort.mask_colours what they hold"
        )


def _rows(order: Order[params.SlidesCohort], found: Found) -> Iterable[tuple[Row, Entry]]:
    """Yield the slides by id as rows, with what the table says of each."""
    files, label = order.files, slide_labels.as_written(order.cohort.label, found.table)
    bare = []
    entries: dict[str, Entry] = {}
    for slide_id, path in sorted(found.match.slides.items()):
        entry = found.joined.by_slide.get(path, Entry(0))
        entries[slide_id] = entry
        annotation = found.match.annotations.get(slide_id)
        row = new_row(
            slide_id,
            path,
            files[path],
            patient=entry.patient or patient_of(stem_of(path)) or slide_id,
            provider=entry.site or adapter.NO_PROVIDER,
            split=entry.split,
            split_rule=NAME if entry.split else "drawn",
            slide_label=slide_labels.meaning(entry, label),
            label_source=annotation,
            label_fingerprint=files[annotation] if annotation else None,
        )
        reason = f"{entry.reason or 'exclude'} ({NAME})" if entry.excluded else ""
        if found.table and path in found.joined.slides_without:
            reason = f"{found.table.name} has no row for it"
        bare.append(row | {"status": "excluded", "reason": reason} if reason else row)
    listed, patients = adapter.user_tables(order, set(entries))
    _refuse_two_tables(found, listed, patients)
    for row in adapter.placed(bare, listed, patients, adapter.exclusions(order.cohort)):
        yield row, entries[row["slide_id"]]


def _refuse_two_tables(found: Found, listed: Mapping[str, object], patients: Mapping[str, str]) -> None:
    """Refuse two tables that both say splits or patients of slides."""
    entries = found.joined.by_slide.values()
    for column, other in (("split", listed), ("patient", {**listed, **patients})):
        if other and any(getattr(entry, column) for entry in entries) and found.table:
            raise AcinusError(
                f"{found.table.name} and splits.csv or groups.csv both say the {column} of slides; keep it in one"
            )


def examine(
    job: tuple[Row, float | None],
    root: Path,
    rasters: Path,
    cohort: params.SlidesCohort,
    classes: tuple[str, ...],
    positive: tuple[str, ...],
    seed: int,
) -> Row:
    """Return the manifest row of one slide: open it, probe its tiles, decide its um/px, read its annotation.

    job: the row so far, and what the table says of its um/px. A slide that cannot be used is a row with status bad and
    the reason. The row has NOTES and UNMAPPED besides.
    """
    row, mpp = dict(job[0]), job[1]
    if row["status"] != "ok":
        return row
    made = [rasters / f"{row['slide_id']}{end}" for end in (".tif", "_mask.tif", "_areas.parquet")]
    with adapter.judged(row, root):
        with adapter.opened(row, root, cohort, seed, rasters) as slide:
            brightfield.check(slide)
            row |= adapter.resolution(slide, cohort, needed=False, stated=mpp)
            properties = slide.properties
        row |= drawn.label(row, root, rasters, drawn.Meaning(cohort, classes, positive), properties)
    if row["status"] != "ok":
        for path in made:
            path.unlink(missing_ok=True)
    return row


def _refuse_unmapped(order: Order[params.SlidesCohort], unmapped: Counter[str]) -> None:
    """Refuse classes of outlines that the recipe does not name, or say that they are not judged."""
    rules = order.cohort.annotations
    if rules is None or not unmapped:
        return
    counts = ", ".join(
        f"{name!r} ({count} outline{'s' if count > 1 else ''})" for name, count in unmapped.most_common()
    )
    if rules.unmapped == "refuse":
        raise AcinusError(
            f"{order.cohort.root}: cohort.annotations.classes does not name {counts}; map each to one of "
            f"{', '.join(order.classes)}, ignore or region there, or set cohort.annotations.unmapped: ignore"
        )
    order.say(f"not judged, since cohort.annotations.classes does not name them: {counts}")


def _name_unscaled(order: Order[params.SlidesCohort], rows: list[Row]) -> None:
    """Say which slides have no um/px: they are of use where the recipe works by level."""
    bare = [row["image"] for row in rows if row["status"] == "ok" and row["mpp_x"] is None]
    if bare:
        order.say(
            f"no um/px: {len(bare)} slides ({adapter.some(bare)}); give it in {order.cohort.mpp_column} or set "
            "cohort.mpp; without it they have no areas in mm², sizes in um are guessed, and the recipe must give "
            "index.level"
        )


def _foreign(order: Order[params.SlidesCohort], found: Match) -> list[Row]:
    """Return rows of slides that nothing here reads; what has been converted beside them is a slide by itself."""
    rows = []
    for path, why in found.foreign.items():
        slide_id = safe_id(stem_of(path))
        if slide_id in found.slides:
            order.say(f"not used: {path}: {found.slides[slide_id]} has its name and is read instead")
            continue
        row = new_row(
            slide_id, path, order.files.get(path, "folder"), status="bad", reason=f"slide {slide_id}: {path}: {why}"
        )
        rows.append(row)
    return adapter.placed(rows, {}, {}, adapter.exclusions(order.cohort))


def _refuse_unlabelled(order: Order[params.SlidesCohort], rows: list[Row]) -> None:
    """Refuse a cohort of which nothing is known: every stage behind this one would fail, each with another text."""
    usable = [row for row in rows if row["status"] == "ok"]
    if not usable or any(row["label_kind"] != "unknown" or row["slide_label"] for row in usable):
        return
    raise AcinusError(
        f"{order.cohort.root}: none of {len(usable)} slides has an annotation or a label; put annotation files beside "
        "the slides or in a folder annotations, name them in column annotation of slides.csv, or set cohort.label to "
        "a column of slides.csv"
    )
