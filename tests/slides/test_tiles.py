"""Tiles that other tools pass over in silence: zeroed, cut off, pointing beyond the file."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from acinus.errors import SlideError
from acinus.slides.geometry import at_downsample
from acinus.slides.pages import pages_of, read_pages
from acinus.slides.slide import Slide
from acinus.slides.tiles import check_under, probe

ALL = 1000


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sound slides by compression: 3 levels of 256, 64 and 16 tiles of random pixels."""
    folder = tmp_path_factory.mktemp("sound")
    picture = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    for compression in ("jpeg", "deflate", "none"):
        with tifffile.TiffWriter(folder / f"{compression}.tif", bigtiff=True) as tiff:
            for level in range(3):
                tiff.write(
                    picture[:: 2**level, :: 2**level],
                    tile=(64, 64),
                    photometric="rgb",
                    compression=compression if compression != "none" else None,
                    subfiletype=0 if level == 0 else 1,
                )
    return {compression: folder / f"{compression}.tif" for compression in ("jpeg", "deflate", "none")}


def place(path: Path, level: int, tile: int) -> tuple[int, int]:
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages[level].dataoffsets[tile], tiff.pages[level].databytecounts[tile]


def damage(source: Path, target: Path, level: int, tile: int, keep: float) -> Path:
    """Zero a tile's bytes from the share `keep` on; the directory stays whole."""
    shutil.copy(source, target)
    offset, count = place(source, level, tile)
    kept = int(count * keep)
    with target.open("r+b") as stream:
        stream.seek(offset + kept)
        stream.write(bytes(count - kept))
    return target


def run(path: Path, samples: int = ALL, seed: int = 0) -> None:
    with Slide(path, "slide_1") as slide:
        probe(slide, samples, seed)


@pytest.mark.parametrize("compression", ["jpeg", "deflate", "none"])
def test_a_sound_slide_passes(sound: dict[str, Path], compression: str) -> None:
    run(sound[compression])
    run(sound[compression], samples=1)


@pytest.mark.parametrize(("level", "tile"), [(0, 0), (0, 63), (1, 7), (2, 3)])
@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
def test_a_zeroed_tile_of_any_level_is_found(
    sound: dict[str, Path], tmp_path: Path, compression: str, level: int, tile: int
) -> None:
    path = damage(sound[compression], tmp_path / "a.tif", level, tile, keep=0.0)
    with pytest.raises(SlideError, match=rf"slide slide_1: level {level}, tile {tile}: its \d+ bytes are all zero"):
        run(path)


def test_a_tile_cut_in_its_middle_is_found_where_openslide_is_silent(sound: dict[str, Path], tmp_path: Path) -> None:
    path = damage(sound["jpeg"], tmp_path / "a.tif", 0, 9, keep=0.5)
    with Slide(path, "a") as slide:
        assert slide.read_level(64, 64, 64, 64, 0)[..., 3].all()  # the trap: pixels come, without an error
    with pytest.raises(SlideError, match=r"level 0, tile 9: .*break off without an end marker"):
        run(path)


def test_uncompressed_tiles_that_are_all_zero_are_found_but_one_black_tile_is_none_of_our_business(
    sound: dict[str, Path], tmp_path: Path
) -> None:
    path = damage(sound["none"], tmp_path / "a.tif", 0, 5, keep=0.0)
    run(path)
    for tile in range(4):
        damage(path, tmp_path / "b.tif", 2, tile, keep=0.0)
        path = (tmp_path / "b.tif").rename(tmp_path / f"c{tile}.tif")
    with pytest.raises(SlideError, match="level 2: the bytes of all 4 sampled tiles are zero"):
        run(path)


