"""A PANDA-layout cohort of real pixels: the slides of `glas`, benign and malignant as ISUP grades 0 and 4.

Benign glands are drawn as benign tissue (Karolinska's 1), malignant ones as cancer (2), glass as 0.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from acinus_demo.pyramid import write_biopsy, write_biopsy_mask

GRADES = {"benign": (0, "negative"), "malignant": (4, "4+4")}
BENIGN, CANCER = 1, 2


def write_cohort(glas: ModuleType, source: Path, root: Path) -> dict[str, tuple[str, str, str]]:
    """Write images, masks, train.csv and splits.csv; return slide_id -> (patient, grade, split)."""
    with (source / "labels.csv").open(newline="") as stream:
        images = sorted(csv.DictReader(stream), key=lambda row: row["name"])
    laid: dict[str, tuple[str, str, str]] = {}
    for place, patient, grade, which, split in glas.PLAN:
        slide_id = Path(place).name
        own = [row["name"] for row in images if (row["patient"], row["grade"]) == (patient, grade)][which]
        picture, glands = glas.lay_out(source, own)
        label = np.where(glands, CANCER if grade == "malignant" else BENIGN, 0).astype(np.uint8)
        for folder in ("train_images", "train_label_masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        write_biopsy(root / "train_images" / f"{slide_id}.tiff", picture, glas.MPP)
        write_biopsy_mask(root / "train_label_masks" / f"{slide_id}_mask.tiff", label, glas.MPP)
        laid[slide_id] = (f"patient_{patient}", grade, split)
    header = ("image_id", "data_provider", "isup_grade", "gleason_score")
    _table(root / "train.csv", header, [(one, "karolinska", *GRADES[laid[one][1]]) for one in laid])
    _table(root / "splits.csv", ("slide_id", "split", "patient"), [(one, laid[one][2], laid[one][0]) for one in laid])
    return laid


def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
