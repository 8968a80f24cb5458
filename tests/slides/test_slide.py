"""Reading pixels: held against the picture that was written, and against plain means of it."""

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from scipy import ndimage

from acinus.errors import SlideError
from acinus.slides import pixels
from acinus.slides.geometry import Resolution, at_downsample, resolve
from acinus.slides.slide import Slide
from acinus_demo.pyramid import write_pyramid

WIDTH, HEIGHT = 700, 500


def smooth_picture(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture whose every pixel is different from its neighbours by little: places can be told apart."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=2).astype(np.uint8)


def write_tiff(
    path: Path, picture: np.ndarray, levels: int = 1, mpp: float | None = 0.5, compression: str = "deflate"
) -> Path:
    """A tiled pyramid; every level takes each second pixel of the one before."""
    tags = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level in range(levels):
            step = 2**level
            tiff.write(
                picture[::step, ::step],
                tile=(64, 64),
                photometric="rgb",
                compression=compression,
                subfiletype=0 if level == 0 else 1,
                metadata=None,
                **tags,
            )
    return path


def test_facts_of_a_slide(tmp_path: Path) -> None:
    with Slide(write_tiff(tmp_path / "a.tif", smooth_picture(), levels=3), "a") as slide:
        assert (slide.slide_id, slide.width, slide.height) == ("a", WIDTH, HEIGHT)
        assert slide.level_dimensions == ((700, 500), (350, 250), (175, 125))
        assert slide.level_downsamples == (1.0, 2.0, 4.0)
        assert slide.tag_mpp == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("mpp", [None, 1000.0, 0.01])
def test_an_implausible_mpp_is_missing(tmp_path: Path, mpp: float | None) -> None:
    with Slide(write_tiff(tmp_path / "a.tif", smooth_picture(), mpp=mpp), "a") as slide:
        assert slide.tag_mpp is None


def test_level_0_pixels_are_those_of_the_picture(tmp_path: Path) -> None:
    picture = smooth_picture()
    with Slide(write_tiff(tmp_path / "a.tif", picture), "a") as slide:
        patch = slide.read(123, 45, 150, 90, Resolution(1.0, 0, 1.0))
    assert patch.dtype == np.uint8
    assert patch.flags.writeable
    np.testing.assert_array_equal(patch, picture[45:135, 123:273])


def test_a_level_is_read_at_level_0_coordinates(tmp_path: Path) -> None:
    picture = smooth_picture()
    with Slide(write_tiff(tmp_path / "a.tif", picture, levels=3), "a") as slide:
        patch = slide.read(200, 80, 30, 20, resolve(slide.level_downsamples, None, level=2))
    np.testing.assert_array_equal(patch, picture[80:160:4, 200:320:4])


@pytest.mark.parametrize(("x0", "y0"), [(-20, -10), (660, 470), (-20, 470), (2000, 2000)])
def test_beyond_the_border_is_white_and_the_patch_stays(tmp_path: Path, x0: int, y0: int) -> None:
    picture = smooth_picture()
    around = np.full((HEIGHT + 6000, WIDTH + 6000, 3), 255, dtype=np.uint8)
    around[3000 : 3000 + HEIGHT, 3000 : 3000 + WIDTH] = picture
    with Slide(write_tiff(tmp_path / "a.tif", picture), "a") as slide:
        patch = slide.read(x0, y0, 64, 48, Resolution(1.0, 0, 1.0))
        half = slide.read(x0, y0, 32, 24, Resolution(2.0, 0, 1.0))
    expected = around[3000 + y0 : 3048 + y0, 3000 + x0 : 3064 + x0]
    np.testing.assert_array_equal(patch, expected)
    glass = (expected.reshape(24, 2, 32, 2, 3) == 255).all(axis=(1, 3, 4))
    # the filter sees one pixel around: glass beside the picture may be mixed with it
    assert (half[ndimage.binary_erosion(glass, np.ones((3, 3)))] == 255).all()


def test_shrinking_keeps_the_mean_and_the_place(tmp_path: Path) -> None:
    """A linear ramp shrunk by any factor is the ramp at the centres of the new pixels."""
    x = np.arange(WIDTH)
    ramp = np.repeat(np.repeat((x * 255.0 / WIDTH)[None, :, None], HEIGHT, 0), 3, 2).round().astype(np.uint8)
    with Slide(write_tiff(tmp_path / "a.tif", ramp), "a") as slide:
        for downsample in (1.5, 2.0, 3.7):
            patch = slide.read(100, 100, 80, 40, at_downsample(slide.level_downsamples, downsample))
            centre = 100 + (np.arange(80) + 0.5) * downsample - 0.5
            np.testing.assert_allclose(patch[20, :, 0], centre * 255 / WIDTH, atol=1.0)


def test_neighbouring_patches_fit_together(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    with Slide(write_tiff(tmp_path / "a.tif", noise), "a") as slide:
        at = at_downsample(slide.level_downsamples, 2.5)
        whole = slide.read(20, 40, 80, 60, at)
        right = slide.read(120, 40, 40, 60, at)
    assert np.abs(whole[:, 40:].astype(int) - right.astype(int)).max() <= 1


def test_a_large_source_is_read_in_pieces_with_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (500, 400, 3), dtype=np.uint8)
    with Slide(write_tiff(tmp_path / "a.tif", noise), "a") as slide:
        at = at_downsample(slide.level_downsamples, 3.3)
        whole, overview = slide.read(10, 20, 100, 110, at), slide.overview(40, 50)
        monkeypatch.setattr(pixels, "MAX_SOURCE_PX", 9000)
        pieces, banded = slide.read(10, 20, 100, 110, at), slide.overview(40, 50)
    assert np.abs(whole.astype(int) - pieces.astype(int)).max() <= 1
    np.testing.assert_array_equal(overview, banded)


def test_the_overview_is_the_mean_of_areas(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    with Slide(write_tiff(tmp_path / "a.tif", noise), "a") as slide:
        overview = slide.overview(40, 30)
    means = noise.reshape(30, 16, 40, 16, 3).mean(axis=(1, 3))
    assert np.abs(overview - means).max() <= 1.0


def test_nearly_exact_downsamples_are_read_without_resampling(tmp_path: Path) -> None:
    picture = smooth_picture(701, 501)  # levels 351 x 251: downsample 1.9966
    with Slide(write_tiff(tmp_path / "a.tif", picture, levels=2), "a") as slide:
        own = slide.level_downsamples[1]
        patch = slide.read(0, 0, 64, 64, at_downsample(slide.level_downsamples, own))
    np.testing.assert_array_equal(patch, picture[::2, ::2][:64, :64])


def test_a_file_that_is_no_slide_is_one_line(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.tif", tmp_path / "text.svs"
    empty.touch()
    text.write_text("not a slide")
    with pytest.raises(SlideError, match=r"slide a: empty\.tif is empty \(0 bytes\).*cohort\.exclude"):
        Slide(empty, "a")
    with pytest.raises(SlideError, match=r"slide b: text\.svs does not open"):
        Slide(text, "b")
    with pytest.raises(SlideError, match=r"slide d: .* is a folder, not a file; replace the file or"):
        Slide(tmp_path, "d")
    with pytest.raises(SlideError, match=r"slide c: .*is not there"):
        Slide(tmp_path / "gone.tif", "c")


def test_a_tile_that_cannot_be_decoded_fails_by_name(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", smooth_picture(), compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        offset, count = tiff.pages[0].dataoffsets[13], tiff.pages[0].databytecounts[13]
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(bytes(count))
    with Slide(path, "tumor_001") as slide:
        slide.read(0, 0, 64, 64, Resolution(1.0, 0, 1.0))
        with pytest.raises(
            SlideError, match=r"slide tumor_001: level 0 cannot be read at level-0 px \(128, 64\)"
        ) as caught:
            slide.read(128, 64, 64, 64, Resolution(1.0, 0, 1.0))
    assert str(tmp_path) not in str(caught.value)  # a reason is the same on every machine
    assert "\n" not in str(caught.value)


def test_bytes_beyond_the_file_are_not_there(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", smooth_picture())
    data = path.read_bytes()
    with Slide(path, "a") as slide:
        assert slide.bytes_at(10, 20) == data[10:30]
        assert slide.bytes_at(len(data) - 7, 2**62) == data[-7:]  # never asked for: it would be allocated
        assert slide.bytes_at(len(data), 5) == slide.bytes_at(2**62, 2**62) == slide.bytes_at(-5, 10) == b""
        assert slide.bytes_at(3, -2) == b""


def test_pixels_equal_openslides_own(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", smooth_picture(), levels=2, compression="jpeg")
    with Slide(path, "a") as slide, openslide.OpenSlide(path) as other:
        patch = slide.read(64, 32, 100, 100, resolve(slide.level_downsamples, None, level=1))
        expected = np.asarray(other.read_region((64, 32), 1, (100, 100)).convert("RGB"))
    np.testing.assert_array_equal(patch, expected)


def test_an_overview_from_a_level_that_was_rounded_up_is_not_stretched(tmp_path: Path) -> None:
    """Levels of 1934 x 1428 px halved four times have 121 x 90 px, the last of which hang over."""
    ramp = np.repeat(np.linspace(0, 255, 1428)[:, None], 1934, axis=1)
    write_pyramid(tmp_path / "a.tif", np.dstack([ramp] * 3).astype(np.uint8), 0.5, tile_px=256)
    with Slide(tmp_path / "a.tif", "a") as slide:
        assert slide.level_dimensions[4] == (121, 90)
        seen = slide.overview(120, 89)[..., 1].astype(float).mean(axis=1)
    expected = (np.arange(89) + 0.5) / 89 * 255
    assert np.mean((seen - expected)[60:]) == pytest.approx(-0.5, abs=0.5)  # cut to whole levels; stretched it is 2.6
