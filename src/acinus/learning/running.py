"""How a trained network is run: number format, layout of the channels, compiler, engine.

Bits repeat for the same setting; another one gives others (in float32 the last few, in bf16 and fp16 more).
"""

import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from acinus.errors import AcinusError, brief
from acinus.learning.device import place
from acinus.params.faults import running_fault

Network = Callable[[Tensor], Tensor]
"""float32 (n, 3, px, px) on the device -> logits (n, classes, ...)."""

FORMATS = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Running:
    """How a network runs, as infer.precision, infer.engine, compute.channels_last and compute.compile say it.

    tta: infer.tta, what its probabilities are averaged over (`symmetries`).
    """

    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    engine: Literal["torch", "openvino"] = "torch"
    channels_last: bool = True
    compile: bool = False
    tta: Literal["none", "flips", "d4"] = "none"


AS_IS = Running()


def network(model: nn.Module, device: torch.device, px: int, how: Running = AS_IS) -> Network:
    """Return `model`, put on `device` and into evaluation mode, as a function of batches with an edge of `px`.

    openvino runs on as many threads as torch has at this moment (`device.reproducible`).

    Raises:
        AcinusError: the device, or what is installed, cannot run it so.
    """
    check(how, device)
    model.eval()
    if how.engine == "openvino":
        from acinus.learning.openvino_engine import converted  # optional: only where it is asked for

        place(model, device, channels_last=False)
        return converted(model, px, torch.get_num_threads())
    place(model, device, channels_last=how.channels_last)
    run = compiled(model, device) if how.compile else model
    return mixed(run, device, FORMATS[how.precision]) if how.precision in FORMATS else run


def mixed(run: Network, device: torch.device, number: torch.dtype) -> Network:
    """Return `run` under autocast: what gains by it is computed in `number`, the rest in float32."""

    def under_autocast(inputs: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=number):
            return run(inputs)

    return under_autocast


def check(how: Running, device: torch.device) -> None:
    """Refuse what `device` cannot run, before any work.

    Raises:
        AcinusError: as said.
    """
    if (fault := running_fault(how.precision, how.engine, how.compile, str(device))) is not None:
        raise AcinusError(fault)


def compiled(model: nn.Module, device: torch.device) -> Network:
    """Return `model` run by torch.compile; it shares the weights and follows training and evaluation mode.

    Raises:
        AcinusError: no C++ compiler (and, on a GPU, no Triton) here; or, at a call, that it cannot be compiled.
    """
    from torch._dynamo.exc import TorchDynamoException  # slow to import, and only wanted here

    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise AcinusError(
            f"compute.compile: no C++ compiler {compiler!r} found; install g++ (or name one in CXX), or set it to false"
        )
    if device.type == "cuda" and not torch.utils._triton.has_triton():
        raise AcinusError("compute.compile: this build of torch has no Triton for the GPU; set it to false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own imports use what torch deprecates
        fast: Any = torch.compile(model)

    def run(inputs: Tensor) -> Tensor:
        try:
            return fast(inputs)
        except TorchDynamoException as error:
            raise AcinusError(
                f"compute.compile: torch cannot compile the network ({brief(error)}); set it to false"
            ) from error

    return run
