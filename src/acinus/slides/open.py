"""Open any slide by its path: what OpenSlide reads, or one row of an array file."""

from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from acinus.errors import AcinusError
from acinus.slides.array import ArraySlide, array_row
from acinus.slides.geometry import Resolution
from acinus.slides.slide import Slide


class SlidePixels(Protocol):
    """The pixels of one slide, open for reading; a context manager. Sizes are level-0 px, `tag_mpp` (x, y) um/px."""

    slide_id: str
    path: Path
    width: int
    height: int
    level_dimensions: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]
    properties: dict[str, str]
    tag_mpp: tuple[float, float] | None

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def close(self) -> None:
        """Release the file; later reads fail."""
        ...

    def read(self, x0: int, y0: int, width_px: int, height_px: int, at: Resolution) -> np.ndarray:
        """Return uint8 (height_px, width_px, 3) from level-0 (x0, y0) on; white beyond the border."""
        ...

    def overview(self, columns: int, rows: int) -> np.ndarray:
        """Return uint8 (rows, columns, 3): the whole slide, each px the mean of the area it covers."""
        ...


def open_slide(path: Path, slide_id: str) -> SlidePixels:
    """Return the slide at `path`, open; `<file>.npy#<row>` is one row of an array of images.

    Raises:
        SlideError: the file is missing or cannot be used; names slide and file.
    """
    return Slide(path, slide_id) if array_row(path) is None else ArraySlide(path, slide_id)


def readable_file(path: Path) -> Path:
    """Return the file itself: `path` without the row of an array file."""
    place = array_row(path)
    return path if place is None else place[0]


def below(root: Path, relative: str) -> Path:
    """Return root / relative; a path that leads out of the root is refused.

    Raises:
        AcinusError: an absolute path, or one with "..".
    """
    place = PurePosixPath(relative)
    if place.is_absolute() or ".." in place.parts:
        raise AcinusError(f"{relative!r} leads out of the cohort; only paths below cohort.root are read")
    return root / place
