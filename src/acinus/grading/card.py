"""A trained grader on disk: mil_<n>.safetensors of every seed, and card.json with all that it takes to run them."""

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acinus.encoders.loading import save_tensors
from acinus.encoders.spec import EncoderSpec
from acinus.errors import AcinusError
from acinus.files import write_json
from acinus.grading.fit import Fitted
from acinus.grading.mil import GatedAttention, Loss, MilSpec
from acinus.learning.weights import fill, read_tensors

CARD_FILE = "card.json"


class Trained(BaseModel):
    """How one seed's training went. best_epoch: whose weights these are; val_loss: of that epoch, mean per slide."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    seed: int
    epochs: int
    best_epoch: int
    val_loss: float | None


class MilCard(BaseModel):
    """What a user of a grader has to know; nothing in it depends on when or where it was trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Annotated[int, Field(ge=1, le=1)] = 1
    version: str  # of acinus
    target: Literal["isup", "tumor"]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]  # what the answers 0, 1, ... mean
    loss: Loss
    features: int  # per patch
    hidden_units: int
    attention_units: int
    dropout: float  # in training
    encoder: EncoderSpec
    index: dict[str, Any]  # the recipe's section: patch grid, tissue, resolution
    map_classes: tuple[str, ...]  # of the network that makes the maps, in their order
    positive: tuple[int, ...]  # their indices that count as suspicious
    top_patches: int
    random_patches: int
    min_distance: float  # in patch edges
    bag_seed: int
    burden_percent: float  # of the rule
    models: tuple[Trained, ...]
    slides: dict[str, int]  # split -> slides with a label that it learned from
    data_hashes: dict[str, str]  # what it was trained on: name -> hash

    def spec(self) -> MilSpec:
        """Return the network, to be filled with the weights of one seed."""
        return MilSpec(
            features=self.features,
            classes=len(self.classes),
            hidden_units=self.hidden_units,
            attention_units=self.attention_units,
            dropout=self.dropout,
            loss=self.loss,
        )


def weights_file(folder: Path, number: int) -> Path:
    """Return where the weights of the model `number`, counted from 1, lie."""
    return folder / f"mil_{number}.safetensors"


def save_graders(folder: Path, fitted: list[Fitted], card: MilCard) -> None:
    """Write the weights of every seed and then the card; the same models and card give the same bytes."""
    for number, grader in enumerate(fitted, start=1):
        save_tensors(grader.model, weights_file(folder, number))
    write_json(folder / CARD_FILE, card.model_dump(mode="json"))


def load_graders(folder: Path) -> tuple[list[GatedAttention], MilCard]:
    """Return the models of every seed, in evaluation mode on the CPU, and their card.

    Raises:
        AcinusError: no grader there, an invalid card, or weights that do not fit it.
    """
    card_file = folder / CARD_FILE
    try:
        card = MilCard.model_validate_json(card_file.read_bytes())
    except FileNotFoundError as error:
        raise AcinusError(
            f"{card_file}: no grader here; set grade.target and run the grade stage (dvc repro)"
        ) from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors())
        raise AcinusError(
            f"{card_file}: not a grader's card of this version ({faults}); run the grade stage again"
        ) from error
    models = []
    for number in range(1, len(card.models) + 1):
        with torch.random.fork_rng(devices=[]):
            model = GatedAttention(card.spec())
        path = weights_file(folder, number)
        fill(model, read_tensors(path), path)
        models.append(model.eval())
    return models, card
