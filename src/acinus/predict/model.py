"""A trained model's folder and its siblings, as `acinus predict` needs them: no recipe, no project."""

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from acinus import params
from acinus.errors import AcinusError
from acinus.files import sha256
from acinus.grading.apply import has_grader
from acinus.labels.palette import Colour, palette
from acinus.learning.card import CARD_FILE, WEIGHTS_FILE, Card, check_plugins, faults, read_card
from acinus.learning.colour import TrainingStain
from acinus.regions.operating_point import Maps, OperatingPoint, read_point

STAIN_FILE = "stain.json"
PREDICTED = ("probability.tif", "overlay.png", "regions.geojson", "regions.xml")
"""What a prediction leaves of each slide beside its result."""
PROBABILITY, OVERLAY, REGIONS, ASAP = PREDICTED


@dataclass(frozen=True)
class Model:
    """A trained model at its operating point.

    folder: models/<recipe>. grader: models/<recipe>.mil, or None. stain: of the training slides, or None.
    weights: SHA-256 of the weights. digest: of every file that decides a prediction, and of this version.
    """

    folder: Path
    grader: Path | None
    card: Card
    index: params.Index
    point: OperatingPoint
    maps: Maps
    stain: TrainingStain | None
    weights: str
    digest: str

    @property
    def outputs(self) -> tuple[str, ...]:
        """The files of a slide beside its result."""
        return PREDICTED

    @property
    def positive(self) -> tuple[int, ...]:
        """Indices of the classes that count as tumour (foreground)."""
        return tuple(self.card.classes.index(name) for name in self.card.positive)

    @property
    def colours(self) -> dict[str, Colour]:
        """Class -> RGB: of the picture, of the region files and of the result alike."""
        return palette(self.card.classes)


def open_model(folder: Path) -> Model:
    """Return the model of a folder models/<recipe>, without its weights.

    Raises:
        AcinusError: no model there or one of another version, no operating point beside it or one that does not say
            how maps are made, a damaged stain.json.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise AcinusError(f"{folder}: no such folder; give the folder of a trained model, models/<recipe>")
    card = read_card(folder)
    check_plugins(card, folder)
    point_file, grader = folder.parent / f"{folder.name}.operating_point.yaml", folder.parent / f"{folder.name}.mil"
    point = read_point(point_file)
    if point.maps is None:
        raise AcinusError(f"{point_file}: does not say how maps are made (maps); run the calibrate stage again")
    if not (folder / WEIGHTS_FILE).is_file():
        raise AcinusError(f"{folder / WEIGHTS_FILE}: no weights beside the card; copy the whole folder")
    stain = _stain(folder / STAIN_FILE)
    graded = has_grader(grader)
    decisive = [folder / WEIGHTS_FILE, folder / CARD_FILE, point_file]
    decisive += [folder / STAIN_FILE] if stain is not None else []
    decisive += sorted(path for path in grader.rglob("*") if path.is_file()) if graded else []
    digests = {str(path.relative_to(folder.parent)).removeprefix(folder.name): sha256(path) for path in decisive}
    text = json.dumps([version("acinus"), digests], sort_keys=True)
    return Model(
        folder=folder,
        grader=grader if graded else None,
        card=card,
        index=_index(card, folder / CARD_FILE),
        point=point,
        maps=point.maps,
        stain=stain,
        weights=digests[f"/{WEIGHTS_FILE}"],
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def _index(card: Card, path: Path) -> params.Index:
    try:
        return params.Index.model_validate(card.index)
    except ValidationError as error:
        raise AcinusError(
            f"{path}: index is not a recipe's section of this version ({faults(error)}); train again"
        ) from error


def _stain(path: Path) -> TrainingStain | None:
    try:
        return TrainingStain.model_validate_json(path.read_bytes())
    except FileNotFoundError:  # the stain is not judged, and every result says so
        return None
    except ValidationError as error:
        raise AcinusError(f"{path}: not a summary of stains ({faults(error)}); train again") from error
