"""`acinus look`: what a folder of slides holds, what belongs together, and what does not and why. Needs no project."""

import os
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from acinus.annotations.frame import Frame
from acinus.annotations.outline import Outline, class_counts
from acinus.annotations.reading import read_annotations
from acinus.charts.sheet import Tile, colour_of, contact_sheet, outlined, tile_px, tinted
from acinus.cohorts import slides
from acinus.cohorts.drawn import mask_values
from acinus.cohorts.inventory import listing
from acinus.cohorts.matching import is_mask
from acinus.cohorts.slide_names import SlideNames
from acinus.commands.looked import NO_CLASS, SHOWN, SlideLook, annotation_lines, class_lines, slide_lines
from acinus.commands.own_labels import WITHOUT_LABELS, number
from acinus.commands.own_legend import legend
from acinus.commands.own_meanings import label_columns
from acinus.commands.own_slides import annotated_twice, one_per_series
from acinus.commands.own_table import table_lines, taken_over
from acinus.commands.own_targets import targets_of
from acinus.errors import AcinusError
from acinus.files import atomic_path, write_text
from acinus.labels.palette import Colour
from acinus.parallel import map_over
from acinus.plugins import finding
from acinus.project.checkout import project_above
from acinus.slides import brightfield
from acinus.slides.formats import format_of
from acinus.slides.open import SlidePixels, below, open_slide
from acinus.slides.pyramid import slide_file
from acinus.slides.slide import is_default_mpp

SHEET, TEXT = "contact_sheet.png", "look.txt"
_SEVERAL = 16  # slides from which on processes are worth their start


Part = tuple[str, list[str]]


def run(folder: Path, out: Path) -> str:
    """Write the report and the sheet into `out`; return the report, long parts of it cut.

    Raises:
        AcinusError: no such folder, or `out` lies in it, where its pictures would be slides.
    """
    if out.resolve().is_relative_to(folder.resolve()):
        raise AcinusError(
            f"{out}: lies in the folder of the slides, where its pictures would count as slides; set --out"
        )
    finding.use(project_above())  # whose readers are used where the command is given in one
    files = listing(folder)
    found, table_fault = _discovered(folder, files)
    matched = found.match
    shown, of_series = one_per_series(folder, matched.slides, matched.annotations)
    by_table, source, labelled = _table(folder, files, found, shown)
    stated = {path: entry.mpp for path, entry in by_table.joined.by_slide.items()}
    jobs = [(name, path, matched.annotations.get(name, ""), stated.get(path)) for name, path in shown.items()]
    workers = (os.cpu_count() or 1) if len(jobs) >= _SEVERAL else 1
    looks = list(
        map_over(partial(look_at, root=folder, edge_px=tile_px(len(jobs)), table=source), jobs, workers=workers)
    )
    names = SlideNames(matched.slides.values())
    parts: list[Part] = [
        ("slides", slide_lines(looks, of_series, len(files))),
        ("slides that cannot be used", [f"{one.path}: {one.problem}" for one in looks if one.problem]),
        ("slides without a resolution", [f"{x.path}: {x.no_mpp}" for x in looks if x.no_mpp and not x.problem]),
        ("slides in formats that are not read", [f"{path}: {why}" for path, why in matched.foreign.items()]),
        ("ids that differ from file names", slides.named(shown)),
        ("annotations", annotation_lines(looks)),
        ("classes", class_lines(looks)),
        (
            "annotations that cannot be used",
            [f"{x.annotation}: {x.annotation_problem}" for x in looks if x.annotation_problem],
        ),
        ("odd in annotations", [note for one in looks for note in one.notes]),
        ("annotations that go with no slide", [f"{path}: {why}" for path, why in matched.orphans.items()]),
        ("slides without an annotation", [one.path for one in looks if not one.annotation and not one.problem]),
        (
            "tables",
            [line for path in matched.tables for line in table_lines(folder, path, names)]
            + _legend_lines(folder, matched.tables),
        ),
        (
            "to decide",
            [
                *(table_fault + matched.faults + annotated_twice(of_series, matched.annotations)),
                *found.joined.faults,
                *found.joined.rows_without,
                *_unlisted(found),
            ],
        ),
        ("not used", [f"{path}: {why}" for path, why in matched.ignored.items()]),
    ]
    with atomic_path(out / SHEET) as part:
        part.write_bytes(_sheet(looks))
    write_text(out / TEXT, f"{folder}\n\n" + _text(parts, None))
    return f"{folder}\n\n{_text(parts, SHOWN)}\nwritten: {out / TEXT}, {out / SHEET}\n{_next(folder, looks, labelled)}"


