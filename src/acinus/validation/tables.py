"""Tables as the suites look at them: the records plus columns that turn a rule over rows into a rule over values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.labels.places import Places
from acinus.params.base import SPLITS
from acinus.records import IGNORE, is_safe_id, rows
from acinus.slides.formats import ZARR_METADATA
from acinus.slides.open import readable_file


def manifest_view(manifest: pd.DataFrame, places: Places, tolerate: Sequence[str] = ()) -> pd.DataFrame:
    """Return the usable slides with columns that a rule can look at.

    `id_safe`, `image_readable`; `patient_splits` counts the splits of the slide's patient (1 = no leak);
    `same_content_as` names another usable slide with the same fingerprint, or is ""; `not_tolerated` are
    the slide's findings that are not among `tolerate`, ';' separated.
    """
    view = manifest[manifest["status"] == "ok"].copy()
    view["id_safe"] = [is_safe_id(slide_id) for slide_id in view["slide_id"]]
    view["image_readable"] = [_readable(readable_file(places.image(row))) for row in rows(view)]
    view["not_tolerated"] = [
        ";".join(name for name in names.split(";") if name and name not in tolerate) for names in view["findings"]
    ]
    view["patient_splits"] = view.groupby("patient")["split"].transform("nunique")
    view["same_content_as"] = _twins(view)
    return view.reset_index(drop=True)


def findings(manifest: pd.DataFrame) -> dict[str, list[str]]:
    """Return finding -> ids of the usable slides that have it, both sorted."""
    slides: dict[str, list[str]] = {}
    for row in rows(manifest[manifest["status"] == "ok"]):
        for name in filter(None, row["findings"].split(";")):
            slides.setdefault(name, []).append(row["slide_id"])
    return dict(sorted(slides.items()))


def class_shares(
    splits: pd.Series, fractions: np.ndarray, manifest: pd.DataFrame, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return for every split its slides, patches and the share of each class over its patches' known area.

    The statistics table of a segmentation's data set. Patches that overlap count their common area twice.
    splits: of the index's n patches. fractions: float64 (n, classes), their class_fractions.
    """
    usable = manifest[manifest["status"] == "ok"]
    table: dict[str, dict[str, Any]] = {}
    for split in SPLITS:
        of_split = fractions[(splits == split).to_numpy()]
        areas = of_split.sum(axis=0)
        total = float(areas.sum())
        shares = {name: float(area) / total if total else None for name, area in zip(classes, areas, strict=True)}
        table[split] = {"slides": int((usable["split"] == split).sum()), "patches": len(of_split), "shares": shares}
    return table


def tissue_types(manifest: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return split -> tissue type -> usable slides, for cohorts that name types; else nothing."""
    usable = manifest[(manifest["status"] == "ok") & manifest["tissue_type"].notna()]
    return {
        str(split): {str(name): int(count) for name, count in types.value_counts().sort_index().items()}
        for split, types in usable.groupby("split", sort=True)["tissue_type"]
    }


def _readable(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).is_file() for name in ZARR_METADATA)
    try:
        with path.open("rb") as stream:
            return len(stream.read(1)) == 1
    except OSError:
        return False


def _twins(slides: pd.DataFrame) -> list[str]:
    """Return for each slide the first other slide with its fingerprint, or ""."""
    contents = list(zip(slides["slide_id"], slides["fingerprint"], strict=True))
    by_content: dict[str, list[str]] = {}
    for slide_id, fingerprint in contents:
        by_content.setdefault(fingerprint, []).append(slide_id)
    return [
        next((other for other in by_content[fingerprint] if other != slide_id), "")
        for slide_id, fingerprint in contents
    ]


def patch_view(patches: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return patches with `inside_slide` (it touches the slide) and `in_split_of_slide` (the manifest's).

    A patch of a slide that the manifest does not have is neither.
    """
    slides = manifest.set_index("slide_id")
    view = patches.copy()
    width = view["slide_id"].map(slides["width"]).astype("float64")
    height = view["slide_id"].map(slides["height"]).astype("float64")
    edge0 = view["patch_px"] * view["downsample"]
    inside = (view["x0"] > -edge0) & (view["y0"] > -edge0) & (view["x0"] < width) & (view["y0"] < height)
    view["inside_slide"] = inside.to_numpy(dtype=bool)
    same = view["split"] == view["slide_id"].map(slides["split"])
    view["in_split_of_slide"] = same.fillna(False).to_numpy(dtype=bool)
    return view


def split_view(manifest: pd.DataFrame, sample: pd.DataFrame, classes: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per split: slides and patches of each class, and normal patches per tumour patch.

    Columns: split, slides, unlabelled_share (of the slides: nothing is known of them; NaN without slides), patches,
    normal, tumor (patches of the sample), normal_per_tumor (NaN without tumour). Of more than these two `classes`:
    patches.<class> and largest_per_rarest, patches of the largest class for each of the rarest that there is.
    """
    splits = []
    usable = manifest[manifest["status"] == "ok"]
    unlabelled = (usable["label_kind"] == "unknown") & usable["slide_label"].isna()
    for split in SPLITS:
        slides = unlabelled[usable["split"] == split]
        labels = sample.loc[sample["split"] == split, "label"]
        splits.append(
            {
                "split": split,
                "slides": len(slides),
                "unlabelled_share": float(slides.mean()) if len(slides) else np.nan,
                "patches": len(labels),
                **_patches_of_classes(labels, classes),
            }
        )
    return pd.DataFrame(splits)


def _patches_of_classes(labels: pd.Series, classes: Sequence[str]) -> dict[str, float]:
    """Return the patches of each class and how uneven they are, as `split_view` names them."""
    counts = [int((labels == label).sum()) for label in range(max(2, len(classes)))]
    if not classes:
        normal, tumor = counts
        return {"normal": normal, "tumor": tumor, "normal_per_tumor": normal / tumor if tumor else np.nan}
    present = [number for number in counts if number]
    named = {f"patches.{name}": number for name, number in zip(classes, counts, strict=True)}
    return named | {"largest_per_rarest": max(present) / min(present) if present else np.nan}


def candidate_table(index: pd.DataFrame, classes: Sequence[str] = ()) -> dict[str, dict[str, int]]:
    """Return candidate patches per split and class, as the verdict shows them.

    classes: those of the patches' labels, where there are more than tumour and normal.
    """
    names = dict(enumerate(classes or ("normal", "tumor"))) | {IGNORE: "ignore"}
    return {
        str(split): {name: int((group["label"] == label).sum()) for label, name in names.items()}
        for split, group in index.groupby("split", sort=True)
    }
