"""A network run by OpenVINO instead of torch: CPU only, an optional package, imported when it is asked for."""

import sys
import types
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from acinus.errors import AcinusError, brief
from acinus.params.faults import no_openvino

_TELEMETRY = "openvino_telemetry"


def converted(model: nn.Module, px: int, threads: int) -> "OpenVinoNetwork":
    """Return the CPU model, converted in memory, as a function of float32 (n, 3, px, px) batches, n any number.

    In float32 throughout; probabilities differ from torch's by less than 1e-4. Bits repeat for the same batch
    and number of threads.

    Raises:
        AcinusError: openvino is not installed, or does not know one of the network's operations.
    """
    openvino = _package()
    example = torch.zeros(2, 3, px, px)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing fixes decisions on the edge, which is fixed here
        try:
            graph = openvino.convert_model(model, example_input=example, input=[[-1, 3, px, px]])
        except RuntimeError as error:  # OpenVINO's own errors are RuntimeErrors
            raise AcinusError(
                f"infer.engine = 'openvino': it cannot convert the network ({brief(error)}); set infer.engine: torch"
            ) from error
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # else bf16 where the CPU has it
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same cores
    }
    return OpenVinoNetwork(openvino.Core().compile_model(graph, "CPU", settings))


class OpenVinoNetwork:
    """A compiled graph as a function of tensors."""

    def __init__(self, graph: Any) -> None:
        """Take OpenVINO's compiled model with one input and one output."""
        self._graph = graph

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the logits of a float32 batch in memory of its own."""
        return torch.from_numpy(self._graph([inputs.contiguous().numpy()])[0])


def _package() -> types.ModuleType:
    """Return openvino, imported without its telemetry: it would report every import and conversion to its makers."""
    unset = object()
    before: Any = sys.modules.get(_TELEMETRY, unset)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # to the import system: no such module
    try:
        import openvino  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise AcinusError(no_openvino(str(error))) from error
    finally:
        if before is unset:
            del sys.modules[_TELEMETRY]
        else:
            sys.modules[_TELEMETRY] = before
    return openvino
