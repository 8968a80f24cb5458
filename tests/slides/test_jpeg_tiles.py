"""Tiles decoded from their own bytes are OpenSlide's pixels, or there are no tiles."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from acinus.errors import SlideError
from acinus.slides.array import ArraySlide
from acinus.slides.jpeg_tiles import JpegTiles, tiles_of
from acinus.slides.slide import Slide

Write = Callable[..., Path]


def on_white(image: Image.Image) -> np.ndarray:
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.getchannel("A"))
    return np.asarray(white)


def assert_as_openslide(path: Path, levels: int) -> None:
    """Every tile of every level against OpenSlide's own pixels at its place."""
    with Slide(path, "a") as slide, openslide.OpenSlide(path) as other:
        assert slide.level_dimensions == other.level_dimensions
        assert len(slide.level_dimensions) == levels
        for level, (width, height) in enumerate(other.level_dimensions):
            tiles = tiles_of(slide, level)
            assert tiles is not None
            assert (tiles.width, tiles.height) == (width, height)
            wide, high = tiles.tile_px
            whole = np.full((tiles.down * high, tiles.across * wide, 3), 7, dtype=np.uint8)
            for number in range(tiles.across * tiles.down):
                y, x = number // tiles.across * high, number % tiles.across * wide
                whole[y : y + high, x : x + wide] = tiles.decode(number)
            expected = on_white(other.read_region((0, 0), level, (width, height)))
            np.testing.assert_array_equal(whole[:height, :width], expected)


def pyramid(picture: np.ndarray) -> list[np.ndarray]:
    return [picture, picture[::2, ::2], picture[::5, ::5]]


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
@pytest.mark.parametrize("tables", [False, True])
def test_every_kind_of_jpeg(
    tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray, subsampling: str, photometric: str, tables: bool
) -> None:
    kind = {"subsampling": subsampling, "photometric": photometric, "tables": tables}
    assert_as_openslide(jpeg_tiff(tmp_path / "a.tif", pyramid(picture), **kind), 3)


@pytest.mark.parametrize("form", [{}, {"bigtiff": True}, {"byteorder": ">", "bigtiff": True}])
def test_every_kind_of_tiff(tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray, form: dict[str, object]) -> None:
    """But the classic big-endian ones, which OpenSlide does not open."""
    assert_as_openslide(jpeg_tiff(tmp_path / "a.tif", pyramid(picture), tables=True, tile_px=(96, 48), **form), 3)


@pytest.mark.parametrize("marker", ["none", "jfif", "rgb", "ycc", "both"])
@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
@pytest.mark.parametrize("tables", [False, True])
def test_the_tiff_decides_on_colour_whatever_the_jpeg_says(
    tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray, marker: str, photometric: str, tables: bool
) -> None:
    path = jpeg_tiff(tmp_path / "a.tif", [picture], marker=marker, photometric=photometric, tables=tables)
    assert_as_openslide(path, 1)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_a_tile_is_a_jpeg_of_its_own(tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray, photometric: str) -> None:
    """Pillow, which knows nothing of the TIFF, sees the same pixels in its bytes."""
    path = jpeg_tiff(tmp_path / "a.tif", [picture], photometric=photometric, tables=True)
    with Slide(path, "a") as slide:
        tiles = tiles_of(slide, 0)
        assert tiles is not None
        for number in (0, 9, tiles.across * tiles.down - 1):
            with Image.open(io.BytesIO(tiles.data(number))) as image:
                np.testing.assert_array_equal(np.asarray(image.convert("RGB")), tiles.decode(number))


def test_bytes_that_need_nothing_are_passed_on_as_they_are(
    tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray
) -> None:
    path = jpeg_tiff(tmp_path / "a.tif", [picture], marker="jfif")
    with tifffile.TiffFile(path) as tiff, Slide(path, "a") as slide:
        tiles, page = tiles_of(slide, 0), tiff.pages[0]
        assert tiles is not None
        data = path.read_bytes()[page.dataoffsets[5] :][: page.databytecounts[5]]
        assert tiles.data(5) == data


