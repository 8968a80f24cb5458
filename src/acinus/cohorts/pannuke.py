"""PanNuke on disk: the arrays of its three folds -> one manifest row per tile.

Pixels are read of cohort.probe_tiles tiles of each fold only: what is wrong with one array is wrong with all its tiles.

Fold k/images/foldk/{images.npy, types.npy} and Fold k/masks/foldk/masks.npy as published, or all three in
one folder foldk/. Images (N, h, w, 3), masks (N, h, w, 6) with instance ids, types N strings.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from acinus import params
from acinus.cohorts import adapter
from acinus.cohorts.adapter import Order, Row, new_row
from acinus.errors import AcinusError, SlideError
from acinus.labels.fold import background_contradicts
from acinus.seeds import derive
from acinus.slides import brightfield
from acinus.slides.array import open_array
from acinus.slides.geometry import Resolution
from acinus.slides.open import below, open_slide

TABLES: frozenset[str] = frozenset()
CHANNELS = {"images": 3, "masks": 6}
PROTOCOLS: dict[str, dict[int, str]] = {
    "official-1": {1: "train", 2: "val", 3: "test"},
    "official-2": {2: "train", 1: "val", 3: "test"},
    "official-3": {3: "train", 2: "val", 1: "test"},
    "random": {},
}
"""Protocol -> fold -> split (https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke); random draws tiles of all folds."""
_FOLD = re.compile(r"fold[ _-]?(\d+)\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Fold:
    """The files of one fold, relative to the root; tissues: type of every tile, or none where types.npy is missing."""

    number: int
    images: str
    masks: str
    count: int
    size: tuple[int, int]  # (width, height) px
    tissues: tuple[str, ...] | None


def ingest(order: Order[params.PannukeCohort]) -> list[Row]:
    """Return the manifest rows of the cohort: every tile of every fold, with the split of the protocol.

    splits.csv decides before the protocol. Patients are not published: a tile is its own.

    Raises:
        AcinusError: no fold, a fold that the protocol needs, a missing, damaged or pickled array, arrays
            that do not fit together, a wrong splits.csv or groups.csv.
    """
    cohort = order.cohort
    here = folds(order)
    for fold in here:
        _check_light(fold, order)
    roles = PROTOCOLS[cohort.protocol]
    rows = [row for fold in here for row in _tiles(fold, order, roles.get(fold.number))]
    tiles = {row["slide_id"] for row in rows}
    from_user = adapter.user_tables(order, tiles)
    odd = {slide_id for fold in here for slide_id in _contradicting(fold, order)}
    for row in rows:
        row["findings"] = "background_contradicts" if row["slide_id"] in odd else ""
    rows = adapter.placed(rows, *from_user, adapter.exclusions(cohort))
    if any(row["split_rule"] == cohort.protocol for row in rows):
        _check_roles({fold.number for fold in here if fold.count}, cohort.protocol)
    return adapter.with_splits(rows, cohort, order.seed, lambda row: "tile", lambda row: row["tissue_type"] or "")


def folds(order: Order) -> list[Fold]:
    """Return the folds among the order's files, by number; opens the arrays as far as their headers."""
    arrays: dict[int, dict[str, str]] = {}
    for path in sorted(order.files):
        place = PurePosixPath(path)
        if place.name.lower() not in {"images.npy", "masks.npy", "types.npy"}:
            continue
        numbers = [match[1] for part in reversed(place.parts[:-1]) if (match := _FOLD.search(part))]
        if not numbers:
            raise AcinusError(f"{path}: no folder above it names its fold; expected 'Fold 1', 'fold1' or the like")
        files, name = arrays.setdefault(int(numbers[0]), {}), place.stem.lower()
        if name in files:
            raise AcinusError(f"{files[name]} and {path}: two arrays of one fold; keep one")
        files[name] = path
    if not arrays:
        raise AcinusError(
            f"{order.cohort.root}: no fold arrays; expected 'Fold 1/images/fold1/images.npy' and so on below it"
        )
    return [_opened(number, arrays[number], order) for number in sorted(arrays)]


def _opened(number: int, files: Mapping[str, str], order: Order) -> Fold:
    for name in CHANNELS:
        if name not in files:
            there = next(iter(files.values()))
            raise AcinusError(f"{there}: fold {number} has no {name}.npy; add it or move the fold away")
    shapes = {}
    for name, channels in CHANNELS.items():
        with _in_file(files[name]):
            shapes[name] = open_array(below(order.root, files[name]), channels).shape[:3]
    sizes = {name: f"{count} tiles of {width} x {height} px" for name, (count, height, width) in shapes.items()}
    if shapes["images"] != shapes["masks"]:
        raise AcinusError(
            f"{files['masks']}: {sizes['masks']}, but {files['images']} has {sizes['images']}; they must be of one fold"
        )
    count, height, width = shapes["images"]
    tissues = _tissues(files["types"], order) if "types" in files else None
    if tissues is not None and len(tissues) != count:
        raise AcinusError(
            f"{files['types']}: {len(tissues)} types, but {files['images']} has {count} tiles; they must be of one fold"
        )
    return Fold(number, files["images"], files["masks"], count, (width, height), tissues)


