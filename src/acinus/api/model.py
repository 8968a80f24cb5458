"""A trained model, on patches in memory and on slides."""

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from acinus import predict
from acinus.annotations.frame import Frame
from acinus.annotations.reading import read_annotations
from acinus.api.annotation import outline_table
from acinus.api.arguments import AnyPath, Mpp, one_mpp, path_of, shown, text
from acinus.api.probability import ProbabilityMap
from acinus.api.wording import in_calls
from acinus.errors import AcinusError
from acinus.files import read_json
from acinus.learning.card import load_model as load_network
from acinus.learning.device import Running, pick, reproducible
from acinus.learning.predict import Predict, predictor
from acinus.predict.many import RESULT
from acinus.predict.model import open_model
from acinus.predict.one import BATCH, OVERLAY, PROBABILITY, REGIONS
from acinus.scoring.scaling import AS_TRAINED
from acinus.slides.geometry import MPP_TOLERANCE
from acinus.slides.open import open_slide


@dataclass(frozen=True, eq=False)
class Prediction:
    """What `acinus predict` says of a slide.

    map: class probabilities. regions: after threshold and clean-up, as the table of `read_annotations`. overlay:
    uint8 (rows, columns, 3), the slide under the probabilities. result: all figures, as in result.json
    (docs/predict.md); its `warnings` say what is doubtful. folder: where the files are kept, or None.
    """

    map: ProbabilityMap
    regions: pd.DataFrame
    overlay: np.ndarray
    result: dict[str, Any]
    folder: Path | None