@pytest.mark.parametrize(
    ("subsampling", "mcu"), [("444", (8, 8)), ("422", (16, 8)), ("420", (16, 16)), ("440", (8, 16)), ("411", (32, 8))]
)
def test_the_grid_for_cutting(
    tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray, subsampling: str, mcu: tuple[int, int]
) -> None:
    with Slide(jpeg_tiff(tmp_path / "a.tif", [picture], subsampling=subsampling), "a") as slide:
        tiles = tiles_of(slide, 0)
        assert tiles is not None
        assert (tiles.mcu_px, tiles.tile_px, tiles.across, tiles.down) == (mcu, (64, 64), 8, 6)


def test_a_hole_is_white_and_has_no_bytes(tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray) -> None:
    path = jpeg_tiff(tmp_path / "a.tif", pyramid(picture), holes=(0, 3))
    assert_as_openslide(path, 3)
    with Slide(path, "a") as slide:
        tiles = tiles_of(slide, 1)
        assert tiles is not None
        assert tiles.data(3) == b""
        assert (tiles.decode(3) == 255).all()


def test_aperio_is_read_but_not_with_holes_which_show_another_level(
    tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray
) -> None:
    kind = {"description": "Aperio Image Library v1\r\n450x371", "photometric": "rgb", "tables": True}
    sound = jpeg_tiff(tmp_path / "a.svs", pyramid(picture), **kind)
    assert_as_openslide(sound, 3)
    with Slide(jpeg_tiff(tmp_path / "b.svs", pyramid(picture), holes=(3,), **kind), "b") as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert tiles_of(slide, 0) is None


def philips_description(levels: int) -> str:
    spacings = (f"&quot;{0.00025 * 2**level}&quot; &quot;{0.00025 * 2**level}&quot;" for level in range(levels))
    sizes = "".join(
        f'<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING">{one}</Attribute>'
        "</DataObject>"
        for one in spacings
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        '<Attribute Name="PIM_DP_SCANNED_IMAGES"><Array><DataObject ObjectType="DPScannedImage">'
        '<Attribute Name="PIM_DP_IMAGE_TYPE">WSI</Attribute>'
        f'<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"><Array>{sizes}</Array></Attribute>'
        "</DataObject></Array></Attribute></DataObject>"
    )


def padded(picture: np.ndarray, tile_px: int) -> np.ndarray:
    down, across = (-edge % tile_px for edge in picture.shape[:2])
    return np.pad(picture, ((0, down), (0, across), (0, 0)), constant_values=200)


def test_philips_pads_its_levels_to_whole_tiles_and_openslide_cuts_that_off(
    tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray
) -> None:
    level_0 = padded(picture, 64)
    levels = [level_0, padded(level_0[::2, ::2], 64), padded(level_0[::4, ::4], 64)]
    path = jpeg_tiff(
        tmp_path / "a.tif", levels, software="Philips DP v1.0", description=philips_description(3), holes=(1,)
    )
    with Slide(path, "a") as slide:
        assert slide.properties["openslide.vendor"] == "philips"
        assert [picture.shape[:2] for picture in levels] == [(384, 512), (192, 256), (128, 128)]
        assert slide.level_dimensions == ((512, 384), (256, 192), (128, 96))
    assert_as_openslide(path, 3)


def refused(path: Path) -> bool:
    with Slide(path, "a") as slide:
        return all(tiles_of(slide, level) is None for level in range(len(slide.level_dimensions)))


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((300, 200, 3), {"compression": "deflate", "photometric": "rgb"}),
        ((300, 200, 3), {"compression": None, "photometric": "rgb"}),
        ((300, 200), {"compression": "jpeg", "photometric": "minisblack"}),
        ((3, 300, 200), {"compression": "jpeg", "photometric": "rgb", "planarconfig": "separate"}),
        ((300, 200, 4), {"compression": "deflate", "photometric": "rgb", "extrasamples": ["unassalpha"]}),
    ],
)
def test_other_tiles_are_left_to_openslide(tmp_path: Path, shape: tuple[int, ...], form: dict[str, object]) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(64, 64), metadata=None, **form)
    assert refused(tmp_path / "a.tif")


