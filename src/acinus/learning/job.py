"""From a recipe and its patch store to a training that can start: what it is made of, and what must hold before."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from acinus import params, plugin_code
from acinus.code import code_digest
from acinus.errors import AcinusError, RecipeError
from acinus.files import sha256
from acinus.learning.augmentation import NO_AUGMENTATION, Augmentation
from acinus.learning.checkpoints import EpochRecord
from acinus.learning.dataset import PatchDataset
from acinus.learning.device import Machine
from acinus.learning.inputs import InputSpec
from acinus.learning.losses import check_present
from acinus.learning.models import build_model, check_input, normalisation
from acinus.learning.weights import ModelSpec
from acinus.params import section_hash
from acinus.params.faults import weights_file_fault
from acinus.params.recipe import Task
from acinus.params.results import Measure
from acinus.patches.keys import patch_key
from acinus.patches.store import MASKS, Store, open_mask_store, open_store
from acinus.paths import Paths
from acinus.plugins import Kind

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


@dataclass(frozen=True)
class FitJob:
    """A training: what, on what, how, where.

    `checkpoints` is a folder of its own, `key` a hash of everything that the result depends on: an
    interrupted training with the same key goes on, another key starts afresh. `log` is the CSV.
    The data sets of task `segmentation` have masks, and the model answers (n, classes, px, px) logits.
    `val` None: nothing is validated, and the last epoch's weights stay.
    `on_epoch` hears of every epoch (from 1) in order, after a resume of the earlier ones again: {train_loss, train_acc,
    val_loss, val_acc, lr, val_dice or val_auc, and val_<measure> where there is one}; what is undefined is left out.
    `measure` is taken on the validation patches after every epoch; `prune` is asked with (epoch, measure), after
    `on_epoch`, whether the training is given up, and after a resume asked again of the earlier epochs.
    `on_wait` hears of (epoch, the share of its steps' time that they waited for data, 0 to 1), by `clock` (seconds, the
    host's): after a resume not of the earlier epochs, since it is no result but a number of the machine.
    `on_progress` hears a line for a person: of a long epoch every PROGRESS_S seconds, and of the metrics that
    train.val_every_steps asks for.
    `stop` is asked after every step: once it says yes the training ends with the epochs that are finished, or after its
    first one where none is (that epoch then ends with this step).
    """

    model: nn.Module
    settings: params.Train
    classes: tuple[str, ...]
    train: PatchDataset
    val: PatchDataset | None
    inputs: InputSpec
    seed: int
    checkpoints: Path
    key: str
    log: Path
    machine: Machine
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None
    task: Task = "patch_classification"
    measure: Measure | None = None
    prune: Callable[[int, float], bool] | None = None
    on_wait: Callable[[int, float], None] = lambda epoch, share: None
    clock: Callable[[], float] = time.perf_counter
    on_progress: Callable[[str], None] = lambda text: None
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class FitResult:
    """How a training went; `best_epoch` is the one whose weights the job's model now has.

    data_wait_share: mean over the epochs that were trained now of `FitJob.on_wait`, None without any; a timing,
    so no part of what makes two results equal. stopped: ended by `FitJob.stop` before its own end.
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int
    stopped_early: bool
    pruned: bool = False
    stopped: bool = False
    data_wait_share: float | None = field(default=None, compare=False)


def class_counts(job: FitJob) -> list[int]:
    """Return how much of each class is trained on; refuse splits that cannot be learned from.

    Patches, or known pixels. Pixels are counted only where balanced weights need them: otherwise the
    answer is 0 for every class.

    Raises:
        AcinusError: an empty split, a class without patches or (for balanced weights) without pixels, or
            data sets of another task.
    """
    if job.val is not None and len(job.val) == 0:
        raise AcinusError(
            "validation split: no patches; give it slides (cohort.val_fraction, splits.csv or slides.csv)"
        )
    if len(job.train) < 2:
        raise AcinusError(f"training split: {len(job.train)} patches; give it slides, or raise the sample's caps")
    masked = [data.masked for data in (job.train, job.val) if data is not None]
    if set(masked) != {job.task == "segmentation"}:
        presence = "with" if all(masked) else "without"
        raise AcinusError(f"task {job.task}: data sets {presence} masks found; run the extract stage again")
    if job.task == "patch_classification":
        if job.val is not None:
            job.val.counts(len(job.classes))
        counts, unit = job.train.counts(len(job.classes)), "patches"
    elif job.settings.loss.class_weights == "balanced":
        counts, unit = job.train.pixel_counts(len(job.classes)), "pixels"
    else:
        return [0] * len(job.classes)
    check_present(counts, job.classes, unit)
    return counts


@contextlib.contextmanager
def open_stores(training: Training) -> Iterator[Stores]:
    """Open the recipe's patch store, and its masks where the task is segmentation; close them at the end."""
    with contextlib.ExitStack() as stack:
        images = stack.enter_context(contextlib.closing(open_store(training.paths.patches)))
        masks = open_mask_store(training.paths.patches) if training.task == "segmentation" else None
        yield images, stack.enter_context(contextlib.closing(masks)) if masks else None


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


def training_job(training: Training, stores: Stores, sample: pd.DataFrame, log: Path) -> FitJob:
    """Return the training; its key names everything that the result depends on, the code included.

    sample: records.SAMPLE of all splits. log: the CSV to write. Checkpoints lie in `paths.checkpoints`:
    change that, as `measure` and who listens, with dataclasses.replace.
    """
    train = training.train
    augmentation = Augmentation(
        train.aug_factor if train.positive_augmentation else 0,
        train.train_augmentation,
        training.seed("augmentation"),
        train.photometric,
        train.crop_px,
        train.geometric,
        tuple(train.augmentations),
    )
    val = evenly(sample[sample["split"] == "val"], train.max_val_patches)
    return FitJob(
        model=new_model(training),
        settings=train,
        classes=training.classes,
        train=split_data(training, stores, sample[sample["split"] == "train"], augmentation),
        val=split_data(training, stores, val),
        inputs=input_spec(training),
        seed=training.seed("order"),
        checkpoints=training.paths.checkpoints,
        key=training_key(training),
        log=log,
        machine=training.machine,
        task=training.task,
    )


def evenly(rows: pd.DataFrame, most: int | None) -> pd.DataFrame:
    """Return at most `most` of the rows, evenly taken in their order; all of them without a limit."""
    if most is None or not len(rows):
        return rows
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64))]


