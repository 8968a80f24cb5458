"""The per-slide table of a report: one row per slide of the manifest, usable or not."""

from pathlib import Path

import pandas as pd

from acinus.errors import TableError
from acinus.files import atomic_path
from acinus.records import NORMAL, TUMOR
from acinus.scoring.auc import within_slide_auc
from acinus.scoring.burden import burden_error
from acinus.scoring.dice import Overlap, dice, iou

COLUMNS: dict[str, str] = {
    "slide_id": "string",
    "split": "string",
    "patient": "string",
    "slide_label": "string",  # normal | tumor | null where unknown
    "status": "string",  # of the manifest: ok | bad | excluded
    "reason": "string",  # why the slide was not scored, else ""
    "scored": "bool",  # usable and with a probability map
    "dice": "float64",
    "iou": "float64",
    "within_slide_auc": "float64",
    "slide_score": "float64",
    "burden_true": "float64",  # percent of tissue
    "burden_pred": "float64",
    "burden_error": "float64",  # percentage points, predicted - true
    "tumour_mm2": "float64",
    "tissue_mm2": "float64",
    "mpp_x": "float64",  # um per level-0 px
    "mpp_source": "string",
    "n_patches": "Int64",  # labelled patches behind within_slide_auc
    "intersection_px": "Int64",  # map px, the counts behind dice and iou
    "pred_px": "Int64",
    "true_px": "Int64",
    "flags": "string",  # ';' separated, sorted
}

FLAGS: dict[str, str] = {
    "annotation_on_normal": "tumour is annotated on a slide labelled normal",
    "dice_undefined": "neither the annotation nor the map has tumour, so Dice is undefined",
    "no_map": "no probability map was written",
    "no_mpp": "pixel size unknown, so areas in mm² are left out",
    "no_tissue": "no tissue was found",
    "tumor_missed": "labelled tumour, none found",
    "tumor_on_normal": "labelled normal, tumour found",
    "tumor_unannotated": "labelled tumour, none annotated",
    "truth_unknown": "the slide has no annotation to compare with",
}
"""What each flag of the table means."""


def per_slide(
    manifest: pd.DataFrame, quantities: pd.DataFrame, patch_scores: pd.DataFrame, slide_score: str = "p99"
) -> pd.DataFrame:
    """Return one row per slide of the manifest with the COLUMNS of the report, sorted by slide_id.

    Takes records.MANIFEST, QUANTITIES and SCORES; `slide_score` names the reduction (`score_<name>`
    of QUANTITIES). What is undefined is null. Patches of unknown label are left out.

    Raises:
        TableError: a slide of quantities or patch_scores that the manifest does not know.
    """
    for name, table in (("quantities", quantities), ("patch_scores", patch_scores)):
        strangers = sorted(set(table["slide_id"]) - set(manifest["slide_id"]))
        if strangers:
            raise TableError(
                f"table {name}: slide {strangers[0]!r} is not in the manifest; run ingest and what follows again"
            )
    labelled = patch_scores[patch_scores["label"].isin([NORMAL, TUMOR])]
    aucs = within_slide_auc(
        labelled["slide_id"].to_numpy(), labelled["probs"].to_numpy(), labelled["label"].to_numpy(dtype="int64")
    )
    counts = labelled.groupby("slide_id").size()
    amounts = {row["slide_id"]: row for row in _plain(quantities)}
    rows = []
    for slide in _plain(manifest):
        slide_id = slide["slide_id"]
        row = _row(slide, amounts.get(slide_id), slide_score)
        rows.append({**row, "within_slide_auc": aucs.get(slide_id), "n_patches": int(counts.get(slide_id, 0))})
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return table.sort_values("slide_id", kind="stable", ignore_index=True)


def _plain(table: pd.DataFrame) -> list[dict]:
    """Return the rows as dicts in which every null is None."""
    return [
        {key: None if pd.isna(value) else value for key, value in row.items()}
        for row in table.to_dict(orient="records")
    ]


def _row(slide: dict, amount: dict | None, slide_score: str) -> dict:
    """Return the row of one slide but for its patch figures."""
    usable = slide["status"] == "ok"
    row = {key: slide[key] for key in ("slide_id", "split", "patient", "slide_label", "status", "reason", "mpp_x")}
    row |= {"mpp_source": slide["mpp_source"], "scored": usable and amount is not None}
    if usable and amount is None and slide["split"] == "test":
        row["reason"] = slide["reason"] or FLAGS["no_map"]
    if usable and amount is not None:
        row |= {key: amount[key] for key in ("burden_true", "burden_pred", "tumour_mm2", "tissue_mm2")}
        row["burden_error"] = burden_error(amount["burden_pred"], amount["burden_true"])
        row["slide_score"] = amount[f"score_{slide_score}"]
        row |= _overlap_figures(amount)
    row["flags"] = ";".join(sorted(_flags(slide, amount))) if usable else ""
    return row


def _overlap_figures(amount: dict) -> dict:
    """Return the counts, Dice and IoU of one slide; nothing where the truth is unknown."""
    counts = {key: amount[key] for key in ("intersection_px", "pred_px", "true_px")}
    if any(value is None for value in counts.values()):
        return {}
    found = Overlap(counts["intersection_px"], counts["pred_px"], counts["true_px"])
    return {**counts, "dice": dice(found), "iou": iou(found)}


def _flags(slide: dict, amount: dict | None) -> list[str]:
    """Return the FLAGS of a usable slide."""
    flags = {"no_mpp": slide["mpp_x"] is None, "no_map": amount is None and slide["split"] == "test"}
    if amount is not None:
        label, found = slide["slide_label"], amount["tumour_px"]
        known = amount["true_px"] is not None
        flags |= {
            "no_tissue": amount["tissue_px"] == 0,
            "truth_unknown": not known,
            "dice_undefined": known and amount["true_px"] == 0 and amount["pred_px"] == 0,
            "tumor_missed": label == "tumor" and found == 0,
            "tumor_on_normal": label == "normal" and found > 0,
            "tumor_unannotated": known and label == "tumor" and amount["true_px"] == 0,
            "annotation_on_normal": known and label == "normal" and amount["true_px"] > 0,
        }
    return [name for name, set_ in flags.items() if set_]


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
