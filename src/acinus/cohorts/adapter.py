"""What every family's adapter is given, what it gives back, and the steps that all of them share.

An adapter is a function `ingest(order) -> list[Row]`: it finds the slides of one layout on disk, opens each
once and says what is known of it. What no single slide is to blame for is raised; a slide that cannot
be used is a row with the reason.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeVar

from acinus import params
from acinus.cohorts import splits, tables
from acinus.errors import AcinusError, SlideError, WriteError
from acinus.records import LONGEST_ID, MANIFEST, is_safe_id
from acinus.slides.open import SlidePixels, below, open_slide
from acinus.slides.pyramid import made_fingerprint, slide_file
from acinus.slides.slide import MPP_RANGE, is_default_mpp
from acinus.slides.tiles import probe

Row = dict[str, Any]
Section = TypeVar("Section", bound=params.Cohort, covariant=True)
MapSlides = Callable[[Callable[[Any], Row], Sequence[Any]], Iterable[Row]]

NO_PROVIDER, UNKNOWN = splits.NO_PROVIDER, splits.UNKNOWN
COMMON_TABLES = ("splits.csv", "groups.csv")
"""Names of the tables that every family reads, anywhere below the root."""
TABLE_SUFFIXES = frozenset({".csv", ".ods", ".tsv", ".xls", ".xlsx"})
_SHOWN = 5


@dataclass(frozen=True)
class Order(Generic[Section]):
    """What an adapter is asked to read.

    root: the cohort's folder. rasters: a folder that it may fill with images made from the cohort's. files: every
    file below the root (the inventory), relative path -> fingerprint. map: applies a picklable function
    to jobs, in order, perhaps in other processes; an Order itself does not travel there. say: told to the person who
    runs the stage, a line each. own_table: the project's own table of the slides, in place of one below the root.
    only_labels: labels of whole slides are learned (task slide_labels), so that no slide needs an annotation.
    """

    root: Path
    rasters: Path
    cohort: Section
    classes: tuple[str, ...]
    positive: tuple[str, ...]
    files: Mapping[str, str]
    seed: int
    map: MapSlides
    say: Callable[[str], None] = print
    own_table: Path | None = None
    only_labels: bool = False


def new_row(slide_id: str, image: str, fingerprint: str, **known: Any) -> Row:
    """Return a manifest row (every column of records.MANIFEST) that says what is `known` and no more."""
    row: Row = dict.fromkeys(MANIFEST.schema.names)
    row |= {"slide_id": slide_id, "image": image, "fingerprint": fingerprint, "patient": slide_id}
    row |= {"provider": NO_PROVIDER, "label_kind": "unknown", "exhaustive": True, "split_rule": "drawn"}
    row |= {"derived": False, "findings": "", "status": "ok", "reason": ""}
    strangers = sorted(set(known) - set(row))
    if strangers:
        raise ValueError(f"a manifest has no column {', '.join(strangers)}")
    return row | known


@contextmanager
def judged(row: Row, root: Path) -> Iterator[None]:
    """Turn a failure inside the block into status bad and a reason, in `row` itself; what it held so far stays.

    The reason names files relative to the root, which differs between machines.

    Raises:
        WriteError: what is made of the slide cannot be written.
    """
    try:
        yield
    except WriteError:  # a full disk says nothing of the slide
        raise
    except AcinusError as error:
        row |= {"status": "bad", "reason": str(error).replace(f"{root}/", "")}
    except OSError as error:
        why = error.strerror or error
        reason = f"slide {row['slide_id']}: {row['image']} cannot be read ({why}); check the disk"
        row |= {"status": "bad", "reason": reason}


@contextmanager
def opened(
    row: Row, root: Path, cohort: params.Cohort, seed: int, rasters: Path | None = None
) -> Iterator[SlidePixels]:
    """Give the slide of a row, open, after its size is noted in `row` itself and its tiles are probed.

    rasters: a folder for the pyramid of a large slide without levels, which is then what is opened, here and later.
    """
    path = below(root, row["image"])
    if rasters is not None:
        made = rasters / f"{row['slide_id']}.tif"
        path = slide_file(path, row["slide_id"], made)
        if path == made:
            row |= {"derived": True, "fingerprint": made_fingerprint(row["fingerprint"])}
    with open_slide(path, row["slide_id"]) as slide:
        row |= {"width": slide.width, "height": slide.height}
        probe(slide, cohort.probe_tiles, seed)
        yield slide


def resolution(slide: SlidePixels, cohort: params.Cohort, needed: bool, stated: float | None = None) -> Row:
    """Return mpp_x, mpp_y (um per level-0 px) and mpp_source: `stated`, the slide's own tag, cohort.mpp, else nulls.

    stated: what a table says of this slide by name. cohort.mpp stands in for a tag that is absent, and for none else.

    Raises:
        SlideError: a tag that is not plausible, or nothing says it, though it is `needed`.
    """
    if stated is not None:
        return {"mpp_x": stated, "mpp_y": stated, "mpp_source": "table"}
    if slide.tag_mpp is not None:
        return {"mpp_x": slide.tag_mpp[0], "mpp_y": slide.tag_mpp[1], "mpp_source": "tag"}
    tag = slide.properties.get("openslide.mpp-x")
    low, high = MPP_RANGE
    column = f"give its um/px in {cohort.mpp_column}, " if cohort.mpp_column else ""
    if tag is not None and not is_default_mpp(tag):
        raise SlideError(
            f"slide {slide.slide_id}: its tag says {float(tag):g} um/px, which is not plausible ({low:g} to {high:g}); "
            f"correct the tag, {column}or list the slide under cohort.exclude"
        )
    if cohort.mpp is not None:
        return {"mpp_x": cohort.mpp, "mpp_y": cohort.mpp, "mpp_source": "override"}
    if not needed:
        return {"mpp_x": None, "mpp_y": None, "mpp_source": None}
    raise SlideError(
        f"slide {slide.slide_id}: no plausible mpp ({f'the tag says {tag}' if tag else 'no tag'}; plausible is "
        f"{low:g} to {high:g} um/px); set cohort.mpp, or give its um/px in column mpp of slides.csv (family slides)"
    )


def with_splits(
    rows: Sequence[Row],
    cohort: params.Cohort,
    seed: int,
    stratum: Callable[[Row], str],
    within: Callable[[Row], str] = lambda row: "",
) -> list[Row]:
    """Return the rows with every split decided; a split that a row brings along stays.

    stratum: each of them gives its share to test and val (UNKNOWN need give none). within: kinds of slides
    that each split should have alike inside a stratum (providers, say), as far as whole groups allow.
    With cohort.allow_shared_patients a patient whose slides are all decided may have them in several splits.
    Only usable slides take part in the draw, so that a bad one cannot be all that a class has in
    validation. The others follow their patient, or are called train: they are not used anyway.
    """
    by_patient = cohort.split_by == "patient"
    table = "splits.csv" if any(row["split_rule"] == "splits.csv" for row in rows) else cohort.split_table
    shared = _shared_patients(rows, table) if by_patient and cohort.allow_shared_patients else set()
    group = {
        row["slide_id"]: row["patient"] if by_patient and row["patient"] not in shared else row["slide_id"]
        for row in rows
    }
    members = [
        splits.Member(row["slide_id"], group[row["slide_id"]], stratum(row), row["split"], within(row))
        for row in rows
        if row["status"] == "ok"
    ]
    drawn = splits.assign(members, cohort.val_fraction, seed, cohort.test_fraction, table)
    of_group = {group[slide_id]: split for slide_id, split in drawn.items()}
    return [
        row | {"split": drawn.get(row["slide_id"]) or row["split"] or of_group.get(group[row["slide_id"]], "train")}
        for row in rows
    ]


def _shared_patients(rows: Sequence[Row], table: str) -> set[str]:
    """Return the patients whose usable slides are in several splits. table: where a person says the splits.

    Raises:
        AcinusError: a slide of such a patient whose split is still open: no draw could place it.
    """
    usable: dict[str, list[Row]] = {}
    for row in rows:
        if row["status"] == "ok":
            usable.setdefault(row["patient"], []).append(row)
    decided = {patient: sorted({row["split"] for row in slides} - {None}) for patient, slides in usable.items()}
    shared = {patient for patient, of_patient in decided.items() if len(of_patient) > 1}
    for patient in sorted(shared):
        for row in usable[patient]:
            if row["split"] is None:
                raise AcinusError(
                    f"patient {patient}: in {' and '.join(decided[patient])}, but slide {row['slide_id']} is in no "
                    f"split yet; list it in {table}"
                )
    return shared


def user_tables(order: Order, known: Collection[str]) -> tuple[dict[str, splits.Listed], dict[str, str]]:
    """Return what splits.csv and groups.csv say of the slides (`known` ids), wherever below the root they lie.

    groups.csv (slide id -> patient) puts the slides of one patient into one split, and leaves open which.

    Raises:
        AcinusError: two such files, or a wrong one (see splits.parse_splits and parse_groups).
    """
    listed, grouped = only(order.files, "splits.csv", "split files"), only(order.files, "groups.csv", "group files")
    return (
        splits.parse_splits(tables.read_text(below(order.root, listed)), listed, known) if listed else {},
        splits.parse_groups(tables.read_text(below(order.root, grouped)), grouped, known) if grouped else {},
    )


def only(files: Iterable[str], name: str, what: str) -> str | None:
    """Return the one path among `files` of this file name, in any case, or None; two are refused."""
    paths = sorted(path for path in files if PurePosixPath(path).name.lower() == name)
    if len(paths) > 1:
        raise AcinusError(f"{' and '.join(paths[:2])}: two {what}; keep one")
    return paths[0] if paths else None


def unread_tables(files: Iterable[str], read: Collection[str]) -> list[str]:
    """Return the tables that no adapter looks at, sorted; read: paths and lower-case names of the others."""
    tables_here = (path for path in sorted(files) if PurePosixPath(path).suffix.lower() in TABLE_SUFFIXES)
    return [path for path in tables_here if path not in read and PurePosixPath(path).name.lower() not in read]


def placed(
    rows: Iterable[Row], listed: Mapping[str, splits.Listed], patients: Mapping[str, str], excluded: Mapping[str, str]
) -> list[Row]:
    """Return the rows with what the user's tables say: splits.csv, else groups.csv (slide id -> patient), `exclusions`.

    A listed slide without a provider keeps the one that it has.
    """
    result = []
    for row in rows:
        slide_id = row["slide_id"]
        place, reason = listed.get(slide_id), excluded.get(slide_id.casefold())
        if place:
            row = row | {"split": place.split, "split_rule": "splits.csv", "patient": place.patient}
            row |= {"provider": place.provider or row["provider"]}
        elif slide_id in patients:
            row = row | {"patient": patients[slide_id]}
        result.append(row | {"status": "excluded", "reason": reason} if reason else row)
    return result


def exclusions(cohort: params.Cohort) -> dict[str, str]:
    """Return why cohort.exclude leaves slides out, under their ids in casefold: ids are compared in any case."""
    return {slide_id.casefold(): reason or "listed under cohort.exclude" for slide_id, reason in cohort.exclude.items()}


def by_id(what: str, paths: Iterable[str], id_of: Callable[[PurePosixPath], str | None]) -> dict[str, str]:
    """Return slide id -> path, of the paths for which `id_of` gives an id.

    Raises:
        AcinusError: two files (`what`: slides, masks ...) with one id; upper and lower case are one.
    """
    result: dict[str, str] = {}
    first: dict[str, str] = {}
    for path in sorted(paths):
        slide_id = id_of(PurePosixPath(path))
        if slide_id is not None:
            other = first.setdefault(slide_id.casefold(), path)
            if other != path:
                raise AcinusError(f"two {what} with the id {slide_id}: {other} and {path}; rename one or move it away")
            result[slide_id] = path
    return result


def in_folder(folder: str, suffixes: Collection[str], ending: str = "") -> Callable[[PurePosixPath], str | None]:
    """Return an `id_of` for files <id><ending><suffix> in folders of this name."""

    def id_of(path: PurePosixPath) -> str | None:
        if path.parent.name != folder or path.suffix.lower() not in suffixes or not path.stem.endswith(ending):
            return None
        return path.stem.removesuffix(ending)

    return id_of


def refuse_unsafe(files: Mapping[str, str]) -> None:
    """Refuse files (slide id -> path) whose names cannot be slide ids.

    Raises:
        AcinusError: names the first few, and how to rename them.
    """
    unsafe = sorted(slide_id for slide_id in files if not is_safe_id(slide_id))
    odd = [files[slide_id] for slide_id in unsafe if len(slide_id) <= LONGEST_ID]
    if odd:
        raise AcinusError(f"{some(odd)}: not safe as slide ids; rename the files to letters, digits, '_', '-' and '.'")
    if unsafe:
        raise AcinusError(
            f"{some([files[slide_id] for slide_id in unsafe])}: too long as slide ids; rename the files to at most "
            f"{LONGEST_ID} characters before the suffix"
        )


def refuse_orphans(labels: Mapping[str, str], images: Collection[str], excluded: Collection[str], fault: str) -> None:
    """Refuse labels (slide id -> path) of slides that are not there, but for `excluded` ones.

    Raises:
        AcinusError: names the first few files and their fault, and says what to do.
    """
    orphans = sorted(slide_id for slide_id in set(labels) - set(images) if slide_id.casefold() not in excluded)
    if orphans:
        files = some([labels[slide_id] for slide_id in orphans])
        raise AcinusError(f"{files}: {fault}, move the file away or list its id under cohort.exclude")


def some(names: Sequence[str]) -> str:
    """Return the first few of many names for a message."""
    shown = ", ".join(names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
