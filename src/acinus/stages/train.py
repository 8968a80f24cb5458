"""train: patch store and sample -> models/<recipe>/ (weights, card, log, colour-only baseline, scores)."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from acinus import records
from acinus.code import code_digest
from acinus.errors import RecipeError
from acinus.files import atomic_path, sha256, write_json
from acinus.learning.augmentation import Augmentation
from acinus.learning.card import Card, save_model
from acinus.learning.colour import MOST, ColourModel, fit_patch_colour, fit_pixel_colour, mean_colours, patch_features
from acinus.learning.dataset import PatchDataset
from acinus.learning.device import Machine, pick, reproducible
from acinus.learning.fit import FitJob, FitResult, fit
from acinus.learning.hard_negatives import SECOND, false_positives, hardest, second_pass
from acinus.learning.inputs import InputSpec
from acinus.learning.models import build_model, check_input, normalisation
from acinus.learning.predict import predict_keys
from acinus.learning.spec import ModelSpec
from acinus.params import section_hash
from acinus.patches.keys import patch_key
from acinus.patches.store import MASKS, Store, open_mask_store, open_store
from acinus.stage import Stage

LIBRARIES = ("lightning", "numpy", "scikit-image", "segmentation_models_pytorch", "timm", "torch", "torchvision")
"""What a resumed training must find as it left it, beside the code."""

COLOUR_PATCHES = 400
"""Training patches from which the colour-only baseline of a segmentation learns, evenly taken."""


def run(stage: Stage) -> None:
    """Train, then score the test patches with the best weights; beside it the baseline that knows colours only."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    sample = records.read(records.SAMPLE, stage.paths.sample)
    segmented = stage.recipe.task == "segmentation"
    store = open_store(stage.paths.patches)
    masks = open_mask_store(stage.paths.patches) if segmented else None
    spec, device, threads = _spec(stage), stage.project.compute.device, stage.project.compute.threads
    inputs = InputSpec(*normalisation(spec), stage.recipe.train.input_px or stage.recipe.index.patch_px)
    check_input(spec, inputs.px, stage.recipe.train.batch_size)
    torch.manual_seed(stage.seed("weights"))
    model = build_model(spec)
    with atomic_path(stage.paths.model) as folder:
        folder.mkdir()
        job = _job(stage, model, inputs, (store, masks), sample, folder / "training_log.csv")
        result = fit(job)
        card = _card(stage, inputs, result, manifest, sample)
        if masks is not None and stage.recipe.train.hard_negatives.epochs:
            result = _second_pass(stage, job, card, (store, masks), result)
            card = _card(stage, inputs, result, manifest, sample)
        save_model(folder, model, card)
        colour = _pixel_colour(stage, sample, store, masks) if masks is not None else _patch_colour(sample, store)
        write_json(folder / "colour.json", colour.to_json())
        with reproducible(pick(device), threads):
            test = sample[sample["split"] == "test"]
            rows = sample.iloc[:0] if segmented else test  # a segmentation is scored on its maps
            scores = _scores(stage, model, card, rows, store, colour)
        records.write(records.SCORES, scores, folder / "patch_scores.parquet")
    for one in (store, masks):
        if one is not None:
            one.close()
    for key in (stage.paths.checkpoints / "key", stage.paths.checkpoints / SECOND / "key"):
        key.unlink(missing_ok=True)  # done: a forced rerun trains anew
    write_json(stage.paths.model_run, {"mlflow_run_id": stage.log.run_id})
    stage.log.log_artifact(stage.paths.model, "model")
    stage.log.log_metrics({"best_epoch": result.best_epoch, "epochs": len(result.history)})
    stage.say(f"best epoch {result.best_epoch} of {len(result.history)}, {len(scores)} test patches scored")


def _spec(stage: Stage) -> ModelSpec:
    train = stage.recipe.train
    return ModelSpec(
        task=stage.recipe.task,
        name=train.model,
        encoder=train.encoder,
        weights=_weights(stage),
        classes=len(stage.recipe.classes),
        head_units=train.head_units,
        dropout=train.dropout,
        freeze=train.freeze,
    )


def _job(
    stage: Stage,
    model: nn.Module,
    inputs: InputSpec,
    stores: tuple[Store, Store | None],
    sample: pd.DataFrame,
    log: Path,
) -> FitJob:
    """Return the training; its key names everything that the result depends on, the code included."""
    train, compute = stage.recipe.train, stage.project.compute
    copies = train.aug_factor if train.positive_augmentation else 0
    augmentation = Augmentation(copies, train.train_augmentation, stage.seed("augmentation"), train.photometric)
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
        labels, edge = rows["label"].tolist(), stage.recipe.index.patch_px
        return PatchDataset(stores[0], _keys(rows), labels, edge, chosen, masks=stores[1])

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
        task=stage.recipe.task,
    )


