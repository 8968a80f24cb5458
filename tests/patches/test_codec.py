"""Codecs: exact where they promise it, close where they do not, and never silent about damage."""

import io
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from acinus import params
from acinus.patches.codec import CODECS, MASK, PatchDataError, codec_of, decode, encode

SMOOTH = np.stack([*np.meshgrid(np.linspace(90, 230, 64), np.linspace(60, 200, 64)), np.full((64, 64), 180)], axis=2)
SMOOTH = SMOOTH.astype(np.uint8)


def test_the_recipe_offers_the_codecs_there_are():
    assert set(get_args(params.Extract.model_fields["codec"].annotation)) == set(CODECS)
    assert all(codec_of(name).name == name for name in [*CODECS, MASK.name])


@pytest.mark.parametrize("codec", ["png", "raw"])
@given(image=hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))))
def test_lossless_codecs_are_exact(codec: str, image: np.ndarray):
    back = decode(encode(image, codec, 90), codec)
    assert back.dtype == np.uint8
    assert np.array_equal(back, image)


VIEWS = {
    "part": SMOOTH[8:40, 4:36],
    "mirrored": SMOOTH[:32, 31::-1],
    "upside down": SMOOTH[31::-1, :32],
    "transposed": SMOOTH[:32, 8:40].transpose(1, 0, 2),
    "every second px": SMOOTH[::2, ::2],
    "every second row": SMOOTH[::2, :32],
    "blue first": SMOOTH[:32, :32, ::-1],
    "column by column": np.asfortranarray(SMOOTH[:32, :32]),
    "one row again and again": np.broadcast_to(SMOOTH[5, :32], (32, 32, 3)),
}
"""No array of its own memory, row by row, among them."""


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("codec", CODECS)
def test_a_patch_cut_from_a_larger_array_is_encoded_as_it_looks(codec: str, view: str):
    image = VIEWS[view]
    assert not image.flags.c_contiguous
    assert encode(image, codec, 90) == encode(np.array(image, order="C"), codec, 90)


def test_jpeg_is_close_keeps_colour_at_full_resolution_and_obeys_quality():
    columns = np.zeros((32, 32, 3), dtype=np.uint8)
    columns[:, ::2] = (200, 40, 40)
    columns[:, 1::2] = (40, 40, 200)  # colour changes with every px: lost in 4:2:0
    back = decode(encode(columns, "jpeg", 95), "jpeg")
    assert np.abs(back.astype(int) - columns).max() < 40
    assert np.abs(decode(encode(SMOOTH, "jpeg", 90), "jpeg").astype(int) - SMOOTH).mean() < 1.5
    assert len(encode(SMOOTH, "jpeg", 50)) < len(encode(SMOOTH, "jpeg", 95))


@pytest.mark.parametrize("codec", ["jpeg", "png"])
def test_another_library_reads_the_same(codec: str):
    data = encode(SMOOTH, codec, 90)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == codec.upper()
        other = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(other - decode(data, codec)).max() <= (2 if codec == "jpeg" else 0)


@pytest.mark.parametrize("codec", CODECS)
def test_damaged_bytes_are_refused(codec: str):
    data = encode(SMOOTH, codec, 90)
    for bad in (b"", data[:10], data[: len(data) // 2], b"\0" * len(data)):
        with pytest.raises(PatchDataError):
            decode(bad, codec)


@pytest.mark.parametrize("form", [{}, {"restart_marker_blocks": 1}])
def test_a_slides_own_bytes_are_damaged_where_their_pixels_are(form: dict[str, int]):
    stream = io.BytesIO()
    Image.fromarray(SMOOTH).save(stream, "JPEG", quality=90, **form)
    data = stream.getvalue()
    strays = data[:-2] + b"\x12\x34\x56" + data[-2:]
    assert np.array_equal(decode(strays, "source"), decode(data, "source"))
    assert np.array_equal(decode(memoryview(strays), "source"), decode(data, "jpeg"))
    middle = data.index(b"\xff\xda") + (len(data) - data.index(b"\xff\xda")) // 2
    for bad in (b"\xff\xd9", b"\x12\x34\x56\xff\xd9"):  # the rest would be grey
        with pytest.raises(PatchDataError, match="not a whole JPEG"):
            decode(data[:middle] + bad + data[middle:], "source")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_anything_but_rgb_bytes_is_refused(codec: str, image: np.ndarray):
    with pytest.raises(PatchDataError, match="expected uint8"):
        encode(image, codec, 90)


def test_a_grey_png_is_not_a_patch():
    stream = io.BytesIO()
    Image.fromarray(SMOOTH[..., 0]).save(stream, "PNG")
    with pytest.raises(PatchDataError, match="expected uint8"):
        decode(stream.getvalue(), "png")


def test_a_raw_patch_may_be_written_to():
    back = decode(encode(SMOOTH, "raw", 90), "raw")
    back[0, 0] = 0
    assert back[0, 0].tolist() == [0, 0, 0]


@given(mask=hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_masks_are_exact_and_8_bit_grey_for_others(mask: np.ndarray):
    data = encode(mask, "mask", 0)
    assert np.array_equal(decode(data, "mask"), mask)
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        assert np.array_equal(np.asarray(picture), mask)


@pytest.mark.parametrize(
    "mask",
    [SMOOTH, np.zeros((4, 4, 1), np.uint8), np.zeros(4, np.uint8), np.zeros((4, 4), bool), np.zeros((0, 4), "u1")],
)
def test_anything_but_a_raster_of_bytes_is_no_mask(mask: np.ndarray):
    with pytest.raises(PatchDataError, match=r"expected uint8 \(height, width\)"):
        encode(mask, "mask", 0)


@pytest.mark.parametrize("kind", ["RGB", "I;16", "LA"])
def test_a_png_of_another_kind_is_no_mask(kind: str):
    stream = io.BytesIO()
    Image.new(kind, (8, 8)).save(stream, "PNG")
    with pytest.raises(PatchDataError, match="mask holds"):
        decode(stream.getvalue(), "mask")


def test_damaged_masks_are_refused():
    data = encode(SMOOTH[..., 0], "mask", 0)
    for bad in (b"", data[:10], data[: len(data) // 2], b"\0" * len(data)):
        with pytest.raises(PatchDataError):
            decode(bad, "mask")
