"""A CAMELYON-layout cohort of real pixels: H&E images of GlaS laid out on white slides, outlines traced from its masks.

In a malignant image the glands are the tumour, their empty lumina cut out; a benign image is normal throughout. A
slide holds up to four images of one patient and one grade; no patient is in two splits.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.measure import find_contours

from acinus_demo.outline import Outline, write_asap
from acinus_demo.pyramid import write_pyramid

MPP = 0.62  # um per px of GlaS (20x)
MARGIN_PX = 128  # white glass around and between the images
CELL_PX = (775, 522)  # width, height of nearly all images
GLASS = 244
EMPTY = 215  # darkest channel, smoothed, from which on a gland px is empty lumen
LEAST_PX = 400  # a smaller gap is not worth a cut-out

PLAN = (  # path below the root without suffix, patient, grade, which of the patient's images, split
    ("training/tumor/tumor_001", "1", "malignant", slice(0, 4), "train"),
    ("training/tumor/tumor_002", "1", "malignant", slice(4, 8), "train"),
    ("training/tumor/tumor_003", "3", "malignant", slice(0, 4), "train"),
    ("training/tumor/tumor_004", "6", "malignant", slice(0, 4), "train"),
    ("training/tumor/tumor_005", "7", "malignant", slice(0, 4), "val"),
    ("training/normal/normal_001", "1", "benign", slice(0, 4), "train"),
    ("training/normal/normal_002", "3", "benign", slice(0, 4), "train"),
    ("training/normal/normal_003", "9", "benign", slice(0, 4), "train"),
    ("training/normal/normal_004", "4", "benign", slice(0, 4), "val"),
    ("testing/images/test_001", "2", "malignant", slice(0, 4), "test"),
    ("testing/images/test_002", "2", "malignant", slice(4, 8), "test"),
    ("testing/images/test_003", "10", "malignant", slice(0, 4), "test"),
    ("testing/images/test_004", "10", "benign", slice(0, 4), "test"),
    ("testing/images/test_005", "5", "benign", slice(0, 4), "test"),
)


@dataclass(frozen=True)
class Laid:
    """One slide as written: where, of whom, and how many level-0 px of it are tumour."""

    slide_id: str
    path: Path
    patient: str
    grade: str
    split: str
    size: tuple[int, int]  # width, height, level-0 px
    tumour_px: int


def write_cohort(glas: Path, root: Path) -> list[Laid]:
    """Write slides, annotations, splits.csv and reference.csv below `root`."""
    with (glas / "labels.csv").open(newline="") as stream:
        images = sorted(csv.DictReader(stream), key=lambda row: row["name"])
    laid = []
    for place, patient, grade, which, split in PLAN:
        own = [row["name"] for row in images if (row["patient"], row["grade"]) == (patient, grade)][which]
        picture, mask = lay_out(glas, own)
        path = root / f"{place}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pyramid(path, picture, MPP, tile_px=256)
        if grade == "malignant":
            folder = "testing" if split == "test" else "training"
            write_asap(root / folder / "lesion_annotations" / f"{path.stem}.xml", list(traced(mask)))
        tumour_px = int(mask.sum()) if grade == "malignant" else 0
        laid.append(Laid(path.stem, path, patient, grade, split, mask.shape[::-1], tumour_px))
    _write_tables(laid, root)
    return laid


def lay_out(glas: Path, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return up to four images in two columns on glass, uint8 (h, w, 3), and their gland mask, bool (h, w)."""
    wide, high = (2 * edge + 3 * MARGIN_PX for edge in CELL_PX)
    picture, mask = np.full((high, wide, 3), GLASS, dtype=np.uint8), np.zeros((high, wide), dtype=bool)
    for number, name in enumerate(names):
        image = np.asarray(Image.open(glas / "images" / f"{name}.jpg").convert("RGB"))
        glands = np.asarray(Image.open(glas / "masks" / f"{name}.png")) > 0
        x0, y0 = (
            MARGIN_PX + at * (edge + MARGIN_PX) for at, edge in zip((number % 2, number // 2), CELL_PX, strict=True)
        )
        place = np.s_[y0 : y0 + image.shape[0], x0 : x0 + image.shape[1]]
        picture[place], mask[place] = image, glands & ~lumen(image, glands)
    return picture, mask


def lumen(image: np.ndarray, glands: np.ndarray) -> np.ndarray:
    """Return the empty insides of glands, bool (h, w): GlaS masks fill them, a careful annotator cuts them out."""
    empty = glands & (ndimage.gaussian_filter(image.min(axis=2).astype(float), 2.0) > EMPTY)
    pieces, _ = ndimage.label(empty)
    large = np.bincount(pieces.ravel()) >= LEAST_PX
    large[0] = False
    return large[pieces]


def traced(mask: np.ndarray) -> Iterator[Outline]:
    """Yield the outlines of a mask as a person draws them: every gland, and what is to be cut out of it."""
    filled = ndimage.binary_fill_holes(mask)
    for ring in _rings(filled):
        yield Outline("_0", ring)
    holes, count = ndimage.label(filled & ~mask)
    for number in range(1, count + 1):
        for ring in _rings(holes == number):
            yield Outline("_2" if number % 2 else "Exclusion", ring)


def _rings(mask: np.ndarray) -> list[list[tuple[float, float]]]:
    """Return rings in level-0 px, where px (c, r) has its centre at (c + 0.5, r + 0.5)."""
    contours = find_contours(np.pad(mask.astype(float), 1), 0.5)
    return [[(float(x) - 0.5, float(y) - 0.5) for y, x in contour[:-1]] for contour in contours]


def _write_tables(laid: Sequence[Laid], root: Path) -> None:
    with (root / "splits.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("slide_id", "split", "patient"))
        writer.writerows((one.slide_id, one.split, f"patient_{one.patient}") for one in laid)
    with (root / "testing" / "reference.csv").open("w", newline="") as stream:
        tests = [one for one in laid if one.split == "test"]
        rows = [(one.slide_id, "Tumor" if one.grade == "malignant" else "Normal", "None", "None") for one in tests]
        csv.writer(stream).writerows(rows)
