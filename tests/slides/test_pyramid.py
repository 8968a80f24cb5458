"""Pictures without levels: read as they are while small, else by way of a pyramid with the file's own pixels."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import pyvips
import tifffile
from PIL import Image

from acinus.errors import SlideError
from acinus.slides.geometry import Resolution
from acinus.slides.jpeg_tiles import tiles_of
from acinus.slides.open import open_slide
from acinus.slides.picture import PictureSlide
from acinus.slides.pyramid import made_fingerprint, slide_file
from acinus.slides.slide import Slide
from acinus.slides.tile_pass import TilePass
from acinus.slides.tiles import probe

HEIGHT, WIDTH = 1100, 1301
rng = np.random.default_rng(8)
PICTURE = np.kron(rng.integers(90, 230, (35, 41, 3)), np.ones((32, 32, 1)))[:HEIGHT, :WIDTH].astype(np.uint8)
PICTURE += rng.integers(0, 20, PICTURE.shape, dtype=np.uint8)
SOME = 1000
"""px: a picture of more is large here."""


def mean_of_four(level: np.ndarray) -> np.ndarray:
    """Half a level by hand: the last row and column stand for those that are missing."""
    even = np.pad(level, ((0, level.shape[0] % 2), (0, level.shape[1] % 2), (0, 0)), mode="edge").astype(int)
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2] + 2) // 4


def saved(form: str, path: Path) -> Path:
    """PICTURE in a file of this form."""
    tiff = {"photometric": "rgb", "metadata": None}
    writers: dict[str, Callable[[], Any]] = {
        "png": lambda: Image.fromarray(PICTURE).save(path, "PNG", dpi=(50_800, 50_800)),
        "interlaced": lambda: pyvips.Image.new_from_array(PICTURE).copy(interpretation="srgb").pngsave(
            str(path), interlace=True
        ),
        "palette": lambda: Image.fromarray(PICTURE).quantize(64).save(path, "PNG"),
        "jpeg": lambda: Image.fromarray(PICTURE).save(path, "JPEG", quality=90, dpi=(50_800, 50_800)),
        "progressive": lambda: Image.fromarray(PICTURE).save(path, "JPEG", quality=90, progressive=True),
        "strips": lambda: Image.fromarray(PICTURE).save(path, "TIFF", compression="tiff_lzw"),
        "one strip": lambda: tifffile.imwrite(path, PICTURE, rowsperstrip=HEIGHT, **tiff),
        "tiles": lambda: tifffile.imwrite(path, PICTURE, tile=(256, 256), compression="zlib", **tiff),
        "jpeg tiles": lambda: tifffile.imwrite(path, PICTURE, tile=(256, 240), compression="jpeg", **tiff),
        "webp tiles": lambda: tifffile.imwrite(path, PICTURE, tile=(256, 256), compression="webp", **tiff),
        "ome": lambda: tifffile.imwrite(
            path, PICTURE, ome=True, photometric="rgb", tile=(256, 256), compression="lzw",
            metadata={"axes": "YXS", "PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 500,
                      "PhysicalSizeYUnit": "nm"},
        ),
    }  # fmt: skip
    writers[form]()
    return path


FORMS = ["png", "interlaced", "palette", "jpeg", "progressive", "strips", "one strip", "tiles", "jpeg tiles"]
FORMS += ["webp tiles", "ome"]


def independent(path: Path) -> np.ndarray:
    """The pixels of a file by PIL, or by tifffile where it is a TIFF."""
    if path.read_bytes()[:2] in (b"II", b"MM"):
        return tifffile.imread(path)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("form", FORMS)
def test_the_pyramid_has_the_pixels_of_the_file(form: str, tmp_path: Path) -> None:
    source, made = saved(form, tmp_path / "source"), tmp_path / "rasters" / "s.tif"
    assert slide_file(source, "s", made, flat_px=WIDTH * HEIGHT) == source
    assert not made.exists()
    assert slide_file(source, "s", made, flat_px=SOME) == made
    expected = independent(source)
    with open_slide(made, "s") as slide, openslide.OpenSlide(made) as other:
        assert isinstance(slide, Slide)
        assert other.level_dimensions == ((1301, 1100), (651, 550), (326, 275))
        probe(slide, 8, 7)
        np.testing.assert_array_equal(slide.region((0, 0), 0, (WIDTH, HEIGHT)), expected)
        np.testing.assert_array_equal(np.asarray(other.read_region((0, 0), 0, other.dimensions))[..., :3], expected)
        half = slide.region((0, 0), 1, (651, 550)).astype(int)
        apart = np.abs(half - mean_of_four(expected)).max()
        assert apart <= 16 if form == "jpeg tiles" else apart == 0
        mpp = {"png": 0.5, "jpeg": 0.5, "ome": 0.5}.get(form)
        assert slide.tag_mpp == (None if mpp is None else pytest.approx((mpp, mpp), rel=1e-4))
    assert [path.name for path in made.parent.iterdir()] == ["s.tif"]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_without_and_with_a_pyramid_is_alike(form: str, tmp_path: Path) -> None:
    source = saved(form, tmp_path / "source")
    made = slide_file(source, "s", tmp_path / "s.tif", flat_px=SOME)
    at = Resolution(1.0, 0, 1.0)
    corners = np.array([[0, 0], [-40, 700], [513, 411], [1200, 1000]])
    with (
        open_slide(source, "s") as flat,
        open_slide(made, "s") as pyramid,
        TilePass(pyramid, at, corners, 300) as made_of,
    ):
        assert flat.level_dimensions == ((WIDTH, HEIGHT),)
        probe(flat, 8, 7)
        with TilePass(flat, at, corners, 300) as squares:
            for pixels, again in zip(squares, made_of, strict=True):
                np.testing.assert_array_equal(pixels, again)


def test_jpeg_tiles_are_copied_not_encoded_again(tmp_path: Path) -> None:
    source = saved("jpeg tiles", tmp_path / "source")
    made = slide_file(source, "s", tmp_path / "s.tif", flat_px=SOME)
    with open_slide(source, "s") as before, open_slide(made, "s") as after:
        tiles = tiles_of(before, 0), tiles_of(after, 0)
        assert tiles[0] is not None
        assert tiles[1] is not None
        assert tiles[0].across * tiles[0].down == 30
        assert [tiles[0].decode(n).tobytes() for n in range(30)] == [tiles[1].decode(n).tobytes() for n in range(30)]
    assert made.stat().st_size < 1.6 * source.stat().st_size


@pytest.mark.parametrize(
    ("photometric", "subsampling"),
    [("rgb", "444"), ("ycbcr", "444"), ("ycbcr", "422"), ("ycbcr", "420"), ("ycbcr", "440"), ("ycbcr", "411")],
)
def test_every_kind_of_jpeg_tile(subsampling: str, photometric: str, jpeg_tiff: Any, tmp_path: Path) -> None:
    form = {"photometric": photometric, "subsampling": subsampling, "tables": True, "holes": [3]}
    source = jpeg_tiff(tmp_path / "a.tif", [PICTURE[:371, :450]], tile_px=(64, 128), **form)
    made = slide_file(source, "s", tmp_path / "s.tif", flat_px=SOME)
    with Slide(source, "s") as before, Slide(made, "s") as after:
        size = (before.width, before.height)
        assert len(after.level_dimensions) == 1  # up to one tile of 512 px
        np.testing.assert_array_equal(before.region((0, 0), 0, size), after.region((0, 0), 0, size))


def test_real_slides_of_one_level(shared_data: Path, tmp_path: Path) -> None:
    """An Aperio of JPEG tiles and a DICOM: OpenSlide's pixels before and after."""
    for name, tiles in (("cmu-1-small-region.svs", True), ("multiframe_camelyon_challenge_image.dcm", False)):
        source = shared_data / "slides" / name
        made = slide_file(source, "s", tmp_path / f"{name}.tif", flat_px=SOME)
        with openslide.OpenSlide(source) as before, Slide(made, "s") as after:
            rgb = np.asarray(before.read_region((0, 0), 0, before.dimensions).convert("RGB"))
            np.testing.assert_array_equal(after.region((0, 0), 0, before.dimensions), rgb)
            assert len(after.level_dimensions) > 1
            assert tiles_of(after, 0).page.compression == 7 if tiles else tiles_of(after, 0) is None
            assert after.tag_mpp == (pytest.approx((0.499, 0.499), rel=1e-6) if tiles else None)


