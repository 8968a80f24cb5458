"""What is no picture of stained tissue under white light: dark, grey, or stored with more bits than it uses."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from acinus.errors import SlideError
from acinus.slides import brightfield
from acinus.slides.slide import Slide

TILE = {"tile": (64, 64), "metadata": None}


def slide(path: Path, pixels: np.ndarray, **form: object) -> Slide:
    tifffile.imwrite(path, pixels, **TILE, **form)
    return Slide(path, "s")


@pytest.fixture(scope="module")
def tissue(shared_data: Path) -> np.ndarray:
    """A real H&E picture of colon, uint8 (256, 256, 3)."""
    with Image.open(shared_data / "glas" / "images" / "train_33.jpg") as picture:
        return np.asarray(picture.convert("RGB"))[:256, :256]


def test_real_pictures_pass(shared_data: Path) -> None:
    paths = [*(shared_data / "glas" / "images").iterdir(), *(shared_data / "consep" / "images").iterdir()]
    assert len(paths) == 285
    for path in paths:
        with Image.open(path) as picture:
            assert brightfield.fault(np.asarray(picture.convert("RGB"))) == "", path.name


def test_a_blank_picture_is_not_called_grey() -> None:
    assert brightfield.fault(np.full((64, 64, 3), 243, np.uint8)) == ""


def test_tissue_amid_black_filling_passes(tissue: np.ndarray) -> None:
    filled = np.zeros((1024, 1024, 3), np.uint8)
    filled[:256, :256] = tissue
    assert brightfield.fault(filled) == ""


def test_fluorescence_is_refused_in_colour_and_grey(tissue: np.ndarray, tmp_path: Path) -> None:
    density = (255 - tissue.astype(int)).clip(0, 255).astype(np.uint8)
    nuclei = np.zeros_like(tissue)
    nuclei[..., 2] = density[..., 0]  # as a DAPI channel shows them
    with (
        slide(tmp_path / "a.tif", nuclei, photometric="rgb") as opened,
        pytest.raises(SlideError, match=r"slide s: 99 of 100 px are darker .*fluorescence.*cohort\.exclude"),
    ):
        brightfield.check(opened)


def test_a_grey_slide_is_refused(tissue: np.ndarray, tmp_path: Path) -> None:
    grey = np.asarray(Image.fromarray(tissue).convert("L"))
    for name, pixels, photometric in (("a", grey, "minisblack"), ("b", np.dstack([grey] * 3), "rgb")):
        with (
            slide(tmp_path / f"{name}.tif", pixels, photometric=photometric) as opened,
            pytest.raises(SlideError, match="slide s: the picture is grey"),
        ):
            brightfield.check(opened)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_values_of_fewer_bits_than_they_are_stored_with_are_refused(
    bits: int, tissue: np.ndarray, tmp_path: Path
) -> None:
    deep = tissue.astype(np.uint16) << (bits - 8)
    with (
        slide(tmp_path / "a.tif", deep, photometric="rgb") as opened,
        pytest.raises(SlideError, match=r"pixels of 16 bits whose brightest .* save it with 8 bits"),
    ):
        brightfield.check(opened)
    with slide(tmp_path / "b.tif", tissue.astype(np.uint16) * 257, photometric="rgb") as opened:
        brightfield.check(opened)
        pixels = opened.overview(256, 256)
    np.testing.assert_array_equal(pixels, tissue)
