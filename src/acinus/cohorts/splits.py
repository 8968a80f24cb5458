"""Which slide serves training, validation and test: splits.csv where given, else a seeded draw by group."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acinus.errors import AcinusError
from acinus.seeds import derive

SPLITS = ("train", "val", "test")
NEEDED = ("slide_id", "split", "patient")
OPTIONAL = ("provider",)


@dataclass(frozen=True)
class Listed:
    """One row of splits.csv."""

    split: str
    patient: str
    provider: str | None


@dataclass(frozen=True)
class Member:
    """A slide that needs a split. group: patient or slide; label: what to stratify by; split: if already decided."""

    slide_id: str
    group: str
    label: str
    split: str | None


def read_splits(path: Path, known: Collection[str]) -> dict[str, Listed]:
    """Read splits.csv (slide_id, split, patient[, provider]; the order of columns is free).

    Raises:
        AcinusError: names the file and the row of an unknown slide, an unknown split, a slide that stands
            twice, an empty field, missing or unknown columns, or text that is no CSV.
    """
    return parse_splits(read_text(path), path.name, known)


def read_text(path: Path) -> str:
    """Return a small text file (UTF-8, with or without a byte order mark)."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AcinusError(f"{path.name}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise AcinusError(f"{path.name}: cannot be read ({error.strerror}); check the file") from error


def parse_splits(text: str, name: str, known: Collection[str]) -> dict[str, Listed]:
    """Return slide_id -> Listed from the text of splits.csv; see read_splits."""
    rows = list(_rows(text, name))
    header = rows[0][1] if rows else []
    missing, unknown = [c for c in NEEDED if c not in header], [c for c in header if c not in NEEDED + OPTIONAL]
    if missing or unknown or len(set(header)) != len(header):
        raise AcinusError(
            f"{name}: row 1: columns are {', '.join(header) or 'none'}; expected {', '.join(NEEDED)} "
            f"and, if wanted, {', '.join(OPTIONAL)}"
        )
    listed: dict[str, Listed] = {}
    for number, cells in rows[1:]:
        if len(cells) != len(header):
            raise AcinusError(f"{name}: row {number}: {len(cells)} fields; expected {len(header)} as in the header")
        row = dict(zip(header, cells, strict=True))
        _check_row(row, f"{name}: row {number}", known, listed)
        listed[row["slide_id"]] = Listed(row["split"], row["patient"], row.get("provider") or None)
    return listed


def _rows(text: str, name: str) -> Iterable[tuple[int, list[str]]]:
    """Yield (line number, stripped fields) of every line that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise AcinusError(f"{name}: row {reader.line_num}: not CSV ({error}); correct the row") from error


def _check_row(row: Mapping[str, str], where: str, known: Collection[str], listed: Mapping[str, Listed]) -> None:
    for column in NEEDED:
        if not row[column]:
            raise AcinusError(f"{where}: {column} is empty; give it a value")
    if row["split"] not in SPLITS:
        raise AcinusError(f"{where}: split {row['split']!r}; expected {', '.join(SPLITS)}")
    if row["slide_id"] not in known:
        raise AcinusError(
            f"{where}: slide_id {row['slide_id']!r} is no slide of this cohort; correct or remove the row"
        )
    if row["slide_id"] in listed:
        raise AcinusError(f"{where}: slide_id {row['slide_id']!r} stands twice; keep one row")


def assign(members: Sequence[Member], val_fraction: float, seed: int) -> dict[str, str]:
    """Return slide_id -> train, val or test; slides of one group stay together.

    Undecided groups are divided into train and val, class by class (a group with a tumour slide is a
    tumour group), val_fraction of the groups of each class to val: at least one and not all where a class
    has two groups or more, none where it has one (slides of unknown class may have none). A group's place in
    the order depends on the seed and its own name alone, so that one slide more moves at most one
    other group per class.

    Raises:
        AcinusError: a group whose slides have different decided splits, or are only in part decided.
    """
    decided = _decided(members)
    strata: dict[str, set[str]] = {}
    for group, labels in _labels(members).items():
        if group not in decided:
            stratum = next((label for label in ("tumor", "normal") if label in labels), "unknown")
            strata.setdefault(stratum, set()).add(group)
    for stratum in sorted(strata):
        groups = sorted(strata[stratum], key=lambda group: (derive(seed, "split", group), group))
        wanted = int(len(groups) * val_fraction + 0.5)
        least = 1 if len(groups) >= 2 and stratum != "unknown" else 0
        count = min(max(wanted, least), max(0, len(groups) - 1))
        decided |= dict.fromkeys(groups[:count], "val") | dict.fromkeys(groups[count:], "train")
    return {one.slide_id: decided[one.group] for one in members}


def _labels(members: Sequence[Member]) -> dict[str, set[str]]:
    labels: dict[str, set[str]] = {}
    for one in members:
        labels.setdefault(one.group, set()).add(one.label)
    return labels


def _decided(members: Sequence[Member]) -> dict[str, str]:
    """Return group -> split of the groups that are decided as a whole; refuse those torn apart."""
    first: dict[str, Member] = {}
    for one in sorted(members, key=lambda one: one.slide_id):
        other = first.setdefault(one.group, one)
        if other.split != one.split:
            raise AcinusError(
                f"patient {one.group}: slide {other.slide_id} is in {other.split or 'no split yet'}, "
                f"slide {one.slide_id} in {one.split or 'no split yet'}; list all "
                "slides of the patient in splits.csv with one split"
            )
    return {group: one.split for group, one in first.items() if one.split is not None}
