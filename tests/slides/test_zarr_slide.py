"""OME-Zarr folders, written chunk by chunk and by zarr: pixels, um/px, levels, and what is refused by name."""

import json
import shutil
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest

from acinus.errors import SlideError
from acinus.slides import brightfield
from acinus.slides.geometry import Resolution
from acinus.slides.open import open_slide
from acinus.slides.tiles import check_under, probe
from tests.slides.written_zarr import LEVELS, PICTURE, as_zarr2, as_zarr3, laid_out, multiscales, rng


def by_zarr(path: Path, **form: Any) -> Path:
    """Write NGFF 0.5 with zarr's own calls."""
    import zarr

    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales("cyx", "0.5")}
    for number, picture in enumerate(LEVELS):
        array = laid_out(picture, "cyx")
        group.create_array(str(number), shape=array.shape, dtype="uint8", **form)[:] = array
    return path


def change(file: Path, **keys: Any) -> None:
    """Replace keys of a JSON file; a key may lead to inner ones: a__b__0."""
    whole = json.loads(file.read_text())
    for path, value in keys.items():
        *above, last = (int(key) if key.isdigit() else key for key in path.split("__"))
        inner = whole
        for key in above:
            inner = inner[key]
        inner[last] = value
    file.write_text(json.dumps(whole))


def piece(picture: np.ndarray, x: int, y: int, wide: int, high: int) -> np.ndarray:
    padded = np.pad(picture, ((500, 500), (500, 500), (0, 0)), constant_values=255)
    return padded[y + 500 : y + 500 + high, x + 500 : x + 500 + wide]


def assert_pixels(path: Path, levels: list[np.ndarray] = LEVELS) -> None:
    with open_slide(path, "s") as slide:
        assert slide.level_dimensions == tuple(level.shape[1::-1] for level in levels)
        probe(slide, 5, 7)
        for number, (level, down) in enumerate(zip(levels, slide.level_downsamples, strict=True)):
            for x, y, wide, high in ((0, 0, 64, 64), (37, 21, 150, 90), (-20, -33, 80, 70), (60, 50, 400, 350)):
                found = slide.region((round(x * down), round(y * down)), number, (wide, high))
                np.testing.assert_array_equal(found, piece(level, x, y, wide, high), err_msg=f"{number} {x} {y}")
        np.testing.assert_array_equal(slide.read_level(3, 5, 70, 66, 1)[..., :3], piece(levels[1], 3, 5, 70, 66))
        check_under(slide, Resolution(1.0, 0, 1.0), np.array([0]), np.array([0]), 64.0)


def test_without_the_package_a_slide_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(
        SlideError, match=r"slide s: a\.zarr is an OME-Zarr.*make install, or pip install 'acinus\[zarr\]'"
    ):
        open_slide(as_zarr2(tmp_path / "a.zarr"), "s")


zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")


@pytest.mark.parametrize(("axes", "together"), [("tczyx", 1), ("czyx", 3), ("cyx", 2), ("yxc", 3), ("tcyx", 1)])
def test_zarr_2_in_any_order_of_axes(axes: str, together: int, tmp_path: Path) -> None:
    assert_pixels(as_zarr2(tmp_path / "a.ome.zarr", axes=axes, together=together))


@pytest.mark.parametrize("axes", ["tczyx", "cyx"])
def test_zarr_3(axes: str, tmp_path: Path) -> None:
    assert_pixels(as_zarr3(tmp_path / "a.zarr", axes=axes))


@pytest.mark.parametrize(
    "form",
    [
        {"chunks": (1, 50, 70), "compressors": zarr.codecs.ZstdCodec()},
        {"chunks": (3, 64, 64), "compressors": zarr.codecs.BloscCodec(cname="lz4")},
        {"chunks": (1, 64, 64), "shards": (3, 256, 256)},
        {"chunks": (3, 64, 64), "compressors": None, "filters": [zarr.codecs.TransposeCodec(order=(1, 2, 0))]},
    ],
    ids=["zstd", "blosc", "shards", "transposed"],
)
def test_what_zarr_writes(form: dict[str, Any], tmp_path: Path) -> None:
    assert_pixels(by_zarr(tmp_path / "a.zarr", **form))


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    alpha = np.where(np.arange(367)[None, :, None] < 100, 0, 255).astype(np.uint8) * np.ones((301, 1, 1), np.uint8)
    rgba = np.concatenate([PICTURE, alpha], axis=2)
    expected = PICTURE.copy()
    expected[:, :100] = 255
    assert_pixels(as_zarr2(tmp_path / "a.zarr", [rgba, rgba[::2, ::2]]), [expected, expected[::2, ::2]])


