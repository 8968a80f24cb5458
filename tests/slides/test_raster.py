"""Rasters of every form against Pillow's and tifffile's own reading, by streaming and within a bound of memory."""

import contextlib
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest
import pyvips
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from acinus.errors import SlideError
from acinus.slides import pyramid, raster
from acinus.slides.slide import Slide

HEIGHT, WIDTH = 611, 1030
y, x = np.mgrid[:HEIGHT, :WIDTH]
PICTURE = np.stack([128 + 90 * np.sin(x / 71), 120 + 100 * np.cos(y / 53), 60 + x * 150 / WIDTH], 2).astype(np.uint8)
GREY = PICTURE[..., 0]
ALPHA = (x * 255 // WIDTH).astype(np.uint8)
DEEP = PICTURE.astype(np.uint16) * 257 + ((x + y) % 200 - 100).astype(np.int16)[..., None].clip(-60, 60).astype(
    np.uint16
)
WHITENED = PICTURE * (ALPHA[..., None] / 255) + 255 * (1 - ALPHA[..., None] / 255)


def pillow(mode: str, pixels: np.ndarray = PICTURE, **options: object) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(pixels).convert(mode).save(path, **options)


def encoded(pixels: np.ndarray) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))


def tiff(pixels: np.ndarray = PICTURE, **options: object) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, pixels, metadata=None, **options)


def vips(**options: object) -> Callable[[Path], None]:
    return lambda path: pyvips.Image.new_from_array(PICTURE).write_to_file(str(path), **options)


