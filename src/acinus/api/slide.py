"""A slide to look at and to read from, at any resolution."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from acinus.api.arguments import AnyPath, Mpp, bounded, finite, level_of, one_mpp, pair, path_of, shown, whole
from acinus.api.wording import in_calls
from acinus.cohorts.slide_names import safe_id, stem_of
from acinus.errors import AcinusError
from acinus.slides.geometry import Resolution, resolve
from acinus.slides.open import open_slide as open_pixels
from acinus.slides.open import readable_file
from acinus.slides.pixels import SlidePixels
from acinus.slides.pyramid import slide_file


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
                pixels = opened.enter_context(open_pixels(file, self.name))
            self._opened = opened.pop_all()
        self._pixels: SlidePixels | None = pixels
        self.width, self.height = pixels.width, pixels.height
        sizes = zip(pixels.level_dimensions, pixels.level_downsamples, strict=True)
        self.levels = tuple(Level(*size, downsample) for size, downsample in sizes)
        self.properties = dict(pixels.properties)
        self.mpp = mpp or pixels.tag_mpp

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height), level-0 px."""
        return self.width, self.height

    @property
    def pixels(self) -> SlidePixels:
        """What the pipeline reads from. AcinusError: the slide is closed."""
        if self._pixels is None:
            raise AcinusError(f"slide {self.name}: is closed; open it again with acinus.open_slide")
        return self._pixels

    def read(
        self,
        x0: float,
        y0: float,
        width: int,
        height: int,
        *,
        level: int | None = None,
        mpp: Mpp | None = None,
    ) -> np.ndarray:
        """Return uint8 (height, width, 3): the pixels whose top-left corner is level-0 px (x0, y0).

        width, height: px of the resolution that is asked for: a level of the pyramid or um per px (mean of x and y,
        which may differ by 1 % where both are given); without either level 0. At most 2**28 px in all. A finer level is
        shrunk with an antialiased filter. White beyond the slide's border.

        Raises:
            AcinusError: the slide is closed, more px than that, no such level, more resolution than the slide has, mpp
                of a slide whose um/px are not known, pixels that cannot be decoded.
        """
        size = bounded(whole("width", width), whole("height", height))
        at = self.resolution(level=level, mpp=mpp)
        with in_calls():
            return self.pixels.read(finite("x0", x0), finite("y0", y0), *size, at)

    def thumbnail(self, max_px: int = 1024) -> np.ndarray:
        """Return uint8 (rows, columns, 3): the whole slide, its longer edge max_px px or the slide's own if shorter.

        Each px is the mean of the area it covers. At most 2**28 px in all.
        """
        scale = max(1.0, max(self.dimensions) / whole("max_px", max_px))
        columns, rows = bounded(*(max(1, round(edge / scale)) for edge in self.dimensions))
        with in_calls():
            return self.pixels.overview(columns, rows)

    def resolution(self, *, level: int | None = None, mpp: Mpp | None = None) -> Resolution:
        """Return which level serves a resolution, as `read` takes it, and its level-0 px per px (`downsample`)."""
        number, um = level_of(level), one_mpp(mpp)
        if number is None and um is None:
            number = 0
        mean = sum(self.mpp) / 2 if self.mpp else None
        with in_calls(f"slide {self.name}: "):
            at = resolve([size.downsample for size in self.levels], mean, level=number, mpp=um)
        if at.downsample > max(self.dimensions):
            raise AcinusError(f"slide {self.name}: mpp = {shown(mpp)}: one px would be larger than the whole slide")
        return at

    def close(self) -> None:
        """Release the file; later reads fail."""
        self._opened.close()
        self._pixels = None

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
    return Slide(path_of(path), None if mpp is None else pair(mpp))


def a_slide(slide: Slide) -> Slide:
    """Return the slide. AcinusError: something else, such as its path."""
    if not isinstance(slide, Slide):
        raise AcinusError(f"slide = {shown(slide)}: give a Slide: acinus.open_slide(path)")
    return slide