@pytest.mark.parametrize(
    ("unit", "scale", "mpp"),
    [
        ("micrometer", 0.25, 0.25),
        ("nanometer", 250.0, 0.25),
        ("millimeter", 0.00025, 0.25),
        ("µm", 0.25, 0.25),
        ("\u03bcm", 0.25, 0.25),
        ("angstrom", 2500.0, 0.25),
        (None, 0.25, None),
        ("pixel", 0.25, None),
        ("micrometer", 28.9, None),
    ],
)
def test_um_per_px(unit: str | None, scale: float, mpp: float | None, tmp_path: Path) -> None:
    with open_slide(as_zarr2(tmp_path / "a.zarr", mpp=scale, unit=unit), "s") as slide:
        assert slide.tag_mpp == (None if mpp is None else pytest.approx((mpp, mpp)))
        assert slide.level_downsamples == (1.0, 2.0, 4.0)
        assert ("openslide.mpp-x" in slide.properties) == (mpp is not None or scale > 20)


def test_a_scale_of_the_whole_counts_too(tmp_path: Path) -> None:
    path = as_zarr2(tmp_path / "a.zarr", mpp=1.0)
    whole = [{"type": "scale", "scale": [1, 1, 1, 0.5, 0.25]}]
    change(path / ".zattrs", multiscales__0__coordinateTransformations=whole)
    with open_slide(path, "s") as slide:
        assert slide.tag_mpp == (0.25, 0.5)


def test_a_thin_slide_keeps_its_coarse_levels_by_their_scales(tmp_path: Path) -> None:
    """1000 x 5000 px by 64 are 16 x 78 px where one is rounded up: by their sizes 62.5 and 64.1."""
    thin = np.full((500, 100, 3), 200, np.uint8)
    path = as_zarr2(tmp_path / "a.zarr", [thin, thin[:62, :13], thin[:31, :7]])
    for level, factor in ((1, 8), (2, 16)):
        scale = [{"type": "scale", "scale": [1, 1, 1, 0.25 * factor, 0.25 * factor]}]
        change(path / ".zattrs", **{f"multiscales__0__datasets__{level}__coordinateTransformations": scale})
    with open_slide(path, "s") as slide:
        assert slide.level_downsamples == (1.0, 8.0, 16.0)


def test_of_bioformats2raw_the_first_image_in_colour_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    grey = [level[..., :1] for level in LEVELS]
    as_zarr2(path, grey, inner="0")
    as_zarr2(path, inner="1")
    (path / ".zattrs").write_text('{"bioformats2raw.layout": 3}')
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    assert_pixels(path)
    (path / "OME").mkdir()
    (path / "OME" / ".zattrs").write_text('{"series": ["0"]}')
    with pytest.raises(SlideError, match=r"no image of 8-bit RGB \(image 0: 1 channel per px: grey or fluorescence"):
        open_slide(path, "s")


def test_a_region_touches_no_chunk_but_its_own(tmp_path: Path) -> None:
    """All others hold what cannot be decoded."""
    path = as_zarr2(tmp_path / "a.zarr")
    for file in (path / "0").rglob("*"):
        if file.is_file() and not file.name.startswith(".") and file.parts[-2:] not in (("1", "2"), ("1", "3")):
            file.write_bytes(b"no zlib")
    with open_slide(path, "s") as slide:
        found = slide.region((2 * 64, 64), 0, (128, 64))
        np.testing.assert_array_equal(found, PICTURE[64:128, 128:256])
        with pytest.raises(SlideError, match="slide s: level 0, chunk at row 1, column 4: cannot be decoded"):
            slide.region((2 * 64, 64), 0, (129, 64))


