"""Tables as the suites look at them: the records plus columns that turn a rule over rows into a rule over values."""

from pathlib import Path

import numpy as np
import pandas as pd

from acinus.records import IGNORE, NORMAL, TUMOR, is_safe_id


def manifest_view(manifest: pd.DataFrame, cohort_root: Path) -> pd.DataFrame:
    """Return the usable slides with `id_safe`, `image_readable`, `patient_splits` and `same_content_as`.

    `patient_splits` counts the splits of the slide's patient (1 = no leak); `same_content_as` names
    another usable slide with the same fingerprint, or is "".
    """
    view = manifest[manifest["status"] == "ok"].copy()
    view["id_safe"] = [is_safe_id(slide_id) for slide_id in view["slide_id"]]
    view["image_readable"] = [_readable(cohort_root / image) for image in view["image"]]
    view["patient_splits"] = view.groupby("patient")["split"].transform("nunique")
    view["same_content_as"] = _twins(view)
    return view.reset_index(drop=True)


def _readable(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return len(stream.read(1)) == 1
    except OSError:
        return False


def _twins(slides: pd.DataFrame) -> list[str]:
    """Return for each slide the first other slide with its fingerprint, or ""."""
    by_content: dict[str, list[str]] = {}
    for slide_id, fingerprint in zip(slides["slide_id"], slides["fingerprint"], strict=True):
        by_content.setdefault(fingerprint, []).append(slide_id)
    return [
        next((other for other in by_content[fingerprint] if other != slide_id), "")
        for slide_id, fingerprint in zip(slides["slide_id"], slides["fingerprint"], strict=True)
    ]


def patch_view(patches: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return patches with `inside_slide` (the corner lies in the slide) and `in_split_of_slide` (the manifest's).

    A patch of a slide that the manifest does not have is neither.
    """
    slides = manifest.set_index("slide_id")
    view = patches.copy()
    width = view["slide_id"].map(slides["width"]).astype("float64")
    height = view["slide_id"].map(slides["height"]).astype("float64")
    inside = (view["x0"] >= 0) & (view["y0"] >= 0) & (view["x0"] < width) & (view["y0"] < height)
    view["inside_slide"] = inside.to_numpy(dtype=bool)
    same = view["split"] == view["slide_id"].map(slides["split"])
    view["in_split_of_slide"] = same.fillna(False).to_numpy(dtype=bool)
    return view


def split_view(manifest: pd.DataFrame, sample: pd.DataFrame) -> pd.DataFrame:
    """Return one row per split: slides and patches of each class, and normal patches per tumour patch.

    Columns: split, slides, normal, tumor (patches of the sample), normal_per_tumor (NaN without tumour).
    """
    rows = []
    usable = manifest[manifest["status"] == "ok"]
    for split in ("train", "val", "test"):
        labels = sample.loc[sample["split"] == split, "label"]
        normal, tumor = int((labels == NORMAL).sum()), int((labels == TUMOR).sum())
        rows.append(
            {
                "split": split,
                "slides": int((usable["split"] == split).sum()),
                "normal": normal,
                "tumor": tumor,
                "normal_per_tumor": normal / tumor if tumor else np.nan,
            }
        )
    return pd.DataFrame(rows)


def class_table(index: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return candidate patches per split and class, as the verdict shows them."""
    names = {NORMAL: "normal", TUMOR: "tumor", IGNORE: "ignore"}
    return {
        str(split): {name: int((group["label"] == label).sum()) for label, name in names.items()}
        for split, group in index.groupby("split", sort=True)
    }
