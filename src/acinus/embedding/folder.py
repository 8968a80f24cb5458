"""A recipe's folder of features: <slide_id>.h5 of every slide with tissue, and what the encoder is, encoder.json."""

from pathlib import Path

from pydantic import ValidationError

from acinus.embedding.feature_file import SUFFIX
from acinus.encoders.spec import EncoderSpec
from acinus.errors import AcinusError, brief
from acinus.files import write_json

SPEC_FILE = "encoder.json"


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
