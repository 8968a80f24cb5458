"""A trained model on disk: model.safetensors and card.json, which says what the numbers mean."""

import textwrap
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from acinus import plugin_code
from acinus.errors import AcinusError
from acinus.files import atomic_path, write_json
from acinus.learning.inputs import InputSpec, Rgb
from acinus.learning.models import build_model
from acinus.learning.weights import ModelSpec, fill, read_tensors
from acinus.params.recipe import Task
from acinus.plugins import Kind

WEIGHTS_FILE, CARD_FILE = "model.safetensors", "card.json"
FORMAT = 3
SELECTION = "selection"
"""Folder within a model's that was fitted on more than the training split: the one fitted on that alone."""

MOST_FAULTS, FAULT_CHARACTERS, FAULTS_CHARACTERS = 3, 64, 165
"""Of a damaged card's faults: how many are told, how much of each and of all, so that a person reads the line."""


class Card(BaseModel):
    """What a user of the weights has to know; nothing in it depends on when or where it was trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    version: str  # of acinus
    task: Task
    architecture: str  # timm name, or smp architecture of a segmentation
    encoder: str | None = None  # timm name below an smp architecture
    head_units: int | None = None  # of the hidden layer before the last, None: no such layer
    dropout: float = 0.0  # in training
    weights: str  # what training started from: none, imagenet, package or a file
    classes: tuple[str, ...]
    positive: tuple[str, ...]  # the classes that count as tumour (or foreground)
    patch_px: int  # edge of a patch at the working resolution
    input_px: int  # edge of the network's input; patches are resized to it
    level: int | None  # working resolution as the recipe says it: a level ...
    mpp: float | None  # ... or um per px
    mpp_mean: float | None  # mean um per working px of the training slides; None where no slide had mpp
    mean: Rgb  # normalisation of RGB in [0, 1]
    std: Rgb
    index: dict[str, Any]  # the recipe's section: patch grid, tissue, resolution
    tuned: dict[str, Any] = {}  # settings below train that a search put in place of the recipe's own
    recipe_hash: str
    data_hashes: dict[str, str]  # what it was trained on: path -> hash
    epochs: int  # trained
    best_epoch: int  # whose weights these are, counted from 1
    seed: int
    keep: str = "val_loss"  # of the weights of all epochs: as train.keep
    members: int = 1  # networks of other seeds, whose probabilities are averaged; the epochs are the first one's
    fitted_on: tuple[str, ...] = ("train",)  # splits
    stopped: bool = False  # by a person or the system, before its own end
    plugins: Annotated[dict[str, str], Field(exclude_if=lambda plugins: not plugins)] = {}  # kind and name -> digest

    def inputs(self) -> InputSpec:
        """Return how patches become the network's input."""
        return InputSpec(self.mean, self.std, self.input_px)

    def spec(self) -> ModelSpec:
        """Return the network, to be filled with the weights beside the card."""
        return ModelSpec(
            task=self.task,
            name=self.architecture,
            classes=len(self.classes),
            encoder=self.encoder,
            head_units=self.head_units,
            dropout=self.dropout,
            members=self.members,
        )


def save_model(folder: Path, model: nn.Module, card: Card) -> None:
    """Write the weights and the card; the same model and card give the same bytes.

    The card goes last: a folder without one holds no model.
    """
    from safetensors.torch import save

    (folder / CARD_FILE).unlink(missing_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with atomic_path(folder / WEIGHTS_FILE) as part:
        part.write_bytes(save(state))
    write_json(folder / CARD_FILE, card.model_dump(mode="json"))


def load_model(folder: Path) -> tuple[nn.Module, Card]:
    """Return the model of a folder, in evaluation mode on the CPU, and its card.

    Raises:
        AcinusError: no model there, an invalid card, or weights that do not fit it.
    """
    card = read_card(folder)
    check_plugins(card, folder)
    model = build_model(card.spec())
    fill(model, read_tensors(folder / WEIGHTS_FILE), folder / WEIGHTS_FILE)
    return model.eval(), card


def plugins_of(spec: ModelSpec) -> dict[str, str]:
    """Return the plug-ins that a network is built by, kind and name -> digest of their code."""
    named: tuple[tuple[Kind, str | None], ...] = (("network", spec.name), ("encoder", spec.encoder))
    digests = {f"{kind} {name}": plugin_code.network_digest(kind, name) for kind, name in named}
    return {plugin: digest for plugin, digest in digests.items() if digest}


def check_plugins(card: Card, folder: Path) -> None:
    """Refuse a model whose plug-ins are not here, or are others than it was trained with."""
    here = plugins_of(card.spec())
    for plugin, digest in card.plugins.items():
        if here.get(plugin) != digest:
            state = "is not here" if plugin not in here else "has other code here than when it was trained"
            raise AcinusError(
                f"{folder / CARD_FILE}: the model needs the plug-in {plugin}, which {state}; run this in the project "
                "that it was trained in, put that project's file into plugins/ of this one, or train again"
            )


def selection_of(folder: Path) -> Path:
    """Return the folder of the model that validation slides may judge: the one that has not seen them.

    It is the model itself, or the one beside it that was trained in the same way on the training split alone.
    """
    return folder / SELECTION if (folder / SELECTION).is_dir() else folder


def read_card(folder: Path) -> Card:
    """Return the card of a model's folder. AcinusError: missing or invalid, in one line."""
    path = folder / CARD_FILE
    try:
        return Card.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise AcinusError(f"{path}: no model here; run the train stage (dvc repro)") from error
    except OSError as error:
        raise AcinusError(f"{path}: cannot be read ({error.strerror}); make it readable or train again") from error
    except ValidationError as error:
        formats = [fault["input"] for fault in error.errors() if fault["loc"] == ("format",)]
        if formats and isinstance(formats[0], int):
            raise AcinusError(
                f"{path}: card of format {formats[0]}, this version reads {FORMAT}; train again"
            ) from error
        raise AcinusError(f"{path}: not a model card of this version ({faults(error)}); train again") from error


def faults(error: ValidationError) -> str:
    """Return what is wrong with a file in a few words: the first MOST_FAULTS of its faults, cut to fit a line."""
    all_faults = error.errors(include_url=False)
    lines = [f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in all_faults[:MOST_FAULTS]]
    text = "; ".join(textwrap.shorten(line, FAULT_CHARACTERS, placeholder=" ...") for line in lines)
    text = textwrap.shorten(text, FAULTS_CHARACTERS, placeholder=" ...")
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text + (f"; {len(all_faults) - MOST_FAULTS} more" if len(all_faults) > MOST_FAULTS else "")
