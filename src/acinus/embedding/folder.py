"""A recipe's folder of features: <slide_id>.h5 of every slide with tissue, and what the encoder is, encoder.json."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from acinus.embedding.feature_file import SUFFIX
from acinus.encoders.spec import EncoderSpec
from acinus.errors import AcinusError, brief
from acinus.files import atomic_path, write_json

SPEC_FILE = "encoder.json"


@dataclass(frozen=True)
class Embedded:
    """What became of a slide. num_patches: 0 where it has no tissue, then there is no file. width: of its features.
    taken_over: it was embedded before. damaged: why what was kept could not be taken over.
    """

    slide_id: str
    num_patches: int
    width: int
    seconds: float
    taken_over: bool = False
    damaged: str | None = None

    def __str__(self) -> str:
        """Return it in words, as a line of progress."""
        if not self.num_patches:
            return f"{self.slide_id}: no tissue to take a patch from, left out"
        if self.taken_over:
            return f"{self.slide_id}: {self.num_patches} patches, embedded before"
        again = f"; embedded again, since {self.damaged}" if self.damaged else ""
        speed = self.num_patches / max(self.seconds, 1e-3)
        return f"{self.slide_id}: {self.num_patches} patches, {speed:.0f} per second{again}"


def feature_path(folder: Path, slide_id: str) -> Path:
    """Return where the features of a slide lie."""
    return folder / f"{slide_id}{SUFFIX}"


def save_encoder(folder: Path, spec: EncoderSpec) -> None:
    """Write what the encoder is."""
    write_json(folder / SPEC_FILE, spec.model_dump(mode="json"))


def read_encoder(folder: Path) -> EncoderSpec:
    """Return the encoder of a folder of features.

    Raises:
        AcinusError: the file is missing, or of another version.
    """
    path = folder / SPEC_FILE
    try:
        return EncoderSpec.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise AcinusError(f"{path}: not found; run the stage embed (dvc repro)") from error
    except ValidationError as error:
        raise AcinusError(f"{path}: not an encoder of this version ({brief(error)}); run the stage embed") from error


def features_kept(root: Path) -> Path:
    """Return the folder of all that the project at `root` keeps of features, beside the pipeline's outputs."""
    return root / ".acinus" / "features"


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy where the disk has no links. Neither is ever written again."""
    try:
        os.link(source, target)
    except OSError:
        with atomic_path(target) as part:
            shutil.copyfile(source, part)
