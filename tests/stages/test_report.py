"""What a report shows when a slide has nothing to show."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from acinus import records
from acinus.reporting.tables import COLUMNS
from acinus.stages import report


def test_a_test_slide_without_tissue_leaves_the_curves_whole(tmp_path: Path) -> None:
    (tmp_path / "training_log.csv").write_text("epoch,train_loss,train_acc,val_loss,val_acc\n1,1,0.5,1,0.5\n")
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
    recipe = SimpleNamespace(task="patch_classification")
    stage = SimpleNamespace(paths=SimpleNamespace(model=tmp_path), recipe=recipe)
    scores, quantities = records.frame(records.SCORES, patches), records.frame(records.QUANTITIES, [])
    charts = report._charts(stage, table, scores, quantities, tmp_path)
    drawn = ("training", "roc", "roc_slides", "burden")
    assert [chart.file for chart in charts] == [f"pictures/{name}.png" for name in drawn]
    assert all((tmp_path / f"{name}.png").stat().st_size for name in drawn)
