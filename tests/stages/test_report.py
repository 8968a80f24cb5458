"""What a report shows when a slide has nothing to show."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from acinus import records
from acinus.metrics.per_slide import COLUMNS
from acinus.metrics.setup import Tables
from acinus.pages import contexts
from acinus.stages import report


def test_a_test_slide_without_tissue_leaves_the_curves_whole(tmp_path: Path) -> None:
    rows = [
        {"slide_id": "a", "split": "test", "slide_label": "tumor", "scored": True, "slide_score": 0.9},
        {"slide_id": "b", "split": "test", "slide_label": "normal", "scored": True, "slide_score": 0.1},
        {"slide_id": "c", "split": "test", "slide_label": "tumor", "scored": True, "slide_score": None},  # no tissue
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({**COLUMNS, "scored": "bool"})
    patches = [
        {"slide_id": "a", "x0": x, "y0": 0, "label": label, "probs": p, "preds": 1, "colour_probs": 0.5}
        for x, label, p in ((0, 1, 0.8), (1, 0, 0.3))
    ]
    given = Tables(
        manifest=records.frame(records.MANIFEST, []),
        quantities=records.frame(records.QUANTITIES, []),
        patch_scores=records.frame(records.SCORES, patches),
        log=pd.DataFrame([{"epoch": 1, "train_loss": 1.0, "train_acc": 0.5, "val_loss": 1.0, "val_acc": 0.5}]),
    )
    classes, sections = ["normal", "tumor"], {"report": SimpleNamespace(slide_score="p99")}
    recipe = SimpleNamespace(task="patch_classification", classes=classes, positive=["tumor"], **sections)
    recipe.grade = SimpleNamespace(target="none", burden_percent=0.5)
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune" / "history.png").write_bytes(PNG)
    stage = SimpleNamespace(paths=SimpleNamespace(tune=tmp_path / "tune"), recipe=recipe)
    page = contexts.RecipePage(*[None] * 3, per_slide=table)  # type: ignore[arg-type]
    charts = report._charts(stage, given, page, tmp_path)
    drawn = [Path(chart.file).stem for chart in charts]
    assert {"training", "roc", "roc_slides", "tune_history"} <= set(drawn)
    assert "burden" not in drawn  # of no slide is it known
    assert all((tmp_path / f"{name}.png").stat().st_size for name in drawn)
    found = {Path(chart.file).stem: chart for chart in charts}
    assert found["training"].wide
    assert not found["roc"].wide
    assert (found["tune_history"].section, found["tune_history"].wide) == ("tuning", True)
    assert (tmp_path / "tune_history.png").read_bytes() == PNG


def test_of_a_classifier_no_sampled_patch_is_looked_at(tmp_path: Path) -> None:
    """They may be millions, and none of them is shown: the sample is not even opened."""
    paths = SimpleNamespace(sample=tmp_path / "not there.parquet", reports=tmp_path)
    recipe = SimpleNamespace(report=SimpleNamespace(views=4))
    table = pd.DataFrame([], columns=list(COLUMNS)).astype({**COLUMNS, "scored": "bool"})
    chosen = report._views(SimpleNamespace(paths=paths, recipe=recipe, map=map), None, {}, table)  # type: ignore[arg-type]
    assert chosen == ()
    assert [path.name for path in (tmp_path / "views").iterdir()] == ["none.txt"]


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (400).to_bytes(4) + (200).to_bytes(4) + b"\x08\x02\x00\x00\x00"
"""The head of a picture of 400 x 200 px."""


def test_data_docs_are_found_where_there_are_any(tmp_path: Path) -> None:
    assert report._data_docs(tmp_path) == {}
    for name in ("sample", "index"):
        (tmp_path / "data_docs" / name).mkdir(parents=True)
        (tmp_path / "data_docs" / name / "index.html").touch()
    (tmp_path / "data_docs" / "empty").mkdir()
    assert report._data_docs(tmp_path) == {
        "index": "data_docs/index/index.html",
        "sample": "data_docs/sample/index.html",
    }