def test_a_tile_behind_the_files_end_is_found_without_sampling_it(sound: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    shutil.copy(sound["jpeg"], path)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages[0].tags["TileOffsets"]
        offsets = list(tag.value)
        offsets[30:33] = [path.stat().st_size - 10] * 3
        tag.overwrite(offsets)
    with pytest.raises(SlideError, match=r"directory 0: 3 of 64 tiles lie behind the file's end \(tile 30 .* cut off"):
        run(path, samples=1)


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.1, 0.001])
def test_a_truncated_file_is_found_wherever_it_ends(sound: dict[str, Path], tmp_path: Path, share: float) -> None:
    data = sound["jpeg"].read_bytes()
    path = tmp_path / "a.tif"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SlideError, match="slide slide_1: ") as caught:
        run(path, samples=1)
    assert "\n" not in str(caught.value)


def test_a_hole_is_legal(sound: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    shutil.copy(sound["jpeg"], path)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages[0].tags["TileByteCounts"]
        counts = list(tag.value)
        counts[5] = 0
        tag.overwrite(counts)
    run(path)


def test_samples_depend_on_the_seed_and_always_hold_first_and_last(sound: dict[str, Path], tmp_path: Path) -> None:
    path = damage(sound["jpeg"], tmp_path / "a.tif", 0, 30, keep=0.0)
    outcomes = []
    for seed in range(40):
        try:
            run(path, samples=16, seed=seed)
            outcomes.append(False)
        except SlideError:
            outcomes.append(True)
    assert 2 <= sum(outcomes) <= 20  # 14 of 62 inner tiles: 9 of 40 expected
    for tile in (0, 63):
        edge = damage(sound["jpeg"], tmp_path / "b.tif", 0, tile, keep=0.0)
        with pytest.raises(SlideError, match=f"tile {tile}"):
            run(edge, samples=2)


def test_pages_are_those_of_the_file(sound: dict[str, Path], tmp_path: Path) -> None:
    pages = read_pages(sound["jpeg"], "a")
    assert [(page.width, page.height, page.tile, page.counts.size) for page in pages] == [
        (512, 512, (64, 64), 64),
        (256, 256, (64, 64), 16),
        (128, 128, (64, 64), 4),
    ]
    assert not pages[0].offsets.flags.writeable  # they are remembered
    (tmp_path / "a.txt").write_text("no TIFF")
    assert read_pages(tmp_path / "a.txt", "a") == []


def test_a_file_that_was_replaced_is_read_again(sound: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    shutil.copy(sound["jpeg"], path)
    old = read_pages(path, "a")
    assert read_pages(path, "a")[0] is old[0]
    shutil.copy(sound["none"], path)
    assert read_pages(path, "a")[0].compression == 1


@pytest.mark.parametrize(("downsample", "level", "tile"), [(1.0, 0, 27), (1.5, 0, 27), (2.0, 1, 6), (4.0, 2, 3)])
def test_a_tile_that_breaks_off_is_found_under_the_patches_that_need_it(
    sound: dict[str, Path], tmp_path: Path, downsample: float, level: int, tile: int
) -> None:
    """OpenSlide gives other pixels than those of the sound slide exactly there, and says nothing."""
    path = damage(sound["jpeg"], tmp_path / "slide.tif", level, tile, 0.5)
    found, said = {}, set()
    with Slide(path, "slide_1") as slide, Slide(sound["jpeg"], "sound") as other:
        at = at_downsample(slide.level_downsamples, downsample)
        assert at.level == level
        for x0 in range(0, 512, 32):
            for y0 in range(0, 512, 32):
                corner = np.array([x0]), np.array([y0])
                try:
                    check_under(slide, at, *corner, 24 * downsample)
                    found[x0, y0] = False
                except SlideError as error:
                    found[x0, y0] = True
                    said.add(str(error))
                check_under(other, at, *corner, 24 * downsample)
                differs = (slide.read(x0, y0, 24, 24, at) != other.read(x0, y0, 24, 24, at)).any()
                assert found[x0, y0] or not differs
        whole = np.array(list(found)).T
        with pytest.raises(SlideError, match=f"slide slide_1: level {level}, tile {tile}: .* break off") as refusal:
            check_under(slide, at, whole[0], whole[1], 24 * downsample)
    assert said == {str(refusal.value)}
    edge0 = 64 * 2**level  # of a tile; a patch far from it does not need it
    across = 512 // edge0
    left, top = tile % across * edge0, tile // across * edge0
    reach = 5 * 2**level
    for (x0, y0), refused in found.items():
        beside = (x0 + 24 * downsample < left - reach, x0 > left + edge0 + reach)
        above = (y0 + 24 * downsample < top - reach, y0 > top + edge0 + reach)
        assert not (refused and any(beside + above))


@pytest.mark.parametrize(("tag", "value"), [("TileOffsets", 2**31), ("TileByteCounts", 2**32 - 1)])
def test_a_tile_behind_the_files_end_is_found_under_the_patches(
    sound: dict[str, Path], tmp_path: Path, tag: str, value: int
) -> None:
    path = tmp_path / "slide.tif"
    shutil.copy(sound["jpeg"], path)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        values = list(tiff.pages[0].tags[tag].value)
        values[27] = value
        tiff.pages[0].tags[tag].overwrite(values)
    with Slide(path, "slide_1") as slide:
        at = at_downsample(slide.level_downsamples, 1.0)
        check_under(slide, at, np.array([0]), np.array([0]), 64.0)
        said = r"slide slide_1: level 0, tile 27: its \d+ bytes from \d+ on lie behind the file's end \(\d+ bytes\)"
        with pytest.raises(SlideError, match=said):
            check_under(slide, at, np.array([200]), np.array([200]), 64.0)
    with pytest.raises(SlideError, match=r"directory 0: 1 of 64 tiles lie behind the file's end \(tile 27"):
        run(path, samples=1)


def test_a_number_that_no_file_can_have_is_a_damaged_directory(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), tile=(64, 64), photometric="rgb", bigtiff=True)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].tags["TileByteCounts"].offset
    data = bytearray(path.read_bytes())
    data[place + 2 : place + 4] = (16).to_bytes(2, "little")  # a LONG8
    data[place + 12 : place + 20] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(SlideError, match=r"slide a: a\.tif has a damaged TIFF directory"):
        read_pages(path, "a")


