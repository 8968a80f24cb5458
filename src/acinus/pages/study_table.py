"""What a recipe of task slide_labels learned, as a table with a row per slide, used or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from acinus import records
from acinus.metrics.slide_figures import judged
from acinus.pages.columns import Column
from acinus.scoring.decisions import CLASSED

Row = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A label of whole slides and its predictions.

    target: the column that is learned. kind: of records.PREDICTIONS. given: the recipe's classes, in order, or none.
    predictions: records.PREDICTIONS. manifest: records.MANIFEST.
    """

    target: str
    kind: str
    given: tuple[str, ...]
    predictions: pd.DataFrame
    manifest: pd.DataFrame

    @property
    def of_classes(self) -> bool:
        """Whether the label is one of some classes."""
        return self.kind in CLASSED

    @cached_property
    def first(self) -> pd.DataFrame:
        """The predictions of the first repeat: a row per slide."""
        return self.predictions[self.predictions["repeat"] == self.predictions["repeat"].min()].reset_index(drop=True)

    @cached_property
    def judged(self) -> pd.DataFrame:
        """The slides that figures and charts are of, of the first repeat: labelled, and predicted by models that never
        saw their patient. Where there are folds: all that are in one; else the test split."""
        return judged(self.first).reset_index(drop=True)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The texts of the classes, in their order; those of no slide whose text is not given are numbers."""
        if not self.of_classes:
            return ()
        number = max((len(probs) for probs in self.predictions["probs"]), default=len(self.given))
        known = self.predictions.dropna(subset=["true", "label"])
        texts = {int(true): str(label) for true, label in zip(known["true"], known["label"], strict=True)}
        return tuple(dict(enumerate(self.given)).get(place, texts.get(place, str(place))) for place in range(number))

    @property
    def unlabelled(self) -> list[str]:
        """The slides that were predicted and have no label."""
        return sorted(self.first.loc[self.first["true"].isna(), "slide_id"])

    @property
    def without_tissue(self) -> list[str]:
        """The usable slides that no model could look at."""
        usable = self.manifest.loc[self.manifest["status"] == "ok", "slide_id"]
        return sorted(set(usable) - set(self.first["slide_id"]))

    def probs(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the probabilities of rows, float64 (n, classes)."""
        return np.array(rows["probs"].tolist(), dtype=np.float64).reshape(len(rows), len(self.classes))


def study_table(study: Study) -> pd.DataFrame:
    """Return a row for every slide of the manifest, by slide_id.

    scored: part of the figures. label, predicted: as texts; value: the number predicted (regression) or the risk
    (survival); time, event, error: predicted minus true, where there is such a thing; `prob.<class>`;
    right: 1 where the class is the true one.
    """
    scored = set(study.judged["slide_id"])
    predicted = {row["slide_id"]: row for row in records.rows(study.first)}
    rows = [_row(slide, predicted.get(slide["slide_id"]), study, scored) for slide in records.rows(study.manifest)]
    types = _types(study)
    table = pd.DataFrame(rows, columns=list(types)).astype(types)
    return table.sort_values("slide_id", kind="stable", ignore_index=True)


def _types(study: Study) -> dict[str, str]:
    """Return the columns of the table with their dtypes."""
    types = {
        **dict.fromkeys(("slide_id", "split", "split_rule", "patient", "provider", "slide_label"), "string"),
        **{"status": "string", "reason": "string", "findings": "string", "scored": "bool", "fold": "Int64"},
        **{"model": "string", "label": "string", "true": "float64"},
    }
    if study.of_classes:
        types |= {"predicted": "string", "right": "Int64"} | {f"prob.{name}": "float64" for name in study.classes}
    elif study.kind == "regression":
        types |= {"value": "float64", "error": "float64"}
    else:
        types |= {"event": "Int64", "risk": "float64"}
    return types | {"spread": "float64", "num_patches": "Int64", "mpp_x": "float64"}


def _row(slide: Row, answer: Row | None, study: Study, scored: set[str]) -> Row:
    row = slide | {"scored": slide["slide_id"] in scored}
    if answer is None:
        usable = slide["status"] == "ok"
        return row | {"reason": slide["reason"] or ("no tissue to take a patch from" if usable else "")}
    row |= {key: answer[key] for key in ("split", "fold", "model", "label", "true", "event", "spread", "num_patches")}
    if study.of_classes:
        place, true = int(answer["predicted"]), answer["true"]
        row |= {"predicted": study.classes[place], "right": None if true is None else int(true == place)}
        return row | {f"prob.{name}": prob for name, prob in zip(study.classes, answer["probs"], strict=True)}
    error = None if answer["true"] is None else answer["predicted"] - answer["true"]
    return row | {"value": answer["predicted"], "risk": answer["predicted"], "error": error}


def shown_columns(table: pd.DataFrame, study: Study, site: bool = True) -> list[Column]:
    """Return the columns of the page's table: those in which the study has something to say."""
    columns = [Column("patient", "patient", "text")] if (table["patient"] != table["slide_id"]).any() else []
    if site and table["provider"].replace("", pd.NA).nunique() > 1:
        columns.append(Column("provider", "site", "text"))
    if (table["split"] == "test").any() or table["fold"].isna().all():  # else folds took the splits' place
        columns.append(Column("split", "split", "text"))
    if table["fold"].notna().any():
        columns.append(Column("fold", "fold", "count"))
    columns += _columns_of_kind(study)
    return [*columns, Column("spread", "spread over seeds"), Column("num_patches", "patches", "count")]


def _columns_of_kind(study: Study) -> Sequence[Column]:
    label = Column("label", f"{study.target}, true", "text")
    if study.kind == "regression":
        return label, Column("value", "predicted", "points"), Column("error", "error", "points", signed=True)
    if study.kind == "survival":
        return label, Column("event", "event", "count"), Column("risk", "risk", "points", signed=True)
    shown = study.classes[1:] if study.kind == "binary" else study.classes
    probs = (Column(f"prob.{name}", f"p({name})") for name in shown)
    return label, Column("predicted", "predicted", "text"), Column("right_text", "right", "text"), *probs
