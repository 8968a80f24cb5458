"""A slide to look at and to read from, at any resolution."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from acinus.api.wording import finite, in_calls, whole
from acinus.cohorts.slide_names import safe_id, stem_of
from acinus.errors import AcinusError
from acinus.slides.geometry import Resolution, resolve
from acinus.slides.open import open_slide as open_pixels
from acinus.slides.open import readable_file
from acinus.slides.pyramid import slide_file
from acinus.slides.slide import MPP_RANGE

AnyPath = str | PathLike[str]
Mpp = float | Sequence[float]
"""um per level-0 px: one number, or (x, y)."""


class Level(NamedTuple):
    """One level of a slide's pyramid, 0 the finest. width, height: px of the level. downsample: level-0 px per px."""

    width: int
    height: int
    downsample: float


class Slide:
    """An open slide; a context manager. Made by `open_slide`. One thread reads at a time.

    path: the file. name: safe as a file name. width, height: level-0 px. levels: of the pyramid.
    mpp: (x, y) um per level-0 px, None where not known. properties: what the file says of itself.
    """

    def __init__(self, path: Path, mpp: tuple[float, float] | None) -> None:
        if not readable_file(path).exists():
            raise AcinusError(f"{path}: no such file or folder; check the path, or mount its disk")
        self.path = path
        self.name = safe_id(stem_of(path.name))
        with ExitStack() as opened:
            scratch = opened.enter_context(tempfile.TemporaryDirectory(prefix="acinus."))
            with in_calls():
                file = slide_file(path, self.name, Path(scratch) / "pyramid.tif")
                if file == path:  # no pyramid was needed
                    opened.close()
                self.pixels = opened.enter_context(open_pixels(file, self.name))
            self._opened = opened.pop_all()
        self.width, self.height = self.pixels.width, self.pixels.height
        sizes = zip(self.pixels.level_dimensions, self.pixels.level_downsamples, strict=True)
        self.levels = tuple(Level(*size, downsample) for size, downsample in sizes)
        self.properties = dict(self.pixels.properties)
        self.mpp = mpp or self.pixels.tag_mpp

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height), level-0 px."""
        return self.width, self.height

    def read(
        self,
        x0: float,
        y0: float,
        width: int,
        height: int,
        *,
        level: int | None = None,
        mpp: float | None = None,
    ) -> np.ndarray:
        """Return uint8 (height, width, 3): the pixels whose top-left corner is level-0 px (x0, y0).

        width, height: px of the resolution that is asked for: a level of the pyramid or um per px (mean of x and y);
        without either level 0. A finer level is shrunk with an antialiased filter. White beyond the slide's border.

        Raises:
            AcinusError: no such level, more resolution than the slide has, mpp of a slide whose um/px are not known,
                pixels that cannot be decoded.
        """
        size = whole("width", width), whole("height", height)
        at = self.resolution(level=level, mpp=mpp)
        with in_calls():
            return self.pixels.read(finite("x0", x0), finite("y0", y0), *size, at)

    def thumbnail(self, max_px: int = 1024) -> np.ndarray:
        """Return uint8 (rows, columns, 3): the whole slide, its longer edge max_px px or the slide's own if shorter.

        Each px is the mean of the area it covers.
        """
        scale = max(1.0, max(self.dimensions) / whole("max_px", max_px))
        columns, rows = (max(1, round(edge / scale)) for edge in self.dimensions)
        with in_calls():
            return self.pixels.overview(columns, rows)

    def resolution(self, *, level: int | None = None, mpp: float | None = None) -> Resolution:
        """Return which level serves a resolution, as `read` takes it, and its level-0 px per px (`downsample`)."""
        if level is None and mpp is None:
            level = 0
        mean = sum(self.mpp) / 2 if self.mpp else None
        with in_calls(f"slide {self.name}: "):
            return resolve(self.pixels.level_downsamples, mean, level=level, mpp=mpp)

    def close(self) -> None:
        """Release the file; later reads fail."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        mpp = "um/px unknown" if self.mpp is None else f"{self.mpp[0]:g} um/px"
        return f"<Slide {self.path.name}: {self.width} x {self.height} px, {len(self.levels)} levels, {mpp}>"


def open_slide(path: AnyPath, mpp: Mpp | None = None) -> Slide:
    """Open a slide of any format that Acinus reads (docs/cohorts.md): a file, or a folder with one DICOM series.

    mpp: um per level-0 px instead of what the file says, one number or (x, y).
    Of a large picture with one level a pyramid is made first, in a temporary folder that `close` removes.

    Raises:
        AcinusError: no such file, a format that is not read (with what converts it), a damaged, grey or 16-bit one;
            an mpp outside 0.05 to 20.
    """
    return Slide(Path(path), None if mpp is None else pair(mpp))


def pair(mpp: Mpp) -> tuple[float, float]:
    """Return (x, y) um per px of one number or two. AcinusError: implausible ones."""
    try:
        x, y = (float(value) for value in (mpp if isinstance(mpp, Sequence) else (mpp, mpp)))
    except (TypeError, ValueError):
        x = y = 0.0
    if not all(MPP_RANGE[0] <= value <= MPP_RANGE[1] for value in (x, y)):
        raise AcinusError(f"mpp = {mpp!r}: expected um per px, {MPP_RANGE[0]:g} to {MPP_RANGE[1]:g}")
    return x, y
