"""Errors and warnings in the words of the API: a remedy names an argument where the pipeline's names a key."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError

from acinus.api.arguments import FARTHEST, plain, shown
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
    whole = {name: plain(value) for name, value in values.items()}
    for name, value in whole.items():
        if isinstance(value, int | float) and abs(value) > FARTHEST:
            raise AcinusError(f"{name} = {shown(value)}: expected a smaller number")
    try:
        return model.model_validate(whole)
    except ValidationError as error:
        raise AcinusError("; ".join(_fault(fault, model) for fault in error.errors(include_url=False))) from error


def _fault(fault: Any, model: type[Section]) -> str:
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{name}: no such setting; allowed are {', '.join(sorted(model.model_fields))}"
    what = str(fault["msg"]).removeprefix("Value error, ")
    return f"{name} = {shown(fault['input'])}: {what}" if name else what
