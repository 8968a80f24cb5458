"""How far off the predicted labels of whole slides are (task slide_labels): figures of records.PREDICTIONS."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from acinus.metrics.metric import Metrics
from acinus.scoring import calibration, confusion, regression, survival
from acinus.scoring.auc import auc
from acinus.scoring.decisions import CLASSED, decide
from acinus.scoring.defined import mean_defined
from acinus.scoring.kappa import grade_confusion, quadratic_weighted_kappa

OUT_OF_FOLD = "out-of-fold"
"""records.PREDICTIONS.model of slides that other folds' models predicted."""

MAIN_OF_KIND = {
    "binary": "slide.auc",
    "classes": "slide.auc_macro",
    "ordinal": "slide.qwk",
    "regression": "slide.r2",
    "survival": "slide.c_index",
}
"""Kind of label -> the metric by which a study is known."""

BASELINES = {
    "baseline_mean_pooling": "mean_pooling",
    "baseline_size": "size_only",
    "baseline_colour": "colour_only",
    "baseline_majority": "majority",
}
"""What follows a metric's name -> column of records.PREDICTIONS."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Predictions row by row. true, predicted: float64 (n,). event: int64 (n,), 1 where the kind has none. answer:
    float64 (n, classes or 1), probabilities or the number. fold: int64 (n,), 0 without one. patient: int64 (n,), the
    number of each row's patient.
    """

    kind: str
    true: np.ndarray
    event: np.ndarray
    predicted: np.ndarray
    answer: np.ndarray
    fold: np.ndarray
    patient: np.ndarray

    def of(self, rows: np.ndarray) -> "Answers":
        """Return chosen rows."""
        columns = (self.true, self.event, self.predicted, self.answer, self.fold, self.patient)
        return Answers(self.kind, *(column[rows] for column in columns))

    @property
    def matrix(self) -> np.ndarray:
        """The confusion matrix, int64 (classes, classes), true x predicted."""
        true, predicted = self.true.astype(np.int64), self.predicted.astype(np.int64)
        return grade_confusion(true, predicted, self.answer.shape[1])


Figure = Callable[[Answers], float | None]


# ---------------------------------------------------------------- figures


def _auc(said: Answers) -> float | None:
    return auc(said.answer[:, 1], said.true.astype(np.int64))


def _auc_macro(said: Answers) -> float | None:
    """Return the mean, over the classes that some slides have, of the AUC of each against the rest."""
    each = [auc(said.answer[:, place], (said.true == place).astype(np.int64)) for place in range(said.answer.shape[1])]
    return mean_defined(each)


def _f1(said: Answers) -> float | None:
    """Return the F1 of the second of two classes; of more the mean over those that are true or predicted."""
    return confusion.class_dice(said.matrix)[1] if said.kind == "binary" else confusion.mdice(said.matrix)


def _qwk(said: Answers) -> float | None:
    return quadratic_weighted_kappa(said.true.astype(np.int64), said.predicted.astype(np.int64), said.answer.shape[1])


def _ece(said: Answers) -> float | None:
    """Return the calibration error of the positive class's probability, or of that of the likeliest class."""
    if said.kind == "binary":
        return calibration.ece(calibration.reliability(said.answer[:, 1], said.true == 1))
    right = said.answer.argmax(axis=1) == said.true
    return calibration.ece(calibration.reliability(said.answer.max(axis=1), right))


def _brier(said: Answers) -> float | None:
    return calibration.brier(said.answer, said.true.astype(np.int64))


def _c_index(said: Answers) -> float | None:
    return survival.c_index(said.true, said.event, said.predicted, said.fold)


def _log_rank(said: Answers) -> float | None:
    """Return the p value over patients, each a case with the mean risk of its slides."""
    _, first, place = np.unique(said.patient, return_index=True, return_inverse=True)
    risk = np.bincount(place, weights=said.predicted) / np.bincount(place)
    return survival.log_rank(said.true[first], said.event[first], survival.high_risk(risk, said.fold[first]))


# ---------------------------------------------------------------- of predictions


def judged(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that figures are of: labelled, and out of fold; without folds those of the test split."""
    known = predictions[predictions["true"].notna()]
    folded = known[known["model"] == OUT_OF_FOLD]
    return folded if len(folded) else known[known["split"] == "test"]


def tested(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the labelled rows of the test split where there are folds, else none."""
    has_folds = bool((predictions["model"] == OUT_OF_FOLD).any())
    return predictions[predictions["true"].notna() & (predictions["split"] == "test") & has_folds]


def answers_of(rows: pd.DataFrame, column: str = "") -> Answers:
    """Return rows of records.PREDICTIONS as arrays. column: of a baseline, whose answers stand in for the model's."""
    kind = str(rows["kind"].iloc[0])
    true, predicted = (rows[name].to_numpy(dtype=np.float64) for name in ("true", "predicted"))
    event, fold = (rows[name].fillna(other).to_numpy(dtype=np.int64) for name, other in (("event", 1), ("fold", 0)))
    lists = rows[column or "probs"].tolist() if column or kind in CLASSED else [[value] for value in predicted]
    answer = np.array(lists, dtype=np.float64).reshape(len(rows), -1)
    if column == "majority":  # one answer for all: shares that differ from fold to fold would rank slides backwards
        answer = np.broadcast_to(answer.mean(axis=0), answer.shape)
    if column:
        predicted = np.array([decide(kind, one) for one in answer])
    return Answers(kind, true, event, predicted, answer, fold, pd.factorize(rows["patient"])[0])


def values_of_folds(predictions: pd.DataFrame) -> Metrics:
    """Return the main figure of every fold of every repeat, by `repeat_<r>.fold_<f>.<name>`; none without folds."""
    rows = predictions[(predictions["model"] == OUT_OF_FOLD) & predictions["true"].notna()]
    values: Metrics = {}
    for (repeat, fold), of_fold in rows.groupby(["repeat", "fold"]):
        said = answers_of(of_fold)
        name = MAIN_OF_KIND[said.kind]
        values[f"repeat_{repeat}.fold_{fold}.{name}"] = FIGURES[name.removeprefix("slide.")](said)
    return values


FIGURES: dict[str, Figure] = {
    "auc": _auc,
    "auc_macro": _auc_macro,
    "qwk": _qwk,
    "balanced_accuracy": lambda said: confusion.balanced_accuracy(said.matrix),
    "accuracy": lambda said: confusion.pixel_accuracy(said.matrix),
    "f1": _f1,
    "mae": lambda said: regression.mae(said.true, said.predicted),
    "r2": lambda said: regression.r2(said.true, said.predicted),
    "pearson": lambda said: regression.pearson(said.true, said.predicted),
    "spearman": lambda said: regression.spearman(said.true, said.predicted),
    "c_index": _c_index,
    "log_rank_p": _log_rank,
    "ece": _ece,
    "brier": _brier,
}
