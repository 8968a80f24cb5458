"""The figures of the grades against scikit-learn and against a cohort worked by hand."""

import statistics

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from acinus.errors import TableError
from acinus.metrics.grades import confusions_of
from acinus.metrics.metric import groups_of, usable_slides
from acinus.metrics.setup import MetricSetup

CLASSES = ("normal", "tumor")
ISUP = MetricSetup("patch_classification", CLASSES, grade="isup")
TUMOR = MetricSetup("patch_classification", CLASSES, grade="tumor")
TRUE, MIL, RULE = [0, 0, 1, 2, 3, 5], [0, 1, 1, 4, 3, 4], [0, 0, None, 1, 5, 5]


@pytest.fixture
def graded(build, rows):
    """Six graded test slides of six patients and two providers, one that failed and one of training."""
    slides = [
        rows.slide(f"s{i}", "tumor", f"p{i}", provider="left" if i % 2 else "right", isup=true)
        for i, true in enumerate(TRUE)
    ]
    slides += [
        rows.slide("bad", "tumor", "p7", status="bad", reason="blank"),
        rows.slide("t", None, "p8", split="train"),
    ]
    slides.append(rows.slide("unknown", None, "p9"))
    found = [
        rows.grade(f"s{i}", true, mil, rule) for i, (true, mil, rule) in enumerate(zip(TRUE, MIL, RULE, strict=True))
    ]
    found += [rows.grade("bad", 5, 0), rows.grade("t", 5, 0, split="train"), rows.grade("unknown", None, 3)]

    def make(**more):
        return build(**({"slides": slides, "amounts": [], "scores": [], "setup": ISUP, "grades": found} | more))

    return make


def test_kappa_against_scikit_learn(graded) -> None:
    found = graded().metrics
    assert found["qwk"] == pytest.approx(cohen_kappa_score(TRUE, MIL, weights="quadratic", labels=range(6)))
    assert (found["n_graded"], found["grade_accuracy"]) == (6, pytest.approx(3 / 6))
    known = [(true, rule) for true, rule in zip(TRUE, RULE, strict=True) if rule is not None]
    expected = cohen_kappa_score(*zip(*known, strict=True), weights="quadratic", labels=range(6))
    assert found["qwk.rule"] == pytest.approx(expected)
    assert found["n_graded_rule"] == 5
    for name, part in (("right", slice(0, None, 2)), ("left", slice(1, None, 2))):
        expected = cohen_kappa_score(TRUE[part], MIL[part], weights="quadratic", labels=range(6))
        assert (found[f"qwk.{name}"], found[f"n_graded.{name}"]) == (pytest.approx(expected), 3)
    assert [one[0] for one in groups_of(found, "qwk", "n_graded")] == ["left", "right"]


def test_grades_have_intervals_of_patients(graded, rows) -> None:
    found = graded(bootstrap=100).metrics
    for name in ("qwk", "qwk.rule", "grade_accuracy"):
        assert found[f"{name}_ci_low"] < found[name] < found[f"{name}_ci_high"], name
    assert "grade_auc" not in found


def test_every_seed_alone_stands_beside_their_mean(graded, rows) -> None:
    grades = [
        rows.grade(f"s{i}", true, mil, mil_by_seed=[true, 5 - true])
        for i, (true, mil) in enumerate(zip(TRUE, MIL, strict=True))
    ]
    found = graded(grades=grades).metrics
    assert found["qwk.seeds_high"] == 1.0
    expected = cohen_kappa_score(TRUE, [5 - one for one in TRUE], weights="quadratic", labels=range(6))
    assert found["qwk.seeds_low"] == pytest.approx(expected)
    assert found["qwk.seeds_mean"] == pytest.approx(statistics.mean([1.0, expected]))
    assert found["qwk.seeds_std"] == pytest.approx(statistics.stdev([1.0, expected]))


def test_one_seed_has_no_spread(graded, rows) -> None:
    found = graded(grades=[rows.grade(f"s{i}", true, true, mil_by_seed=[true]) for i, true in enumerate(TRUE)]).metrics
    assert (found["qwk.seeds_mean"], found["qwk.seeds_std"]) == (1.0, None)


def test_the_confusions_are_those_of_the_test_slides(graded) -> None:
    cohort = graded()
    found = confusions_of(usable_slides(cohort.per_slide), cohort.tables, ISUP)
    expected = np.zeros((6, 6), dtype=int)
    np.add.at(expected, (TRUE, MIL), 1)
    np.testing.assert_array_equal(found["MIL"], expected)
    assert found["rule"].sum() == 5
    assert found["rule"][3, 5] == 1


def test_one_grade_throughout_is_undefined_not_one(graded, rows) -> None:
    found = graded(grades=[rows.grade("s0", 0, 0), rows.grade("s1", 0, 0)]).metrics
    assert found["qwk"] is None
    assert found["grade_accuracy"] == 1.0
    assert found["qwk_ci_low"] is None


def test_tumour_or_normal_has_an_auc(graded, rows) -> None:
    probs = [0.65, 0.6, 0.4, 0.7]
    grades = [
        rows.grade(f"s{i}", i % 2, int(p >= 0.5), int(p < 0.65), target="tumor", mil_probs=[1 - p, p], mil_by_seed=[0])
        for i, p in enumerate(probs)
    ]
    found = graded(grades=grades, setup=TUMOR, bootstrap=100).metrics
    assert found["grade_auc"] == pytest.approx(roc_auc_score([0, 1, 0, 1], probs))
    assert found["grade_accuracy"] == pytest.approx(3 / 4)
    assert found["grade_accuracy.rule"] == pytest.approx(2 / 4)
    assert found["grade_auc_ci_low"] < found["grade_auc"] <= found["grade_auc_ci_high"]
    assert "qwk" not in found


def test_a_recipe_without_grades_has_no_figures_of_them(graded, cohort) -> None:
    for found in (cohort.metrics, graded(grades=[]).metrics):
        assert not [name for name in found if name.startswith(("qwk", "grade_", "n_graded"))]


def test_a_provider_called_rule_hides_nothing(graded) -> None:
    plain = graded()
    slides = plain.manifest.assign(provider=plain.manifest["provider"].replace("left", "rule")).to_dict("records")
    found = graded(slides=slides).metrics
    assert found["qwk.rule"] == plain.metrics["qwk.rule"]
    assert [one[0] for one in groups_of(found, "qwk", "n_graded")] == ["right", "rule_"]
    assert found["qwk.rule_"] == plain.metrics["qwk.left"]


def test_grades_of_another_target_are_refused(graded, rows) -> None:
    with pytest.raises(TableError, match=r"grades: target tumor, expected isup.*grade stage"):
        graded(grades=[rows.grade("s0", 0, 1, target="tumor", mil_probs=[0.5, 0.5])])
