"""TIFFs that OpenSlide does not open, or only half: pixels against tifffile's, um/px, levels, faults by name."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import pyvips
import tifffile
from PIL import Image

from acinus.errors import SlideError
from acinus.slides import brightfield
from acinus.slides.geometry import Resolution
from acinus.slides.jpeg_tiles import tiles_of
from acinus.slides.open import open_slide
from acinus.slides.slide import Slide
from acinus.slides.tiff_slide import TiffSlide
from acinus.slides.tile_pass import TilePass
from acinus.slides.tiles import check_under, probe

HEIGHT, WIDTH = 410, 530
UM = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
rng = np.random.default_rng(5)
PICTURE = np.kron(rng.integers(90, 230, (14, 18, 3)), np.ones((32, 32, 1)))[:HEIGHT, :WIDTH].astype(np.uint8)
PICTURE += rng.integers(0, 20, PICTURE.shape, dtype=np.uint8)


def reduced(picture: np.ndarray, factor: int) -> np.ndarray:
    high, wide = (edge // factor * factor for edge in picture.shape[:2])
    return picture[:high:factor, :wide:factor]


def ome_tiff(path: Path, picture: np.ndarray = PICTURE, factors: tuple[int, ...] = (2, 4), **form: Any) -> Path:
    form = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", **form}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(picture, subifds=len(factors), metadata={"axes": "YXS"} | UM, **form)
        for factor in factors:
            tiff.write(reduced(picture, factor), subfiletype=1, metadata=None, **form)
    return path


def stored(path: Path) -> list[np.ndarray]:
    """Every level of the first page as tifffile decodes it."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        levels = [page.asarray(), *(other.asarray() for other in page.pages or ())]
        return [level if page.planarconfig == 1 else np.moveaxis(level, 0, 2) for level in levels]


def piece(picture: np.ndarray, x: int, y: int, wide: int, high: int) -> np.ndarray:
    """A part of a picture, white beyond it."""
    padded = np.full((high + 2000, wide + 2000, 3), 255, np.uint8)
    padded = np.pad(picture, ((1000, 1000), (1000, 1000), (0, 0)), constant_values=255)
    return padded[y + 1000 : y + 1000 + high, x + 1000 : x + 1000 + wide]


def assert_pixels(path: Path, levels: list[np.ndarray]) -> None:
    with open_slide(path, "s") as slide:
        assert isinstance(slide, TiffSlide)
        assert slide.level_dimensions == tuple(level.shape[1::-1] for level in levels)
        probe(slide, 8, 7)
        for number, (level, down) in enumerate(zip(levels, slide.level_downsamples, strict=True)):
            for x, y, wide, high in ((0, 0, 64, 64), (37, 21, 150, 90), (-20, -33, 80, 70), (60, 50, 700, 600)):
                found = slide.region((round(x * down), round(y * down)), number, (wide, high))
                np.testing.assert_array_equal(found, piece(level, x, y, wide, high), err_msg=f"{number} {x} {y}")