class Model:
    """A trained model at its operating point. Made by `load_model`.

    classes: in the order of its probabilities. positive: those that count as tumour (foreground). task:
    patch_classification or segmentation. patch_px: edge of the patches it takes. resolution: what it works at, as
    `slide.read` and `patch_grid` take it: {"mpp": 0.5} or {"level": 0}. mpp: um per px of its patches; of a model that
    works at a level the mean of its training slides, None where none had um/px. threshold: of the operating point.
    card: all that is known of it.
    """

    def __init__(self, folder: Path, device: str) -> None:
        with in_calls():
            self._opened = open_model(folder)
            pick(device)
        card = self._opened.card
        self.folder, self.device = self._opened.folder, device
        self.classes, self.positive, self.task = card.classes, card.positive, card.task
        self.patch_px, self.mpp = card.patch_px, card.mpp or card.mpp_mean
        self.resolution: dict[str, Any] = {"mpp": card.mpp} if card.level is None else {"level": card.level}
        self.threshold = self._opened.point.threshold
        self.card: dict[str, Any] = card.model_dump(mode="json")
        self._made: dict[bool, Predict] = {}

    def predict(self, patches: np.ndarray, mpp: Mpp | None = None, *, calibrated: bool = True) -> np.ndarray:
        """Return float32 class probabilities of patches: (n, classes), of a segmentation (n, classes, height, width).

        patches: uint8 (n, height, width, 3), or one without n, whose result then has no n either. They must be of
        patch_px at the model's own um per px. mpp: um per px of the patches; finer ones are shrunk to the model's,
        and the px of a segmentation's result are then the model's.
        calibrated: with temperature and offsets of the operating point, as in maps; False: as trained.

        Raises:
            AcinusError: no uint8 RGB, patches of another size or coarser than the model's.
        """
        if not isinstance(calibrated, bool | np.bool_):
            raise AcinusError(f"calibrated = {shown(calibrated)}: expected True or False")
        try:
            images = np.asarray(patches)
        except ValueError as error:
            raise AcinusError("patches are of several sizes; give one array (n, height, width, 3)") from error
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[-1] != 3:
            raise AcinusError(
                f"patches are {images.dtype} of shape {images.shape}; expected uint8 (n, height, width, 3), as "
                "slide.read gives them"
            )
        batch = self._at_own_mpp(images if images.ndim == 4 else images[np.newaxis], one_mpp(mpp))
        with reproducible(pick(self.device), max(1, torch.get_num_threads())):
            network = self._predictor(calibrated)
            parts = [network(batch[start : start + BATCH]) for start in range(0, max(1, len(batch)), BATCH)]
        probs = np.concatenate(parts)
        return probs if images.ndim == 4 else probs[0]

    def predict_slide(self, path: AnyPath, mpp: Mpp | None = None, out: AnyPath | None = None) -> Prediction:
        """Return what `acinus predict` says of a slide: the same map, regions and figures, bit by bit.

        mpp: um per level-0 px instead of the slide's tag, one number (of (x, y) that differ by at most 1 % the
        mean). out: a folder that keeps the files, in a folder of the slide's name; a finished result of the same file,
        model and mpp there is read, not made again.

        Raises:
            AcinusError: the slide does not open, cannot give the model's resolution, or has damaged pixels.
        """
        slide, um = path_of(path), one_mpp(mpp)
        kept = None if out is None else path_of(out, "out")
        with tempfile.TemporaryDirectory(prefix="acinus.") as scratch, in_calls():
            folder = kept or Path(scratch)
            (outcome,) = predict.run([slide], self.folder, folder, self.device, um, echo=lambda _: None)
            if outcome.state == "failed":
                raise AcinusError(outcome.text.partition(": failed: ")[2])
            return _prediction(slide, outcome.folder, keep=out is not None)

    def _at_own_mpp(self, images: np.ndarray, mpp: float | None) -> np.ndarray:
        """Return patches (n, height, width, 3) at the model's um per px, shrunk with an antialiased filter."""
        px, own = self.patch_px, self.mpp
        need = f"{px} x {px} px" + ("" if own is None else f" at {own:g} um/px")
        height, width = images.shape[1:3]
        if mpp is not None:
            if own is None or not 0 < mpp <= own * (1 + MPP_TOLERANCE):
                raise AcinusError(f"patches at {mpp:g} um/px; the model takes {need}: read them so from the slide")
            if abs(mpp / own - 1) > MPP_TOLERANCE:
                height, width = round(height * mpp / own), round(width * mpp / own)
        if (height, width) != (px, px):
            raise AcinusError(
                f"patches of {width} x {height} px at the model's resolution; it takes {need}: cut them so "
                "(slide.read, patch_grid), or give the whole picture to predict_slide"
            )
        if images.shape[1:3] == (px, px):
            return images
        return np.stack([_shrunk(image, px) for image in images])

    def _predictor(self, calibrated: bool) -> Predict:
        """Return the network's function, made once; within `reproducible` only."""
        if calibrated not in self._made:
            scaling = self._opened.point.scaling if calibrated else AS_TRAINED
            how = Running(tta=self._opened.maps.tta)
            self._made[calibrated] = predictor(self._network, self._opened.card, self.device, scaling, how)
        return self._made[calibrated]

    @cached_property
    def _network(self) -> torch.nn.Module:
        return load_network(self.folder)[0]

    def __repr__(self) -> str:
        mpp = "" if self.mpp is None else f" at {self.mpp:g} um/px"
        return f"<Model {self.folder.name}: {self.task} of {', '.join(self.classes)}, {self.patch_px} px{mpp}>"


def load_model(path: AnyPath, device: str = "cpu") -> Model:
    """Load a trained model, models/<recipe>; beside it lies <recipe>.operating_point.yaml, and a grader if it has one.

    device: cpu, cuda, mps or auto. Results repeat bit by bit for the same device and number of torch's threads.

    Raises:
        AcinusError: no model there, one of another version, no operating point beside it, no such device.
    """
    return Model(path_of(path), text("device", device, "cpu, cuda, mps or auto"))


def _shrunk(image: np.ndarray, px: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((px, px), Image.Resampling.BILINEAR))


def _prediction(path: Path, folder: Path, keep: bool) -> Prediction:
    """Read what a prediction wrote."""
    result = read_json(folder / RESULT)
    mpp = None if result["mpp"] is None else (result["mpp"][0], result["mpp"][1])
    with open_slide(path, result["slide"]) as slide:
        frame = Frame.of((slide.width, slide.height), slide.properties, mpp)
    regions = outline_table(read_annotations(folder / REGIONS, frame), mpp)
    with Image.open(folder / OVERLAY) as picture:
        overlay = np.asarray(picture.convert("RGB"))
    return Prediction(ProbabilityMap.of_file(folder / PROBABILITY), regions, overlay, result, folder if keep else None)