def palette(path: Path) -> None:
    Image.fromarray((x * 16 // WIDTH).astype(np.uint8), "L").convert("P").quantize(16).save(path)


def as_rgb(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def rgb_of(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


FORMS: dict[str, tuple[str, Callable[[Path], object], np.ndarray | None]] = {
    "rgb": (".png", pillow("RGB"), PICTURE),
    "palette": (".png", palette, None),
    "grey": (".png", pillow("L", GREY), rgb_of(GREY)),
    "one bit": (".png", pillow("1", GREY), None),
    "alpha": (".png", pillow("RGBA", np.dstack([PICTURE, ALPHA])), WHITENED),
    "16 bit": (".png", encoded(DEEP), DEEP / 257),
    "16 bit grey": (".png", encoded(DEEP[..., 0]), rgb_of(DEEP[..., 0]) / 257),
    "interlaced": (".png", vips(interlace=True), PICTURE),
    "jpeg": (".jpg", pillow("RGB", quality=97, subsampling=0), None),
    "progressive jpeg": (".jpeg", pillow("RGB", quality=97, subsampling=0, progressive=True), None),
    "grey jpeg": (".jpg", pillow("L", GREY, quality=97), None),
    "strips": (".tif", tiff(photometric="rgb", rowsperstrip=33, compression="lzw"), PICTURE),
    "one strip": (".tif", tiff(photometric="rgb", rowsperstrip=HEIGHT, compression="zlib"), PICTURE),
    "tiles": (".tiff", tiff(photometric="rgb", tile=(128, 64)), PICTURE),
    "planes apart": (".tif", tiff(PICTURE.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), PICTURE),
    "deep tiff, big-endian": (".tif", tiff(DEEP, photometric="rgb", byteorder=">", bigtiff=True), DEEP / 257),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_a_pyramid_that_openslide_opens(form: str, tmp_path: Path) -> None:
    suffix, write, expected = FORMS[form]
    source, target = tmp_path / f"a{suffix}", tmp_path / "a.tif.tif"
    write(source)
    expected = as_rgb(source) if expected is None else expected
    assert raster.declared_size(source) == (WIDTH, HEIGHT)
    pyramid.to_pyramid(source, target, 97)
    with openslide.OpenSlide(target) as slide:
        assert slide.level_dimensions == ((1030, 611), (515, 306), (258, 153))
        pixels = np.asarray(slide.read_region((0, 0), 0, (WIDTH, HEIGHT)).convert("RGB")).astype(float)
    apart = np.abs(pixels - expected)
    assert apart.mean() < 1.2
    assert np.quantile(apart, 0.999) < (40 if form in ("one bit", "palette") else 5)


def test_16_bits_are_divided_by_257_and_rounded(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 385, 386, 32767, 65278, 65407, 65535]], dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    (stripe,) = raster.stripes(raster.open_raster(tmp_path / "a.png"))
    assert stripe[0, :, 0].tolist() == [0, 0, 1, 1, 1, 2, 127, 254, 255, 255]
    assert stripe[0, :, 0].tolist() == np.rint(values[0] / 257).tolist()


@pytest.mark.parametrize("quality", [75, 95])
def test_colour_is_stored_as_finely_as_brightness(quality: int, tmp_path: Path) -> None:
    """Red and blue columns of equal brightness: with halved chroma they would run into purple."""
    columns = np.zeros((64, 64, 3), dtype=np.uint8)
    columns[:, ::2], columns[:, 1::2] = (200, 0, 0), (0, 60, 255)
    Image.fromarray(columns).save(tmp_path / "a.png")
    pyramid.to_pyramid(tmp_path / "a.png", tmp_path / "a.tif", quality)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff_file:
        assert tiff_file.pages.first.subsampling == (1, 1)
    pixels = np.asarray(openslide.OpenSlide(tmp_path / "a.tif").read_region((0, 0), 0, (64, 64)).convert("RGB"))
    assert np.abs(pixels.astype(int) - columns).mean() < 16  # 4:2:0 is 60 apart


def test_coarser_levels_are_means_of_the_finest(tmp_path: Path) -> None:
    pillow("RGB")(tmp_path / "a.png")
    pyramid.to_pyramid(tmp_path / "a.png", tmp_path / "a.tif", 97)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff_file:
        levels = [page.asarray() for page in tiff_file.pages]
    for level, pixels in enumerate(levels):
        rows, columns = HEIGHT >> level, WIDTH >> level
        blocks = PICTURE[: rows << level, : columns << level].reshape(rows, 1 << level, columns, 1 << level, 3)
        assert np.abs(pixels[:rows, :columns] - blocks.mean((1, 3))).mean() < 1.5
    assert np.abs(levels[1][-1, :515].astype(int) - PICTURE[-1].reshape(515, 2, 3).mean(1)).mean() < 2  # the odd row


@pytest.mark.parametrize("size", [(1, 1), (512, 512), (513, 1), (1, 1025)])
def test_odd_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", size, (250, 20, 90)).save(tmp_path / "a.png")
    pyramid.to_pyramid(tmp_path / "a.png", tmp_path / "a.tif", 90)
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert slide.dimensions == size
        pixels = np.asarray(slide.read_region((0, 0), 0, size).convert("RGB")).astype(int)
        assert max(slide.level_dimensions[-1]) <= raster.TILE_PX
    assert np.abs(pixels - (250, 20, 90)).max() <= 3


def test_the_same_source_gives_the_same_bytes_and_nothing_else(tmp_path: Path) -> None:
    pillow("RGB")(tmp_path / "a.png")
    for name in ("one", "two"):
        pyramid.to_pyramid(tmp_path / "a.png", tmp_path / name / "a.tif", 90)
    assert (tmp_path / "one/a.tif").read_bytes() == (tmp_path / "two/a.tif").read_bytes()
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["a.tif"]


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    for size in ((40, 30), (50, 20)):
        Image.new("RGB", size).save(tmp_path / "a.png")
        assert raster.declared_size(tmp_path / "a.png") == size


@pytest.mark.parametrize(
    ("dpi", "mpp"), [(None, None), ((72, 72), None), ((300, 300), None), ((50800, 101600), (0.5, 0.25))]
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_only_plausible_resolutions_are_handed_on(
    suffix: str, dpi: tuple[int, int] | None, mpp: tuple[float, float] | None, tmp_path: Path
) -> None:
    Image.fromarray(PICTURE).save(tmp_path / f"a{suffix}", **({"dpi": dpi} if dpi else {}))
    pyramid.to_pyramid(tmp_path / f"a{suffix}", tmp_path / "b.tif", 90)
    with Slide(tmp_path / "b.tif", "b") as slide:
        assert slide.tag_mpp == (None if mpp is None else pytest.approx(mpp, rel=1e-4))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_bomb_is_told_by_its_header_and_pillows_guard_stays(tmp_path: Path) -> None:
    """40,000 x 30,000 px declared, none there: Pillow would refuse to say the size."""
    path = tmp_path / "bomb.png"
    head = struct.pack(">IIBBBBB", 40_000, 30_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    size = raster.declared_size(path)
    assert size == (40_000, 30_000)
    with pytest.raises(
        SlideError, match=r"images/bomb\.png: 40000 x 30000 = 1200000000 px, more than cohort\.max_pixe"
    ):
        raster.check_budget(size, 400_000_000, "images/bomb.png")
    raster.check_budget(size, 1_200_000_000, "images/bomb.png")
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def damaged(suffix: str, **options: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / f"a{suffix}"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)).save(path, **options)
        cut(path)
        return path

    return write


def written(suffix: str, write: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder / f"a{suffix}")
        return folder / f"a{suffix}"

    return make


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(PICTURE).save(path, exif=exif)


REFUSED = {
    "cut PNG": (damaged(".png"), "does not decode"),
    "cut JPEG": (damaged(".jpg", quality=90), "does not decode"),
    "cut TIFF": (damaged(".tif"), "does not decode"),
    "no raster": (written(".png", lambda path: path.write_text("<svg/>")), "begins with 3c7376672f3e; expected a PNG"),
    "empty": (written(".png", lambda path: path.touch()), "begins with nothing"),
    "absent": (written(".png", lambda path: None), "cannot be read"),
    "floats": (written(".tif", tiff(np.zeros((9, 9), np.float32))), "float"),
    "CMYK": (written(".jpg", pillow("CMYK")), "cmyk"),
    "turned": (written(".jpg", turned), r"orientation tag \(3\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_one_line_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    write, message = REFUSED[case]
    path = write(tmp_path)
    with pytest.raises(SlideError, match=message) as caught:
        pyramid.to_pyramid(path, tmp_path / "out" / "a.tif", 90)
    assert str(caught.value).startswith(path.name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.parametrize(("form", "suffix"), [("interlaced", ".png"), ("progressive jpeg", ".jpg")])
def test_what_cannot_be_streamed_is_refused_where_it_is_large(
    form: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FORMS[form][1](tmp_path / f"a{suffix}")
    monkeypatch.setattr(raster, "MAX_INTERLACED_PX", WIDTH * HEIGHT)
    raster.open_raster(tmp_path / f"a{suffix}")
    monkeypatch.setattr(raster, "MAX_INTERLACED_PX", WIDTH * HEIGHT - 1)
    with pytest.raises(SlideError, match="without interlacing"):
        raster.open_raster(tmp_path / f"a{suffix}")
    assert raster.declared_size(tmp_path / f"a{suffix}") == (WIDTH, HEIGHT)


PEAK = """
import sys
from pathlib import Path
from acinus.slides.pyramid import to_pyramid
to_pyramid(Path(sys.argv[1]), Path(sys.argv[2]), 90)
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_area(tmp_path: Path) -> None:
    """108 MB of pixels: ten times the rows may cost a few MB more, and the whole must stay small.

    VmHWM, since ru_maxrss of a child begins with its parent's.
    """
    peaks = []
    for rows in (600, 6000):
        picture = (
            pyvips.Image.new_from_array(PICTURE).copy(interpretation="srgb").replicate(6, 10).crop(0, 0, 6000, rows)
        )
        picture.pngsave(str(tmp_path / "a.png"), compression=1)
        command = [sys.executable, "-c", PEAK, tmp_path / "a.png", tmp_path / "a.tif"]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] < 200
    assert peaks[1] - peaks[0] < 40


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 7))
def test_regrouping_keeps_every_row_in_order(lengths: list[int], rows: int) -> None:
    total = np.arange(sum(lengths))[:, None]
    ends = np.cumsum(lengths, dtype=int)
    pieces = [total[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    groups = list(raster.regrouped(iter(pieces), rows))
    assert [len(group) for group in groups[:-1]] == [rows] * (len(groups) - 1)
    assert all(0 < len(group) <= rows for group in groups)
    assert [value for group in groups for value in group[:, 0].tolist()] == list(range(sum(lengths)))


@pytest.mark.parametrize("compression", ["zstd", "lzma", "jpeg2000"])
def test_tiles_that_libvips_would_paint_black_are_refused(compression: str, tmp_path: Path) -> None:
    tiff(photometric="rgb", tile=(128, 128), compression=compression)(tmp_path / "a.tif")
    with pytest.raises(
        SlideError, match=r"a\.tif: tiles of compression \w+ cannot be read; save it with LZW or deflate"
    ):
        pyramid.to_pyramid(tmp_path / "a.tif", tmp_path / "made" / "a.tif", 90)
    assert not list((tmp_path / "made").iterdir())


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "jpeg"])
def test_a_tiled_tiff_that_breaks_off_is_refused(compression: str | None, tmp_path: Path) -> None:
    tiff(photometric="rgb", tile=(128, 128), compression=compression)(tmp_path / "whole.tif")
    data = (tmp_path / "whole.tif").read_bytes()
    assert sum(len(one) for one in raster.stripes(raster.open_raster(tmp_path / "whole.tif"))) == HEIGHT
    for name, kept in (("a", len(data) // 2), ("b", len(data) - 1)):
        (tmp_path / f"{name}.tif").write_bytes(data[:kept])
        with pytest.raises(
            SlideError, match=rf"{name}\.tif: tile \d+ of 45 is missing or breaks off; replace the file"
        ):
            list(raster.stripes(raster.open_raster(tmp_path / f"{name}.tif")))


@pytest.mark.parametrize("damage", [b"\0", b"\xa5"], ids=["zeros", "noise"])
def test_a_damaged_tile_is_refused_with_its_number(damage: bytes, tmp_path: Path) -> None:
    tiff(photometric="rgb", tile=(128, 128), compression="zlib")(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as whole:
        offset, count = whole.pages.first.dataoffsets[7], whole.pages.first.databytecounts[7]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[offset : offset + count] = damage * count
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(SlideError, match=r"a\.tif: tile 7 of 45 is damaged \(.+\); replace the file"):
        list(raster.stripes(raster.open_raster(tmp_path / "a.tif")))


def test_a_tile_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    tiff(photometric="rgb", tile=(128, 128), compression="zlib")(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages.first.tags["TileWidth"].overwrite(2**15)
        file.pages.first.tags["TileLength"].overwrite(2**15)
    with pytest.raises(SlideError, match=r"a\.tif: tiles of 32768 x 32768 px, more than 33554432 px; save it"):
        raster.check_tiles(tmp_path / "a.tif")


@given(st.binary(max_size=40), st.integers(0, 3000))
def test_a_damaged_directory_is_one_line_or_harmless(tmp_path_factory, noise: bytes, at: int) -> None:
    folder = tmp_path_factory.mktemp("noise")
    tiff(PICTURE[:200, :200], photometric="rgb", tile=(64, 64), compression="zlib")(folder / "a.tif")
    data = bytearray((folder / "a.tif").read_bytes())
    data[at : at + len(noise)] = noise
    (folder / "a.tif").write_bytes(data)
    with contextlib.suppress(SlideError):
        raster.check_tiles(folder / "a.tif")


@pytest.mark.parametrize(("largest", "refused"), [(1, True), (255, True), (4095, True), (4096, False), (0, False)])
@pytest.mark.parametrize("form", ["grey", "alpha"])
def test_16_bits_that_hold_8_or_12_are_refused_not_made_black(
    largest: int, refused: bool, form: str, tmp_path: Path
) -> None:
    values = np.full((40, 30), largest, dtype=np.uint16)
    values[::2] = 0
    pixels = values if form == "grey" else np.dstack([values, values, values, np.full_like(values, 65535)])
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    opened = raster.open_raster(tmp_path / "a.png")
    if refused:
        with pytest.raises(
            SlideError, match=rf"a\.png: 16-bit pixels of which the largest is {largest}, of 65535; save"
        ):
            list(raster.stripes(opened))
    else:
        assert len(list(raster.stripes(opened))) == 1