@pytest.mark.parametrize(
    "compression", [None, "zlib", "lzw", "packbits", "zstd", "jpeg", "jpeg2000", "webp", "jpegxl", "deflate"]
)
def test_ome_tiffs_with_levels_in_subifds(compression: str | None, tmp_path: Path) -> None:
    path = ome_tiff(tmp_path / "a.ome.tif", compression=compression)
    levels = stored(path)
    if compression not in ("jpeg", "jpegxl", "webp", "jpeg2000"):
        np.testing.assert_array_equal(levels[0], PICTURE)
    assert_pixels(path, levels)
    with open_slide(path, "s") as slide:
        assert slide.tag_mpp == (0.25, 0.5)
        assert slide.level_downsamples == (1.0, 2.0, 4.0)
        brightfield.check(slide)
        expected = Image.fromarray(levels[2]).resize((66, 51), Image.Resampling.BOX)
        assert np.abs(slide.overview(66, 51).astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize("form", [{"predictor": True}, {"tile": None, "rowsperstrip": 16}, {"tile": None}])
def test_predictors_and_strips(form: dict[str, Any], tmp_path: Path) -> None:
    for compression in ("zlib", None):
        if compression is None and "predictor" in form:
            continue
        path = ome_tiff(tmp_path / f"{compression}.ome.tif", compression=compression, **form)
        levels = stored(path)
        np.testing.assert_array_equal(levels[0], PICTURE)
        assert_pixels(path, levels)


@pytest.mark.parametrize("tile", [(64, 64), None])
def test_planes_of_red_green_and_blue(tile: tuple[int, int] | None, tmp_path: Path) -> None:
    planes = np.ascontiguousarray(np.moveaxis(PICTURE, 2, 0))
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        form = {"photometric": "rgb", "planarconfig": "separate", "tile": tile, "compression": "zlib"}
        tiff.write(planes, metadata={"axes": "SYX"}, **form)
    assert_pixels(tmp_path / "a.ome.tif", [PICTURE])


@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
def test_what_libvips_writes_with_subifds(compression: str, tmp_path: Path) -> None:
    """YCbCr JPEG, subsampled: OpenSlide's pixels of level 0; resolution tags instead of OME-XML."""
    picture = pyvips.Image.new_from_array(PICTURE).copy(interpretation="srgb", xres=4000, yres=2000)
    picture.tiffsave(
        str(tmp_path / "a.tif"), tile=True, pyramid=True, subifd=True, compression=compression, tile_width=128,
        tile_height=128, Q=80,
    )  # fmt: skip
    with open_slide(tmp_path / "a.tif", "s") as slide, openslide.OpenSlide(tmp_path / "a.tif") as other:
        assert isinstance(slide, TiffSlide)
        assert other.level_count == 1
        assert slide.level_dimensions == ((530, 410), (265, 205), (132, 102), (66, 51))
        assert slide.tag_mpp == pytest.approx((0.25, 0.5))
        probe(slide, 8, 7)
        whole = np.asarray(other.read_region((0, 0), 0, other.dimensions).convert("RGB"))
        np.testing.assert_array_equal(slide.region((0, 0), 0, other.dimensions), whole)
        assert (tiles_of(slide, 1) is not None) == (compression == "jpeg")


@pytest.mark.parametrize("compression", ["jpeg", "zlib"])
def test_a_tile_pass_and_single_reads_are_alike(compression: str, tmp_path: Path) -> None:
    path = ome_tiff(tmp_path / "a.ome.tif", compression=compression)
    with open_slide(path, "s") as slide:
        for at in (Resolution(1.0, 0, 1.0), Resolution(2.0, 1, 2.0), Resolution(3.3, 1, 2.0)):
            corners = np.stack([rng.integers(-30, WIDTH, 20), rng.integers(-30, HEIGHT, 20)], axis=1)
            check_under(slide, at, corners[:, 0], corners[:, 1], 50 * at.downsample)
            with TilePass(slide, at, corners, 50, 2, 8) as squares:
                for (x, y), pixels in zip(corners.tolist(), squares, strict=True):
                    np.testing.assert_array_equal(pixels, slide.read(x, y, 50, 50, at))


def test_a_region_decodes_the_tiles_under_it_once(tmp_path: Path) -> None:
    """Of 63 tiles 1, 4 and then none, since they are kept; of 26 strips of 16 rows 3."""
    with open_slide(ome_tiff(tmp_path / "a.ome.tif"), "s") as slide:
        for corner, decoded in (((64, 64), 1), ((100, 100), 4), ((110, 70), 4)):
            slide.region(corner, 0, (64, 64))
            assert slide.decoded == decoded
    with open_slide(ome_tiff(tmp_path / "b.ome.tif", tile=None, rowsperstrip=16), "s") as slide:
        slide.region((10, 20), 0, (64, 32))
        assert slide.decoded == 3


def test_memory_of_kept_tiles_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acinus.slides.tiled.CACHE_BYTES", 10 * 64 * 64 * 3)
    with open_slide(ome_tiff(tmp_path / "a.ome.tif"), "s") as slide:
        for _ in range(2):
            np.testing.assert_array_equal(slide.region((0, 0), 0, (WIDTH, HEIGHT)), PICTURE)
        assert slide.decoded == 2 * 63
        assert len(slide._cache) == 10


def test_several_threads_may_read(tmp_path: Path) -> None:
    with open_slide(ome_tiff(tmp_path / "a.ome.tif"), "s") as slide, ThreadPoolExecutor(8) as pool:
        corners = [(int(x), int(y)) for x, y in zip(rng.integers(0, 400, 99), rng.integers(0, 300, 99), strict=True)]
        for (x, y), found in zip(corners, pool.map(lambda at: slide.region(at, 0, (99, 88)), corners), strict=True):
            np.testing.assert_array_equal(found, piece(PICTURE, x, y, 99, 88))


def test_a_level_of_no_whole_downsample_is_read_between_its_pixels(tmp_path: Path) -> None:
    """A ramp along x stays a ramp: level-0 px x has the value x / 4."""
    ramp = np.broadcast_to(np.arange(600, dtype=np.float64)[None, :, None] / 4, (100, 600, 3))
    level = np.broadcast_to((np.arange(240)[None, :, None] + 0.5) * 2.5 / 4 - 0.125, (40, 240, 3))
    form = {"tile": (32, 32), "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(ramp.astype(np.uint8), subifds=1, **form)
        tiff.write(np.rint(level).astype(np.uint8), subfiletype=1, **form)
    with open_slide(tmp_path / "a.tif", "s") as slide:
        assert slide.level_downsamples == (1.0, 2.5)
        for x0 in (100, 101, 102, 103):
            row = slide.region((x0, 10), 1, (40, 1))[0, :, 0].astype(float)
            expected = (x0 + (np.arange(40) + 0.5) * 2.5) / 4 - 0.125
            assert np.abs(row - expected).max() <= 1.0
            assert abs((row - expected).mean()) < 0.3


def with_images(path: Path, pages: list[tuple[np.ndarray, dict[str, Any]]], images: list[tuple[int, str]]) -> Path:
    """A TIFF of these pages whose OME-XML names images by directory and other attributes."""
    inner = "".join(
        f'<Image Name="i{number}"><Pixels SizeX="{pages[ifd][0].shape[1]}" SizeY="{pages[ifd][0].shape[0]}" {more}>'
        f'<TiffData IFD="{ifd}"/></Pixels></Image>'
        for number, (ifd, more) in enumerate(images)
    )
    text = f'<?xml version="1.0"?><OME xmlns="x">{inner}</OME>'
    with tifffile.TiffWriter(path) as tiff:
        for number, (pixels, form) in enumerate(pages):
            tiff.write(pixels, metadata=None, description=text if number == 0 else None, **form)
    return path


PALETTE = np.zeros((3, 256), np.uint16)
RGB = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
GREY = PICTURE[:200, :200, 0]


def test_the_first_image_in_rgb_is_the_slide(tmp_path: Path) -> None:
    pages = [
        (np.full((100, 200, 3), 9, np.uint16), {"photometric": "rgb"}),
        (GREY, {"photometric": "minisblack"}),
        (PICTURE, RGB),
        (PICTURE[:300], RGB),
    ]
    um = 'PhysicalSizeX="{0}" PhysicalSizeY="{0}"'
    images = [(0, ""), (1, um.format(9)), (2, um.format(0.25)), (3, um.format(0.5))]
    with open_slide(with_images(tmp_path / "a.ome.tif", pages, images), "s") as slide:
        assert (slide.width, slide.height, slide.tag_mpp) == (WIDTH, HEIGHT, (0.25, 0.25))
        np.testing.assert_array_equal(slide.region((0, 0), 0, (WIDTH, HEIGHT)), PICTURE)


def test_no_image_in_rgb_is_refused_with_the_reason_of_each(tmp_path: Path) -> None:
    pages = [
        (np.full((100, 200, 3), 9, np.uint16), {"photometric": "rgb"}),
        (GREY, {"photometric": "minisblack"}),
        (PICTURE, RGB),
    ]
    path = with_images(tmp_path / "a.ome.tif", pages, [(0, ""), (1, ""), (2, 'SizeZ="5"'), (2, ""), (1, "")])
    data = path.read_bytes().replace(b'Name="i3"><Pixels SizeX="530"', b'Name="i3"><Pixels SizeX="531"')
    path.write_bytes(data)
    with pytest.raises(SlideError) as raised:
        open_slide(path, "s")
    assert str(raised.value) == (
        "slide s: a.ome.tif does not open (no image of 8-bit RGB (image 0 'i0': 16 bits per sample; only 8 are read; "
        "image 1 'i1': 1 sample per px (minisblack): grey or fluorescence; only RGB is read; "
        "image 2 'i2': 5 focal planes or times; write one of them to a file; "
        "image 3 'i3': 531 x 410 px by OME-XML, 530 x 410 by its directory; "
        "image 4 'i4': 1 sample per px (minisblack): grey or fluorescence; only RGB is read)); write it as 8-bit RGB, "
        "in tiles (raw2ometiff --rgb, or bfconvert -tilex 512 -tiley 512), or list the slide under cohort.exclude"
    )


@pytest.mark.parametrize(
    ("pixels", "form", "why"),
    [
        (PICTURE.astype(np.uint16) * 16, {"photometric": "rgb"}, "16 bits per sample; only 8 are read"),
        (PICTURE[..., 0], {"photometric": "minisblack"}, r"1 sample per px \(minisblack\): grey or fluorescence"),
        (
            PICTURE[..., 0],
            {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)},
            r"1 sample per px \(palette\)",
        ),
        (np.moveaxis(PICTURE, 2, 0).copy(), {"photometric": "minisblack"}, r"1 sample per px"),
        (PICTURE, {"photometric": "rgb", "compression": "lzma"}, "compression LZMA .* is not read; save it with LZW"),
        (np.stack([PICTURE] * 3), {"photometric": "rgb"}, "2 further pictures are as large as the first"),
        (PICTURE.astype(np.float32), {"photometric": "rgb"}, "32 bits per sample"),
    ],
)
def test_plain_tiffs_that_are_no_pictures_of_8_bit_rgb(
    pixels: np.ndarray, form: dict[str, Any], why: str, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata=None, **form)
    with pytest.raises(SlideError, match=rf"slide s: a\.tif does not open \({why}.*; save it as 8-bit RGB, in tiles"):
        open_slide(tmp_path / "a.tif", "s")


def test_flat_tiffs_are_pils_pixels(tmp_path: Path) -> None:
    for name, compression in (("a", None), ("b", "tiff_lzw"), ("c", "tiff_adobe_deflate"), ("d", "jpeg")):
        Image.fromarray(PICTURE).save(tmp_path / f"{name}.tif", compression=compression, dpi=(50_800, 50_800))
        with Image.open(tmp_path / f"{name}.tif") as picture, open_slide(tmp_path / f"{name}.tif", "s") as slide:
            np.testing.assert_array_equal(slide.region((0, 0), 0, (WIDTH, HEIGHT)), np.asarray(picture))
            assert slide.tag_mpp == pytest.approx((0.5, 0.5))


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    alpha = rng.integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
    rgba = Image.fromarray(np.concatenate([PICTURE, alpha], axis=2))
    rgba.save(tmp_path / "a.tif")
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba.getchannel("A"))
    with open_slide(tmp_path / "a.tif", "s") as slide:
        np.testing.assert_array_equal(slide.region((0, 0), 0, (WIDTH, HEIGHT)), np.asarray(white))


