"""Labels of one tile of a PanNuke fold: instance ids in six channels, and the classes they mean.

Source: the data set's masks.npy, (N, height, width, 6), any numeric type. Channels: 0 neoplastic,
1 inflammatory, 2 connective, 3 dead, 4 epithelial (not neoplastic), 5 background.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acinus.errors import SlideError
from acinus.labels import blocks
from acinus.slides.array import image_of

CHANNELS = 6
CONTRADICTION = 0.01
"""Share of a tile's px that may be both background and a nucleus, or neither: borders of nuclei, blurred ones."""
CLASSES = CHANNELS
"""Background, neoplastic, inflammatory, connective, dead, epithelial: class = (channel + 1) mod 6."""


def semantic(ids: np.ndarray) -> np.ndarray:
    """Return uint8 (height, width) classes of instance ids (height, width, 6).

    Where channels overlap the later one wins, background (channel 5) over all; where none is set it is background.
    """
    classes = np.zeros(ids.shape[:2], dtype=np.uint8)
    for channel in range(CHANNELS):
        classes[ids[..., channel] != 0] = (channel + 1) % CLASSES
    return classes


def instances(path: Path, row: int) -> np.ndarray:
    """Return int32 (6, height, width): the instance ids of one tile, 0 where there is none; channels as in the file.

    Raises:
        SlideError: an unusable file; ids that are no whole numbers from 0 to 2^31 - 1; names file and row.
    """
    return np.ascontiguousarray(np.moveaxis(_ids(path.with_name(f"{path.name}#{row}")), 2, 0))


def background_contradicts(path: Path) -> bool:
    """Return whether the background of the tile that `<masks>.npy#<row>` means denies what its other channels say.

    More than CONTRADICTION of the px are both background and a nucleus, or neither; or background, one area
    in the published arrays, has several instance ids.

    Raises:
        SlideError: an unusable file, or ids that are none.
    """
    ids = _ids(path)
    background, nuclei = ids[..., -1], (ids[..., :-1] != 0).any(axis=-1)
    contradicted = float(np.mean((background != 0) == nuclei))
    return contradicted > CONTRADICTION or np.unique(background[background != 0]).size > 1


@dataclass(frozen=True)
class FoldLabels:
    """The labels of one tile of width x height px; `path` is <masks>.npy#<row>. Methods raise SlideError."""

    path: Path
    width: int
    height: int

    def open_check(self) -> None:
        """Refuse a file that cannot be used, or a tile of another size than the image; reads no pixel."""
        height, width = image_of(self.path, CHANNELS).shape[:2]
        if (width, height) != (self.width, self.height):
            raise SlideError(
                f"{self.path.name} is {width} x {height}, but the image is {self.width} x {self.height};"
                " is the mask file of another fold?"
            )

    def counts(self) -> np.ndarray:
        """Return int64 (7,): the pixels of each class, the last of those ignored: none."""
        return np.bincount(semantic(_ids(self.path)).ravel(), minlength=CLASSES + 1).astype(np.int64)

    @property
    def frame(self) -> blocks.Frame:
        """The tile, as the slide that it is, and its classes."""
        return blocks.Frame(CLASSES, self.width, self.height)

    @contextlib.contextmanager
    def opened(self) -> Iterator["_OneTile"]:
        """Give the tile's classes."""
        yield _OneTile(semantic(_ids(self.path)))


class _OneTile:
    """An array as blocks.Blocks."""

    def __init__(self, classes: np.ndarray) -> None:
        self._classes = classes
        self.rows, self.columns = self.tile_rows, self.tile_columns = classes.shape

    def tile(self, row: int, column: int) -> np.ndarray:
        """See blocks.Blocks; there is one."""
        del row, column
        return self._classes


def _ids(path: Path) -> np.ndarray:
    """Return int32 (height, width, 6) instance ids after a look at every value."""
    values = np.asarray(image_of(path, CHANNELS))
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= np.iinfo(np.int32).max):  # so that nan is refused too
        raise SlideError(
            f"{path.name} has instance ids from {low:g} to {high:g}; expected 0 or more; is it a mask file?"
        )
    ids = values.astype(np.int32)
    if values.dtype.kind == "f" and not np.array_equal(ids, values):
        raise SlideError(f"{path.name} has fractions for instance ids; expected whole numbers; is it a mask file?")
    return ids
