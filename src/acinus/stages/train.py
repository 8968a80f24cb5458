"""train: patch store, sample and best settings -> models/<recipe>/ (weights, card, log, baseline, scores, stain)."""

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from acinus import records
from acinus.errors import AcinusError
from acinus.files import atomic_path, write_json
from acinus.learning.baseline import learn_colours
from acinus.learning.card import SELECTION, WEIGHTS_FILE, Card, plugins_of, save_model
from acinus.learning.colour import ColourModel, patch_features
from acinus.learning.device import Machine, pick, reproducible
from acinus.learning.job import Stores, Training, data_hashes, evenly, input_spec, model_spec, open_stores, patch_keys
from acinus.learning.members import Fits, Hears, train_members
from acinus.learning.predict import ScoringMachine, class_scores
from acinus.learning.stopping import listening
from acinus.params import section_hash, with_values
from acinus.params.faults import map_fault
from acinus.patches.store import Store
from acinus.search.best import read_best
from acinus.stage import Stage

SCORED_PATCHES = 5000
"""Patches of each split on which a segmentation's calibration is measured."""

AT_ONCE = 4
"""Batches that are scored at the same time at most: each holds its answers for every px."""

Trained = tuple[nn.Module, Card]


def run(stage: Stage) -> None:
    """Train, then score validation and test patches with the best weights; beside it what knows colours only."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    sample = records.read(records.SAMPLE, stage.paths.sample, without=records.FRACTIONS)
    training = _training(stage)
    _check_map(stage, sample)
    positive = list(stage.recipe.positive_indices)
    with (
        open_stores(training) as stores,
        atomic_path(stage.paths.model) as folder,
        listening(stage.root, stage.recipe_name) as asked,
    ):
        folder.mkdir()
        hears = Hears(lambda metrics, epoch: stage.log.log_metrics(metrics, step=epoch), stage.say, asked)
        fits = train_members(training, stores, sample, positive, folder, hears)
        _tell_end(stage, training, fits)
        card = _card(stage, training, fits, manifest, sample)
        trained = selected = (fits.model, card)
        if fits.selection is not None:
            selected = (fits.selection, card.model_copy(update={"fitted_on": ("train",)}))
            (folder / SELECTION).mkdir()
            save_model(folder / SELECTION, *selected)
        save_model(folder, *trained)
        scored = _score(stage, training, {"val": selected, "test": trained}, sample, stores, folder)
    write_json(stage.paths.model_run, {"mlflow_run_id": stage.log.run_id, "mlflow_parent_id": stage.log.parent_id})
    for path in sorted(stage.paths.model.iterdir()):
        if path.is_file() and path.name != WEIGHTS_FILE:  # the weights go with the model that can be served
            stage.log.log_artifact(path, "training")
    stage.log.log_model(stage.paths.model)
    result = fits.first
    stage.log.log_metrics({"best_epoch": result.best_epoch, "epochs": len(result.history)})
    stage.say(f"best epoch {result.best_epoch} of {len(result.history)}, {_tested(training, scored)}")
    if result.data_wait_share is not None:
        stage.say(f"training steps waited for data {result.data_wait_share:.1%} of their time")
    stage.when_recorded.append(partial(_forget, stage.paths.checkpoints))


def _forget(checkpoints: Path) -> None:
    """Let no later training go on from these: a forced rerun trains anew, one whose record failed does not."""
    for key in sorted(checkpoints.rglob("key")):
        key.unlink()


def _tell_end(stage: Stage, training: Training, fits: Fits) -> None:
    """Say of a training that was stopped what it leaves."""
    if fits.stopped is None:
        return
    members = f", {fits.members} of {training.train.members} members" if training.train.members > 1 else ""
    stage.say(
        f"stopped by {fits.stopped}: the model is the best of {len(fits.first.history)} finished epochs{members}, "
        "fitted on the training split; the stage ends as a whole, its card says stopped; to train to the end run it "
        f"again (dvc repro -f -s train@{stage.recipe_name})"
    )


def _training(stage: Stage) -> Training:
    """Return the training that the recipe asks for, with the best settings that tune found in place of its own."""
    settings = read_best(stage.paths.tune / "best.yaml")
    if settings:
        stage.log.share_params({f"tuned.train.{key}": str(value) for key, value in settings.items()})
        texts = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in settings.items()}
        stage.say("with " + ", ".join(f"{key} = {text}" for key, text in texts.items()))
    return Training(
        stage.recipe.task,
        tuple(stage.recipe.classes),
        stage.recipe.index,
        with_values(stage.recipe, settings).train if settings else stage.recipe.train,
        Machine.of(stage.project.compute),
        stage.seed,
        stage.paths,
    )


def _tested(training: Training, scored: int) -> str:
    """Return what became of the test split, of which `scored` patches have a score."""
    if training.task == "segmentation":
        return "a segmentation is scored on the maps of whole slides"
    return f"{scored} test patches scored"


def _check_map(stage: Stage, sample: pd.DataFrame) -> None:
    """Refuse a map whose px no window covers: where a level or mpp is asked for, only slides tell, as here."""
    index, wanted = stage.recipe.index, stage.recipe.infer.map_downsample
    if index.cell_px is not None:
        return  # the map has a px for each cell
    slides = sample.drop_duplicates("slide_id")
    for slide_id, downsample in zip(slides["slide_id"], slides["downsample"], strict=True):
        if (fault := map_fault(wanted, index.patch_px * downsample)) is not None:
            raise AcinusError(f"slide {slide_id}: {fault}")


def _card(stage: Stage, training: Training, fits: Fits, manifest: pd.DataFrame, sample: pd.DataFrame) -> Card:
    index, train, inputs = training.index, training.train, input_spec(training)
    rows = sample[sample["split"] == "train"].drop_duplicates("slide_id").merge(manifest, on="slide_id")
    mpp = (rows["mpp_x"] + rows["mpp_y"]) / 2 * rows["downsample"]
    return Card(
        version=version("acinus"),
        task=training.task,
        architecture=train.model,
        encoder=train.encoder,
        head_units=train.head_units,
        dropout=train.dropout,
        weights=train.weights,
        classes=training.classes,
        positive=tuple(stage.recipe.positive),
        patch_px=index.patch_px,
        input_px=inputs.px,
        level=index.level,
        mpp=index.mpp,
        mpp_mean=round(float(mpp.mean()), 6) if mpp.notna().all() and len(mpp) else None,
        mean=inputs.mean,
        std=inputs.std,
        index=index.model_dump(mode="json"),
        tuned=read_best(stage.paths.tune / "best.yaml"),
        recipe_hash=section_hash(training.task, list(training.classes), index, train),
        data_hashes=data_hashes(stage.paths),
        epochs=len(fits.first.history),
        best_epoch=fits.first.best_epoch,
        seed=stage.project.seed,
        keep=train.keep,
        members=fits.members,
        fitted_on=("train",) if fits.selection is None else ("train", "val"),
        stopped=fits.stopped is not None,
        plugins=plugins_of(model_spec(training)),
    )


def _score(
    stage: Stage,
    training: Training,
    trained: Mapping[str, Trained],
    sample: pd.DataFrame,
    stores: Stores,
    folder: Path,
) -> int:
    """Write what the model and the colours alone make of the patches; return how many test patches have a score.

    trained: split -> what scores it: validation patches are scored by a model that has not seen them.
    """
    images, masks = stores
    map_downsample = stage.recipe.infer.map_downsample
    colour, stain = learn_colours(sample, stores, len(training.classes), map_downsample, stage.seed)
    write_json(folder / "colour.json", colour.to_json())
    write_json(folder / "stain.json", stain)
    device, workers = stage.project.compute.device, stage.project.compute.workers
    at_once = min(workers, AT_ONCE) if pick(device).type == "cpu" else 1  # a GPU takes one batch after the other
    machine = ScoringMachine(device, training.train.batch_size, at_once)
    scores = records.frame(records.SCORES, [])  # a segmentation is scored on its maps
    with reproducible(pick(device), stage.project.compute.threads):
        for split, (model, card) in trained.items():
            rows = sample[sample["split"] == split]
            if masks is not None:  # its patches give many px each
                rows = evenly(rows, SCORED_PATCHES)
            probs = class_scores(model, card, rows, stores, patch_keys(rows), machine, stage.seed("px"))
            class_table = records.frame(records.CLASS_SCORES, probs)
            records.write(records.CLASS_SCORES, class_table, folder / f"scores_{split}.parquet")
            if masks is None and split == "test":
                by_colour = _colour_scores(class_table, images, colour)
                scores = _patch_scores(stage, class_table, by_colour)
                if stage.recipe.many_labels:  # of two classes patch_scores.parquet has it all
                    records.write(records.CLASS_SCORES, by_colour, folder / "colour_test.parquet")
    records.write(records.SCORES, scores, folder / "patch_scores.parquet")
    return len(scores)


def _colour_scores(scored: pd.DataFrame, store: Store, colour: ColourModel) -> pd.DataFrame:
    """Return records.CLASS_SCORES of the same patches as the baseline that knows colours only sees them."""
    if not len(scored):
        return scored
    features = np.stack([patch_features(store.read(key)) for key in patch_keys(scored)])
    return scored.assign(probs=pd.Series(list(map(tuple, colour.probs(features).tolist())), index=scored.index))


def _patch_scores(stage: Stage, scored: pd.DataFrame, by_colour: pd.DataFrame) -> pd.DataFrame:
    """Return records.SCORES of patches: P(any positive class), the class of highest probability, the baseline's P."""
    if not len(scored):
        return records.frame(records.SCORES, [])
    positive = list(stage.recipe.positive_indices)
    probs, colour_probs = (np.array(table["probs"].tolist()) for table in (scored, by_colour))
    return scored[["slide_id", "x0", "y0", "label"]].assign(
        probs=_together(probs[:, positive]),
        preds=probs.argmax(axis=1),
        colour_probs=_together(colour_probs[:, positive]),
    )


def _together(probs: np.ndarray) -> np.ndarray:
    """Return the sum of the classes' probabilities (n, some classes), at most 1."""
    summed: np.ndarray = np.minimum(probs.sum(axis=1), 1.0)
    return summed
