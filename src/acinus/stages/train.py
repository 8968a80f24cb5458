"""train: patch store and sample -> models/<recipe>/ (weights, card, log, scores of the test patches)."""

from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from acinus import records
from acinus.code import code_digest
from acinus.errors import RecipeError
from acinus.files import atomic_path, sha256, write_json
from acinus.learning.augmentation import Augmentation
from acinus.learning.card import Card, save_model
from acinus.learning.dataset import PatchDataset
from acinus.learning.device import Machine, pick, reproducible
from acinus.learning.fit import FitJob, FitResult, fit
from acinus.learning.inputs import InputSpec
from acinus.learning.models import build_model, check_input, normalisation
from acinus.learning.predict import predict_keys
from acinus.params import section_hash
from acinus.patches.keys import patch_key
from acinus.patches.store import Store, open_store
from acinus.stage import Stage

LIBRARIES = ("lightning", "numpy", "timm", "torch", "torchvision")
"""What a resumed training must find as it left it, beside the code."""


def run(stage: Stage) -> None:
    """Train, then score the test patches with the best weights."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    sample = records.read(records.SAMPLE, stage.paths.sample)
    store = open_store(stage.paths.patches)
    train, device, threads = stage.recipe.train, stage.project.compute.device, stage.project.compute.threads
    input_px = train.input_px or stage.recipe.index.patch_px
    check_input(train.model, input_px)
    torch.manual_seed(stage.seed("weights"))
    model = build_model(train.model, _weights(stage), len(stage.recipe.classes))
    inputs = InputSpec(*normalisation(train.model), input_px)
    with atomic_path(stage.paths.model) as folder:
        folder.mkdir()
        result = fit(_job(stage, model, inputs, sample, store, folder / "training_log.csv"))
        card = _card(stage, inputs, result, manifest, sample)
        save_model(folder, model, card)
        with reproducible(pick(device), threads):
            scores = _scores(stage, model, card, sample[sample["split"] == "test"], store)
        records.write(records.SCORES, scores, folder / "patch_scores.parquet")
    store.close()
    (stage.paths.checkpoints / "key").unlink(missing_ok=True)  # done: a forced rerun trains anew
    write_json(stage.paths.model_run, {"mlflow_run_id": stage.log.run_id})
    stage.log.log_artifact(stage.paths.model, "model")
    stage.log.log_metrics({"best_epoch": result.best_epoch, "epochs": len(result.history)})
    stage.say(f"best epoch {result.best_epoch} of {len(result.history)}, {len(scores)} test patches scored")


def _job(stage: Stage, model: nn.Module, inputs: InputSpec, sample: pd.DataFrame, store: Store, log: Path) -> FitJob:
    """Return the training; its key names everything that the result depends on, the code included."""
    train, compute = stage.recipe.train, stage.project.compute
    copies = train.aug_factor if train.positive_augmentation else 0
    augmentation = Augmentation(copies, train.train_augmentation, stage.seed("augmentation"))
    key = section_hash(
        stage.recipe.task,
        stage.recipe.classes,
        stage.recipe.index,
        train,
        stage.seed(),
        compute.threads,
        compute.device,
        code_digest(("learning",), LIBRARIES),
    )

    def say(epoch: int, metrics: dict[str, float]) -> None:
        stage.log.log_metrics(metrics, step=epoch)
        stage.say(f"epoch {epoch}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))

    def part(split: str, chosen: Augmentation) -> PatchDataset:
        rows = sample[sample["split"] == split]
        return PatchDataset(store, _keys(rows), rows["label"].tolist(), stage.recipe.index.patch_px, chosen)

    return FitJob(
        model=model,
        settings=train,
        classes=tuple(stage.recipe.classes),
        train=part("train", augmentation),
        val=part("val", Augmentation()),
        inputs=inputs,
        seed=stage.seed("order"),
        checkpoints=stage.paths.checkpoints,
        key="-".join([key, *_data(stage).values()]),
        log=log,
        machine=Machine(compute.device, compute.threads),
        on_epoch=say,
    )


def _keys(rows: pd.DataFrame) -> list[str]:
    return [patch_key(*key) for key in rows[["slide_id", "x0", "y0"]].itertuples(index=False, name=None)]


def _data(stage: Stage) -> dict[str, str]:
    return {"sample": sha256(stage.paths.sample), "patches": sha256(stage.paths.patches / "store.json")}


def _weights(stage: Stage) -> str:
    """Return where the first weights come from; a file must be the one whose checksum the recipe names.

    DVC tracks the recipe, not the file: without the checksum another file would go unnoticed.
    """
    train, where = stage.recipe.train, f"recipes/{stage.recipe_name}.yaml: train.weights"
    if not train.weights.endswith(".safetensors"):
        return train.weights
    path = stage.root / Path(train.weights).expanduser()
    if not path.is_file():
        raise RecipeError(f"{where} = {train.weights!r}: no such file; put it there or name another")
    if sha256(path) != train.weights_sha256:
        raise RecipeError(
            f"{where}_sha256 = {train.weights_sha256}: the file has {sha256(path)}; write that if it is meant"
        )
    return str(path)


def _card(stage: Stage, inputs: InputSpec, result: FitResult, manifest: pd.DataFrame, sample: pd.DataFrame) -> Card:
    index = stage.recipe.index
    rows = sample[sample["split"] == "train"].drop_duplicates("slide_id").merge(manifest, on="slide_id")
    mpp = (rows["mpp_x"] + rows["mpp_y"]) / 2 * rows["downsample"]
    return Card(
        version=version("acinus"),
        architecture=stage.recipe.train.model,
        weights=stage.recipe.train.weights,
        classes=tuple(stage.recipe.classes),
        patch_px=index.patch_px,
        input_px=inputs.px,
        level=index.level,
        mpp=index.mpp,
        mpp_mean=round(float(mpp.mean()), 6) if mpp.notna().all() and len(mpp) else None,
        mean=inputs.mean,
        std=inputs.std,
        recipe_hash=section_hash(stage.recipe.task, stage.recipe.classes, index, stage.recipe.train),
        data_hashes=_data(stage),
        epochs=len(result.history),
        best_epoch=result.best_epoch,
        seed=stage.project.seed,
    )


def _scores(stage: Stage, model: nn.Module, card: Card, rows: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Return records.SCORES of the rows: P(tumor) and the class with the highest probability."""
    device, size = stage.project.compute.device, stage.recipe.train.batch_size
    probs = predict_keys(model, store, _keys(rows), card, device, batch_size=size)
    scores = rows[["slide_id", "x0", "y0", "label"]].reset_index(drop=True)
    tumour = card.classes.index("tumor")
    return scores.assign(probs=probs[:, tumour].astype("float64"), preds=probs.argmax(axis=1).astype("int64"))
