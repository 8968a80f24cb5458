"""Open any slide by its path: what OpenSlide or tifffile reads, a picture, a folder, one row of an array file."""

from pathlib import Path, PurePosixPath

from acinus.errors import AcinusError, SlideError
from acinus.slides import dicom
from acinus.slides.array import ArraySlide, array_row
from acinus.slides.formats import is_picture, is_tiff
from acinus.slides.pixels import SlidePixels
from acinus.slides.slide import Slide


def open_slide(path: Path, slide_id: str) -> SlidePixels:
    """Return the slide at `path`, open; `<file>.npy#<row>` is one row of an array of images.

    OpenSlide reads what it can. A TIFF that it does not open, or of which it overlooks levels or um/px (OME-TIFF),
    is read by tifffile; PNG and JPEG as they are while they are small (larger ones: pyramid.slide_file); a folder is
    an OME-Zarr where it is called so, else the one DICOM series in it.

    Raises:
        SlideError: the file is missing or cannot be used; names slide, file and what makes it readable.
    """
    if array_row(path) is not None:
        return ArraySlide(path, slide_id)
    if path.is_dir():
        if path.suffix.lower() == ".zarr":
            from acinus.slides.zarr_slide import ZarrSlide

            return ZarrSlide(path, slide_id)
        path = dicom.file_of(path, slide_id)
    if is_picture(path):
        from acinus.slides.picture import PictureSlide  # libvips, for those who need it

        return PictureSlide(path, slide_id)
    try:
        slide = Slide(path, slide_id)
    except SlideError:
        if not is_tiff(path):
            raise
        return _tiff_slide(path, slide_id)
    if slide.properties.get("openslide.vendor") == "generic-tiff" and len(slide.level_dimensions) == 1:
        from acinus.slides.tiff_layout import sees_more

        if sees_more(path):
            slide.close()
            return _tiff_slide(path, slide_id)
    return slide


def _tiff_slide(path: Path, slide_id: str) -> SlidePixels:
    from acinus.slides.tiff_slide import TiffSlide  # tifffile and imagecodecs, for those who need them

    return TiffSlide(path, slide_id)


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
