"""The map's file: opened by OpenSlide, same bytes again, damage found."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from acinus.errors import AcinusError
from acinus.mapping.geometry import MapGeometry
from acinus.mapping.map_tiff import MapInfo, read_map, write_map

INFO = MapInfo("tumor_001", ("tumor",), (0.243, 0.25))
GEOMETRY = MapGeometry(20_010, 12_345, 16.0)


def smooth(geometry: MapGeometry) -> np.ndarray:
    y, x = np.mgrid[: geometry.rows, : geometry.columns]
    return (0.5 + 0.5 * np.sin(x / 41.0) * np.cos(y / 29.0)).astype(np.float32)[None]


def cut(probs: np.ndarray, height: int) -> Iterator[np.ndarray]:
    return (probs[:, top : top + height] for top in range(0, probs.shape[1], height))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "tumor_001.tif"
    write_map(path, cut(smooth(GEOMETRY), 100), GEOMETRY, INFO)
    return path


def test_comes_back_as_it_went(written: Path) -> None:
    pixels, geometry, info = read_map(written)
    assert np.abs(pixels - smooth(GEOMETRY)[0].astype(np.float64) * 255).max() <= 0.5 + 1e-4
    assert (geometry, info) == (GEOMETRY, INFO)
    assert [p.name for p in written.parent.iterdir()] == [written.name], "scratch files were left"


def test_openslide_sees_a_pyramid_with_the_maps_mpp(written: Path) -> None:
    with openslide.OpenSlide(written) as slide:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert slide.level_dimensions == ((1251, 772), (626, 386), (313, 193), (157, 97))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.243 * 16, rel=1e-6)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.25 * 16, rel=1e-6)
        region = np.asarray(slide.read_region((200, 300), 0, (700, 400)))
        small = np.asarray(slide.read_region((0, 0), 3, slide.level_dimensions[3]))[..., 0]
    expected, _, _ = read_map(written)
    for channel in range(3):
        assert np.array_equal(region[..., channel], expected[300:700, 200:900])
    assert (region[..., 3] == 255).all()
    blocks = expected[:768, :1248].reshape(96, 8, 156, 8).mean(axis=(1, 3))  # 8 x 8 means, independent of the halving
    assert np.abs(small[:96, :156] - blocks).max() <= 1.5


def test_is_a_tiled_deflated_bigtiff_with_reduced_pages(written: Path) -> None:
    with tifffile.TiffFile(written) as tiff:
        assert tiff.is_bigtiff
        assert [page.subfiletype for page in tiff.pages] == [0, 1, 1, 1]
        for page in tiff.pages:
            assert page.tile == (256, 256)
            assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            assert page.dtype == np.uint8
            assert "DateTime" not in page.tags


def test_without_mpp_no_reader_is_told_one(tmp_path: Path) -> None:
    geometry = MapGeometry(900, 700, 2.0)
    write_map(tmp_path / "a.tif", cut(smooth(geometry), 350), geometry, MapInfo("a", ("tumor",), None))
    assert read_map(tmp_path / "a.tif")[2].mpp is None
    with openslide.OpenSlide(tmp_path / "a.tif") as slide:
        assert "openslide.mpp-x" not in slide.properties


def test_same_bands_same_bytes_however_they_are_cut(written: Path, tmp_path: Path) -> None:
    write_map(tmp_path / "again.tif", cut(smooth(GEOMETRY), 333), GEOMETRY, INFO)
    assert (tmp_path / "again.tif").read_bytes() == written.read_bytes()


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 700), st.integers(1, 700), st.floats(1.0, 3.0))
def test_any_size_comes_back(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, downsample: float
) -> None:
    geometry = MapGeometry(width, height, downsample)
    path = tmp_path_factory.mktemp("any") / "x.tif"
    write_map(path, cut(smooth(geometry), 97), geometry, MapInfo("x", ("tumor",), None))
    pixels, found, _ = read_map(path)
    assert found == geometry
    assert np.abs(pixels - smooth(geometry)[0].astype(np.float64) * 255).max() <= 0.5 + 1e-4


def test_p_is_rounded_and_the_ends_are_exact(tmp_path: Path) -> None:
    geometry = MapGeometry(6, 1, 1.0)
    row = np.array([[[0.0, 1.0, 0.5, 0.4999, 1 / 255, 1.0000001]]], dtype=np.float32)
    write_map(tmp_path / "a.tif", [row], geometry, INFO)
    assert read_map(tmp_path / "a.tif")[0].tolist() == [[0, 255, 128, 127, 1, 255]]


@pytest.mark.parametrize("rows", [4, 6])
def test_a_wrong_number_of_rows_leaves_no_file(tmp_path: Path, rows: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        write_map(tmp_path / "a.tif", [np.zeros((1, rows, 7), np.float32)], MapGeometry(7, 5, 1.0), INFO)
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    def bands() -> Iterator[np.ndarray]:
        yield np.zeros((1, 2, 7), np.float32)
        raise AcinusError("tile unreadable")

    with pytest.raises(AcinusError, match="tile unreadable"):
        write_map(tmp_path / "a.tif", bands(), MapGeometry(7, 5, 1.0), INFO)
    assert list(tmp_path.iterdir()) == []


def test_several_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match="expected one"):
        write_map(tmp_path / "a.tif", [], MapGeometry(7, 5, 1.0), MapInfo("a", ("normal", "tumor"), None))


def one_line(path: Path) -> str:
    with pytest.raises(AcinusError) as caught:
        read_map(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def test_foreign_and_missing_files_are_named(tmp_path: Path) -> None:
    assert "not found" in one_line(tmp_path / "missing.tif")
    tifffile.imwrite(tmp_path / "foreign.tif", np.zeros((40, 40), np.uint8))
    assert "no probability map of acinus" in one_line(tmp_path / "foreign.tif")
    (tmp_path / "text.tif").write_text("not a tiff at all")
    assert "not a whole map" in one_line(tmp_path / "text.tif")
    (tmp_path / "empty.tif").write_bytes(b"")
    assert "not a whole map" in one_line(tmp_path / "empty.tif")


def test_truncation_at_any_length_is_found(written: Path, tmp_path: Path) -> None:
    whole = written.read_bytes()
    with tifffile.TiffFile(written) as tiff:
        base = tiff.pages.first
        end_of_base = max(o + c for o, c in zip(base.dataoffsets, base.databytecounts, strict=True))
    damaged = tmp_path / "damaged.tif"
    for length in [1, 8, 16, 100, 500, 1000, end_of_base // 2, end_of_base - 1]:
        damaged.write_bytes(whole[:length])
        one_line(damaged)


def test_zeroed_or_changed_pixels_are_found(written: Path, tmp_path: Path) -> None:
    with tifffile.TiffFile(written) as tiff:
        offset, count = tiff.pages.first.dataoffsets[3], tiff.pages.first.databytecounts[3]
    damaged = tmp_path / "damaged.tif"
    for start, stop in [(0, count), (0, 40), (count // 2, count // 2 + 1)]:
        data = bytearray(written.read_bytes())
        data[offset + start : offset + stop] = b"\x00" * (stop - start)
        damaged.write_bytes(data)
        one_line(damaged)


def test_a_byte_changed_anywhere_is_an_error_or_harmless(tmp_path: Path) -> None:
    geometry = MapGeometry(300, 280, 1.0)
    path = tmp_path / "a.tif"
    write_map(path, cut(smooth(geometry), 70), geometry, MapInfo("a", ("tumor",), None))
    whole, expected = path.read_bytes(), read_map(path)[0]
    random = np.random.default_rng(0)
    for position in [*range(0, 900, 3), *random.integers(0, len(whole), 100).tolist()]:
        data = bytearray(whole)
        data[position] ^= 0xFF
        path.write_bytes(data)
        try:
            assert np.array_equal(read_map(path)[0], expected)
        except AcinusError as error:
            assert "\n" not in str(error)  # noqa: PT017 (either outcome is right)
