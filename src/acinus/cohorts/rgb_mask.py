"""Rasters beside colour-coded masks on disk: images/<id>.png, masks/<id>.png -> pyramids and class masks -> manifest.

Each raster is decoded once, by streaming, into rasters/<id>.tif and rasters/<id>_mask.tif; what became of
the mask's colours stands in rasters/<id>.json.
"""

from functools import partial
from pathlib import Path

from acinus import params
from acinus.cohorts import adapter
from acinus.cohorts.adapter import Order, Row, new_row
from acinus.errors import SlideError
from acinus.files import write_json
from acinus.labels.colours import Counts, to_class_mask
from acinus.params import section_hash
from acinus.slides import brightfield
from acinus.slides.open import below, open_slide
from acinus.slides.pyramid import to_pyramid
from acinus.slides.raster import check_budget, declared_size

TABLES: frozenset[str] = frozenset()
IMAGES, MASKS = "images", "masks"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
"""Of images and of masks; a JPEG among the masks is refused with its reason, not overlooked."""


def ingest(order: Order[params.RgbMaskCohort]) -> list[Row]:
    """Return the manifest rows of the cohort: every raster found, converted once, with its split.

    Raises:
        AcinusError: what no single raster is to blame for: one id twice, unsafe ids, masks without an
            image, a wrong splits.csv or groups.csv.
    """
    look = partial(examine, root=order.root, rasters=order.rasters, settings=order.cohort)
    rows = list(order.map(look, discover(order)))
    return adapter.with_splits(rows, order.cohort, order.seed, lambda row: "raster")


def discover(order: Order[params.RgbMaskCohort]) -> list[Row]:
    """Return the rasters among the order's files, sorted by id, as rows; reads only the CSV files."""
    files = order.files
    images, masks = (adapter.by_id(name, files, adapter.in_folder(name, SUFFIXES)) for name in (IMAGES, MASKS))
    adapter.refuse_unsafe(images)
    excluded = adapter.exclusions(order.cohort)
    fault = f"mask without an image of that name in {IMAGES}/; add the image"
    adapter.refuse_orphans(masks, images, excluded, fault)
    rows = [new_row(slide_id, image, files[image]) for slide_id, image in sorted(images.items())]
    for row in rows:
        mask = masks.get(row["slide_id"])
        if mask is not None:
            row |= {"label_source": mask, "label_fingerprint": files[mask]}
    return adapter.placed(rows, *adapter.user_tables(order, images), excluded)


def examine(row: Row, root: Path, rasters: Path, settings: params.RgbMaskCohort) -> Row:
    """Return the manifest row of one raster, after its conversion into `rasters`.

    A raster that cannot be used is a row with status bad and the reason, and leaves no file; nothing is
    raised for it.
    """
    if row["status"] != "ok":
        return row
    row = dict(row)
    slide_id = row["slide_id"]
    pyramid, class_mask, account = (rasters / f"{slide_id}{end}" for end in (".tif", "_mask.tif", ".json"))
    row |= _made_of(row, settings)
    with adapter.judged(row, root):
        image = below(root, row["image"])
        row["width"], row["height"] = _checked_size(image, row["image"], settings)
        if row["label_source"] is not None:
            mask, size = row["label_source"], (row["width"], row["height"])
            counts = _decoded(root, mask, size, class_mask, settings)
            write_json(account, {"image": row["image"], "mask": mask} | counts.as_json())
            row |= {"label_kind": "mask", "findings": ";".join(_findings(counts, settings.max_near_fraction))}
        to_pyramid(image, pyramid, settings.pyramid_quality)
        with open_slide(pyramid, slide_id) as slide:
            brightfield.check(slide)
            row |= adapter.resolution(slide, settings, needed=False)
        row["derived"] = True
    if row["status"] != "ok":
        for path in (pyramid, class_mask, account):
            path.unlink(missing_ok=True)
    return row


def _made_of(row: Row, settings: params.RgbMaskCohort) -> Row:
    """Return fingerprints of what is made here: of the source files and of the settings that decide its pixels."""
    made = {"fingerprint": f"{row['fingerprint']}-{section_hash(settings.pyramid_quality)[:16]}"}
    if row["label_fingerprint"] is not None:
        colours = [f"{name} {colour}" for name, colour in settings.colours.items()]
        made["label_fingerprint"] = f"{row['label_fingerprint']}-{section_hash(colours, settings.tolerance)[:16]}"
    return made


def _checked_size(path: Path, name: str, settings: params.RgbMaskCohort) -> tuple[int, int]:
    size = declared_size(path)
    check_budget(size, settings.max_pixels, name)
    return size


def _decoded(root: Path, mask: str, size: tuple[int, int], target: Path, settings: params.RgbMaskCohort) -> Counts:
    """Turn a mask into class indices; refuse one of another size, or with none of the recipe's colours."""
    path = below(root, mask)
    mask_size = _checked_size(path, mask, settings)
    if mask_size != size:
        raise SlideError(
            f"{mask}: the mask has {mask_size[0]} x {mask_size[1]} px, its image {size[0]} x {size[1]}; they must be "
            "equal: export the mask at the image's size"
        )
    colours = [(red, green, blue) for red, green, blue in settings.colours.values()]
    counts = to_class_mask(path, target, colours, settings.tolerance, list(settings.colours))
    if counts.ignored_px == size[0] * size[1]:
        seen = f"; its most frequent is {list(counts.unknown[0][0])}" if counts.unknown else ", but is transparent"
        raise SlideError(f"{mask}: no px has a colour of cohort.colours{seen}; correct cohort.colours or the mask")
    return counts


def _findings(counts: Counts, max_near_fraction: float) -> list[str]:
    """Return what is odd about a mask whose colours were counted: an index mask is all near to the darkest colour."""
    near, exact = sum(counts.near_px.values()), sum(counts.exact_px.values())
    classes = sum(counts.exact_px[name] + counts.near_px[name] > 0 for name in counts.exact_px)
    odd = {"near_colours": near > max_near_fraction * (near + exact), "one_class_mask": classes == 1}
    return [name for name, is_so in odd.items() if is_so]
