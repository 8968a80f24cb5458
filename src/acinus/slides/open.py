"""Open any slide by its path: what OpenSlide reads, or one row of an array file."""

from pathlib import Path, PurePosixPath

from acinus.errors import AcinusError
from acinus.slides.array import ArraySlide, array_row
from acinus.slides.pixels import SlidePixels
from acinus.slides.slide import Slide


def open_slide(path: Path, slide_id: str) -> SlidePixels:
    """Return the slide at `path`, open; `<file>.npy#<row>` is one row of an array of images.

    Raises:
        SlideError: the file is missing or cannot be used; names slide and file.
    """
    return Slide(path, slide_id) if array_row(path) is None else ArraySlide(path, slide_id)


def readable_file(path: Path) -> Path:
    """Return the file itself: `path` without the row of an array file."""
    file_and_row = array_row(path)
    return path if file_and_row is None else file_and_row[0]


def below(root: Path, relative: str) -> Path:
    """Return root / relative; a path that leads out of the root is refused.

    Raises:
        AcinusError: an absolute path, or one with "..".
    """
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts:
        raise AcinusError(f"{relative!r} leads out of the cohort; only paths below cohort.root are read")
    return root / path
