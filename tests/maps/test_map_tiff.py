"""The map's file: opened by OpenSlide, same bytes again, damage found."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from acinus.errors import AcinusError
from acinus.maps.geometry import MapGeometry
from acinus.maps.tiff import MapInfo, open_map, read_map, write_map

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


SIX = MapInfo("biopsy_1", ("background", "yellow", "grey", "gr\u00fcn", "blue", "red"), (0.25, 0.25))


def six(geometry: MapGeometry) -> np.ndarray:
    y, x = np.mgrid[: geometry.rows, : geometry.columns]
    return np.stack([0.5 + 0.5 * np.sin(x / (41.0 + c)) * np.cos(y / 29.0 + c) for c in range(6)]).astype(np.float32)


@pytest.fixture(scope="module")
def written_six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "biopsy_1.tif"
    write_map(path, cut(six(GEOMETRY), 100), GEOMETRY, SIX)
    return path


def test_several_classes_come_back_in_their_order(written_six: Path, tmp_path: Path) -> None:
    pixels, geometry, info = read_map(written_six)
    assert np.array_equal(pixels, np.rint(six(GEOMETRY) * 255).astype(np.uint8))
    assert (geometry, info) == (GEOMETRY, SIX)
    assert [p.name for p in written_six.parent.iterdir()] == [written_six.name], "scratch files were left"
    write_map(tmp_path / "again.tif", cut(six(GEOMETRY), 333), GEOMETRY, SIX)
    assert (tmp_path / "again.tif").read_bytes() == written_six.read_bytes()


def test_openslide_shows_the_first_of_several_classes_up_to_the_border(written_six: Path) -> None:
    expected, _, _ = read_map(written_six)
    with openslide.OpenSlide(written_six) as slide:
        assert slide.level_dimensions == ((1251, 772), (626, 386), (313, 193), (157, 97))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(4.0, rel=1e-6)
        region = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))
        half = np.asarray(slide.read_region((0, 0), 1, slide.level_dimensions[1]))[..., 0]
    assert all(np.array_equal(region[..., channel], expected[0]) for channel in range(3))
    assert (region[..., 3] == 255).all()
    means = expected[0, :, :1250].reshape(386, 2, 625, 2).mean(axis=(1, 3))
    assert np.abs(half[:, :625] - means).max() <= 0.5


def test_tifffile_sees_one_pyramid_of_all_classes(written_six: Path) -> None:
    expected, _, _ = read_map(written_six)
    with tifffile.TiffFile(written_six) as tiff:
        assert len(tiff.series) == 1
        assert [level.shape for level in tiff.series[0].levels] == [
            (6, 772, 1251), (6, 386, 626), (6, 193, 313), (6, 97, 157)
        ]  # fmt: skip
        assert np.array_equal(tiff.series[0].asarray(), expected)
        names = [page.tags[285].value for page in tiff.pages if not page.is_reduced]
    assert names == ["background", "yellow", "grey", "gr\\u00fcn", "blue", "red"]


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([1, 3]))
def test_bands_and_crops_are_parts_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, channels: int
) -> None:
    geometry = MapGeometry(width, height, 1.0)
    path, whole = tmp_path_factory.mktemp("any") / "x.tif", six(geometry)[:channels]
    write_map(path, cut(whole, 97), geometry, MapInfo("x", ("a", "b", "c")[:channels], None))
    expected = np.rint(whole * 255).astype(np.uint8)
    random = np.random.default_rng(width)
    with open_map(path) as reader:
        bands = list(reader.bands())
        top, left = int(random.integers(height)), int(random.integers(width))
        down, across = int(random.integers(height - top)) + 1, int(random.integers(width - left)) + 1
        crop = reader.window(top, left, down, across)
        with pytest.raises(ValueError, match="crop of"):
            reader.window(top, left, down, width - left + 1)
    assert [start for start, _ in bands] == list(range(0, height, 256))
    assert np.array_equal(np.concatenate([band for _, band in bands], axis=1), expected)
    assert np.array_equal(crop, expected[:, top : top + down, left : left + across])


def test_a_band_may_be_changed_by_its_user(written_six: Path) -> None:
    with open_map(written_six) as reader:
        for _, band in reader.bands():
            band[:] = 0


def test_reading_bands_takes_memory_by_the_width_not_by_the_height(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        geometry, path = MapGeometry(600, rows, 1.0), tmp_path / f"{rows}.tif"
        zero = np.zeros((6, 256, 600), np.float32)
        bands = (zero[:, : min(256, rows - top)] for top in range(0, rows, 256))
        tracemalloc.start()
        try:
            write_map(path, bands, geometry, SIX)
            writing = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            with open_map(path) as reader:
                for _ in reader.bands():
                    pass
            return max(writing, tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()

    peak(512)  # what is loaded once is not counted below
    short, tall = peak(512), peak(16 * 512)
    assert tall < 1.5 * short
    assert tall < 6 * 600 * 16 * 512 / 2


def test_a_changed_tile_of_any_class_is_found_at_the_latest_with_the_last_band(
    written_six: Path, tmp_path: Path
) -> None:
    whole, damaged = written_six.read_bytes(), tmp_path / "damaged.tif"
    with tifffile.TiffFile(written_six) as tiff:
        pages = [page for page in tiff.pages if not page.is_reduced]
        places = [(page.dataoffsets[2], page.databytecounts[2]) for page in pages]
        other = [whole[page.dataoffsets[1] : page.dataoffsets[1] + page.databytecounts[1]] for page in pages]
    for (offset, count), tile in zip(places, other, strict=True):
        data = bytearray(whole)
        data[offset + count // 2] ^= 0xFF
        damaged.write_bytes(data)
        one_line(damaged)
        if len(tile) <= count:  # a whole tile, but another's: only the checksum can tell
            data = bytearray(whole)
            data[offset : offset + len(tile)] = tile
            damaged.write_bytes(data)
            tops = []
            with open_map(damaged) as reader, pytest.raises(AcinusError, match="not those that were written"):
                tops.extend(top for top, _ in reader.bands())
    damaged.write_bytes(whole)
    assert len(read_map(damaged)[0]) == 6


def test_bands_of_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"band .3, 5, 7. at row 0, expected .6, 5, 7."):
        write_map(tmp_path / "a.tif", [np.zeros((3, 5, 7), np.float32)], MapGeometry(7, 5, 1.0), SIX)
    with pytest.raises(ValueError, match="without classes"):
        write_map(tmp_path / "a.tif", [], MapGeometry(7, 5, 1.0), MapInfo("a", (), None))
    assert list(tmp_path.iterdir()) == []


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
