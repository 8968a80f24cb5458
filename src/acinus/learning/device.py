"""Where and how a network runs (number format, layout of the channels, compiler, engine), and runs alike next time.

Bits repeat for the same setting; another one gives others (in float32 the last few, in bf16 and fp16 more).
"""

import contextlib
import os
import shutil
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from acinus import params
from acinus.errors import AcinusError, brief
from acinus.params.faults import no_openvino, running_fault

Network = Callable[[Tensor], Tensor]
"""float32 (n, 3, px, px) on the device -> logits (n, classes, ...)."""

_TELEMETRY = "openvino_telemetry"

FORMATS = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}

_settings = threading.RLock()
"""Held by the thread whose settings are torch's at this moment."""


@dataclass(frozen=True)
class Machine:
    """`device` as in params.yaml (cpu, auto, cuda, cuda:1, mps), CPU `threads`, data loading `workers`.

    channels_last, compile: how a network is laid out and run; results then differ in the last bits.
    """

    device: str = "cpu"
    threads: int = 1
    workers: int = 0
    channels_last: bool = True
    compile: bool = False

    @classmethod
    def of(cls, compute: params.Compute) -> "Machine":
        """Return the machine that params.yaml's `compute` describes."""
        layout = {"channels_last": compute.channels_last, "compile": compute.compile_}
        return cls(compute.device, compute.threads, compute.loader_workers, **layout)


def pick(device: str) -> torch.device:
    """Return the torch device that `device` means; `auto` takes a GPU where there is one. AcinusError: none such."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise AcinusError(f"compute.device = {device!r}: not a device; use cpu, auto, cuda, cuda:N or mps") from error
    cuda = (wanted.index or 0) < torch.cuda.device_count()
    here = {"cpu": True, "cuda": cuda, "mps": torch.backends.mps.is_available()}
    if not here.get(wanted.type, False):
        raise AcinusError(
            f"compute.device = {device!r}: this machine (or this build of torch) has none; use cpu or auto"
        )
    return torch.device("cuda:0") if device == "cuda" else wanted


def best_alone(device: str) -> bool:
    """Return whether slides that go through a network here are best mapped by one process: a GPU serves one best."""
    return pick(device).type != "cpu"


def place(model: nn.Module, device: torch.device, *, channels_last: bool = True) -> None:
    """Move `model` to `device`, weights channels last as `inputs.to_input` lays out patches, or channels first."""
    module: Any = model  # torch's stubs do not know memory_format
    module.to(device, memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@contextlib.contextmanager
def reproducible(device: torch.device, threads: int) -> Iterator[None]:
    """Within the block torch runs deterministic algorithms only, on `threads` CPU threads, and so does numpy.

    Results are bit-identical for the same device, build and thread count: sums are split by thread.
    The settings are the process's own, so they are put back afterwards, and another thread that wants some waits
    until then: two at a time gave wrong maps without a word.
    """
    filling: Any = torch.utils.deterministic  # torch's stubs do not know its one attribute
    with _settings:
        threads_before = torch.get_num_threads()
        strict = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        benchmark, fills = torch.backends.cudnn.benchmark, filling.fill_uninitialized_memory
        if device.type == "cuda":  # cuBLAS reads it when the first handle is made; without it torch refuses to run
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        filling.fill_uninitialized_memory = False  # nothing here reads it; filling costs a tenth
        try:
            with threadpool_limits(threads):
                yield
        finally:
            torch.set_num_threads(threads_before)
            torch.use_deterministic_algorithms(strict, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark
            filling.fill_uninitialized_memory = fills


@dataclass(frozen=True)
class Running:
    """How a network runs, as infer.precision, infer.engine, compute.channels_last and compute.compile say it.

    tta: infer.tta, what its probabilities are averaged over (`predict.PASSES`).
    """

    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    engine: Literal["torch", "openvino"] = "torch"
    channels_last: bool = True
    compile: bool = False
    tta: Literal["none", "flips", "d4"] = "none"


AS_IS = Running()


def network(model: nn.Module, device: torch.device, px: int, how: Running = AS_IS) -> Network:
    """Return `model`, put on `device` and into evaluation mode, as a function of batches with an edge of `px`.

    openvino runs on as many threads as torch has at this moment (`reproducible`).

    Raises:
        AcinusError: the device, or what is installed, cannot run it so.
    """
    if (fault := running_fault(how.precision, how.engine, how.compile, str(device))) is not None:
        raise AcinusError(fault)
    model.eval()
    if how.engine == "openvino":
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


def converted(model: nn.Module, px: int, threads: int) -> Network:
    """Return the CPU model, converted in memory, as a function of float32 (n, 3, px, px) batches, n any number.

    In float32 throughout; probabilities differ from torch's by less than 1e-4. Bits repeat for the same batch
    and number of threads.

    Raises:
        AcinusError: openvino is not installed, or does not know one of the network's operations.
    """
    openvino = _package()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing fixes decisions on the edge, which is fixed here
        try:
            graph = openvino.convert_model(model, example_input=torch.zeros(2, 3, px, px), input=[[-1, 3, px, px]])
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
    run = openvino.Core().compile_model(graph, "CPU", settings)
    return lambda inputs: torch.from_numpy(run([inputs.contiguous().numpy()])[0])


def _package() -> types.ModuleType:
    """Return openvino, imported without its telemetry: it would report every import and conversion to its makers."""
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # to the import system: no such module
    try:
        import openvino  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise AcinusError(no_openvino(str(error))) from error
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before
    return openvino