def _next(folder: Path, looks: Sequence[SlideLook], labelled: str) -> str:
    """Return what to do with what was seen. labelled: a table may say what slides are (see `_table`)."""
    if not looks:
        return "next: give the folder that holds the slides"
    given = f"--slides {shlex.quote(str(folder))}"
    if labelled == "learnable" and not any(one.classes for one in looks):
        return f"next: acinus init my-study {given} --task slides (slide labels are enough: no outline is needed)"
    if labelled or any(one.classes for one in looks):
        return f"next: acinus init my-study {given}{_left_out(looks)}"
    return f"next: nothing says yet what the slides are: {WITHOUT_LABELS}; then acinus init my-study {given}"


def _left_out(looks: Sequence[SlideLook]) -> str:
    """Return what to do about annotations that only a plug-in of the project reads, in which the command is given."""
    plugged = sorted({one.tool for one in looks} & finding.found("annotation_reader").keys())
    if not plugged:
        return ""
    return (
        f", which reads no files of plug-ins ({', '.join(plugged)}): then copy plugins/ into my-study and say in "
        "cohort.annotations of its recipe what their classes mean"
    )


def _table(
    folder: Path, files: list[str], found: slides.Found, shown: Mapping[str, str]
) -> tuple[slides.Found, str, str]:
    """Return what lies there by the table that `init` has or makes, whose that is, and what labels it may have.

    "learnable": a column that can be learned; "some": one that may say what slides are; "": none.
    """
    made = None if found.table else taken_over(folder, files, found, shown, {})
    found = made.found if made else found
    source = made.known.path if made and made.known else slides.NAME
    if targets_of(found.table, found.joined):
        return found, source, "learnable"
    return found, source, "some" if label_columns(found.table, found.joined) else ""


def _discovered(folder: Path, files: list[str]) -> tuple[slides.Found, list[str]]:
    """Return what lies in the folder; a slides.csv that cannot be used is a fault, and else as if it were not there."""
    try:
        return slides.discover(folder, files), []
    except AcinusError as error:
        rest = [path for path in files if Path(path).name.lower() != slides.NAME]
        return slides.discover(folder, rest), [str(error)]


def look_at(job: tuple[str, str, str, float | None], root: Path, edge_px: int, table: str) -> SlideLook:
    """Return what one slide is (id, path, annotation file or "", um/px of the table); nothing is raised for it."""
    slide_id, path, annotation, stated = job
    form = format_of(below(root, path))
    look = SlideLook(slide_id, path, form.name if form else "unknown", annotation=annotation)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            file = slide_file(below(root, path), slide_id, Path(scratch) / "slide.tif")
            with open_slide(file, slide_id) as slide:
                _examine(slide, look, root, edge_px, (stated, table))
    except (AcinusError, OSError) as error:
        look.problem = _plain(error, slide_id, root)
    return look