@contextmanager
def _in_file(path: str) -> Iterator[None]:
    """Turn a SlideError inside the block into a failure of the cohort that names its file."""
    try:
        yield
    except SlideError as error:
        raise AcinusError(f"{path}: {error}") from error


def _tissues(path: str, order: Order) -> tuple[str, ...]:
    """Return the strings of types.npy; pickled ones are refused, since loading them could run code."""
    try:
        types = np.load(below(order.root, path), allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        text = " ".join(str(error).split())[:200]
        raise AcinusError(
            f"{path}: no array of plain text ({text}); save it again as unicode: numpy.save(file, types.astype(str))"
        ) from error
    if types.dtype.kind != "U" or types.ndim != 1:
        raise AcinusError(
            f"{path}: holds {types.dtype} of shape {types.shape}; expected one text per tile; save it again as "
            "unicode: numpy.save(file, types.astype(str))"
        )
    return tuple(types.tolist())


def _slide_id(fold: Fold, row: int) -> str:
    return f"fold{fold.number}_{row:06d}"


def _probed(fold: Fold, order: Order) -> list[int]:
    """Return the tiles of a fold that are looked at: the first, the last and seeded others."""
    if fold.count <= order.cohort.probe_tiles:
        return list(range(fold.count))
    inner = np.random.default_rng(derive(order.seed, f"fold{fold.number}")).permutation(np.arange(1, fold.count - 1))
    return sorted([0, fold.count - 1, *inner.tolist()][: order.cohort.probe_tiles])


def _check_light(fold: Fold, order: Order) -> None:
    """Refuse images that are no brightfield pictures in colour, or whose values are not 0 to 255."""
    pictures = []
    with _in_file(fold.images):
        for row in _probed(fold, order):
            with open_slide(below(order.root, f"{fold.images}#{row}"), _slide_id(fold, row)) as slide:
                pictures.append(slide.read(0, 0, slide.width, slide.height, Resolution(1.0, 0, 1.0)))
    fault = brightfield.fault(np.stack(pictures)) if pictures else ""
    if fault:
        raise AcinusError(f"{fold.images}: of {len(pictures)} tiles looked at: {fault}; correct the array")


def _contradicting(fold: Fold, order: Order) -> Iterator[str]:
    """Yield the ids of the tiles looked at whose background channel denies the others."""
    with _in_file(fold.masks):
        for row in _probed(fold, order):
            if background_contradicts(below(order.root, f"{fold.masks}#{row}")):
                yield _slide_id(fold, row)


def _tiles(fold: Fold, order: Order[params.PannukeCohort], split: str | None) -> Iterator[Row]:
    """Yield the manifest rows of a fold; split: by the protocol, or None."""
    mpp, (width, height) = order.cohort.mpp, fold.size
    for row in range(fold.count):
        yield new_row(
            _slide_id(fold, row),
            f"{fold.images}#{row}",
            f"{order.files[fold.images]}#{row}",
            label_source=f"{fold.masks}#{row}",
            label_kind="fold",
            label_fingerprint=f"{order.files[fold.masks]}#{row}",
            provider=f"fold{fold.number}",
            split=split,
            split_rule=order.cohort.protocol,
            mpp_x=mpp,
            mpp_y=mpp,
            mpp_source=None if mpp is None else "override",
            width=width,
            height=height,
            tissue_type=fold.tissues[row] or None if fold.tissues else None,
        )


def _check_roles(folds: set[int], protocol: str) -> None:
    """Refuse an official protocol without one of its folds, or with a fold that it does not know."""
    roles = PROTOCOLS[protocol]
    missing, strange = sorted(set(roles) - folds), sorted(folds - set(roles))
    if missing:
        raise AcinusError(
            f"cohort.protocol = {protocol} needs fold {missing[0]} for {roles[missing[0]]}, and its images.npy is not "
            "below cohort.root; add the fold or set cohort.protocol: random"
        )
    if roles and strange:
        raise AcinusError(
            f"cohort.protocol = {protocol} knows folds 1 to 3, and there is a fold {strange[0]}; move it away or set "
            "cohort.protocol: random"
        )