def test_slides_with_levels_stay_as_they_are(shared_data: Path, tmp_path: Path) -> None:
    for path in (shared_data / "slides").iterdir():
        if path.name in ("CRC-AI-8_E_X40_IHC.tif", "cyto_A_BB_563479_1.svs", "tcga-cr-7395-01a-01-ts1.svs"):
            assert slide_file(path, "s", tmp_path / "s.tif", flat_px=SOME) == path
    assert not list(tmp_path.iterdir())


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    for form in ("png", "jpeg tiles"):
        source = saved(form, tmp_path / form)
        made = [slide_file(source, "s", tmp_path / f"{form}{n}.tif", flat_px=SOME).read_bytes() for n in range(2)]
        assert made[0] == made[1]
    assert made_fingerprint("a") != made_fingerprint("b")
    assert made_fingerprint("a").startswith("a-")


def test_a_damaged_picture_leaves_nothing(tmp_path: Path) -> None:
    reasons = {
        "png": r"cut: does not decode",
        "jpeg": r"cut: does not decode",
        "strips": r"cut does not open \(its directory is damaged: none is where the header says\)",
        "tiles": r"level 0, tile \d+: the file ends within it",
        "jpeg tiles": r"level 0, tile \d+: its \d+ bytes break off",
    }
    for form, reason in reasons.items():
        whole = saved(form, tmp_path / "whole").read_bytes()
        (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(SlideError, match=rf"slide s: .*{reason}"):
            slide_file(tmp_path / "cut", "s", tmp_path / "made" / "s.tif", flat_px=SOME)
    assert not (tmp_path / "made").exists() or not list((tmp_path / "made").iterdir())


@pytest.mark.parametrize("flat_px", [SOME, 10**9])
def test_grey_and_16_bit_pictures_are_refused_with_the_reason(flat_px: int, tmp_path: Path) -> None:
    deep = PICTURE.astype(np.uint16) * 257
    pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").pngsave(str(tmp_path / "deep.png"))
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb", metadata=None)
    tifffile.imwrite(tmp_path / "tiles.tif", deep, photometric="rgb", metadata=None, tile=(256, 256))
    Image.fromarray(PICTURE[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(PICTURE[..., 0]).save(tmp_path / "grey.jpg")
    Image.fromarray(PICTURE[..., 0]).save(tmp_path / "grey.tif")
    Image.fromarray(PICTURE[..., 0] > 99).save(tmp_path / "bits.png")
    Image.fromarray(PICTURE).convert("CMYK").save(tmp_path / "cmyk.jpg")
    reasons = {
        "deep.png": "16 bits per sample; only 8 are read; save it with 8 bits",
        "deep.tif": "16 bits per sample; only 8 are read",
        "tiles.tif": "16 bits per sample; only 8 are read; save it with 8 bits",
        "grey.png": "the picture is grey",
        "grey.jpg": "the picture is grey",
        "grey.tif": "grey or fluorescence; only RGB is read",
        "bits.png": "the picture is grey",
        "cmyk.jpg": r"4 x uchar \(cmyk\)",
    }
    for name, reason in reasons.items():
        with pytest.raises(SlideError, match=rf"slide s: .*{name}.*{reason}"):
            slide_file(tmp_path / name, "s", tmp_path / "s.tif", flat_px)


def test_12_bits_in_16_are_refused_by_their_header(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "reported" / "06_12bit_tiff_black" / "tumor_001.tif"
    with pytest.raises(SlideError, match=r"tumor_001\.tif has 16 bits per sample; only 8 are read"):
        slide_file(path, "s", tmp_path / "s.tif")


def test_pictures_of_more_pixels_than_are_held_say_how_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = saved("png", tmp_path / "a.png")
    with open_slide(source, "s") as slide:
        assert isinstance(slide, PictureSlide)
    monkeypatch.setattr("acinus.slides.picture.FLAT_PX", SOME)
    with open_slide(source, "s") as slide:
        assert (slide.width, slide.height, slide.tag_mpp) == (WIDTH, HEIGHT, pytest.approx((0.5, 0.5), rel=1e-4))
        with pytest.raises(SlideError, match=r"slide s: a\.png has 1301 x 1100 px, more than 1000 px without levels"):
            slide.overview(10, 10)


PEAK = """
import sys
from pathlib import Path
from acinus.slides.pyramid import slide_file
slide_file(Path(sys.argv[1]), "s", Path(sys.argv[2]), 1000)
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("tile", [(256, 256), None], ids=["tiles", "strips"])
def test_memory_does_not_grow_with_the_area(tile: tuple[int, int] | None, tmp_path: Path) -> None:
    """4,000 px wide, of 12 and 96 MB: kept tiles are bounded, the rest depends on the width."""
    peaks = []
    for rows in (1000, 8000):
        picture = np.tile(PICTURE[:1000, :1000], (rows // 1000, 4, 1))
        tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", metadata=None, tile=tile, compression="lzw")
        command = [sys.executable, "-c", PEAK, tmp_path / "a.tif", tmp_path / "s.tif"]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] < 330
    assert peaks[1] - peaks[0] < 90
