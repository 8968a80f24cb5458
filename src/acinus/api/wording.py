"""Errors and warnings in the words of the API: a remedy names an argument where the pipeline's names a key."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError

from acinus.errors import AcinusError
from acinus.params.base import Section
from acinus.slides.pixels import LEAVE_OUT, REMEDY

_REMEDIES = {
    REMEDY: "replace the file",
    f", or {LEAVE_OUT}": "",
    f" or {LEAVE_OUT}": "",
    " or list its slides under cohort.exclude": "",
    "set cohort.mpp or ": "give mpp to open_slide or ",
    "index.tissue.": "",
    "index.": "",
    "give it by --mpp": "give it as mpp",
    "as given by --mpp": "as given",
    "--mpp ": "mpp = ",
    "compute.device": "device",
    "--device": "device",
    "by --out": "as out",
}
"""What the pipeline says -> what helps somebody who calls a function."""

Model = TypeVar("Model", bound=Section)


class AcinusWarning(UserWarning):
    """What is not used or is doubtful in an input that can be read."""


@contextmanager
def in_calls(start: str = "") -> Iterator[None]:
    """Put errors of the pipeline in the words of the API. start: what a text begins with, if it does not yet."""
    try:
        yield
    except AcinusError as error:
        text = str(error)
        for key, words in _REMEDIES.items():
            text = text.replace(key, words)
        if not text.startswith(start):
            text = start + text
        if text == str(error):
            raise
        raise type(error)(text) from error


def settings(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return a section of a recipe made of arguments.

    Raises:
        AcinusError: an unknown name, or a value that is not allowed; all of them in one line.
    """
    whole = {name: _plain(value) for name, value in values.items()}
    try:
        return model.model_validate(whole)
    except ValidationError as error:
        raise AcinusError("; ".join(_fault(fault, model) for fault in error.errors(include_url=False))) from error


def _plain(value: Any) -> Any:
    """Return a number of numpy as Python's own."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def _fault(fault: Any, model: type[Section]) -> str:
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{name}: no such setting; allowed are {', '.join(sorted(model.model_fields))}"
    what = str(fault["msg"]).removeprefix("Value error, ")
    return f"{name} = {fault['input']!r}: {what}" if name else what


def whole(name: str, value: Any) -> int:
    """Return a number of px as int. AcinusError: it is none of 1 or more."""
    number = _plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not _is_count(number):
        raise AcinusError(f"{name} = {value!r}: expected a whole number of px, at least 1")
    return int(number)


def _is_count(number: float) -> bool:
    return math.isfinite(number) and number >= 1 and number == int(number)


def finite(name: str, value: Any) -> float:
    """Return a coordinate as float. AcinusError: it is no finite number."""
    number = _plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise AcinusError(f"{name} = {value!r}: expected a number of level-0 px")
    return float(number)
