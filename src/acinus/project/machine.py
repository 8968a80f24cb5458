"""What kind of machine this is, as far as it decides how floating-point sums are rounded."""

import platform
import sys
from pathlib import Path
from typing import Any

from acinus.code import NUMBERS, installed, without_build

SIMD = ("avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_bf16", "amx_tile", "asimd", "sve")


def describe(threads: int) -> dict[str, Any]:
    """Return the facts on which bit-identical learned results depend: processor, libraries, thread count.

    Two machines with equal descriptions are of one type: results must be identical there. Elsewhere
    other kernels are chosen and sums round differently.
    """
    cpu = _cpu()
    flags = set(cpu.get("flags", cpu.get("Features", "")).split())
    return {
        "architecture": platform.machine(),
        "vendor": cpu.get("vendor_id", cpu.get("CPU implementer", "unknown")),
        "family": cpu.get("cpu family", "unknown"),
        "model": cpu.get("model", cpu.get("CPU part", "unknown")),
        "simd": [name for name in SIMD if name in flags],
        "system": platform.system(),
        "python": ".".join(map(str, sys.version_info[:2])),
        "libraries": {name: installed(name) for name in NUMBERS},
        "threads": threads,
    }


def _cpu() -> dict[str, str]:
    """Return the first processor's lines of /proc/cpuinfo (empty where there is none)."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def same_libraries(first: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two descriptions name the same versions, whatever builds (+cpu): what digests of code name."""
    versions = [{name: without_build(v) for name, v in each["libraries"].items()} for each in (first, other)]
    return versions[0] == versions[1]


def differences(first: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of the facts in which two descriptions differ."""
    return sorted(key for key in first.keys() | other.keys() if first.get(key) != other.get(key))
