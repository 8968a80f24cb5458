"""The trained model as MLflow has it: saved without pickle, logged, registered, and served by MLflow's own server."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from acinus.errors import AcinusError
from acinus.learning.card import Card, save_model
from acinus.learning.models import build_model
from acinus.learning.predict import predict_probs
from acinus.tracking import RunFacts, stage_run
from acinus.tracking.model import save_pyfunc

EDGE = 32
TASKS: dict[str, dict[str, Any]] = {
    "patch_classification": {"architecture": "test_resnet", "classes": ("normal", "tumor")},
    "segmentation": {"architecture": "unet", "encoder": "test_resnet", "classes": ("background", "a", "b")},
}


def card(task: str) -> Card:
    values = {
        "version": "0",
        "task": task,
        "weights": "none",
        "positive": TASKS[task]["classes"][1:],
        "patch_px": EDGE,
        "input_px": EDGE,
        "level": 0,
        "mpp": None,
        "mpp_mean": 0.5,
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.3, 0.4),
        "index": {"patch_px": EDGE, "stride_px": EDGE, "level": 0},
        "recipe_hash": "abc",
        "data_hashes": {},
        "epochs": 1,
        "best_epoch": 1,
        "seed": 0,
    }
    return Card.model_validate({**values, **TASKS[task]})


@pytest.fixture(params=sorted(TASKS))
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A model's folder, patches, and their probabilities as the stages compute them."""
    torch.manual_seed(0)
    own, folder = card(request.param), tmp_path / "models" / "r"
    folder.mkdir(parents=True)
    model = build_model(own.spec())
    patches = np.random.default_rng(0).integers(0, 256, (3, EDGE, EDGE, 3), dtype=np.uint8)
    probs = predict_probs(model, patches, own, "cpu")
    save_model(folder, model, own)
    (folder / "training_log.csv").write_text("what serving does not need")
    return folder, patches, probs


def load(path: str) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(path)


def test_a_saved_model_gives_the_same_probabilities_and_holds_no_pickle(trained: Any) -> None:
    folder, patches, probs = trained
    with save_pyfunc(folder) as saved:
        files = {path.name for path in saved.rglob("*") if path.is_file()}
        assert {"MLmodel", "model.safetensors", "card.json", "pyfunc_model.py", "requirements.txt"} <= files
        assert not [name for name in files if name.endswith((".pkl", ".pt", ".pth", ".ckpt"))]
        assert "training_log.csv" not in files
        found = load(str(saved))
        np.testing.assert_array_equal(found.predict(patches), probs)
        twice = found.predict(np.concatenate([patches] * 2))  # any batch; sums of another batch may end in other bits
        np.testing.assert_allclose(twice, np.concatenate([probs] * 2), rtol=1e-5)
        softer = found.predict(patches, params={"temperature": 4.0})
        assert float(np.ptp(softer)) < float(np.ptp(probs))
        described = yaml.safe_load((saved / "MLmodel").read_text())
    own = json.loads((folder / "card.json").read_text())
    assert described["metadata"]["card"] == own
    (taken,) = json.loads(described["signature"]["inputs"])
    assert taken["tensor-spec"] == {"dtype": "uint8", "shape": [-1, EDGE, EDGE, 3]}
    (given,) = json.loads(described["signature"]["outputs"])
    assert given["tensor-spec"] == {"dtype": "float32", "shape": [-1, *probs.shape[1:]]}


def test_patches_of_another_size_are_refused_by_the_signature(trained: Any) -> None:
    from mlflow.exceptions import MlflowException

    folder, patches, _ = trained
    with save_pyfunc(folder) as saved, pytest.raises(MlflowException, match="shape"):
        load(str(saved)).predict(patches[:, :16])


def facts(root: Path, register: str | None, **changes: Any) -> RunFacts:
    values: dict[str, Any] = {"root": root, "uri": "sqlite:///mlflow.db", "required": False, "experiment": "r"}
    values |= {"stage": "train", "params": {}, "tags": {"acinus.kind": "stage"}, "inputs": (), "register": register}
    return RunFacts(**{**values, **changes})


@pytest.mark.parametrize("trained", ["patch_classification"], indirect=True)
def test_a_logged_model_is_found_at_its_run_and_in_the_registry(trained: Any, tmp_path: Path) -> None:
    import mlflow
    from mlflow import MlflowClient

    folder, patches, probs = trained
    for _ in range(2):
        with stage_run(facts(tmp_path, "acinus-r")) as run:
            run.log_model(folder)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}", registry_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    versions = client.search_model_versions("name = 'acinus-r'")
    assert sorted(int(one.version) for one in versions) == [1, 2]
    newest = max(versions, key=lambda one: int(one.version))
    assert newest.run_id == run.run_id
    (output,) = client.get_run(run.run_id).outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert str(logged.status) == "READY"
    assert newest.source == logged.artifact_location
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    try:
        np.testing.assert_array_equal(load("models:/acinus-r/2").predict(patches), probs)
    finally:
        mlflow.set_tracking_uri(before)


@pytest.mark.parametrize("trained", ["patch_classification"], indirect=True)
def test_a_model_that_cannot_be_logged_costs_a_warning_and_nothing_else(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("no registry here")

    monkeypatch.setattr(MlflowClient, "create_model_version", refuse)
    with stage_run(facts(tmp_path, "acinus-r")) as run:
        run.log_model(trained[0])
        run.log_metrics({"after": 1})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: tracking.uri = 'sqlite:///mlflow.db': the model cannot be recorded (no registry")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert client.get_run(run.run_id).data.metrics == {"after": 1.0}
    with pytest.raises(AcinusError, match="required"), stage_run(facts(tmp_path, "acinus-r", required=True)) as run:
        run.log_model(trained[0])


@contextmanager
def served(path: Path, log: Path) -> Iterator[str]:
    """Run `mlflow models serve` and give its address once it answers."""
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    except OSError as error:
        pytest.skip(f"no port can be opened here: {error}")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(path), "--env-manager", "local"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": f"file:{path}"}
    quiet |= {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    with log.open("w") as stream:
        server = subprocess.Popen(
            [*command, "--port", str(port)],
            env={**os.environ, **quiet},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(240):
                assert server.poll() is None, log.read_text()[-3000:]
                try:
                    urllib.request.urlopen(f"{address}/ping", timeout=5).close()
                    break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.5)
            else:
                pytest.fail(f"the server did not answer: {log.read_text()[-3000:]}")
            yield address
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)


@pytest.mark.parametrize("trained", ["patch_classification"], indirect=True)
def test_mlflow_serves_the_probabilities_of_predict_probs(trained: Any, tmp_path: Path) -> None:
    folder, patches, probs = trained
    with save_pyfunc(folder) as saved, served(saved, tmp_path / "serve.log") as address:
        body = json.dumps({"inputs": patches.tolist()}).encode()
        request = urllib.request.Request(
            f"{address}/invocations", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = np.array(json.loads(answer.read())["predictions"])
    np.testing.assert_allclose(found, probs, rtol=0, atol=1e-6)
