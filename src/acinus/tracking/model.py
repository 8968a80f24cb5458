"""A trained model's folder as an MLflow pyfunc: code from the package, weights as safetensors, no pickle."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from acinus.files import read_json

CODE = Path(__file__).resolve().parent / "pyfunc_model.py"
FILES = ("model.safetensors", "card.json")
REQUIREMENTS = (
    "acinus",
    "mlflow",
    "numpy",
    "safetensors",
    "segmentation-models-pytorch",
    "timm",
    "torch",
    "torchvision",
)
"""What serving needs, in the versions that trained; named, since MLflow's own guess starts a process and the network.

`acinus` comes from no index: serve where it is installed (--env-manager local).
"""


@contextmanager
def save_pyfunc(folder: Path, run_id: str | None = None) -> Iterator[Path]:
    """Give a temporary folder with the model as MLflow serves it; the block copies it where it belongs.

    folder: model.safetensors and card.json of a trained model. The model's signature is the card's: uint8 patches
    (-1, patch_px, patch_px, 3) in, float32 probabilities out, with `temperature` as a parameter of a request.

    Raises:
        AcinusError: no card there.
        MlflowException: what MLflow refuses.
    """
    card = read_json(folder / "card.json")
    with tempfile.TemporaryDirectory(prefix="acinus-model-") as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of mlflow's own code and of what it imports
        from mlflow.models import Model
        from mlflow.pyfunc import save_model

        weights, saved = Path(scratch) / "weights", Path(scratch) / "pyfunc"
        weights.mkdir()
        for name in FILES:
            shutil.copyfile(folder / name, weights / name)
        save_model(
            path=str(saved),
            mlflow_model=Model(run_id=run_id),
            python_model=str(CODE),
            artifacts={"model": str(weights)},
            signature=_signature(card),
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in REQUIREMENTS],
            metadata={"card": card},
        )
        for left in saved.rglob("__pycache__"):
            shutil.rmtree(left)
        yield saved


def send_model(client: Any, saved: Path, experiment: str, run_id: str, register: str | None) -> str:
    """Record a saved model as an output of the run (and in the registry), and return its id."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.exceptions import MlflowException

    logged = client.create_logged_model(experiment_id=experiment, name="model", source_run_id=run_id)
    client.log_model_artifacts(logged.model_id, str(saved))
    client.log_outputs(run_id=run_id, models=[LoggedModelOutput(logged.model_id, step=0)])
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    if register is not None:
        with suppress(MlflowException):  # there already; a registry that is down fails in the next line
            client.create_registered_model(register)
        # its place, not models:/<id>: the client's store would look that up at the process's own tracking URI
        client.create_model_version(
            register, logged.artifact_location, run_id, await_creation_for=0, model_id=logged.model_id
        )
    return str(logged.model_id)


def _signature(card: dict[str, Any]) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    edge, classes = card["patch_px"], len(card["classes"])
    place = (edge, edge) if card["task"] == "segmentation" else ()
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("uint8"), (-1, edge, edge, 3))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, classes, *place))]),
        params=ParamSchema([ParamSpec("temperature", "double", 1.0)]),
    )
