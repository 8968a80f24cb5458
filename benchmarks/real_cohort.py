"""GlaS as a PANDA-layout cohort: up to four H&E pictures of one patient and grade on a slide of white glass.

In a malignant picture the glands are cancer; a benign one has none. Four folds by patient; no patient is in two splits.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from acinus_demo.pyramid import write_biopsy, write_biopsy_mask

MPP = 0.62
GLASS, MARGIN_PX, CELL_PX = 244, 64, (775, 522)  # cell: width, height of nearly all pictures
PER_SLIDE = 4
BENIGN, CANCER = 1, 2

Plan = tuple[tuple[str, ...], tuple[str, ...]]
"""Patients of the test split, of the validation split; the others train."""

FOLDS: tuple[Plan, ...] = (
    (("2", "4", "13"), ("6", "5")),
    (("1", "6", "5"), ("7", "4")),
    (("3", "7", "9", "11"), ("6", "4")),
    (("10", "8", "14", "16", "15"), ("7", "5")),
)


@dataclass(frozen=True)
class Picture:
    """One picture: uint8 (h, w, 3), and where it is cancer, bool (h, w)."""

    image: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class GlasSlide:
    """One slide: its pictures, each with the place (x0, y0) of its corner, and their glands whatever their grade."""

    slide_id: str
    patient: str
    malignant: bool
    pictures: tuple[Picture, ...]
    places: tuple[tuple[int, int], ...]
    glands: tuple[np.ndarray, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the slide: two columns of pictures, with glass around and between them."""
        columns, rows = min(2, len(self.pictures)), -(-len(self.pictures) // 2)
        wide, high = (edge + MARGIN_PX for edge in CELL_PX)
        return columns * wide + MARGIN_PX, rows * high + MARGIN_PX

    def split(self, plan: Plan) -> str:
        """Return the split of this slide."""
        test, val = plan
        return "test" if self.patient in test else "val" if self.patient in val else "train"


def read_slides(glas: Path, per_slide: int = PER_SLIDE) -> list[GlasSlide]:
    """Return the slides of all patients, of up to `per_slide` pictures each, in a fixed order."""
    with (glas / "labels.csv").open(newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: row["name"])
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        groups.setdefault((row["patient"], row["grade"]), []).append(row["name"])
    slides = []
    for (patient, grade), names in sorted(groups.items(), key=lambda group: (int(group[0][0]), group[0][1])):
        for number, start in enumerate(range(0, len(names), per_slide)):
            on_slide = names[start : start + per_slide]
            slides.append(_slide(glas, f"p{patient}_{grade}_{number}", patient, grade == "malignant", on_slide))
    return slides


def _slide(glas: Path, slide_id: str, patient: str, malignant: bool, names: list[str]) -> GlasSlide:
    images = [np.asarray(Image.open(glas / "images" / f"{name}.jpg").convert("RGB")) for name in names]
    glands = [np.asarray(Image.open(glas / "masks" / f"{name}.png")) > 0 for name in names]
    pictures = tuple(
        Picture(image, mask if malignant else np.zeros_like(mask)) for image, mask in zip(images, glands, strict=True)
    )
    wide, high = (edge + MARGIN_PX for edge in CELL_PX)
    places = tuple((MARGIN_PX + n % 2 * wide, MARGIN_PX + n // 2 * high) for n in range(len(names)))
    return GlasSlide(slide_id, patient, malignant, pictures, places, tuple(glands))


def write_cohort(slides: list[GlasSlide], plan: Plan, root: Path) -> None:
    """Write images, masks, train.csv and splits.csv."""
    for folder in ("train_images", "train_label_masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for slide in slides:
        wide, high = slide.size
        image, label = np.full((high, wide, 3), GLASS, np.uint8), np.zeros((high, wide), np.uint8)
        for picture, (x0, y0), glands in zip(slide.pictures, slide.places, slide.glands, strict=True):
            place = np.s_[y0 : y0 + glands.shape[0], x0 : x0 + glands.shape[1]]
            image[place], label[place] = picture.image, np.where(glands, CANCER if slide.malignant else BENIGN, 0)
        write_biopsy(root / "train_images" / f"{slide.slide_id}.tiff", image, MPP, quality=95)
        write_biopsy_mask(root / "train_label_masks" / f"{slide.slide_id}_mask.tiff", label, MPP)
    grades = [(4, "4+4") if slide.malignant else (0, "negative") for slide in slides]
    slide_ids = [slide.slide_id for slide in slides]
    _table(root / "train.csv", ("image_id", "data_provider", "isup_grade", "gleason_score"),
           [(slide_id, "karolinska", *grade) for slide_id, grade in zip(slide_ids, grades, strict=True)])  # fmt: skip
    _table(root / "splits.csv", ("slide_id", "split", "patient"),
           [(slide.slide_id, slide.split(plan), f"patient_{slide.patient}") for slide in slides])  # fmt: skip


def _table(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
