"""From a recipe and its patch store to a training that can start: what the stages train and tune have in common."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from acinus import params
from acinus.code import code_digest
from acinus.errors import RecipeError
from acinus.files import sha256
from acinus.learning.augmentation import Augmentation
from acinus.learning.dataset import PatchDataset
from acinus.learning.device import Machine
from acinus.learning.inputs import InputSpec
from acinus.learning.job import FitJob, OnEpoch
from acinus.learning.models import build_model, check_input, normalisation
from acinus.learning.spec import ModelSpec
from acinus.params import section_hash
from acinus.params.faults import weights_file_fault
from acinus.params.recipe import Task
from acinus.patches.keys import patch_key
from acinus.patches.store import MASKS, Store, open_mask_store, open_store
from acinus.paths import Paths

Stores = tuple[Store, Store | None]
"""The image store and, of a segmentation, that of the masks."""


@dataclass(frozen=True)
class Training:
    """What a training is made from: sections of the recipe, where it runs, its seeds and files.

    seed: names -> seed, as `Stage.seed`; two trainings with equal fields give equal weights.
    """

    task: Task
    classes: tuple[str, ...]
    index: params.Index
    train: params.Train
    machine: Machine
    seed: Callable[..., int]
    paths: Paths


@contextlib.contextmanager
def open_stores(training: Training) -> Iterator[Stores]:
    """Open the recipe's patch store, and its masks where the task is segmentation; close them at the end."""
    masked = training.task == "segmentation"
    stores = (open_store(training.paths.patches), open_mask_store(training.paths.patches) if masked else None)
    try:
        yield stores
    finally:
        for store in stores:
            if store is not None:
                store.close()


def input_spec(training: Training) -> InputSpec:
    """Return how patches become the network's input. RecipeError: a size that the network does not take."""
    spec = model_spec(training)
    inputs = InputSpec(*normalisation(spec), training.train.input_px or training.index.patch_px)
    check_input(spec, training.train.crop_px or inputs.px, training.train.batch_size)
    return inputs


def new_model(training: Training) -> nn.Module:
    """Return the network as training begins with it; sets torch's random numbers."""
    torch.manual_seed(training.seed("weights"))
    return build_model(model_spec(training))


def model_spec(training: Training) -> ModelSpec:
    """Return what the network is. RecipeError: a weights file that is not there, or not the one meant."""
    train = training.train
    return ModelSpec(
        task=training.task,
        name=train.model,
        encoder=train.encoder,
        weights=_weights(training),
        classes=len(training.classes),
        head_units=train.head_units,
        dropout=train.dropout,
        freeze=train.freeze,
    )


def member(training: Training, number: int) -> Training:
    """Return the training of one member, from 0: the first is what it would be alone, the others have other seeds."""
    alone = training.train.model_copy(update={"members": 1, "final": "train"})
    seed = partial(training.seed, "member", number) if number else training.seed
    return replace(training, train=alone, seed=seed)


def training_job(
    training: Training, model: nn.Module, stores: Stores, sample: pd.DataFrame, log: Path, on_epoch: OnEpoch
) -> FitJob:
    """Return the training; its key names everything that the result depends on, the code included.

    sample: records.SAMPLE of all splits. log: the CSV to write. Checkpoints lie in `paths.checkpoints`:
    change that, as `measure`, with dataclasses.replace.
    """
    train = training.train
    copies = train.aug_factor if train.positive_augmentation else 0
    augmentation = Augmentation(
        copies,
        train.train_augmentation,
        training.seed("augmentation"),
        train.photometric,
        train.crop_px,
        train.geometric,
    )
    val = evenly(sample[sample["split"] == "val"], train.max_val_patches)
    return FitJob(
        model=model,
        settings=train,
        classes=training.classes,
        train=split_data(training, stores, sample, "train", augmentation),
        val=split_data(training, stores, val, "val"),
        inputs=input_spec(training),
        seed=training.seed("order"),
        checkpoints=training.paths.checkpoints,
        key=training_key(training),
        log=log,
        machine=training.machine,
        on_epoch=on_epoch,
        task=training.task,
    )


def evenly(rows: pd.DataFrame, most: int | None) -> pd.DataFrame:
    """Return at most `most` of the rows, evenly taken in their order; all of them without a limit."""
    if most is None or not len(rows):
        return rows
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64))]


def split_data(
    training: Training,
    stores: Stores,
    sample: pd.DataFrame,
    split: params.Split | None,
    augmentation: Augmentation | None = None,
) -> PatchDataset:
    """Return the sampled patches of one split (None: all of them), plain unless an augmentation is given."""
    rows = sample if split is None else sample[sample["split"] == split]
    edge, chosen = training.index.patch_px, augmentation or Augmentation()
    return PatchDataset(stores[0], patch_keys(rows), rows["label"].tolist(), edge, chosen, masks=stores[1])


def training_key(training: Training) -> str:
    """Return what changes with everything that a training's result depends on."""
    key = section_hash(
        training.task,
        list(training.classes),
        training.index,
        training.train,
        training.seed(),
        training.machine.threads,
        training.machine.device,
        training.machine.channels_last,
        training.machine.compile,
        code_digest("acinus.learning.members"),
    )
    return "-".join([key, *data_hashes(training.paths).values()])


def data_hashes(paths: Paths) -> dict[str, str]:
    """Return SHA-256 of what is trained on: sample, patches and (of a segmentation) masks."""
    found = {"sample": sha256(paths.sample), "patches": sha256(paths.patches / "store.json")}
    masks = paths.patches / MASKS / "store.json"
    return found | ({"masks": sha256(masks)} if masks.exists() else {})


def patch_keys(rows: pd.DataFrame) -> list[str]:
    """Return the store's keys of rows of records.SAMPLE."""
    return [patch_key(*key) for key in rows[["slide_id", "x0", "y0"]].itertuples(index=False, name=None)]


def _weights(training: Training) -> str:
    """Return where the first weights come from; a file must be the one whose checksum the recipe names.

    DVC tracks the recipe, not the file: without the checksum another file would go unnoticed.
    """
    train, root, where = training.train, training.paths.root, f"recipes/{training.paths.recipe}.yaml"
    if not train.weights.endswith(".safetensors"):
        return train.weights
    if (fault := weights_file_fault(root, train.weights)) is not None:
        raise RecipeError(f"{where}: {fault}")
    path = root / Path(train.weights).expanduser()
    found, named = sha256(path), train.weights_sha256
    if found != named:
        raise RecipeError(f"{where}: train.weights_sha256 = {named}: the file has {found}; write that if it is meant")
    return str(path)
