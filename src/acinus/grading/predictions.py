"""The runs of a study together: one row of records.PREDICTIONS per slide and repeat, and attention per patch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from acinus.grading.answers import spread_of
from acinus.grading.baselines import NAMES, Facts
from acinus.grading.runs import Subject
from acinus.grading.study import Learned
from acinus.grading.targets import Target
from acinus.scoring.decisions import decide

OUT_OF_FOLD, ENSEMBLE, HELD_OUT, FITTED = "out-of-fold", "ensemble", "held-out", "fitted"
"""How a slide was predicted: by models of other folds; by all folds together; by the models of the splits, which have
not learned from it; by models that have.
"""


def rows_of(
    learned: Sequence[Learned], subjects: Sequence[Subject], target: Target, facts: Mapping[str, Facts]
) -> list[dict[str, Any]]:
    """Return the rows of records.PREDICTIONS. What no fold has is predicted by all runs together, as repeat 1."""
    rows = []
    for subject in subjects:
        slide = subject.slide_id
        own = [one for one in learned if slide in one.run.predict]
        for one in own:
            how = OUT_OF_FOLD
            if one.run.fold is None:
                how = FITTED if slide in one.run.train else HELD_OUT
            rows.append(_row([one], subject, target, facts[slide]) | {"fold": one.run.fold, "model": how})
        if not own:
            rows.append(_row(learned, subject, target, facts[slide]) | {"repeat": 1, "fold": None, "model": ENSEMBLE})
    return rows


def _row(learned: Sequence[Learned], subject: Subject, target: Target, facts: Facts) -> dict[str, Any]:
    slide, kind = subject.slide_id, target.kind
    by_run = [one.answers[slide].by_model for one in learned]
    answer = np.mean([by_model.mean(axis=0) for by_model in by_run], axis=0)
    predicted = decide(kind, answer, float(np.mean([one.decision.threshold for one in learned])))
    simpler = [one.baselines.answers(facts) for one in learned]
    return {
        "slide_id": slide,
        "repeat": learned[0].run.repeat,
        "patient": subject.patient,
        "site": subject.site,
        "split": subject.split,
        "kind": kind,
        "label": subject.truth.text,
        "true": subject.truth.value,
        "event": subject.truth.event,
        "predicted": predicted,
        "probs": answer.tolist() if target.classed else [],
        "spread": spread_of(kind, np.concatenate(by_run), predicted),
        "num_patches": facts.patches,
        **{name: np.mean([said[name] for said in simpler], axis=0).tolist() for name in NAMES},
    }


def attention_of(learned: Sequence[Learned], slide_id: str) -> np.ndarray:
    """Return the mean attention over the runs that predict a slide, float64 (n,), in sum 1."""
    own = [one for one in learned if slide_id in one.run.predict] or learned
    return np.asarray(np.mean([one.answers[slide_id].attention for one in own], axis=0))
