"""What a caller passes, held against what a function takes: what does not fit is refused in one line."""

import math
import os
import reprlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import AcinusError
from acinus.slides.geometry import MPP_TOLERANCE
from acinus.slides.slide import MPP_RANGE

AnyPath = str | PathLike[str]
Mpp = float | Sequence[float]
"""um per px: one number, or (x, y)."""

MAX_READ_PX = 2**28
"""Most px of one picture (16,384 x 16,384): 0.8 GB, and a few times that while it is read."""

FARTHEST = 2.0**40
"""Beyond this no slide has pixels, and OpenSlide's integers no place."""


def shown(value: Any) -> str:
    """Return what was given as a short text of one line."""
    return " ".join(reprlib.repr(plain(value)).split())


def plain(value: Any) -> Any:
    """Return a number of numpy as Python's own."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def path_of(path: AnyPath, name: str = "path") -> Path:
    """Return a path. AcinusError: it is none, or may not be looked at."""
    try:
        named = os.fspath(path)
    except TypeError:
        named = ""
    if not isinstance(named, str) or not named or set(named) & set("\0\n\r"):
        raise AcinusError(f"{name} = {shown(path)}: expected the path of a file or folder, as text or pathlib.Path")
    try:
        Path(named).exists()
    except OSError as error:
        raise AcinusError(f"{name} = {shown(path)}: cannot be looked at ({error.strerror}); check the path") from error
    return Path(named)


def text(name: str, value: Any, expected: str) -> str:
    """Return a text. AcinusError: it is none, with what was expected."""
    if not isinstance(value, str):
        raise AcinusError(f"{name} = {shown(value)}: expected {expected}")
    return value


def whole(name: str, value: Any) -> int:
    """Return a number of px as int. AcinusError: it is none of 1 or more."""
    return _integer(name, value, 1, "a whole number of px, at least 1")


def level_of(level: Any) -> int | None:
    """Return the number of a level, or None. AcinusError: it is none of 0 or more."""
    return None if level is None else _integer("level", level, 0, "the number of a level, 0 for the finest")


def finite(name: str, value: Any) -> float:
    """Return a coordinate as float. AcinusError: it is no number, or far from any slide."""
    number = _number(value)
    if not abs(number) <= FARTHEST:
        raise AcinusError(f"{name} = {shown(value)}: expected a number of level-0 px")
    return number


def bounded(width: int, height: int) -> tuple[int, int]:
    """Return the size of a picture, px. AcinusError: it has more px than one picture may have."""
    if width * height > MAX_READ_PX:
        raise AcinusError(
            f"{width} x {height} px asked for; at most {MAX_READ_PX:,} px fit into one picture: read it in parts, or "
            "at a coarser level or mpp"
        )
    return width, height


def pair(mpp: Mpp) -> tuple[float, float]:
    """Return (x, y) um per level-0 px of one number or two. AcinusError: implausible ones."""
    x, y = _two(mpp)
    if not all(MPP_RANGE[0] <= value <= MPP_RANGE[1] for value in (x, y)):
        raise AcinusError(f"mpp = {shown(mpp)}: expected um per px, {MPP_RANGE[0]:g} to {MPP_RANGE[1]:g}")
    return x, y


def one_mpp(mpp: Mpp | None) -> float | None:
    """Return um per px as one number: of (x, y) their mean, where they are one resolution (MPP_TOLERANCE).

    Raises:
        AcinusError: no number above 0, or two that differ.
    """
    if mpp is None:
        return None
    x, y = _two(mpp)
    if not 0 < min(x, y) <= max(x, y) < math.inf:
        raise AcinusError(f"mpp = {shown(mpp)}: expected um per px, a number above 0")
    if max(x, y) > min(x, y) * (1 + MPP_TOLERANCE):
        raise AcinusError(
            f"mpp = {shown(mpp)}: expected one number of um per px; x and y may differ by {MPP_TOLERANCE:.0%}, "
            f"else give one (their mean is {(x + y) / 2:g})"
        )
    return (x + y) / 2


def _two(mpp: Mpp) -> tuple[float, float]:
    """Return both numbers of um per px; NaN for what is no number."""
    both = mpp if isinstance(mpp, Sequence | np.ndarray) and not isinstance(mpp, str) and np.ndim(mpp) else (mpp, mpp)
    return (_number(both[0]), _number(both[1])) if len(both) == 2 else (math.nan, math.nan)


def _number(value: Any) -> float:
    """Return a number as float, NaN for what is none (True is none, nor is a text)."""
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        return math.nan
    try:
        return float(number)
    except OverflowError:  # an int beyond all floats
        return math.inf


def _integer(name: str, value: Any, least: int, expected: str) -> int:
    number = _number(value)
    if not (least <= number <= FARTHEST and number == int(number)):
        raise AcinusError(f"{name} = {shown(value)}: expected {expected}")
    return int(number)
