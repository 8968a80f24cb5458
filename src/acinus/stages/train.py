"""train: patch store, sample and best settings -> models/<recipe>/ (weights, card, log, baseline, scores, stain)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from acinus import records
from acinus.errors import AcinusError
from acinus.files import atomic_path, write_json
from acinus.learning.card import SELECTION, WEIGHTS_FILE, Card, save_model
from acinus.learning.colour import (
    MOST,
    ColourModel,
    fit_colours,
    mean_colours,
    optical_density,
    patch_features,
    pixel_features,
    stain_summary,
)
from acinus.learning.device import Machine, pick, reproducible
from acinus.learning.job import Training, data_hashes, evenly, input_spec, open_stores, patch_keys
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

COLOUR_PATCHES = 400
"""Training patches from which the colour-only baseline of a segmentation learns, evenly taken."""

Stores = tuple[Store, Store | None]


def run(stage: Stage) -> None:
    """Train, then score validation and test patches with the best weights; beside it what knows colours only."""
    manifest = records.read(records.MANIFEST, stage.paths.manifest)
    sample = records.read(records.SAMPLE, stage.paths.sample, without=records.FRACTIONS)
    training = _training(stage)
    _check_map(stage, sample)
    positive = [stage.recipe.classes.index(name) for name in stage.recipe.positive]
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
        batch_size = training.train.batch_size
        trained = chosen = _Trained(fits.model, card, batch_size)
        if fits.selection is not None:
            chosen = _Trained(fits.selection, card.model_copy(update={"fitted_on": ("train",)}), batch_size)
            (folder / SELECTION).mkdir()
            save_model(folder / SELECTION, chosen.model, chosen.card)
        save_model(folder, trained.model, card)
        scored = _score(stage, {"val": chosen, "test": trained}, sample, stores, folder)
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


@dataclass(frozen=True)
class _Trained:
    """A network with its card, and how many patches it takes at once."""

    model: nn.Module
    card: Card
    batch_size: int


def _training(stage: Stage) -> Training:
    """Return the training that the recipe asks for, with the best settings that tune found in place of its own."""
    settings = read_best(stage.paths.tune / "best.yaml")
    if settings:
        stage.log.share_params({f"tuned.train.{key}": str(value) for key, value in settings.items()})
        stage.say(
            "with "
            + ", ".join(
                f"{key} = {value:.4g}" if isinstance(value, float) else f"{key} = {value}"
                for key, value in settings.items()
            )
        )
    return Training(
        stage.recipe.task,
        tuple(stage.recipe.classes),
        stage.recipe.index,
        with_values(stage.recipe, settings).train if settings else stage.recipe.train,
        Machine(
            stage.project.compute.device,
            stage.project.compute.threads,
            stage.loader_workers,
            channels_last=stage.project.compute.channels_last,
            compile=stage.project.compute.compile_,
        ),
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
    )


def _score(stage: Stage, trained: Mapping[str, _Trained], sample: pd.DataFrame, stores: Stores, folder: Path) -> int:
    """Write what the model and the colours alone make of the patches; return how many test patches have a score.

    trained: split -> what scores it: validation patches are scored by a model that has not seen them.
    """
    images, masks = stores
    colour, stain = _colours(stage, sample, stores)
    write_json(folder / "colour.json", colour.to_json())
    write_json(folder / "stain.json", stain)
    scores = records.frame(records.SCORES, [])  # a segmentation is scored on its maps
    with reproducible(pick(stage.project.compute.device), stage.project.compute.threads):
        for split in ("val", "test"):
            rows = sample[sample["split"] == split]
            found = _class_scores(stage, trained[split], rows, stores)
            records.write(records.CLASS_SCORES, found, folder / f"scores_{split}.parquet")
            if masks is None and split == "test":
                scores = _patch_scores(stage, found, images, colour)
    records.write(records.SCORES, scores, folder / "patch_scores.parquet")
    return len(scores)


def _class_scores(stage: Stage, trained: _Trained, rows: pd.DataFrame, stores: Stores) -> pd.DataFrame:
    """Return records.CLASS_SCORES of patches; of a segmentation's, which give many px each, evenly taken ones."""
    if stores[1] is not None:
        rows = evenly(rows, SCORED_PATCHES)
    on_cpu = pick(stage.project.compute.device).type == "cpu"  # a GPU takes one batch after the other
    at_once = min(stage.project.compute.workers, AT_ONCE) if on_cpu else 1
    machine = ScoringMachine(stage.project.compute.device, trained.batch_size, at_once)
    found = class_scores(trained.model, trained.card, rows, stores, patch_keys(rows), machine, stage.seed("px"))
    return records.frame(records.CLASS_SCORES, found)


def _colours(stage: Stage, sample: pd.DataFrame, stores: Stores) -> tuple[ColourModel, dict[str, Any]]:
    """Return the baseline that knows colours only and the stain of the training slides; each patch is read once.

    The baseline judges a patch by the mean and deviation of its colours, a px of the map by the mean colour under it.
    """
    images, masks = stores
    rows = sample[sample["split"] == "train"]
    chosen = rows if masks is None else evenly(rows, COLOUR_PATCHES)
    scales = dict(zip(patch_keys(chosen), chosen["downsample"], strict=True))
    learned: dict[str, Any] = {}

    def patches(keys: list[str]) -> Iterator[np.ndarray]:
        for at, patch in images.visit(keys):
            key = keys[at]
            if masks is None:
                learned[key] = patch_features(patch)
            elif key in scales:
                learned[key] = _pixels(stage, key, (patch, masks.read(key)), scales[key], len(chosen))
            yield patch

    slides = [patch_keys(own) for _, own in rows.groupby("slide_id", sort=True)]
    stain = stain_summary([optical_density(patches(keys)) for keys in slides])
    in_order = [learned[key] for key in patch_keys(chosen)]
    if masks is None:
        return fit_colours(np.stack(in_order), rows["label"].to_numpy(dtype=np.int64)), stain
    colours, labels = (np.concatenate(parts) for parts in zip(*in_order, strict=True))
    return fit_colours(pixel_features(colours), labels, len(stage.recipe.classes), seed=stage.seed("colour")), stain


def _pixels(
    stage: Stage, key: str, pair: tuple[np.ndarray, np.ndarray], downsample: float, patches: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return colours and classes of some px of the map in a patch and its mask; fewer of each where more patches are.

    So memory does not grow with the patches' size.
    """
    block = max(1, round(stage.recipe.infer.map_downsample / downsample))
    colours, labels = mean_colours(pair[0][None], pair[1][None], block)
    share = min(len(labels), MOST // patches)
    drawn = np.sort(np.random.default_rng(stage.seed("colour", key)).permutation(len(labels))[:share])
    return colours[drawn], labels[drawn]


def _patch_scores(stage: Stage, found: pd.DataFrame, store: Store, colour: ColourModel) -> pd.DataFrame:
    """Return records.SCORES of patches: P(tumor), the class with the highest probability, and the baseline's P."""
    tumour = stage.recipe.classes.index(stage.recipe.positive[0])
    if not len(found):
        return records.frame(records.SCORES, [])
    probs = np.array(found["probs"].tolist())
    features = np.stack([patch_features(store.read(key)) for key in patch_keys(found)])
    return found[["slide_id", "x0", "y0", "label"]].assign(
        probs=probs[:, tumour], preds=probs.argmax(axis=1), colour_probs=colour.probs(features)[:, tumour]
    )
