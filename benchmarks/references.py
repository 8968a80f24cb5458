"""The usual scripts, written as most people write them: OpenSlide's read_region patch by patch, Pillow, a loop."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import lmdb
import numpy as np
import openslide
from PIL import Image

from benchmarks.slides import BenchSlide, load
from benchmarks.tasks import Done, Work

MAP_BYTES = 1 << 34


def some(slide: BenchSlide, edge_px: int, stride_px: int, limit: int | None) -> np.ndarray:
    """Return the squares that a task takes, int64 (n, 2): all of a grid, or `limit` neighbouring ones of its middle."""
    places = slide.places(edge_px, stride_px)
    first = 0 if limit is None else max(0, (len(places) - limit) // 2)
    return places[first:] if limit is None else places[first : first + limit]


def png_files(out: str, slide: str, edge_px: int, stride_px: int, limit: int | None = None) -> Work:
    """Patch by patch into PNG files."""
    folder = Path(out)

    def work() -> Done:
        count = 0
        for name, image in _patches(places, Path(slide), edge_px):
            image.save(folder / f"{name}.png")
            count += 1
        return Done(count)

    places = some(load(Path(slide)), edge_px, stride_px, limit)
    return work


def png_lmdb(out: str, slide: str, edge_px: int, stride_px: int, limit: int | None = None) -> Work:
    """Patch by patch as PNG into LMDB."""
    return _into_lmdb(out, slide, edge_px, stride_px, limit, lambda image, file: image.save(file, "PNG"))


def jpeg_lmdb(
    out: str, slide: str, edge_px: int, stride_px: int, limit: int | None = None, full_chroma: bool = False
) -> Work:
    """Patch by patch as JPEG (quality 90) into LMDB; Pillow halves the chroma unless it is told not to."""
    options = {"quality": 90, "subsampling": 0} if full_chroma else {"quality": 90}
    return _into_lmdb(out, slide, edge_px, stride_px, limit, lambda image, file: image.save(file, "JPEG", **options))


def patchify(out: str, png: str, edge_px: int) -> Work:
    """A whole PNG into one array and its patches into another, as the popular library does; the edge strip is lost."""

    def work() -> Done:
        Image.MAX_IMAGE_PIXELS = None
        with Image.open(png) as image:
            pixels = np.array(image)
        rows, columns = pixels.shape[0] // edge_px, pixels.shape[1] // edge_px
        cut = pixels[: rows * edge_px, : columns * edge_px].reshape(rows, edge_px, columns, edge_px, 3)
        return Done(len(np.ascontiguousarray(cut.swapaxes(1, 2)).reshape(-1, edge_px, edge_px, 3)))

    return work


def _patches(places: np.ndarray, slide: Path, edge_px: int) -> Iterator[tuple[str, Image.Image]]:
    with openslide.OpenSlide(slide) as opened:
        for x, y in places.tolist():
            yield f"{x}_{y}", opened.read_region((x, y), 0, (edge_px, edge_px)).convert("RGB")


def _into_lmdb(
    out: str, slide: str, edge_px: int, stride_px: int, limit: int | None, save: Callable[[Image.Image, BytesIO], None]
) -> Work:
    def work() -> Done:
        count = 0
        with lmdb.open(str(Path(out) / "patches.lmdb"), map_size=MAP_BYTES) as store, store.begin(write=True) as all_in:
            for name, image in _patches(places, Path(slide), edge_px):
                file = BytesIO()
                save(image, file)
                all_in.put(name.encode(), file.getvalue())
                count += 1
        return Done(count)

    places = some(load(Path(slide)), edge_px, stride_px, limit)
    return work
