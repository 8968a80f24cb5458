"""The stage grade of task slide_labels over drawn features: who is predicted by whom, how well, and what is written."""

import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from acinus import records
from acinus.commands.compare import _of_folder as run_of
from acinus.embedding.feature_file import read_features
from acinus.embedding.folder import feature_path
from acinus.errors import AcinusError
from acinus.files import read_json, write_json
from acinus.grading.runs import Subject, draw, plan
from acinus.grading.study_card import ask_study, load_study
from acinus.grading.targets import Target, Truth
from acinus.metrics.compare import differences, missing, paired
from acinus.metrics.metric import Metrics
from acinus.metrics.per_slide import write_csv
from acinus.metrics.report import recipe_metrics
from acinus.metrics.setup import SLIDES, MetricSetup, Tables
from acinus.pages.study_table import Study, study_table
from acinus.params import Folds
from acinus.stage import Stage
from acinus.stages import embed, grade
from tests.grading.study_case import Slides, predictions, slides, stage, write

BINARY: dict[str, Any] = {"target": "marker", "kind": "binary", "classes": ["no", "yes"]}


def marked(every: Slides) -> dict[str, dict[str, str]]:
    """A label of every kind."""
    return {
        slide["id"]: {
            "marker": "yes" if slide["level"] > 0.5 else "no",
            "grade": str(int(slide["level"] * 3)),
            "score": f"{slide['level'] * 100 + 50:.2f}",
            "months": f"{60 * (1.05 - slide['level']):.2f}",
            "died": str(int(int(slide["patient"][1:]) % 4 > 0)),
        }
        for slide in every
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    every = slides(30, tests=6)
    write(folder, every, marked(every))
    return folder


@pytest.fixture(scope="module")
def binary(root: Path) -> Stage:
    work = stage(root, BINARY, {"k": 5})
    grade.run(work)
    return work


def figures(table: pd.DataFrame, classes: tuple[str, ...] = ("no", "yes")) -> Metrics:
    """The figures as a report takes them."""
    first = table[table["repeat"] == 1]
    per_slide = first[["slide_id", "patient", "split", "model"]].assign(status="ok", scored=first["true"].notna())
    nothing = {name: records.frame(getattr(records, name.upper()), []) for name in ("manifest", "quantities")}
    tables = Tables(**nothing, patch_scores=records.frame(records.SCORES, []), predictions=table)
    return recipe_metrics(per_slide, tables, MetricSetup(SLIDES, classes), 100, 0)


# ---------------------------------------------------------------- who is predicted by whom


def subjects(patients: int = 23) -> list[Subject]:
    return [
        Subject(
            f"s{p}_{n}",
            f"p{p}",
            "ABC"[p % 3],
            "test" if p > 19 else "train" if p % 2 else "val",
            Truth("x", float(p % 2), None) if (p, n) != (3, 1) and p != 5 else Truth(),
        )
        for p in range(patients)
        for n in range(3)
    ]


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("repeats", [1, 3])
def test_no_patient_is_predicted_by_models_that_saw_it(k: int, repeats: int) -> None:
    every, target = subjects(), Target("x", "binary", ("a", "b"), {})
    patient = {one.slide_id: one.patient for one in every}
    placed, _ = draw(every, target, Folds(k=k, repeats=repeats), 1)
    runs = plan(every, placed)
    assert len(runs) == k * repeats
    for run in runs:
        seen = {patient[slide] for slide in (*run.train, *run.val)}
        assert not seen & {patient[slide] for slide in run.predict}
        assert not {patient[slide] for slide in run.train} & {patient[slide] for slide in run.val}
        assert bool(run.val) == (k > 2)
        assert not {"s3_1", "s5_0"} & {*run.train, *run.val}  # without a label
        assert set(run.also) == {one.slide_id for one in every if one.split == "test"} | {f"s5_{n}" for n in range(3)}
    for repeat in range(repeats):
        predicted = [slide for run in runs if run.repeat == repeat + 1 for slide in run.predict]
        assert sorted(predicted) == sorted(one.slide_id for one in every if one.split != "test" and one.patient != "p5")
    if repeats > 1:
        assert all(one != other for one, other in pairwise(placed))


def test_whole_sites_are_predicted_by_models_of_other_sites() -> None:
    every = subjects()
    site = {one.slide_id: one.site for one in every}
    placed, _ = draw(every, Target("x", "binary", ("a", "b"), {}), Folds(k=3, preserve_site=True), 1)
    for run in plan(every, placed):
        assert not {site[slide] for slide in run.predict} & {site[slide] for slide in (*run.train, *run.val)}


def test_folds_by_slide_are_told_of() -> None:
    _, notes = draw(subjects(), Target("x", "binary", ("a", "b"), {}), Folds(k=3, by="slide"), 1)
    assert notes == ["cohort.folds.by = slide: patients have slides in several folds, so figures may be too good"]


# ---------------------------------------------------------------- the stage


def test_every_slide_is_predicted_once_and_what_can_be_learned_is(binary: Stage) -> None:
    table = predictions(binary)
    assert len(table) == table["slide_id"].nunique() == 45
    pool = table[table["split"] == "train"]
    assert (pool["model"] == "out-of-fold").all()
    assert sorted(pool["fold"].unique()) == [1, 2, 3, 4, 5]
    assert pool.groupby("patient")["fold"].nunique().max() == 1
    tests = table[table["split"] == "test"]
    assert (tests["model"] == "ensemble").all()
    assert tests["fold"].isna().all()
    assert figures(table)["slide.auc"] > 0.8
    for row in records.rows(table):
        assert sum(row["probs"]) == pytest.approx(1.0)
        assert {len(row[name]) for name in ("mean_pooling", "size_only", "colour_only", "majority")} == {2}


def test_figures_are_those_that_scikit_learn_takes_of_the_table(binary: Stage) -> None:
    table = predictions(binary)
    values = figures(table)
    for rows, name in (
        (table[table["model"] == "out-of-fold"], "slide"),
        (table[table["split"] == "test"], "slide.test"),
    ):
        true, predicted = (rows[column].to_numpy(dtype=int) for column in ("true", "predicted"))
        prob = np.array(rows["probs"].tolist())[:, 1]
        assert values[f"{name}.auc"] == pytest.approx(sk.roc_auc_score(true, prob))
        assert values[f"{name}.accuracy"] == pytest.approx(sk.accuracy_score(true, predicted))
        assert values[f"{name}.balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(true, predicted))
        assert values[f"{name}.f1"] == pytest.approx(sk.f1_score(true, predicted))
        assert values[f"{name}.brier"] == pytest.approx(2 * sk.brier_score_loss(true, prob))
        for suffix, column in (("mean_pooling", "mean_pooling"), ("size", "size_only"), ("colour", "colour_only")):
            simpler = np.array(rows[column].tolist())[:, 1]
            assert values[f"{name}.auc.baseline_{suffix}"] == pytest.approx(sk.roc_auc_score(true, simpler))
    pool = table[table["model"] == "out-of-fold"]
    of_folds = [sk.roc_auc_score(of["true"], np.array(of["probs"].tolist())[:, 1]) for _, of in pool.groupby("fold")]
    assert [values[f"slide.auc.fold_{number}"] for number in range(1, 6)] == pytest.approx(of_folds)
    assert values["slide.auc.folds_mean"] == pytest.approx(np.mean(of_folds))
    assert values["slide.auc_ci_low"] <= values["slide.auc"] <= values["slide.auc_ci_high"]
    assert values["n_slides_judged"] == len(pool)
    # sites go with patients' numbers, labels do not
    assert 0 <= values["slide.cramers_v"] < 0.6


def test_blind_baselines_know_nothing_here(binary: Stage) -> None:
    values = figures(predictions(binary))
    assert values["slide.auc.baseline_mean_pooling"] > 0.7
    for blind in ("size", "colour"):
        assert values[f"slide.auc.baseline_{blind}"] < 0.75
    assert values["slide.auc.baseline_majority"] == 0.5  # though its shares differ from fold to fold


def test_attention_is_of_all_patches_and_finds_those_that_tell(binary: Stage) -> None:
    table = records.read(records.ATTENTION, binary.paths.attention)
    assert set(table["chosen"]) == {"all"}
    assert table["prob"].isna().all()
    sums = table.groupby("slide_id")["attention"].sum()
    assert sums.to_numpy() == pytest.approx(1.0)
    assert len(sums) == 45
    told = predictions(binary).set_index("slide_id")
    strong = []
    for slide_id, of_slide in table.groupby("slide_id"):
        if told.loc[slide_id, "true"] == 1:
            stored = read_features(feature_path(binary.paths.features, slide_id))
            places = [stored.patches.x0.tolist(), stored.patches.y0.tolist()]
            weights = of_slide.set_index(["x0", "y0"])["attention"].loc[list(zip(*places, strict=True))].to_numpy()
            strong.append(weights[: len(weights) // 3].sum())
    assert np.mean(strong) > 0.5  # a third of the patches


def test_models_on_disk_say_of_the_test_split_what_the_stage_said(binary: Stage) -> None:
    runs, card = load_study(binary.paths.mil)
    assert (len(runs), [len(run.models) for run in runs]) == (5, [2] * 5)
    assert (card.kind, card.classes, card.encoder.name) == ("binary", ("no", "yes"), "drawn")
    table = predictions(binary)
    for row in records.rows(table[table["split"] == "test"]):
        features = read_features(feature_path(binary.paths.features, row["slide_id"])).features
        answer, predicted, spread, attention = ask_study(runs, card, features)
        assert answer == pytest.approx(np.array(row["probs"]), abs=1e-9)
        assert (predicted, spread) == (row["predicted"], pytest.approx(row["spread"], abs=1e-9))
        assert len(attention) == row["num_patches"]
    assert str(binary.root) not in (binary.paths.mil / "card.json").read_text()


def digests(work: Stage) -> dict[str, str]:
    files = [work.paths.predictions, work.paths.attention, work.paths.grades, *sorted(work.paths.mil.iterdir())]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_inputs_give_the_same_bytes_in_several_processes_too(root: Path, binary: Stage) -> None:
    before = digests(binary)
    again = stage(root, BINARY, {"k": 5}, workers=2)
    grade.run(again)
    assert digests(again) == before


# ---------------------------------------------------------------- other kinds, other aggregators, no folds


def run_elsewhere(root: Path, name: str, settings: dict[str, Any], folds: dict[str, Any] | None) -> Stage:
    """Run the stage over the same cohort under another recipe's name."""
    work = stage(root, settings, folds, name)
    work.paths.data.mkdir(parents=True)
    for one in ("manifest.parquet", "features", "tissue", "rasters"):
        (work.paths.data / one).symlink_to(root / "data" / "r" / one)
    grade.run(work)
    return work


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("clam", "transformer")]  # see test_aggregators.py


@pytest.mark.parametrize("aggregator", ["attention", "mean", *SLOW])
def test_every_aggregator_learns_classes(root: Path, aggregator: str) -> None:
    settings = {"target": "grade", "kind": "classes", "aggregator": aggregator, "class_weights": "balanced"}
    work = run_elsewhere(root, f"classes_{aggregator}", settings, {"k": 3})
    rows = predictions(work)
    values = figures(rows, ("0", "1", "2"))
    pool = rows[rows["model"] == "out-of-fold"]
    true, predicted = (pool[column].to_numpy(dtype=int) for column in ("true", "predicted"))
    probs = np.array(pool["probs"].tolist())
    assert values["slide.auc_macro"] == pytest.approx(sk.roc_auc_score(true, probs, multi_class="ovr"))
    assert values["slide.f1"] == pytest.approx(sk.f1_score(true, predicted, average="macro"))
    assert values["slide.auc_macro"] > 0.55


def test_ordinal(root: Path) -> None:
    work = run_elsewhere(root, "ordinal", {"target": "grade", "kind": "ordinal"}, {"k": 3, "repeats": 2})
    rows = predictions(work)
    assert sorted(rows["repeat"].unique()) == [1, 2]
    values = figures(rows, ("0", "1", "2"))
    kappas = []
    for _, of_repeat in rows[rows["model"] == "out-of-fold"].groupby("repeat"):
        pair = (of_repeat[column].to_numpy(dtype=int) for column in ("true", "predicted"))
        kappas.append(sk.cohen_kappa_score(*pair, weights="quadratic"))
    assert values["slide.qwk"] == pytest.approx(np.mean(kappas))
    assert values["slide.qwk"] > 0.4
    assert rows[rows["split"] == "test"]["repeat"].eq(1).all()


@pytest.mark.parametrize("aggregator", ["attention", "mean"])
def test_regression(root: Path, aggregator: str) -> None:
    settings = {"target": "score", "kind": "regression", "aggregator": aggregator}
    work = run_elsewhere(root, f"score_{aggregator}", settings, {"k": 4})
    rows = predictions(work)
    values = figures(rows)
    pool = rows[rows["model"] == "out-of-fold"]
    assert values["slide.r2"] == pytest.approx(sk.r2_score(pool["true"], pool["predicted"]))
    assert values["slide.mae"] == pytest.approx(sk.mean_absolute_error(pool["true"], pool["predicted"]))
    assert values["slide.r2"] > 0.4
    assert values["slide.r2.baseline_majority"] < 0.05
    assert "slide.auc" not in values


@pytest.mark.parametrize("aggregator", ["attention", "mean"])
def test_survival(root: Path, aggregator: str) -> None:
    settings = {"target": "months", "kind": "survival", "event": "died", "aggregator": aggregator}
    work = run_elsewhere(root, f"months_{aggregator}", settings, {"k": 4})
    rows = predictions(work)
    values = figures(rows)
    pool = rows[rows["model"] == "out-of-fold"]
    pairs = [
        (a["predicted"] > b["predicted"]) + 0.5 * (a["predicted"] == b["predicted"])
        for _, fold in pool.groupby("fold")
        for a in records.rows(fold)
        for b in records.rows(fold)
        if a["event"] and (a["true"] < b["true"] or (a["true"] == b["true"] and not b["event"]))
    ]
    assert values["slide.c_index"] == pytest.approx(np.mean(pairs))
    assert values["slide.c_index"] > 0.55
    assert values["slide.c_index.baseline_majority"] == 0.5
    assert 0 <= values["slide.log_rank_p"] <= 1


def test_without_folds_the_splits_are_used(tmp_path: Path) -> None:
    every = slides(30, tests=8)
    for number, slide in enumerate(every):
        slide["split"] = "val" if slide["split"] == "train" and int(slide["patient"][1:]) % 4 == 0 else slide["split"]
        slide["number"] = number
    write(tmp_path, every, marked(every))
    work = stage(tmp_path, BINARY)
    grade.run(work)
    table = predictions(work)
    told = table.groupby("split")["model"].unique().map(list).to_dict()
    assert told == {"train": ["fitted"], "val": ["held-out"], "test": ["held-out"]}
    tests = table[table["split"] == "test"]
    values = figures(table)
    assert values["slide.auc"] == pytest.approx(
        sk.roc_auc_score(tests["true"], np.array(tests["probs"].tolist())[:, 1])
    )
    assert values["n_slides_judged"] == len(tests)
    assert "slide.test.auc" not in values
    card = read_json(work.paths.mil / "card.json")
    assert [run["fold"] for run in card["runs"]] == [None]


def test_two_studies_are_compared_on_the_same_slides(root: Path, binary: Stage) -> None:
    other = run_elsewhere(root, "simple", {**BINARY, "aggregator": "mean"}, {"k": 5})
    for work in (binary, other):
        table = predictions(work)
        study = Study("marker", "binary", ("no", "yes"), table, records.read(records.MANIFEST, work.paths.manifest))
        write_csv(study_table(study), work.paths.reports / "per_slide.csv")
        write_json(work.paths.reports / "metrics.json", figures(table))
    runs = [run_of(work.paths.reports / "per_slide.csv") for work in (binary, other)]
    pair = paired(*runs)
    told = differences(pair, "slide.auc", 50, 0).iloc[0]
    values = [figures(predictions(work))["slide.auc"] for work in (binary, other)]
    assert [told["a"], told["b"]] == pytest.approx(values)
    assert told["n"] == 36
    assert not missing(pair)


# ---------------------------------------------------------------- bad input


def test_without_a_labelled_test_slide_the_figure_is_undefined(binary: Stage) -> None:
    table = predictions(binary)
    none = table[table["split"] == "train"].assign(model="held-out", fold=pd.array([None] * 36, dtype="Int64"))
    values = figures(none)
    assert values["slide.auc"] is None
    assert values["n_slides_judged"] == 0


def test_repeats_that_are_the_same_folds_are_told_of() -> None:
    _, notes = draw(subjects(), Target("x", "binary", ("a", "b"), {}), Folds(k=3, preserve_site=True, repeats=2), 1)
    assert "cohort.folds.repeats = 2: some of them are the same folds; write fewer" in notes


def test_slides_without_label_or_tissue_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = slides(20)
    labels = marked(every)
    labels["s3_0"]["marker"] = ""  # the patient's other slide has one
    labels["s4_0"]["marker"] = "NA"
    paths = write(tmp_path, every, labels)
    feature_path(paths.features, "s7_1").unlink()
    work = stage(tmp_path, {**BINARY, "aggregator": "mean"}, {"k": 4})
    grade.run(work)
    said = capsys.readouterr().out
    assert "s7_1: no tissue to take a patch from, not predicted" in said
    embed = work.recipe.embed.model_copy(update={"weights": "imported"})
    grade._with_features(replace(work, recipe=work.recipe.model_copy(update={"embed": embed})))
    assert capsys.readouterr().out.endswith("s7_1: no features were imported of it, not predicted\n")
    assert "2 slides without marker: predicted, not learned from (s3_0, s4_0)" in said
    table = predictions(work).set_index("slide_id")
    assert "s7_1" not in table.index
    assert (table.loc["s3_0", "model"], table.loc["s4_0", "model"]) == ("out-of-fold", "ensemble")
    assert table.loc[["s3_0", "s4_0"], "true"].isna().all()
    assert table.loc["s3_0", "fold"] == table.loc["s3_1", "fold"]


def test_too_few_patients_for_the_folds(tmp_path: Path) -> None:
    every = slides(3)
    write(tmp_path, every, {slide["id"]: {"marker": "yes" if slide["patient"] == "p1" else "no"} for slide in every})
    with pytest.raises(AcinusError, match=r"cohort.folds.k = 5: only 3 patients"):
        grade.run(stage(tmp_path, BINARY, {"k": 5}))
    with pytest.raises(AcinusError, match=r"fold . of repeat 1: all . slides to learn from are '(yes|no)'"):
        grade.run(stage(tmp_path, BINARY, {"k": 3}))
    with pytest.raises(AcinusError, match=r"split train: no slide with a label"):
        grade.run(_all_test(tmp_path))


def _all_test(root: Path) -> Stage:
    """A study without folds whose slides are all of the test split."""
    work = stage(root, BINARY)
    manifest = records.read(records.MANIFEST, work.paths.manifest)
    records.write(records.MANIFEST, manifest.assign(split="test"), work.paths.manifest)
    return work


def test_a_card_of_something_else_is_refused(tmp_path: Path, binary: Stage) -> None:
    text = (binary.paths.mil / "card.json").read_text()
    with pytest.raises(AcinusError, match="no models here; run the grade stage"):
        load_study(tmp_path)
    for broken in (text.replace('"binary"', '"age"'), text.replace("mil_1_1_1.s", "../mil_1_1_1.s"), "[]"):
        (tmp_path / "card.json").write_text(broken)
        with pytest.raises(AcinusError, match="no card of slide labels of this version"):
            load_study(tmp_path)


def test_labels_that_cannot_be_learned_are_refused_before_any_pixel_is_read(tmp_path: Path) -> None:
    every = slides(6)
    write(tmp_path, every, marked(every))
    with pytest.raises(AcinusError, match=r"grade.target = 'her2': no such column of labels"):
        embed.run(stage(tmp_path, {**BINARY, "target": "her2"}, {"k": 3}))
    with pytest.raises(AcinusError, match=r"cohort.folds.k = 9: only 6 patients"):
        embed.run(stage(tmp_path, BINARY, {"k": 9}))


# ---------------------------------------------------------------- search of settings


def test_each_run_finds_settings_by_its_own_validation_slides(root: Path) -> None:
    own = {**BINARY, "max_epochs": 8, "lr": 1e-6, "seeds": 1}
    space = {"lr": {"low": 1e-3, "high": 3e-2, "log": True}, "hidden_units": {"low": 4, "high": 8, "whole": True}}
    plain = run_elsewhere(root, "plain", own, {"k": 3})
    found = run_elsewhere(root, "searched", {**own, "trials": 4, "space": space}, {"k": 3})
    before, after = (read_json(work.paths.mil / "card.json")["runs"] for work in (plain, found))
    for one, other in zip(before, after, strict=True):
        assert other["models"][0]["val_loss"] < one["models"][0]["val_loss"]
        assert 1e-3 <= other["searched"]["lr"] <= 3e-2
        assert other["searched"]["hidden_units"] == other["spec"]["hidden_units"]
    assert len({run["searched"]["lr"] for run in after}) > 1
    with pytest.raises(AcinusError, match=r"grade.trials = 4: a run has no validation slides to choose by"):
        run_elsewhere(root, "no_val", {**own, "trials": 4, "space": space}, {"k": 2})
