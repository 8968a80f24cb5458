"""The per-slide table of a report: one row per slide of the manifest, usable or not."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import AcinusError, TableError
from acinus.files import atomic_path
from acinus.metrics.flags import FLAGS, flags_of
from acinus.metrics.overlap import COUNTS_PX, confusions
from acinus.metrics.setup import MetricSetup, Tables
from acinus.metrics.slide_parts import REGION_COLUMNS, grade_columns, grade_values, region_values
from acinus.metrics.tissue import TISSUE_COLUMNS, tissue_values
from acinus.records import NORMAL, TUMOR, rows
from acinus.scoring import confusion
from acinus.scoring.auc import within_slide_auc
from acinus.scoring.burden import burden_error, tumour_by_burden
from acinus.scoring.confusion import Overlap, dice, iou
from acinus.scoring.defined import mean_defined

TABLE = "per_slide.csv"
NEEDED = ("slide_id", "split", "patient", "slide_label", "scored")
"""What a per-slide table by hand must have."""

COLUMNS: dict[str, str] = {
    "slide_id": "string",
    "split": "string",
    "split_rule": "string",  # what decided the split
    "patient": "string",
    "provider": "string",
    "tissue_type": "string",
    "slide_label": "string",  # normal | tumor | null where unknown
    "isup": "Int64",  # ISUP grade group 0..5, or null
    "status": "string",  # of the manifest: ok | bad | excluded
    "reason": "string",  # why the slide was not scored, else ""
    "findings": "string",  # of ingest: ';' separated, "" if none
    "mapped": "bool",  # usable and with a probability map, of any split
    "scored": "bool",  # mapped and of the test split: part of the metrics
    "dice": "float64",  # of a segmentation the mean over the foreground classes in truth or prediction
    "iou": "float64",
    "within_slide_auc": "float64",
    "slide_score": "float64",
    "burden_true": "float64",  # percent of tissue
    "burden_pred": "float64",
    "burden_error": "float64",  # percentage points, predicted - true
    "tumor_rule": "Int64",  # 1 tumour, 0 normal by predicted burden; null without tissue
    "false_area_percent": "float64",  # of a normal slide: of its tissue, predicted as tumour; null of any other
    "false_area_mm2": "float64",
    "tumour_mm2": "float64",
    "tissue_mm2": "float64",
    **TISSUE_COLUMNS,
    "mpp_x": "float64",  # um per level-0 px
    "mpp_source": "string",
    "n_patches": "Int64",  # labelled patches behind within_slide_auc
    "intersection_px": "Int64",  # map px, the counts behind dice and iou
    "pred_px": "Int64",
    "true_px": "Int64",
    **REGION_COLUMNS,
    "flags": "string",  # ';' separated, sorted
}

SLIDE_COLUMNS = (
    *("slide_id", "split", "split_rule", "patient", "provider", "tissue_type", "slide_label", "isup"),
    *("status", "reason", "findings", "mpp_x", "mpp_source"),
)
"""What the table takes from the manifest as it is."""


def columns(setup: MetricSetup) -> dict[str, str]:
    """Return the columns of a recipe's table with their dtypes.

    COLUMNS, then `slide_parts.grade_columns`, then for more than two classes `class_share.<name>`, the
    predicted share of the tissue (0..1), and for a segmentation `class_dice.<name>` and `pixel_accuracy`.
    """
    result = COLUMNS | grade_columns(setup)
    if len(setup.classes) > 2:
        result |= {f"class_share.{name}": "float64" for name in setup.classes}
    if setup.segments:
        result |= {**{f"class_dice.{name}": "float64" for name in setup.classes}, "pixel_accuracy": "float64"}
    return result


def per_slide(given: Tables, setup: MetricSetup) -> pd.DataFrame:
    """Return one row per slide of the manifest with the `columns` of the setup, sorted by slide_id.

    What is undefined is null. Patches of unknown label are left out.

    Raises:
        TableError: a slide of another table that the manifest does not know, or amounts of another number of
            classes.
    """
    _refuse_strangers(given)
    patch_scores, quantities = given.patch_scores, given.quantities
    labelled = patch_scores[patch_scores["label"].isin([NORMAL, TUMOR])]
    aucs = within_slide_auc(
        labelled["slide_id"].to_numpy(), labelled["probs"].to_numpy(), labelled["label"].to_numpy(dtype="int64")
    )
    counts = labelled.groupby("slide_id").size()
    amounts = {row["slide_id"]: row for row in rows(quantities)}
    grades = {row["slide_id"]: row for row in rows(given.grades)} if setup.graded else {}
    parts = (
        _class_values(quantities, setup),
        region_values(quantities, given.regions),
        tissue_values(quantities, setup),
    )
    of_grades, found = grade_values(given.grades, setup), []
    for slide in rows(given.manifest):
        slide_id = slide["slide_id"]
        row = _row(slide, amounts.get(slide_id), setup)
        for part in parts if row["mapped"] else ():
            row |= part.get(slide_id, {})
        row["flags"] = ""
        if slide["status"] == "ok":
            row |= of_grades.get(slide_id, {})
            row["flags"] = ";".join(flags_of(slide, amounts.get(slide_id), grades.get(slide_id)))
        found.append({**row, "within_slide_auc": aucs.get(slide_id), "n_patches": int(counts.get(slide_id, 0))})
    types = columns(setup)
    result = pd.DataFrame(found, columns=list(types)).astype(types)
    return result.sort_values("slide_id", kind="stable", ignore_index=True)


def _refuse_strangers(given: Tables) -> None:
    known = set(given.manifest["slide_id"])
    for name in ("quantities", "patch_scores", "regions", "class_scores", "grades"):
        strangers = sorted(set(getattr(given, name)["slide_id"]) - known)
        if strangers:
            raise TableError(
                f"table {name}: slide {strangers[0]!r} is not in the manifest; run ingest and what follows again"
            )


def _row(slide: dict[str, Any], amount: dict[str, Any] | None, setup: MetricSetup) -> dict[str, Any]:
    """Return the row of one slide but for its patches, classes, regions, grade and flags."""
    usable = slide["status"] == "ok"
    row = {key: slide[key] for key in SLIDE_COLUMNS}
    row["mapped"] = usable and amount is not None
    row["scored"] = row["mapped"] and slide["split"] == "test"
    if usable and amount is None and slide["split"] == "test":
        row["reason"] = slide["reason"] or FLAGS["no_map"]
    if usable and amount is not None:
        row |= {key: amount[key] for key in ("burden_true", "burden_pred", "tumour_mm2", "tissue_mm2")}
        row["burden_error"] = burden_error(amount["burden_pred"], amount["burden_true"])
        row["tumor_rule"] = tumour_by_burden(amount["burden_pred"], setup.burden_percent)
        if slide["slide_label"] == "normal":  # whatever is found there is false
            row |= {"false_area_percent": amount["burden_pred"], "false_area_mm2": amount["tumour_mm2"]}
        row["slide_score"] = amount[f"score_{setup.slide_score}"]
        row |= _overlap_values(amount)
    return row


def _class_values(quantities: pd.DataFrame, setup: MetricSetup) -> dict[str, dict[str, Any]]:
    """Return for each mapped slide what its classes give: shares, and a segmentation's Dice, IoU and accuracy."""
    classes, ids = setup.classes, quantities["slide_id"].tolist()
    result: dict[str, dict[str, Any]] = {slide_id: {} for slide_id in ids}
    if len(classes) > 2:
        for slide_id, counts in zip(ids, quantities["class_px"], strict=True):
            if len(counts) != len(classes):
                raise TableError(
                    f"table quantities: class_px of {slide_id} has {len(counts)} counts, expected {len(classes)}, "
                    "one per class; run quantify again"
                )
            total = sum(counts)
            shares = [count / total if total else None for count in counts]
            result[slide_id] |= {f"class_share.{name}": one for name, one in zip(classes, shares, strict=True)}
    if setup.segments:
        stack, known = confusions(ids, quantities, "confusion", len(classes))
        for slide_id, matrix, has_truth in zip(ids, stack, known, strict=True):
            result[slide_id] |= _matrix_values(matrix, classes) if has_truth else {"dice": None, "iou": None}
    return result


