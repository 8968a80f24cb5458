"""Rasters beside colour-coded masks on disk: images/<id>.png, masks/<id>.png -> pyramids and class masks -> manifest.

Each raster is decoded once, by streaming, into rasters/<id>.tif and rasters/<id>_mask.tif; what became of
the mask's colours stands in rasters/<id>.json.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from acinus import params
from acinus.cohorts import adapter
from acinus.cohorts.adapter import Order, Row, new_row, some
from acinus.errors import AcinusError, SlideError
from acinus.files import write_json
from acinus.labels.colours import Counts, to_class_mask
from acinus.params import section_hash
from acinus.slides import brightfield
from acinus.slides.open import below, open_slide
from acinus.slides.raster import check_budget, declared_size, to_pyramid

IMAGES, MASKS = "images", "masks"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
"""Of images and of masks; a JPEG among the masks is refused with its reason, not overlooked."""


@dataclass(frozen=True)
class Found:
    """A raster as its files tell, before it is opened: the manifest row so far. Paths are relative to the root."""

    row: Row
    mask: str | None


def ingest(order: Order) -> list[Row]:
    """Return the manifest rows of the cohort: every raster found, converted once, with its split.

    Raises:
        AcinusError: what no single raster is to blame for: one id twice, unsafe ids, masks without an
            image, a wrong splits.csv or groups.csv.
    """
    settings = _settings(order.cohort)
    look = partial(examine, root=order.root, rasters=order.rasters, settings=settings)
    rows = list(order.map(look, discover(order)))
    return adapter.with_splits(rows, settings, order.seed, lambda row: "raster")


def discover(order: Order) -> list[Found]:
    """Return the rasters among the order's files, sorted by id; reads only the CSV files."""
    files = order.files
    images, masks = _by_id(IMAGES, files), _by_id(MASKS, files)
    adapter.refuse_unsafe(images)
    excluded = adapter.exclusions(order.cohort)
    orphans = sorted(one for one in set(masks) - set(images) if one.casefold() not in excluded)
    if orphans:
        raise AcinusError(
            f"{some([masks[one] for one in orphans])}: mask without an image of that name in {IMAGES}/; add the image, "
            "move the file away or list its id under cohort.exclude"
        )
    listed, groups = adapter.listed_splits(order, images), adapter.groups(order, images)
    found = []
    for slide_id in sorted(images):
        mask, place = masks.get(slide_id), listed.get(slide_id)
        row = new_row(slide_id, images[slide_id], files[images[slide_id]], patient=groups.get(slide_id, slide_id))
        if mask is not None:
            row |= {"label_source": mask, "label_fingerprint": files[mask]}
        if place is not None:
            row |= {"split": place.split, "split_rule": "splits.csv", "patient": place.patient}
            row |= {"provider": place.provider or adapter.NO_PROVIDER}
        if slide_id.casefold() in excluded:
            row |= {"status": "excluded", "reason": excluded[slide_id.casefold()]}
        found.append(Found(row, mask))
    return found


def examine(found: Found, root: Path, rasters: Path, settings: params.RgbMaskCohort) -> Row:
    """Return the manifest row of one raster, after its conversion into `rasters`.

    A raster that cannot be used is a row with status bad and the reason, and leaves no file; nothing is
    raised for it.
    """
    row = dict(found.row)
    if row["status"] != "ok":
        return row
    slide_id = row["slide_id"]
    pyramid, class_mask, account = (rasters / f"{slide_id}{end}" for end in (".tif", "_mask.tif", ".json"))
    row |= _made_of(row, settings)
    with adapter.judged(row, root):
        image = below(root, row["image"])
        row["width"], row["height"] = _checked_size(image, row["image"], settings)
        if found.mask is not None:
            counts = _decoded(root, found.mask, (row["width"], row["height"]), class_mask, settings)
            write_json(account, {"image": row["image"], "mask": found.mask} | counts.as_json())
            row |= {"label_kind": "mask", "findings": ";".join(sorted(_findings(counts, settings.max_near_fraction)))}
        to_pyramid(image, pyramid, settings.pyramid_quality)
        with open_slide(pyramid, slide_id) as slide:
            brightfield.check(slide)
            row |= adapter.resolution(slide, settings, needed=False)
        row["derived"] = True
    if row["status"] != "ok":
        for path in (pyramid, class_mask, account):
            path.unlink(missing_ok=True)
    return row


def _settings(cohort: params.Cohort) -> params.RgbMaskCohort:
    if not isinstance(cohort, params.RgbMaskCohort):
        raise TypeError(f"family rgb_mask got the settings {type(cohort).__name__}")
    return cohort


def _made_of(row: Row, settings: params.RgbMaskCohort) -> Row:
    """Return fingerprints of what is made here: of the source files and of the settings that decide its pixels."""
    image = f"{row['fingerprint']}-{section_hash(settings.pyramid_quality)[:16]}"
    if row["label_fingerprint"] is None:
        return {"fingerprint": image}
    colours = [f"{name} {colour}" for name, colour in settings.colours.items()]
    return {
        "fingerprint": image,
        "label_fingerprint": f"{row['label_fingerprint']}-{section_hash(colours, settings.tolerance)[:16]}",
    }


def _checked_size(path: Path, name: str, settings: params.RgbMaskCohort) -> tuple[int, int]:
    size = declared_size(path)
    check_budget(size, settings.max_pixels, name)
    return size


def _decoded(root: Path, mask: str, size: tuple[int, int], target: Path, settings: params.RgbMaskCohort) -> Counts:
    """Turn a mask into class indices; refuse one of another size, or with none of the recipe's colours."""
    path = below(root, mask)
    own = _checked_size(path, mask, settings)
    if own != size:
        raise SlideError(
            f"{mask}: the mask has {own[0]} x {own[1]} px, its image {size[0]} x {size[1]}; they must be equal: "
            "export the mask at the image's size"
        )
    colours = [(red, green, blue) for red, green, blue in settings.colours.values()]
    counts = to_class_mask(path, target, colours, settings.tolerance, list(settings.colours))
    if counts.ignored_px == size[0] * size[1]:
        seen = f"; its most frequent is {list(counts.unknown[0][0])}" if counts.unknown else ", but is transparent"
        raise SlideError(f"{mask}: no px has a colour of cohort.colours{seen}; correct cohort.colours or the mask")
    return counts


def _findings(counts: Counts, max_near_fraction: float) -> set[str]:
    """Return what is odd about a mask whose colours were counted: an index mask is all near to the darkest colour."""
    near = sum(counts.near_px.values())
    known = near + sum(counts.exact_px.values())
    classes = sum(counts.exact_px[name] + counts.near_px[name] > 0 for name in counts.exact_px)
    odd = {"near_colours": near > max_near_fraction * known, "one_class_mask": classes == 1}
    return {name for name, is_so in odd.items() if is_so}


def _by_id(folder: str, paths: Iterable[str]) -> dict[str, str]:
    """Return id -> path of the rasters in folders of this name; two files with one id are refused."""
    result: dict[str, str] = {}
    first: dict[str, str] = {}
    for path in sorted(paths):
        place = PurePosixPath(path)
        if place.parent.name != folder or place.suffix.lower() not in SUFFIXES:
            continue
        other = first.setdefault(place.stem.casefold(), path)
        if other != path:
            raise AcinusError(f"two {folder} with the id {place.stem}: {other} and {path}; rename one or move it away")
        result[place.stem] = path
    return result