def _second_pass(stage: Stage, job: FitJob, card: Card, stores: tuple[Store, Store], first: FitResult) -> FitResult:
    """Train on with the normal training patches in which the model sees most of what is not there."""
    device, size = stage.project.compute.device, stage.recipe.train.batch_size
    positive = [stage.recipe.classes.index(name) for name in stage.recipe.positive]
    keys, labels = job.train.keys, [int(label) for label in job.train.labels]
    scores: list[float] = []
    with reproducible(pick(device), stage.project.compute.threads):
        for start in range(0, len(keys), size):
            part = keys[start : start + size]
            probs = predict_keys(job.model, stores[0], part, card, device, batch_size=size)
            masks = np.stack([stores[1].read(key) for key in part])
            scores += false_positives(probs, masks, positive).tolist()
    extra = hardest(scores, keys, labels, stage.recipe.train.hard_negatives.share)
    stage.say(f"second pass: {len(extra)} of {labels.count(0)} normal patches have false positives to unlearn")
    before = {name: value.clone() for name, value in job.model.state_dict().items()}
    second = fit(second_pass(job, extra, after=len(first.history)))
    history = first.history + second.history
    if _loss(second) > _loss(first):
        job.model.load_state_dict(before)
        stage.say("second pass: no better on validation; the first pass's weights stay")
        return FitResult(history, first.best_epoch, second.stopped_early)
    return FitResult(history, len(first.history) + second.best_epoch, second.stopped_early)


def _loss(result: FitResult) -> float:
    """Return the validation loss of the best epoch."""
    return result.history[result.best_epoch - 1].val_loss


def _keys(rows: pd.DataFrame) -> list[str]:
    return [patch_key(*key) for key in rows[["slide_id", "x0", "y0"]].itertuples(index=False, name=None)]


def _data(stage: Stage) -> dict[str, str]:
    found = {"sample": sha256(stage.paths.sample), "patches": sha256(stage.paths.patches / "store.json")}
    masks = stage.paths.patches / MASKS / "store.json"
    return found | ({"masks": sha256(masks)} if masks.exists() else {})


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
    index, train = stage.recipe.index, stage.recipe.train
    rows = sample[sample["split"] == "train"].drop_duplicates("slide_id").merge(manifest, on="slide_id")
    mpp = (rows["mpp_x"] + rows["mpp_y"]) / 2 * rows["downsample"]
    return Card(
        version=version("acinus"),
        task=stage.recipe.task,
        architecture=train.model,
        encoder=train.encoder,
        head_units=train.head_units,
        dropout=train.dropout,
        weights=train.weights,
        classes=tuple(stage.recipe.classes),
        positive=tuple(stage.recipe.positive),
        patch_px=index.patch_px,
        input_px=inputs.px,
        level=index.level,
        mpp=index.mpp,
        mpp_mean=round(float(mpp.mean()), 6) if mpp.notna().all() and len(mpp) else None,
        mean=inputs.mean,
        std=inputs.std,
        recipe_hash=section_hash(stage.recipe.task, stage.recipe.classes, index, train),
        data_hashes=_data(stage),
        epochs=len(result.history),
        best_epoch=result.best_epoch,
        seed=stage.project.seed,
    )


def _patch_colour(sample: pd.DataFrame, store: Store) -> ColourModel:
    """Return the baseline that judges a patch by the mean and deviation of its colours."""
    rows = sample[sample["split"] == "train"]
    features = np.stack([patch_features(store.read(key)) for key in _keys(rows)])
    return fit_patch_colour(features, rows["label"].to_numpy(dtype=np.int64))


def _pixel_colour(stage: Stage, sample: pd.DataFrame, store: Store, masks: Store) -> ColourModel:
    """Return the baseline that judges a px of the probability map by the mean colour under it."""
    rows = sample[sample["split"] == "train"]
    chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, COLOUR_PATCHES).astype(np.int64))]

    def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for key, downsample in zip(_keys(chosen), chosen["downsample"], strict=True):
            block = max(1, round(stage.recipe.infer.map_downsample / downsample))
            colours, labels = mean_colours(store.read(key)[None], masks.read(key)[None], block)
            share = min(len(labels), MOST // len(chosen))  # memory must not grow with the patches' size
            drawn = np.sort(np.random.default_rng(stage.seed("colour", key)).permutation(len(labels))[:share])
            yield colours[drawn], labels[drawn]

    colours, labels = zip(*parts(), strict=True)
    seed = stage.seed("colour")
    return fit_pixel_colour(np.concatenate(colours), np.concatenate(labels), len(stage.recipe.classes), seed=seed)


def _scores(
    stage: Stage, model: nn.Module, card: Card, rows: pd.DataFrame, store: Store, colour: ColourModel
) -> pd.DataFrame:
    """Return records.SCORES of the rows: P(tumor), the class with the highest probability, and the baseline's P."""
    device, size = stage.project.compute.device, stage.recipe.train.batch_size
    tumour = stage.recipe.classes.index(stage.recipe.positive[0])
    scores = rows[["slide_id", "x0", "y0", "label"]].reset_index(drop=True)
    if not len(rows):
        return records.frame(records.SCORES, [])
    keys = _keys(rows)
    probs = predict_keys(model, store, keys, card, device, batch_size=size)
    features = np.stack([patch_features(store.read(key)) for key in keys])
    return scores.assign(
        probs=probs[:, tumour].astype("float64"),
        preds=probs.argmax(axis=1).astype("int64"),
        colour_probs=colour.probs(features)[:, tumour],
    )
