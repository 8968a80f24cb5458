"""Rows of array files as slides: held against the arrays that were written and against plain means of them."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from acinus.errors import AcinusError, SlideError
from acinus.slides.array import ArraySlide
from acinus.slides.geometry import Resolution, at_downsample
from acinus.slides.open import below, open_slide, readable_file
from acinus.slides.slide import Slide
from acinus.slides.tiles import check_under, probe

IMAGES = np.random.default_rng(5).integers(0, 256, size=(4, 48, 64, 3), dtype=np.uint8)
LEVEL_0 = Resolution(1.0, 0, 1.0)


def write_tiff(path: Path, picture: np.ndarray) -> Path:
    tifffile.imwrite(path, picture, tile=(64, 64), photometric="rgb", compression="deflate", metadata=None)
    return path


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array, allow_pickle=True)
    return path.with_name(f"{path.name}#2")


def refusal(path: Path) -> str:
    with pytest.raises(SlideError) as caught, open_slide(path, "s1") as slide:
        slide.read(0, 0, 64, 48, LEVEL_0)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("slide s1: ")
    assert str(path.parent) not in message
    return message


def test_facts_of_a_row(tmp_path: Path) -> None:
    with open_slide(save(tmp_path / "images.npy", IMAGES), "f1_2") as slide:
        assert isinstance(slide, ArraySlide)
        assert (slide.slide_id, slide.width, slide.height) == ("f1_2", 64, 48)
        assert (slide.level_dimensions, slide.level_downsamples) == (((64, 48),), (1.0,))
        assert (slide.tag_mpp, slide.properties) == (None, {})


@pytest.mark.parametrize("dtype", ["uint8", "float64", "float32", "int64", "uint16", ">f8"])
def test_pixels_are_those_of_the_row_whatever_its_type(tmp_path: Path, dtype: str) -> None:
    with open_slide(save(tmp_path / "images.npy", IMAGES.astype(dtype)), "s1") as slide:
        whole = slide.read(0, 0, 64, 48, LEVEL_0)
        part = slide.read(5, 7, 20, 10, LEVEL_0)
    assert whole.dtype == np.uint8
    assert whole.flags.writeable
    np.testing.assert_array_equal(whole, IMAGES[2])
    np.testing.assert_array_equal(part, IMAGES[2, 7:17, 5:25])


def test_fractions_are_rounded(tmp_path: Path) -> None:
    values = IMAGES * 0.9
    with open_slide(save(tmp_path / "images.npy", values), "s1") as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 64, 48, LEVEL_0), np.rint(values[2]))


@pytest.mark.parametrize(("x0", "y0"), [(-20, -10), (50, 40), (-5, 44), (500, 500)])
def test_beyond_the_border_is_white_and_the_patch_stays(tmp_path: Path, x0: int, y0: int) -> None:
    around = np.full((1148, 1164, 3), 255, dtype=np.uint8)
    around[100:148, 100:164] = IMAGES[2]
    with open_slide(save(tmp_path / "images.npy", IMAGES), "s1") as slide:
        found = slide.read(x0, y0, 30, 20, LEVEL_0)
    np.testing.assert_array_equal(found, around[100 + y0 : 120 + y0, 100 + x0 : 130 + x0])


def test_every_read_equals_that_of_a_tiff_with_the_same_pixels(tmp_path: Path) -> None:
    picture = np.random.default_rng(8).integers(0, 256, size=(150, 200, 3), dtype=np.uint8)
    tiff, array = write_tiff(tmp_path / "a.tif", picture), save(tmp_path / "a.npy", np.stack([picture] * 3))
    with Slide(tiff, "a") as one, open_slide(array, "a") as other:
        for downsample in (1.0, 1.5, 2.0, 4.000147):
            at = at_downsample(one.level_downsamples, downsample)
            for x0, y0 in ((0, 0), (31, 17), (-9, 120)):
                np.testing.assert_array_equal(other.read(x0, y0, 40, 30, at), one.read(x0, y0, 40, 30, at))
        np.testing.assert_array_equal(other.overview(20, 15), one.overview(20, 15))


def test_the_overview_is_the_mean_of_areas(tmp_path: Path) -> None:
    with open_slide(save(tmp_path / "images.npy", IMAGES), "s1") as slide:
        overview = slide.overview(8, 6)
    assert np.abs(overview - IMAGES[2].reshape(6, 8, 8, 8, 3).mean(axis=(1, 3))).max() <= 1.0


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (IMAGES[0], "has shape (48, 64, 3); expected (N, height, width, 3)"),
        (np.moveaxis(IMAGES, 3, 1), "has shape (4, 3, 48, 64)"),
        (IMAGES[:2], "images.npy has 2 rows, no row 2"),
        (IMAGES.astype(np.float32) + 1, "values from 1 to 256; expected 0 to 255"),
        (IMAGES.astype(np.int16) - 1, "values from -1 to 254"),
        (np.where(IMAGES == 7, np.nan, IMAGES), "values from nan to nan"),
        (IMAGES / 255.0, "multiply the array by 255"),
        (np.array([{"not": "numbers"}] * 4), "no array of plain numbers"),
        (np.full((4, 2, 2, 3), "text"), "expected numbers"),
        (IMAGES.astype(np.complex64), "expected numbers"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path: Path, array: np.ndarray, says: str) -> None:
    assert says in refusal(save(tmp_path / "images.npy", array))


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch hacked",)


def test_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no array of plain numbers" in refusal(save(tmp_path / "images.npy", np.array([Hostile()] * 4)))
    assert not (tmp_path / "hacked").exists()


def test_damaged_and_missing_files_are_one_line(tmp_path: Path) -> None:
    path = save(tmp_path / "images.npy", IMAGES)
    data = (tmp_path / "images.npy").read_bytes()
    for content in (b"", b"no array", data[:5], data[:90], data[:-1], data[:20] + b"{[" + data[22:]):
        (tmp_path / "images.npy").write_bytes(content)
        assert "images.npy is no array of plain numbers" in refusal(path)
    (tmp_path / "images.npy").unlink()
    assert "images.npy cannot be read (No such file" in refusal(path)


@pytest.mark.filterwarnings("ignore:Reading `.npy`")  # numpy takes some damage for Python 2's way of writing
def test_random_damage_never_ends_in_a_traceback(tmp_path: Path) -> None:
    path = save(tmp_path / "images.npy", IMAGES)
    whole = (tmp_path / "images.npy").read_bytes()
    messages = []
    for seed in range(300):
        flips = np.random.default_rng(seed)
        data = bytearray(whole)
        data[flips.integers(0, 128)] = flips.integers(32, 127)  # the header
        (tmp_path / "images.npy").write_bytes(data)
        os.utime(tmp_path / "images.npy", ns=(seed, seed))
        try:
            open_slide(path, "s1").read(0, 0, 8, 8, LEVEL_0)
        except SlideError as error:
            messages.append(str(error))
    assert 200 < len(messages) < 300
    assert not any("\n" in message for message in messages)


def test_a_new_file_is_not_taken_for_the_old(tmp_path: Path) -> None:
    path = save(tmp_path / "images.npy", IMAGES)
    with open_slide(path, "s1") as slide:
        slide.read(0, 0, 8, 8, LEVEL_0)
    (tmp_path / "images.npy").unlink()
    save(tmp_path / "images.npy", 255 - IMAGES)
    with open_slide(path, "s1") as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 64, 48, LEVEL_0), 255 - IMAGES[2])


def test_a_path_without_a_row_is_another_slide(tmp_path: Path) -> None:
    (tmp_path / "Fold 1").mkdir()
    path = save(tmp_path / "Fold 1" / "images.npy", IMAGES)
    assert readable_file(path) == tmp_path / "Fold 1" / "images.npy"
    assert readable_file(tmp_path / "a#2.tif") == tmp_path / "a#2.tif"
    with open_slide(write_tiff(tmp_path / "a#2.tif", IMAGES[0]), "a") as slide:
        assert isinstance(slide, Slide)
    with pytest.raises(SlideError, match=r"images\.npy does not open"):
        open_slide(tmp_path / "Fold 1" / "images.npy", "a")


def test_an_array_has_no_tiles_to_check_but_its_values(tmp_path: Path) -> None:
    path = save(tmp_path / "images.npy", IMAGES)
    with open_slide(path, "s1") as slide:
        check_under(slide, LEVEL_0, np.array([0]), np.array([0]), 48.0)
        probe(slide, 4, 7)
    path = save(tmp_path / "wrong.npy", IMAGES.astype(np.float32) * 2)
    with open_slide(path, "s1") as slide, pytest.raises(SlideError, match=r"slide s1: wrong\.npy#2 has values from"):
        probe(slide, 4, 7)


def test_paths_below_a_root(tmp_path: Path) -> None:
    assert below(tmp_path, "a/b.npy#3") == tmp_path / "a" / "b.npy#3"
    for path in ("../secret.xml", "ann/../../secret.xml", "/etc/passwd"):
        with pytest.raises(AcinusError, match=r"leads out of the cohort; only paths below cohort\.root"):
            below(tmp_path, path)