def test_threads_read_the_same(tmp_path: Path) -> None:
    path = by_zarr(tmp_path / "a.zarr", chunks=(1, 32, 32))
    places = rng.integers(0, 300, (60, 2)).tolist()
    with open_slide(path, "s") as slide, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda place: slide.region(tuple(place), 0, (50, 40)), places))
    for (x, y), pixels in zip(places, found, strict=True):
        np.testing.assert_array_equal(pixels, piece(PICTURE, x, y, 50, 40))


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (PICTURE[..., :1], "1 channel per px: grey or fluorescence; only RGB is read"),
        (PICTURE[..., :2], "2 channels per px: grey or fluorescence; only RGB is read"),
        (np.concatenate([PICTURE, PICTURE], axis=2), "6 channels per px: grey or fluorescence; only RGB is read"),
        (PICTURE.astype(np.uint16), "16 bits per sample; only 8 are read"),
        (PICTURE.astype(np.float32), "32 bits per sample; only 8 are read"),
        (PICTURE.astype(np.int8), r"samples of type \|i1; expected RGB of 8 bits"),
    ],
)
def test_what_is_no_rgb_of_8_bits_is_refused(picture: np.ndarray, reason: str, tmp_path: Path) -> None:
    with pytest.raises(
        SlideError, match=rf"^slide s: a\.zarr does not open \({reason}\); write it as .*cohort\.exclude"
    ):
        open_slide(as_zarr2(tmp_path / "a.zarr", [picture]), "s")


FOCAL = {"shape": [1, 3, 7, 301, 367], "chunks": [1, 1, 1, 64, 64]}
CHANGES = [
    ("0/.zarray", FOCAL, "7 focal planes or times; write one of them"),
    ("0/.zarray", {"compressor": {"id": "pickle"}}, "codec 'pickle' is not read; save it with one of blosc"),
    ("0/.zarray", {"filters": [{"id": "pickle"}]}, "its chunks went through filters"),
    ("0/.zarray", {"chunks": [1, 3, 1, 20000, 20000]}, r"chunks of 1200000000 values, more than"),
    ("0/.zarray", {"shape": [1, 3, 1, 0, 10]}, "expected 5 whole numbers"),
    ("0/.zarray", {"shape": [1, 3, 1, 1e9, 10]}, "expected 5 whole numbers"),
    ("0/.zarray", {"shape": [1, 3, 1, 2**24, 10]}, "expected 5 whole numbers"),
    ("0/.zarray", {"fill_value": "NaN"}, "fill_value NaN; expected 0 to 255"),
    ("0/.zarray", {"dimension_separator": "../"}, "Got ../ instead"),
    ("0/.zarray", {"shape": [1, 3, 1, 301, 200]}, "level 1: 184 x 151 px is no reduction of 200 x 301 px"),
    (".zattrs", {"multiscales__0__version": "0.3"}, "NGFF 0.3; only 0.4 and 0.5 are read"),
    (".zattrs", {"multiscales__0__axes__1__name": ["c"]}, "expected each of t, c, z, y, x at most once"),
    (".zattrs", {"multiscales__0__axes__1__name": "x"}, "axis 'x'; expected each"),
    (".zattrs", {"multiscales__0__datasets__0__path": "../b"}, r"path '\.\./b' leads out of the folder"),
    (".zattrs", {"multiscales__0__datasets__0__path": "/etc"}, "path '/etc' leads out of the folder"),
    (".zattrs", {"multiscales__0__datasets__0__path": "https://a.b/c"}, "is not there; copy the whole folder"),
    (".zattrs", {"multiscales__0__datasets__0__path": "link"}, "path 'link' is a link that leads out of the folder"),
    (".zattrs", {"multiscales__0__datasets__0__path": "\0"}, "null byte"),
    (".zattrs", {"multiscales__0__datasets": [{}] * 65}, "65 levels; expected at most 64"),
    (".zattrs", {"multiscales__0__datasets__0__coordinateTransformations__0__scale": [1, 1, 1, 0, 1]}, "scale 0"),
    (".zattrs", {"multiscales": {}}, "multiscales: '{}'; expected a list"),
    (".zattrs", {"multiscales": [7]}, "multiscales: '7'; expected an object"),
]


