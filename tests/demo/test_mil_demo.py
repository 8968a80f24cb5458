"""The drawn cohort with slide labels alone: what tells the label, and what must not."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from acinus.params import MilDemo
from acinus.slides.open import open_slide
from acinus_demo import mil, tissues
from acinus_demo.mil import SlidePlan

SEED = 20261121


@pytest.fixture(scope="module")
def plans() -> list[SlidePlan]:
    return mil.plan(SEED, MilDemo())


def test_the_table_says_the_same_of_all_slides_of_a_patient_and_nothing_of_the_last(
    plans: list[SlidePlan], tmp_path: Path
) -> None:
    mil.finish(plans, tmp_path)
    rows = list(csv.DictReader((tmp_path / "slides.csv").read_text().splitlines()))
    assert [row["slide"] for row in rows] == [plan.image for plan in plans]
    of_patient = defaultdict(list)
    for row in rows:
        of_patient[row["patient"]].append(row)
    assert Counter(len(of_one) for of_one in of_patient.values())[2] >= 5
    for of_one in of_patient.values():
        assert len({(row["diagnosis"], row["grade"], row["months"], row["event"], row["site"]) for row in of_one}) == 1
    bare = [row for row in rows if not row["diagnosis"]]
    assert len({row["patient"] for row in bare}) == 2
    assert all(not row[name] for row in bare for name in ("grade", "score", "months", "event"))
    known = [row for row in rows if row["diagnosis"]]
    assert {(row["diagnosis"] == "malignant") == (row["grade"] != "0") for row in known} == {True}
    assert 0.4 < np.mean([row["diagnosis"] == "malignant" for row in known]) < 0.6
    assert all(float(row["months"]) > 0 and row["event"] in "01" for row in known)
    risk = [int(row["grade"]) for row in known if row["event"] == "1"]
    assert np.corrcoef(risk, [float(row["months"]) for row in known if row["event"] == "1"])[0, 1] < -0.3


def test_as_many_islands_are_tumour_as_the_grade_says(plans: list[SlidePlan]) -> None:
    tumour, glands = (tissues.TISSUES.index(name) + 1 for name in ("tumour", "glands"))
    for plan in plans[:8]:
        assert sum(kind == "tumour" for kind, _ in plan.islands) == plan.patient.grade
        drawn = mil.labels(plan)
        pieces = ndimage.label(drawn == tumour)[1]
        assert (pieces > 0) == (plan.patient.grade > 0)
        assert ((drawn == glands).any()) == (plan.patient.grade < mil.ISLANDS)


def test_a_slide_opens_with_its_resolution(plans: list[SlidePlan], tmp_path: Path) -> None:
    mil.draw_slide(plans[0], tmp_path)
    with open_slide(tmp_path / plans[0].image, "s") as slide:
        assert (slide.width, slide.height) == plans[0].size
        assert slide.tag_mpp == pytest.approx((0.5, 0.5), rel=1e-3)


def test_neither_size_nor_colour_tells_the_label() -> None:
    """Over more slides than the demo has, so that chance is narrow: 0.5 within three standard errors (0.06)."""
    plans = [plan for plan in mil.plan(7, MilDemo(slides=76, width_px=480, height_px=384)) if plan.patient.labelled]
    label = np.array([plan.patient.grade > 0 for plan in plans])
    features: dict[str, list[list[float]]] = {"size": [], "colour": []}
    for plan in plans:
        picture = mil.picture(plan)
        inside = picture[mil.labels(plan) > 0] / 255.0
        features["size"].append([len(inside)])
        features["colour"].append([*inside.mean(axis=0), *inside.std(axis=0)])
    for name, values in features.items():
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        prob = cross_val_predict(model, np.array(values), label, cv=folds, method="predict_proba")[:, 1]
        assert abs(roc_auc_score(label, prob) - 0.5) < 0.2, name
