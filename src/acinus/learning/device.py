"""Where a network runs, and how it is kept from giving another answer the next time."""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import nn

from acinus import params
from acinus.errors import AcinusError

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
    """Return the torch device that `device` means; `auto` takes a GPU where there is one.

    Raises:
        AcinusError: this machine or this build of torch has no such device.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise AcinusError(f"compute.device = {device!r}: not a device; use cpu, auto, cuda, cuda:N or mps") from error
    here = {
        "cpu": True,
        "cuda": (wanted.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
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
    with _settings:
        yield from _reproducible(device, threads)


def _reproducible(device: torch.device, threads: int) -> Iterator[None]:
    filling: Any = torch.utils.deterministic  # torch's stubs do not know its one attribute
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        filling.fill_uninitialized_memory,
    )
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
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=before[2])
        torch.backends.cudnn.benchmark = before[3]
        filling.fill_uninitialized_memory = before[4]