def split_data(
    training: Training, stores: Stores, rows: pd.DataFrame, augmentation: Augmentation = NO_AUGMENTATION
) -> PatchDataset:
    """Return the patches `rows` of the sample, plain unless an augmentation is given."""
    edge, labels = training.index.patch_px, rows["label"].tolist()
    return PatchDataset(stores[0], patch_keys(rows), labels, edge, augmentation, masks=stores[1])


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
    plugged = plugin_code.digest(plugins_of(training.train))
    return "-".join([key, *data_hashes(training.paths).values(), *([plugged] if plugged else [])])


def plugins_of(train: params.Train) -> Iterator[tuple[Kind, str | None]]:
    """Yield (kind, name) of all in the section that may be a plug-in."""
    yield from (("network", train.model), ("encoder", train.encoder))
    yield from (("loss", name) for name in train.loss.terms)
    yield from (("augmentation", name) for name in train.augmentations)


def data_hashes(paths: Paths) -> dict[str, str]:
    """Return SHA-256 of what is trained on: sample, patches and (of a segmentation) masks."""
    hashes = {"sample": sha256(paths.sample), "patches": sha256(paths.patches / "store.json")}
    masks = paths.patches / MASKS / "store.json"
    return hashes | ({"masks": sha256(masks)} if masks.exists() else {})


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
    actual, named = sha256(path), train.weights_sha256
    if actual != named:
        raise RecipeError(f"{where}: train.weights_sha256 = {named}: the file has {actual}; write that if it is meant")
    return str(path)