def test_compressions_without_markers_and_no_patches_at_all_pass(sound: dict[str, Path]) -> None:
    for compression in ("deflate", "none"):
        with Slide(sound[compression], "slide_1") as slide:
            at = at_downsample(slide.level_downsamples, 1.0)
            check_under(slide, at, np.arange(0, 512, 64), np.arange(0, 512, 64), 64.0)
            check_under(slide, at, np.array([], dtype=np.int64), np.array([], dtype=np.int64), 64.0)


def test_many_squares_are_refused_where_one_of_them_is(sound: dict[str, Path], tmp_path: Path) -> None:
    path = damage(sound["jpeg"], tmp_path / "slide.tif", 0, 27, 0.5)
    rng = np.random.default_rng(0)
    outcomes = set()
    with Slide(path, "slide_1") as slide:
        at = at_downsample(slide.level_downsamples, 1.5)

        def refused(x0: np.ndarray, y0: np.ndarray) -> bool:
            try:
                check_under(slide, at, x0, y0, 36.0)
            except SlideError:
                return True
            return False

        for _ in range(60):
            x0, y0 = rng.integers(-60, 560, (2, 12))
            one_by_one = [refused(x0[i : i + 1], y0[i : i + 1]) for i in range(12)]
            assert refused(x0, y0) == any(one_by_one)
            outcomes.add(any(one_by_one))
    assert outcomes == {True, False}


def test_a_level_of_leicas_canvas_that_has_a_directorys_size_by_chance_is_sound(shared_data: Path) -> None:
    """Its canvas at level 1 is as large as its first directory, whose tiles lie elsewhere on it."""
    path = shared_data / "reported" / "12_scn_size_coincidence" / "tumor_001.scn"
    with Slide(path, "s") as slide:
        assert (1536, 1536) in slide.level_dimensions
        assert any((page.width, page.height) == (1536, 1536) for page in read_pages(path, "s"))
        probe(slide, 16, 7)
        assert [pages_of(slide, level) for level in range(len(slide.level_dimensions))] == [[]] * 4