def test_two_levels_of_one_size_and_no_tiff_are_left_to_openslide(
    tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray
) -> None:
    assert refused(jpeg_tiff(tmp_path / "a.tif", [picture, 255 - picture]))
    np.save(tmp_path / "a.npy", picture[None])
    with ArraySlide(tmp_path / "a.npy#0", "a") as slide:
        assert tiles_of(slide, 0) is None


def test_a_slide_of_holes_only_is_left_to_openslide(tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray) -> None:
    assert refused(jpeg_tiff(tmp_path / "a.tif", [picture[:64, :128]], holes=(0, 1)))


def written(path: Path, tiles: list[bytes]) -> Path:
    """A row of tiles of 64 px as they are given."""
    shape, kind = (64, 64 * len(tiles), 3), {"photometric": "ycbcr", "compression": "jpeg", "subsampling": (2, 2)}
    tifffile.imwrite(path, iter(tiles), shape=shape, dtype=np.uint8, tile=(64, 64), metadata=None, **kind)
    return path


def from_pillow(picture: np.ndarray, **kind: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture[:64, :64]).save(buffer, "JPEG", quality=80, **kind)
    return buffer.getvalue()


def test_progressive_tiles(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert_as_openslide(written(tmp_path / "a.tif", [from_pillow(pixels, progressive=True)]), 1)


@pytest.mark.parametrize("sampling", [(0x22, 0x21, 0x12), (0x31, 0x11, 0x11), (0x14, 0x11, 0x11), (0x11, 0x22, 0x22)])
def test_samplings_that_only_openslide_reads_are_left_to_it(
    tmp_path: Path, picture: np.ndarray, sampling: tuple[int, int, int]
) -> None:
    data = bytearray(from_pillow(picture, subsampling=0, restart_marker_blocks=1))
    frame = data.index(b"\xff\xc0")
    data[frame + 11 : frame + 20 : 3] = bytes(sampling)  # of the 64 blocks not all are needed then
    path = written(tmp_path / "a.tif", [bytes(data)])
    assert refused(path)


def test_a_tile_of_another_subsampling_is_read(tmp_path: Path, picture: np.ndarray) -> None:
    path = written(tmp_path / "a.tif", [from_pillow(picture), from_pillow(picture, subsampling=0)])
    assert_as_openslide(path, 1)
    with Slide(path, "a") as slide:
        tiles = opened(slide)
        with Image.open(io.BytesIO(tiles.data(1))) as image:
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), tiles.decode(1))