@pytest.mark.parametrize(("file", "keys", "reason"), CHANGES)
def test_metadata_that_lead_elsewhere_or_make_no_sense(
    file: str, keys: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    as_zarr2(tmp_path / "b")
    path = as_zarr2(tmp_path / "a.zarr")
    (path / "link").symlink_to(tmp_path / "b")
    change(path / file, **keys)
    with pytest.raises(SlideError, match=rf"^slide s: a\.zarr does not open \(.*{reason}"):
        open_slide(path, "s")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ('{"a": ' * 5_000 + "1" + "}" * 5_000, "no JSON object"),
        ("7" * 5000, "no JSON object"),
        (" " * (2**24 + 1), "more than 16777216 bytes"),
        ("{}", "its metadata has no multiscales"),
        ('{"plate": {}}', "a plate of wells"),
    ],
    ids=["empty", "lists", "objects", "digits", "long", "nothing", "plate"],
)
def test_metadata_that_are_none(text: str, reason: str, tmp_path: Path) -> None:
    path = as_zarr2(tmp_path / "a.zarr")
    (path / ".zattrs").write_text(text)
    with pytest.raises(SlideError, match=rf"^slide s: a\.zarr does not open \(.*{reason}"):
        open_slide(path, "s")


def test_a_folder_that_was_not_copied_whole(tmp_path: Path) -> None:
    path = as_zarr2(tmp_path / "a.zarr")
    shutil.rmtree(path / "1" / "0")
    with pytest.raises(SlideError, match="level 1 has no chunks; copy the whole folder again"):
        open_slide(path, "s")
    (path / "1" / ".zarray").unlink()
    with pytest.raises(SlideError, match=r"level 1: \.zarray is not there; copy the whole folder, hidden files too"):
        open_slide(path, "s")
    (path / ".zattrs").unlink()
    with pytest.raises(SlideError, match=r"neither zarr\.json nor \.zattrs is in it; copy the whole folder"):
        open_slide(path, "s")


@pytest.mark.parametrize(
    ("data", "reason"), [(b"x", ""), (zlib.compress(b"y"), ""), (bytes(2**18), "262144 bytes for")]
)
def test_a_damaged_chunk_is_named(data: bytes, reason: str, tmp_path: Path) -> None:
    path = as_zarr2(tmp_path / "a.zarr")
    (path / "0" / "0" / "2" / "0" / "1" / "1").write_bytes(data)
    with (
        open_slide(path, "s") as slide,
        pytest.raises(SlideError, match=rf"level 0, chunk at row 1, column 1: cannot be decoded.*{reason}.*cohort"),
    ):
        slide.region((64, 64), 0, (10, 10))


def test_a_real_slide_keeps_every_px_of_every_level(shared_data: Path, tmp_path: Path) -> None:
    """Of a whole pyramid in zarr, by zarr's own calls; OpenSlide reads the slide beside it."""
    source = shared_data / "slides" / "cmu-1-small-region.svs"
    group = zarr.open_group(str(tmp_path / "a.ome.zarr"), mode="w", zarr_format=2)
    with openslide.OpenSlide(source) as slide:
        full = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
        mpp = float(slide.properties["openslide.mpp-x"])
    levels = [full, full[::2, ::2], full[::4, ::4], full[::8, ::8]]
    for number, picture in enumerate(levels):
        array = laid_out(picture, "tczyx")
        group.create_array(str(number), shape=array.shape, dtype="uint8", chunks=(1, 1, 1, 256, 256))[:] = array
    group.attrs["multiscales"] = multiscales("tczyx", "0.4", mpp, levels=4)
    with open_slide(tmp_path / "a.ome.zarr", "a") as made, open_slide(source, "a") as slide:
        assert made.tag_mpp == slide.tag_mpp == (0.499, 0.499)
        for number, level in enumerate(levels):
            found = made.region((0, 0), number, level.shape[1::-1])
            np.testing.assert_array_equal(found, level)
        at = Resolution(1.7, 0, 1.0)
        np.testing.assert_array_equal(made.read(301.5, 77.25, 200, 150, at), slide.read(301.5, 77.25, 200, 150, at))
        brightfield.check(made)
