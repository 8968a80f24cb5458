"""The one base of every failure a person can mend: one line that says what, why and how."""

import textwrap


class AcinusError(Exception):
    """A failure with a remedy. Its text is one line; the command line prints it and exits 1."""


class RecipeError(AcinusError):
    """params.yaml or a recipe says something that cannot be done."""


class TableError(AcinusError):
    """A table does not have the columns, types or values of its contract."""


class WriteError(AcinusError):
    """An output cannot be written: a matter of the disk, and no fault of what it is made from."""


class SlideError(AcinusError):
    """A slide (or its label) cannot be used; the text names the slide."""


def brief(error: BaseException, most: int = 160) -> str:
    """Return another library's error as one line of at most `most` characters, cut between words; never empty."""
    return textwrap.shorten(str(error), most, placeholder=" ...") or type(error).__name__


def install_extra(name: str) -> str:
    """Return how the packages of an extra of acinus come onto the machine."""
    return f"install the extra {name}: make install, or pip install 'acinus[{name}]'"