def test_tiles_larger_than_what_is_held_of_a_level_are_left_to_openslide(
    tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.tif", [from_pillow(picture)])
    monkeypatch.setattr("acinus.slides.pixels.MAX_SOURCE_PX", 64 * 64)
    assert not refused(path)
    monkeypatch.setattr("acinus.slides.pixels.MAX_SOURCE_PX", 64 * 64 - 1)
    assert refused(path)


def with_damage(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    scan = data.index(b"\xff\xda") + 14
    place = int(rng.integers(scan, len(data) - 60))
    return {
        "end": data[:place] + b"\xff\xd9" + data[place + 2 :],
        "restart": data[:place] + b"\xff\xd3" + data[place + 2 :],
        "dropped": data[:place] + data[place + 30 :],
        "zeros": data[:place] + bytes(40) + data[place + 40 :],
        "strays and an end": data[:place] + b"\x12\x34\x56\xff\xd9" + data[place:],
        "strays at the end": data[:-2] + b"\x12\x34\x56" + data[-2:],
    }[kind]


@pytest.mark.parametrize("form", [{}, {"restart_marker_blocks": 3}, {"progressive": True, "restart_marker_blocks": 3}])
@pytest.mark.parametrize("kind", ["end", "restart", "dropped", "zeros", "strays and an end", "strays at the end"])
def test_damage_within_a_tile_is_refused_where_openslide_refuses(
    tmp_path: Path, picture: np.ndarray, kind: str, form: dict[str, object]
) -> None:
    sound = from_pillow(picture, **form)
    refusals = 0
    for seed in range(25):
        path = written(tmp_path / f"{seed}.tif", [sound, with_damage(sound, kind, np.random.default_rng(seed))])
        with Slide(path, "s") as slide:
            try:
                expected = slide.region((64, 0), 0, (64, 64))
            except SlideError:
                refusals += 1
                with pytest.raises(SlideError, match=r"slide s: level 0, tile 1: cannot be decoded \(\w+"):
                    opened(slide).decode(1)
            else:
                np.testing.assert_array_equal(opened(slide).decode(1), expected)
    if kind in ("end", "restart", "strays and an end"):
        assert refusals >= 20  # at the very end of the last scan it changes nothing
    elif kind == "strays at the end":
        assert refusals == 0


def overwritten(path: Path, tile: int, first: int, last: int, value: bytes) -> None:
    """Write over the bytes [first, last) of a tile; negative ones count from its end."""
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[tile], tiff.pages[0].databytecounts[tile]
    with path.open("r+b") as stream:
        stream.seek(offset + first % count)
        stream.write((value * count)[: (last - 1) % count + 1 - first % count])


@pytest.fixture
def damaged(tmp_path: Path, jpeg_tiff: Write, picture: np.ndarray) -> Path:
    return jpeg_tiff(tmp_path / "damaged.tif", [picture])


def opened(slide: Slide) -> JpegTiles:
    tiles = tiles_of(slide, 0)
    assert tiles is not None
    return tiles


@pytest.mark.parametrize(
    ("first", "last", "value", "what"),
    [
        (0, 0, b"\0", r"begins with 0000, not ffd8"),
        (-900, 0, b"\0", r"its \d+ bytes break off without an end marker"),
        (2, 100, b"\x55", r"no baseline or progressive JPEG"),
    ],
)
def test_a_damaged_tile_is_named(damaged: Path, first: int, last: int, value: bytes, what: str) -> None:
    overwritten(damaged, 9, first, last, value)
    with Slide(damaged, "tumor_001") as slide:
        tiles = opened(slide)
        tiles.decode(8)
        named = rf"slide tumor_001: level 0, tile 9: {what}; replace the file"
        for read in (tiles.decode, tiles.data):
            with pytest.raises(SlideError, match=named) as said:
                read(9)
            assert "\n" not in str(said.value)


def test_a_tile_of_another_size_is_named(damaged: Path) -> None:
    data = damaged.read_bytes()
    frames = [place for place in range(len(data)) if data[place : place + 4] == b"\xff\xc0\x00\x11"]
    damaged.write_bytes(data[: frames[4] + 5] + b"\x00\x38" + data[frames[4] + 7 :])
    with Slide(damaged, "a") as slide, pytest.raises(SlideError, match="tile 4: a JPEG of 64 x 56 px, 3 components"):
        opened(slide).decode(4)


def test_what_libjpeg_only_warns_of_gives_openslides_pixels(damaged: Path) -> None:
    overwritten(damaged, 9, -300, -200, b"\x5a\xa5\x17")
    assert_as_openslide(damaged, 1)


def test_a_file_that_ends_within_a_tile_is_named(damaged: Path) -> None:
    with Slide(damaged, "a") as slide:
        tiles = opened(slide)
        with damaged.open("r+b") as stream:
            stream.truncate(int(tiles.page.offsets[9]) + 1)
        with pytest.raises(SlideError, match="level 0, tile 9: "):
            tiles.decode(9)
