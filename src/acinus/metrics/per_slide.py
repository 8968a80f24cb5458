"""The per-slide table of a report: one row per slide of the manifest, usable or not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import AcinusError, TableError
from acinus.files import atomic_path
from acinus.metrics.flags import FLAGS, flags_of, outside_share
from acinus.metrics.metric import stacked
from acinus.metrics.overlap import COUNTS_PX, confusions
from acinus.metrics.setup import MetricSetup, Tables
from acinus.metrics.tissue import CEILING
from acinus.records import rows
from acinus.scoring import confusion
from acinus.scoring.auc import auc
from acinus.scoring.burden import burden_error, tumour_by_burden
from acinus.scoring.confusion import Overlap, dice, iou
from acinus.scoring.defined import mean_defined

TABLE = "per_slide.csv"
NEEDED = ("slide_id", "split", "patient", "slide_label", "scored")
"""What a per-slide table by hand must have."""

Values = dict[str, dict[str, Any]]
"""Some columns of the table by slide_id."""

REGION_COLUMNS: dict[str, str] = {
    "num_regions": "Int64",  # of positive classes, after clean-up
    "largest_region_mm2": "float64",  # null without a region or without mpp
    "num_lesions": "Int64",  # lesions to be found; null where not asked for or not known
    "num_itc": "Int64",  # isolated tumour cells, neither to be found nor wrong to find
    "lesions_hit": "Int64",
    "false_positives": "Int64",  # regions outside every lesion
}

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
    "burden_source": "string",  # whose tissue burden_true is a share of: annotation | tissue mask
    "tumour_outside_mm2": "float64",  # annotated tumour outside the tissue mask
    "tumour_outside_share": "float64",  # of all annotated tumour
    "dice_ceiling": "float64",  # of a model that is right wherever a window looked
    "mpp_x": "float64",  # um per level-0 px
    "mpp_source": "string",
    "n_patches": "Int64",  # labelled patches behind within_slide_auc
    "intersection_px": "Int64",  # map px, the counts behind dice and iou
    "pred_px": "Int64",
    "true_px": "Int64",
    **REGION_COLUMNS,
    "flags": "string",  # ';' separated, sorted
}


def columns(setup: MetricSetup) -> dict[str, str]:
    """Return the columns of a recipe's table with their dtypes.

    COLUMNS, then where slides are graded `isup_*` or `tumor_*` (tumor_rule is among COLUMNS) and MIL's own, then for
    more than two classes `class_share.<name>`, the predicted share of the tissue (0..1), and for a segmentation
    `class_dice.<name>` and `pixel_accuracy`.
    """
    result = dict(COLUMNS)
    if setup.graded:
        result |= {f"{setup.grade}_{grader}": "Int64" for grader in _graders(setup)}
        result |= {"mil_confidence": "float64", "mil_spread": "float64"}
    if len(setup.classes) > 2:
        result |= {f"class_share.{name}": "float64" for name in setup.classes}
    if setup.segments:
        result |= {**{f"class_dice.{name}": "float64" for name in setup.classes}, "pixel_accuracy": "float64"}
    return result


def _graders(setup: MetricSetup) -> tuple[str, ...]:
    """Return whose grades the table has as columns of records.GRADES."""
    return ("true", "mil", "rule") if setup.grade == "isup" else ("true", "mil")


def per_slide(tables: Tables, setup: MetricSetup) -> pd.DataFrame:
    """Return one row per slide of the manifest with the `columns` of the setup, sorted by slide_id.

    What is undefined is null. Patches of unknown label are left out.

    Raises:
        TableError: a slide of another table that the manifest does not know, or amounts of another number of
            classes.
    """
    _refuse_strangers(tables)
    quantities = tables.quantities
    of_slide = tables.patch_scores[tables.patch_scores["label"].ge(0)].groupby("slide_id")
    aucs = {
        name: auc(patches["probs"].to_numpy(), np.isin(patches["label"], setup.positive_indices).astype(np.int64))
        for name, patches in of_slide
    }
    counts = of_slide.size()
    amounts = {row["slide_id"]: row for row in rows(quantities)}
    grades = {row["slide_id"]: row for row in rows(tables.grades)} if setup.graded else {}
    parts = (_class_values(quantities, setup), _region_values(quantities, tables.regions))
    names = {grader: f"{setup.grade}_{grader}" for grader in _graders(setup)}
    names |= {"confidence": "mil_confidence", "mil_spread": "mil_spread"}
    result = []
    for slide in rows(tables.manifest):
        slide_id = slide["slide_id"]
        row = _row(slide, amounts.get(slide_id), setup)
        for part in parts if row["mapped"] else ():
            row |= part.get(slide_id, {})
        row["flags"] = ""
        if slide["status"] == "ok":
            grade = grades.get(slide_id)
            row |= {column: grade[key] for key, column in names.items()} if grade else {}
            row["flags"] = ";".join(flags_of(slide, amounts.get(slide_id), grade))
        result.append({**row, "within_slide_auc": aucs.get(slide_id), "n_patches": int(counts.get(slide_id, 0))})
    types = columns(setup)
    table = pd.DataFrame(result, columns=list(types)).astype(types)
    return table.sort_values("slide_id", kind="stable", ignore_index=True)


def _refuse_strangers(tables: Tables) -> None:
    known = set(tables.manifest["slide_id"])
    for name in ("quantities", "patch_scores", "regions", "class_scores", "grades"):
        strangers = sorted(set(getattr(tables, name)["slide_id"]) - known)
        if strangers:
            raise TableError(
                f"table {name}: slide {strangers[0]!r} is not in the manifest; run ingest and what follows again"
            )


def _row(slide: dict[str, Any], amount: dict[str, Any] | None, setup: MetricSetup) -> dict[str, Any]:
    """Return the row of one slide but for its patches, classes, regions, grade and flags."""
    usable = slide["status"] == "ok"
    row = {key: slide[key] for key in COLUMNS if key in slide}
    row["mapped"] = usable and amount is not None
    row["scored"] = row["mapped"] and slide["split"] == "test"
    if usable and amount is None and slide["split"] == "test":
        row["reason"] = slide["reason"] or FLAGS["no_map"]
    if usable and amount is not None:
        row |= {key: amount[key] for key in ("burden_true", "burden_pred", "tumour_mm2", "tissue_mm2", "burden_source")}
        row |= {"tumour_outside_mm2": amount["outside_mm2"], "tumour_outside_share": outside_share(amount)}
        row["burden_error"] = burden_error(amount["burden_pred"], amount["burden_true"])
        row["tumor_rule"] = tumour_by_burden(amount["burden_pred"], setup.burden_percent)
        if slide["slide_label"] == "normal":  # whatever is found there is false
            row |= {"false_area_percent": amount["burden_pred"], "false_area_mm2": amount["tumour_mm2"]}
        row["slide_score"] = amount[f"score_{setup.slide_score}"]
        counts = {key: amount[key] for key in COUNTS_PX}
        if None not in counts.values():  # else the truth is unknown
            overlap = Overlap(counts["intersection_px"], counts["pred_px"], counts["true_px"])
            row |= {**counts, "dice": dice(overlap), "iou": iou(overlap)}
    return row


def _region_values(quantities: pd.DataFrame, regions: pd.DataFrame) -> Values:
    """Return REGION_COLUMNS of every slide of quantities (records.QUANTITIES, REGIONS)."""
    largest = regions.groupby("slide_id")["area_mm2"].max()
    lesions = regions[regions["lesion"].notna()]
    hits = lesions[lesions["lesion"] > 0].groupby("slide_id")["lesion"].nunique()
    wrong = lesions[lesions["lesion"] == 0].groupby("slide_id").size()
    result = {}
    for amount in rows(quantities[["slide_id", "num_regions", "num_lesions", "num_itc"]]):
        slide_id, known = amount["slide_id"], amount["num_lesions"] is not None
        result[slide_id] = amount | {
            "largest_region_mm2": largest.get(slide_id),
            "lesions_hit": int(hits.get(slide_id, 0)) if known else None,
            "false_positives": int(wrong.get(slide_id, 0)) if known else None,
        }
    return result


def _class_values(quantities: pd.DataFrame, setup: MetricSetup) -> Values:
    """Return for each mapped slide what its classes give: shares, ceiling, a segmentation's Dice, IoU and accuracy."""
    classes, ids = setup.classes, quantities["slide_id"].tolist()
    result: Values = {slide_id: {} for slide_id in ids}
    if len(classes) > 2:
        zeros = np.zeros((len(ids), len(classes)), dtype=np.int64)
        stack, _ = stacked(ids, quantities, "class_px", zeros, f"counts, expected {len(classes)}, one per class")
        for slide_id, counts in zip(ids, stack.tolist(), strict=True):
            total = sum(counts)
            shares = {name: count / total if total else None for name, count in zip(classes, counts, strict=True)}
            result[slide_id] |= {f"class_share.{name}": share for name, share in shares.items()}
    if setup.segments:
        stack, known = confusions(ids, quantities, "confusion", len(classes))
        for slide_id, matrix, has_truth in zip(ids, stack, known, strict=True):
            result[slide_id] |= {"dice": None, "iou": None}
            if has_truth:
                dices = zip(classes, confusion.class_dice(matrix), strict=True)
                result[slide_id] |= {
                    "dice": confusion.image_dice(matrix),
                    "iou": mean_defined(confusion.class_iou(matrix)[1:]),
                    "pixel_accuracy": confusion.pixel_accuracy(matrix),
                    **{f"class_dice.{name}": value for name, value in dices},
                }
    stack, known = confusions(ids, quantities, CEILING, len(classes))
    for slide_id, matrix, has_truth in zip(ids, stack, known, strict=True):
        if has_truth:
            overlap = confusion.positive_overlap(matrix, setup.positive_indices)
            result[slide_id]["dice_ceiling"] = confusion.image_dice(matrix) if setup.segments else dice(overlap)
    return result


def with_labels(table: pd.DataFrame, labels: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Return the table with a column `label.<name>` for each that a person's table has (slide_id -> name -> text)."""
    names = dict.fromkeys(name for of_slide in labels.values() for name in of_slide)
    texts = {f"label.{n}": [labels.get(slide, {}).get(n) for slide in table["slide_id"]] for n in names}
    return table.join(pd.DataFrame(texts, index=table.index, dtype="string"))


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