def test_a_thin_slide_keeps_all_its_levels(tmp_path: Path) -> None:
    """Of 1000 px 16 are the 64th part, rounded up, and of 5000 px 78: the mean of both quotients is 63.3."""
    form: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib"}
    sizes = [(5000, 1000), (625, 125), (78, 16), (39, 7)]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        tiff.write(np.full((*sizes[0], 3), 200, np.uint8), subifds=3, metadata={"axes": "YXS"} | UM, **form)
        for size in sizes[1:]:
            tiff.write(np.full((*size, 3), 200, np.uint8), subfiletype=1, metadata=None, **form)
    with open_slide(tmp_path / "a.ome.tif", "s") as slide:
        assert slide.level_dimensions == tuple(size[::-1] for size in sizes)
        assert slide.level_downsamples == (1.0, 8.0, 64.0, 128.0)


def test_labels_and_macros_are_no_levels(tmp_path: Path) -> None:
    """A chain of reduced pages in a compression that OpenSlide does not read; the label has another shape."""
    form = {"tile": (64, 64), "photometric": "rgb", "compression": "webp", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(PICTURE, **form)
        tiff.write(PICTURE[:100, :100], subfiletype=1, **form)
        tiff.write(reduced(PICTURE, 4), subfiletype=1, **form)
        tiff.write(reduced(PICTURE, 2), subfiletype=1, **form)
        tiff.write(PICTURE[:205, :265], subfiletype=0, **form)
    with open_slide(tmp_path / "a.tif", "s") as slide:
        assert slide.level_dimensions == ((530, 410), (265, 205), (132, 102))
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            np.testing.assert_array_equal(slide.region((0, 0), 1, (265, 205)), tiff.pages[3].asarray())


def test_what_openslide_reads_whole_it_reads(tmp_path: Path, shared_data: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PICTURE, tile=(64, 64), photometric="rgb", metadata=None)
    paths = [tmp_path / "a.tif", *(path for path in (shared_data / "slides").iterdir() if path.name != "broken.svs")]
    for path in paths:
        with open_slide(path, "s") as slide:
            assert isinstance(slide, Slide), path.name


def test_damaged_tiles_are_named(tmp_path: Path) -> None:
    path = ome_tiff(tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages.first.dataoffsets[7], tiff.pages.first.databytecounts[7]
    data = path.read_bytes()
    path.write_bytes(data[:offset] + b"\xa5" * count + data[offset + count :])
    with open_slide(path, "s") as slide:
        slide.region((0, 0), 0, (64, 64))
        with pytest.raises(SlideError, match=r"slide s: level 0, tile 7: cannot be decoded .*cohort\.exclude"):
            slide.region((0, 0), 0, (WIDTH, HEIGHT))
    path.write_bytes(data[:-5000])
    with open_slide(path, "s") as slide, pytest.raises(SlideError, match="lie behind the file's end"):
        probe(slide, 8, 7)


def test_damaged_directories_are_one_line(tmp_path: Path) -> None:
    """Bytes of the header, the directory and OME-XML changed at random: a slide that is read, or one line."""
    data = ome_tiff(tmp_path / "a.ome.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        start = tiff.pages.first.offset
    for _ in range(150):
        broken = bytearray(data)
        for place in rng.integers(start, min(start + 1500, len(data)), 3).tolist():
            broken[place] = int(rng.integers(0, 256))
        (tmp_path / "b.ome.tif").write_bytes(broken)
        reason = "slide s: "
        try:
            with open_slide(tmp_path / "b.ome.tif", "s") as slide:
                probe(slide, 4, 7)
        except SlideError as error:
            reason = str(error)
        assert re.fullmatch(r"slide s: .*", reason)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_chain_of_directories_that_breaks_off_is_damage(bigtiff: bool, tmp_path: Path) -> None:
    """Level 0 is whole; the directory of level 1 lies behind the file's end: no slide of one level."""
    form = {"photometric": "rgb", "compression": "webp", "tile": (64, 64), "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=bigtiff) as tiff:
        tiff.write(PICTURE, **form)
        tiff.write(reduced(PICTURE, 2), subfiletype=1, **form)
    with open_slide(tmp_path / "a.tif", "s") as slide:
        assert len(slide.level_dimensions) == 2
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        second = tiff.pages[1].offset
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(data[:second])
    with pytest.raises(SlideError, match=r"b\.tif does not open \(its directory is damaged: directory 1 is not where"):
        open_slide(tmp_path / "b.tif", "s")


def test_subifds_that_break_off_are_damage(tmp_path: Path) -> None:
    path = ome_tiff(tmp_path / "a.ome.tif")
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages.first.subifds[-1]
    path.write_bytes(path.read_bytes()[:last])
    with pytest.raises(SlideError, match=r"a\.ome\.tif does not open \(its directory is damaged"):
        open_slide(path, "s")