def _matrix_values(matrix: np.ndarray, classes: tuple[str, ...]) -> dict[str, float | None]:
    return {
        "dice": confusion.image_dice(matrix),
        "iou": mean_defined(confusion.class_iou(matrix)[1:]),
        "pixel_accuracy": confusion.pixel_accuracy(matrix),
        **{f"class_dice.{name}": one for name, one in zip(classes, confusion.class_dice(matrix), strict=True)},
    }


def _overlap_values(amount: dict[str, Any]) -> dict[str, Any]:
    """Return the counts, Dice and IoU of one slide; nothing where the truth is unknown."""
    counts = {key: amount[key] for key in COUNTS_PX}
    if any(value is None for value in counts.values()):
        return {}
    found = Overlap(counts["intersection_px"], counts["pred_px"], counts["true_px"])
    return {**counts, "dice": dice(found), "iou": iou(found)}


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all: six digits, empty where null, same table -> same bytes.

    Text that a spreadsheet would run as a formula (first character = + - @) is given a leading apostrophe.
    """
    safe = table.copy()
    for name in safe.columns:
        if pd.api.types.is_string_dtype(safe[name].dtype):
            safe[name] = safe[name].str.replace(r"^(?=[=+\-@\t\r])", "'", regex=True)
    with atomic_path(path) as part:
        safe.to_csv(part, index=False, float_format="%.6g", lineterminator="\n", encoding="utf-8")


def read_table(path: Path) -> pd.DataFrame:
    """Read a report's per_slide.csv.

    Raises:
        AcinusError: it is not there, or no such table.
    """
    texts: dict[Any, Any] = {name: "string" for name, kind in COLUMNS.items() if kind == "string"}
    try:
        table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""], encoding="utf-8")
    except FileNotFoundError as error:
        raise AcinusError(f"{path}: not found; run the report stage (dvc repro)") from error
    except (ValueError, pd.errors.ParserError) as error:  # not text, no columns, rows of different lengths
        raise TableError(f"{path}: not a per-slide table ({' '.join(str(error).split())[:120]})") from error
    missing = sorted(set(NEEDED) - set(table.columns))
    if missing:
        raise TableError(f"{path}: columns {', '.join(missing)} are missing; give the {TABLE} of a report")
    twice = table["slide_id"].duplicated()
    if twice.any():
        raise TableError(f"{path}: slide {table['slide_id'][int(twice.argmax())]} stands twice; run the report again")
    return table
