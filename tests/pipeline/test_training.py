"""Everything that a training may be asked for at once, through the stages: what is delivered and what was judged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from acinus.files import sha256
from acinus.learning.card import load_model
from acinus.learning.models import Ensemble
from acinus.patches.store import open_store
from acinus.predict.model import open_model

NAME = "demo-panda"
BEFORE = ("inventory", "ingest", "index", "sample", "validate", "extract", "tune")
SETTINGS: dict[str, dict[str, Any]] = {
    "index": {"patch_px": 64, "stride_px": 64, "mpp": 2.0},
    "sample": {"max_tumor_per_slide": 4, "max_normal_per_slide": 4},
    "train": {
        "encoder": "test_resnet", "weights": "none", "crop_px": 32, "batch_size": 4, "max_epochs": 2,
        "iterations_per_epoch": 3, "max_val_patches": 5, "optimizer": "adamw", "schedule": "one_cycle", "keep": "ema",
        "members": 2, "final": "train+val", "geometric": {"scale": 0.1, "elastic_px": 1.0},
        "loss": {"terms": {"cross_entropy": 1.0, "tversky": 1.0, "lovasz": 0.5}, "class_weights": "equal",
                 "label_smoothing": 0.05},
    },
    "calibrate": {"trials": 0},
    "infer": {"splits": ["test"], "stride_px": 64, "map_downsample": 8.0, "tta": "flips"},
    "grade": {"target": "none"},
}  # fmt: skip


def test_an_ensemble_fitted_on_both_splits_is_delivered_and_judged_by_the_one_that_saw_training_alone(
    direct: Any, tmp_path: Path
) -> None:
    project = direct.copy(tmp_path)
    paths = project.run(NAME, project.recipe(NAME, SETTINGS), *BEFORE, "train", "calibrate", "infer", "quantify")
    card = json.loads((paths.model / "card.json").read_text())
    beside = json.loads((paths.model / "selection" / "card.json").read_text())
    assert (card["members"], card["keep"], card["fitted_on"], card["stopped"]) == (2, "ema", ["train", "val"], False)
    assert beside == card | {"fitted_on": ["train"]}
    assert card["epochs"] == card["best_epoch"] == 2
    model, its_card = load_model(paths.model)
    assert isinstance(model, Ensemble)
    point = yaml.safe_load(paths.operating_point.read_text())
    assert point["source"]["model_sha256"] == sha256(paths.model / "selection" / "model.safetensors")
    assert point["maps"]["tta"] == "flips"
    assert open_model(paths.model).maps.tta == "flips"  # as acinus predict will make its maps
    logs = sorted(path.name for path in paths.model.glob("training_log*.csv"))
    assert logs == [f"training_log{one}.csv" for one in ("", "_final", "_member_2", "_member_2_final")]
    guided, final = (pd.read_csv(paths.model / name) for name in ("training_log.csv", "training_log_final.csv"))
    assert guided["val_dice"].between(0, 1).all()
    assert final["val_loss"].isna().all()
    assert len(guided) == len(final) == 2
    assert len(list(paths.maps.glob("*.tif"))) > 0
    scores = pd.read_parquet(paths.model / "scores_val.parquet").iloc[0]
    store = open_store(paths.patches)
    selection, _ = load_model(paths.model / "selection")
    assert probability(selection, its_card, store, scores) == probability_of(scores)
    assert probability(model, its_card, store, scores) != probability_of(scores)
    store.close()
    assert not list((tmp_path / ".acinus" / "checkpoints").rglob("key"))  # done: a forced rerun trains anew


def probability_of(scores: pd.Series) -> list[float]:
    return [round(one, 4) for one in scores["probs"]]


def probability(model: Any, card: Any, store: Any, scores: pd.Series) -> list[float]:
    """What a model says of the scored px, rounded."""
    from acinus.learning.predict import predict_probs
    from acinus.patches.keys import patch_key

    patch = store.read(patch_key(scores["slide_id"], scores["x0"], scores["y0"]))
    probs = predict_probs(model, patch[None], card, "cpu")[0]
    return [round(float(one), 4) for one in probs.reshape(len(card.classes), -1)[:, scores["px"]].astype(np.float64)]
