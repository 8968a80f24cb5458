"""The one base of every failure a person can mend: one line that says what, why and how."""


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
