"""A study on disk: mil_<repeat>_<fold>_<seed>.safetensors, and card.json with all that it takes to run the models."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acinus.encoders.spec import EncoderSpec
from acinus.errors import AcinusError
from acinus.files import atomic_path, write_json
from acinus.grading.aggregators import AGGREGATORS
from acinus.grading.answers import Decision, Scale, spread_of
from acinus.grading.card import CARD_FILE
from acinus.grading.mil import Aggregator, Loss, MilSpec
from acinus.grading.study import Answer, Learned, ask, calibrated
from acinus.grading.targets import Kind, Target
from acinus.learning.weights import fill, read_tensors
from acinus.scoring.decisions import decide

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """Content of a card: nothing unknown in it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Spec(Strict):
    """As `mil.MilSpec`."""

    features: Annotated[int, Field(ge=1, le=65_536)]
    classes: Annotated[int, Field(ge=1, le=64)]
    hidden_units: Annotated[int, Field(ge=1, le=65_536)]
    attention_units: Annotated[int, Field(ge=1, le=65_536)]
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]
    loss: Loss
    aggregator: Literal["attention", "mean", "clam", "transformer"]


class Model(Strict):
    """One seed's training; see `fit.Fitted`."""

    file: Annotated[str, Field(pattern=r"^mil_[0-9]+_[0-9]+_[0-9]+\.safetensors$")]
    seed: int
    epochs: int
    best_epoch: int
    val_loss: Finite | None


class RunCard(Strict):
    """One run: repeat and fold (None: the splits), and what its validation slides decided."""

    repeat: int
    fold: int | None
    spec: Spec
    mean: Finite  # of labels of kind regression
    std: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    edges: tuple[Finite, ...]  # of intervals of time
    temperature: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    threshold: Finite
    train: int  # slides
    val: int
    searched: dict[str, bool | int | float | str | None]  # settings that a search chose for this run
    models: tuple[Model, ...]


class StudyCard(Strict):
    """What a user of a study's models has to know; nothing in it depends on when or where they were trained."""

    format: Annotated[int, Field(ge=2, le=2)] = 2
    task: Literal["slide_labels"] = "slide_labels"
    version: str  # of acinus
    target: str
    kind: Kind
    classes: tuple[str, ...]
    encoder: EncoderSpec
    index: dict[str, Any]  # the recipe's section: patch grid, tissue, resolution
    runs: Annotated[tuple[RunCard, ...], Field(min_length=1)]
    notes: tuple[str, ...]  # what was said of labels and folds
    data_hashes: dict[str, str]  # what it was trained on: name -> hash


@dataclass(frozen=True, eq=False)
class Loaded:
    """A run's models in evaluation mode on the CPU."""

    models: tuple[Aggregator, ...]
    scale: Scale
    decision: Decision


def save_study(folder: Path, learned: Sequence[Learned], target: Target, **known: Any) -> None:
    """Write the weights of every run and seed and then the card; the same models give the same bytes.

    known: the other fields of StudyCard.
    """
    runs = []
    for one in learned:
        models = []
        for number, member in enumerate(one.members, start=1):
            file = f"mil_{one.run.repeat}_{one.run.fold or 0}_{number}.safetensors"
            with atomic_path(folder / file) as part:
                part.write_bytes(member.weights)
            models.append(
                Model(
                    file=file,
                    seed=member.seed,
                    epochs=member.epochs,
                    best_epoch=member.best_epoch,
                    val_loss=member.val_loss,
                )
            )
        runs.append(
            RunCard(
                repeat=one.run.repeat,
                fold=one.run.fold,
                spec=Spec(**asdict(one.spec)),
                **asdict(one.scale),
                **asdict(one.decision),
                train=len(one.run.train),
                val=len(one.run.val),
                searched=dict(one.searched),
                models=tuple(models),
            )
        )
    card = StudyCard(target=target.name, kind=target.kind, classes=target.classes, runs=tuple(runs), **known)
    write_json(folder / CARD_FILE, card.model_dump(mode="json"))


def load_study(folder: Path) -> tuple[list[Loaded], StudyCard]:
    """Return the models of every run and their card.

    Raises:
        AcinusError: no models there, an invalid card, or weights that do not fit it.
    """
    card_file = folder / CARD_FILE
    try:
        card = StudyCard.model_validate_json(card_file.read_bytes())
    except FileNotFoundError as error:
        raise AcinusError(f"{card_file}: no models here; run the grade stage (dvc repro)") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "file"
        raise AcinusError(
            f"{card_file}: no card of slide labels of this version ({where}: {fault['msg']}); run the grade stage again"
        ) from error
    runs = []
    for run in card.runs:
        models = []
        for one in run.models:
            with torch.random.fork_rng(devices=[]):
                model = AGGREGATORS[run.spec.aggregator](MilSpec(**run.spec.model_dump()))
            fill(model, read_tensors(folder / one.file), folder / one.file)
            models.append(model.eval())
        scale = Scale(run.mean, run.std, run.edges)
        runs.append(Loaded(tuple(models), scale, Decision(run.temperature, run.threshold)))
    return runs, card


def ask_study(
    runs: Sequence[Loaded], card: StudyCard, features: np.ndarray
) -> tuple[np.ndarray, float, float, np.ndarray]:
    """Return what all runs together say of a slide's features, float32 (n, d), as they do of the test split.

    The answer (probabilities of the classes, or one number), what it says (see `answers.decide`), its spread over the
    models, and the attention (n,).
    """
    target = Target(card.target, card.kind, card.classes, {})
    said: list[Answer] = [calibrated(ask(run.models, features, run.scale), target, run.decision) for run in runs]
    answer = np.mean([one.by_model.mean(axis=0) for one in said], axis=0)
    predicted = decide(card.kind, answer, float(np.mean([run.decision.threshold for run in runs])))
    spread = spread_of(card.kind, np.concatenate([one.by_model for one in said]), predicted)
    attention: np.ndarray = np.mean([one.attention for one in said], axis=0)
    return answer, predicted, spread, attention
