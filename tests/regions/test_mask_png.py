"""Predicted masks in the recipe's colours or as indices: read back by Pillow and by the mask decoder, px for px."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from acinus.labels import colours
from acinus.maps.geometry import MapGeometry
from acinus.regions.mask_png import write_mask

COLOURS = [(0, 0, 0), (255, 255, 0), (150, 150, 150), (0, 255, 0), (0, 0, 255), (0, 150, 255)]
rng = np.random.default_rng(5)
MASK = rng.integers(0, 6, (301, 205), dtype=np.uint8)


def cut(mask: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    return (mask[top : top + rows] for top in range(0, len(mask), rows))


@pytest.mark.parametrize("rows", [1, 7, 64, 150, 301])
def test_comes_back_as_it_went(rows: int, tmp_path: Path) -> None:
    path = tmp_path / "out" / "a.png"
    write_mask(path, cut(MASK, rows), (205, 301), COLOURS)
    with Image.open(path) as image:
        assert (image.mode, image.size) == ("P", (205, 301))
        rgb = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(rgb, np.array(COLOURS)[MASK])
    np.testing.assert_array_equal(colours.decode(rgb, COLOURS, 0), MASK)
    names = [str(index) for index in range(6)]
    counts = colours.to_class_mask(path, tmp_path / "a.tif", COLOURS, 0, names)
    assert list(counts.exact_px.values()) == np.bincount(MASK.ravel(), minlength=6).tolist()
    assert [one.name for one in path.parent.iterdir()] == ["a.png"]


def test_bands_and_repetitions_do_not_change_the_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_mask(tmp_path / name, cut(MASK, 64), (205, 301), COLOURS)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_enlarging_by_hand(tmp_path: Path) -> None:
    """7 px at 2.5 px per map px: centres 0.5 to 6.5 fall into columns 0 0 1 1 1 2 2."""
    bands = np.array([[0, 1, 2], [3, 4, 5]], dtype=np.uint8)
    write_mask(tmp_path / "a.png", [bands], (7, 5), COLOURS, 2.5)
    upper, lower = [0, 0, 1, 1, 1, 2, 2], [3, 3, 4, 4, 4, 5, 5]
    rgb = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert colours.decode(rgb, COLOURS, 0).tolist() == [upper, upper, lower, lower, lower]


@given(st.integers(1, 40), st.integers(1, 40), st.floats(1.0, 9.0), st.integers(1, 5))
def test_every_pixel_is_the_map_px_under_its_centre(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, downsample: float, rows: int
) -> None:
    grid = MapGeometry(width, height, downsample)
    mask = np.random.default_rng(width * height).integers(0, 6, grid.shape, dtype=np.uint8)
    path = tmp_path_factory.mktemp("png") / "a.png"
    write_mask(path, cut(mask, rows), (width, height), COLOURS, downsample)
    rgb = np.asarray(Image.open(path).convert("RGB"))
    expected = [
        [
            mask[min(int((y + 0.5) / downsample), grid.rows - 1), min(int((x + 0.5) / downsample), grid.columns - 1)]
            for x in range(width)
        ]
        for y in range(height)
    ]
    np.testing.assert_array_equal(colours.decode(rgb, COLOURS, 0), expected)


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ([MASK[:300]], "bands end at row 300; expected 301 rows"),
        ([MASK, MASK[:1]], "at row 301"),
        ([MASK[:, :204]], "205 columns"),
        ([MASK.astype(np.int64)], "int64"),
        ([np.full_like(MASK, 6)], "class 6 in a mask of 6 colours"),
    ],
)
def test_what_is_no_mask_of_this_size_leaves_no_file(bands: list[np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_mask(tmp_path / "a.png", bands, (205, 301), COLOURS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [1, 7, 64, 301])
def test_indices_come_back_as_greys(rows: int, tmp_path: Path) -> None:
    path = tmp_path / "out" / "a.png"
    write_mask(path, cut(MASK, rows), (205, 301))
    with Image.open(path) as image:
        assert (image.mode, image.size) == ("L", (205, 301))
        np.testing.assert_array_equal(np.asarray(image), MASK)
    assert [one.name for one in path.parent.iterdir()] == ["a.png"]


def test_any_index_is_a_grey_but_the_size_must_fit(tmp_path: Path) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_mask(tmp_path / "a.png", [every], (16, 16))
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == every.tolist()
    with pytest.raises(ValueError, match="bands end at row 16; expected 17 rows"):
        write_mask(tmp_path / "b.png", [every], (16, 17))
    assert [one.name for one in tmp_path.iterdir()] == ["a.png"]


PEAK = """
import sys
from pathlib import Path
import numpy as np
from acinus.regions.mask_png import write_mask
rows = int(sys.argv[1])
rng = np.random.default_rng(0)
bands = (rng.integers(0, 2, (min(64, rows - top), 750), dtype=np.uint8) for top in range(0, rows, 64))
write_mask(Path(sys.argv[2]), bands, (6000, rows * 8), [(0, 0, 0), (255, 0, 0)], 8.0)
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_area(tmp_path: Path) -> None:
    """48 MB of pixels against 5 MB: the peak may not tell them apart."""
    peaks = []
    for rows in (100, 1000):
        command = [sys.executable, "-c", PEAK, str(rows), tmp_path / "a.png"]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] - peaks[0] < 12
