"""A recipe's folder of features: <slide_id>.h5 of every slide with tissue, and what the encoder is, encoder.json."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from acinus import params
from acinus.embedding.feature_file import SUFFIX, read_about, read_patches_of
from acinus.encoders.spec import EncoderSpec
from acinus.errors import AcinusError, brief
from acinus.files import atomic_path, write_json
from acinus.slides.geometry import MPP_TOLERANCE

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


def own_features(folder: Path, slide_id: str, index: params.Index) -> Path | None:
    """Return the file of a slide's features, None where it has none.

    Raises:
        AcinusError: features of another slide, of another encoder than the folder's, or of another recipe's patches.
    """
    path, spec = feature_path(folder, slide_id), read_encoder(folder)
    if not path.is_file():
        return None
    about, (patches, width) = read_about(path), read_patches_of(path)
    given = None if patches.mpp is None or not about.identity else patches.mpp * patches.downsample
    faults = (
        (patches.slide_id != slide_id, f"slide {patches.slide_id}", f"slide {slide_id}"),
        (about.encoder != spec.name, f"encoder {about.encoder}", spec.name),
        (about.identity not in ("", spec.identity()), f"encoder {about.encoder} with other weights", spec.name),
        (spec.width not in (None, width), f"{width} numbers per patch", str(spec.width)),
        (patches.patch_px != index.patch_px, f"patches of {patches.patch_px} px", f"{index.patch_px} px"),
        (
            index.mpp is not None and given is not None and abs(given / index.mpp - 1) > 2 * MPP_TOLERANCE,
            f"{given} um/px",
            f"{index.mpp} um/px",
        ),
    )
    for is_wrong, found, expected in faults:
        if is_wrong:
            raise AcinusError(f"{path}: features of {found}, expected {expected}; run the stage embed again")
    return path


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