def _examine(slide: SlidePixels, look: SlideLook, root: Path, edge_px: int, by_table: tuple[float | None, str]) -> None:
    stated, table = by_table
    mpp, tag = (stated, stated) if stated else slide.tag_mpp, slide.properties.get("openslide.mpp-x")
    resolution = f"{mpp[0]:.4g} um/px{f' ({table})' if stated else ''}" if mpp else "no um/px"
    if mpp is None and tag is not None and not is_default_mpp(tag):
        look.no_mpp = (
            f"its tag says {float(tag):.4g} um/px, which is not plausible: give the right one in "
            "column mpp of slides.csv, or leave the slide out"
        )
    elif mpp is None:
        look.no_mpp = "no um/px: give it in column mpp of slides.csv, or set cohort.mpp for all such slides"
    levels = len(slide.level_dimensions)
    look.facts = f"{slide.width} x {slide.height} px, {number(levels, 'level')}, {resolution}"
    look.mm2_per_px = mpp[0] * mpp[1] / 1e6 if mpp else None
    scale = max(slide.width, slide.height) / edge_px
    columns, rows = (max(1, round(edge / scale)) for edge in (slide.width, slide.height))
    look.picture = slide.overview(columns, rows) if scale >= 1 else slide.overview(slide.width, slide.height)
    try:
        brightfield.check(slide)
    except AcinusError as error:
        look.problem = _plain(error, look.slide_id, root)
    if not look.annotation:
        return
    try:
        file = below(root, look.annotation)
        if is_mask(look.annotation):
            rows, columns = look.picture.shape[:2]
            look.classes, values = mask_values(file, (slide.width, slide.height), (columns, rows))
            look.tool, look.picture = "mask", tinted(look.picture, values)
            return
        drawn = read_annotations(file, Frame.of((slide.width, slide.height), slide.properties, mpp))
    except AcinusError as error:
        look.annotation_problem = _plain(error, look.slide_id, root).removeprefix(f"{file.name}: ")
        return
    look.tool, look.classes = drawn.tool, class_counts(drawn.outlines)
    look.notes = [*drawn.warnings, *_passed_over(look.annotation, drawn.passed_over, drawn.outlines)]
    shapes = [(outline.area, outline.colour or colour_of(outline.class_name or NO_CLASS)) for outline in drawn.outlines]
    look.picture = outlined(look.picture, shapes, max(scale, 1.0))


def _passed_over(name: str, passed_over: dict[str, int], outlines: Iterable[Outline]) -> Iterable[str]:
    if passed_over:
        yield f"{name}: passed over: " + ", ".join(
            f"{count} {kind.removesuffix('s') if count == 1 and ' ' not in kind else kind}"
            for kind, count in passed_over.items()
        )
    kinds = Counter(outline.object_type for outline in outlines if outline.object_type != "annotation")
    if kinds:
        yield f"{name}: counted only by cohort.annotations.objects: " + ", ".join(
            f"{count} of kind {kind}" for kind, count in sorted(kinds.items())
        )


def _plain(error: Exception, slide_id: str, root: Path) -> str:
    text = " ".join(str(error).replace(f"{root}/", "").split())
    return text.removeprefix(f"slide {slide_id}: ")


def _legend_lines(folder: Path, tables: Sequence[str]) -> list[str]:
    meanings, path = legend(folder, tables)
    told = ", ".join(f"{key} is {name}" for key, name in list(meanings.items())[:SHOWN])
    return [f"{path}: says of masks: {told}"] if path else []


def _unlisted(found: slides.Found) -> list[str]:
    return [f"{path}: {found.table.name} has no row for it" for path in found.joined.slides_without if found.table]


def _sheet(looks: Sequence[SlideLook]) -> bytes:
    tiles, colours = [], dict[str, Colour]()
    for look in looks:
        if look.picture is None:
            continue
        tiles.append(Tile(look.picture, (look.path, look.problem or look.annotation or "no annotation")))
        for entry in look.classes if look.tool != "mask" else ():
            name = entry.class_name or NO_CLASS
            colours.setdefault(name, entry.colour or colour_of(name))
    return contact_sheet(tiles, dict(sorted(colours.items())))


def _text(parts: Sequence[Part], most: int | None) -> str:
    """Return the parts that have lines, each under its title, at most `most` lines of each."""
    blocks = []
    for title, lines in parts:
        if lines:
            shown = (
                lines if most is None or len(lines) <= most else [*lines[:most], f"... and {len(lines) - most} more"]
            )
            blocks.append("\n".join([title, *(f"  {line}" for line in shown)]) + "\n")
    return "\n".join(blocks)
