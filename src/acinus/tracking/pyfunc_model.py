"""The trained model as MLflow serves it ("models from code"): a batch of patches in, class probabilities out.

MLflow runs this file by itself, from a copy beside the weights; nothing of the package imports it.
"""

import threading
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from acinus.learning.card import load_model
from acinus.learning.predict import predict_probs
from acinus.scoring.scaling import Scaling

BATCH = 64
"""Patches that the network sees at a time; a request may hold more."""


class PatchModel(mlflow.pyfunc.PythonModel):
    """uint8 (n, patch_px, patch_px, 3) at the card's resolution -> float32 (n, classes), or (n, classes, h, w)."""

    def load_context(self, context: Any) -> None:
        """Load the network from its safetensors file and card."""
        self._model, self._card = load_model(Path(context.artifacts["model"]))
        self._one_request = threading.Lock()

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Return softmax probabilities; the logits are divided by params["temperature"] (1: as trained)."""
        patches, scaling = np.asarray(model_input), Scaling(float((params or {}).get("temperature", 1.0)))
        starts = range(0, max(1, len(patches)), BATCH)
        parts = [patches[start : start + BATCH] for start in starts]
        with self._one_request:  # a server's threads share the network, which each call lays out anew
            return np.concatenate([predict_probs(self._model, part, self._card, "auto", scaling) for part in parts])


mlflow.models.set_model(PatchModel())
