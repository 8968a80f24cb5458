"""Colour-coded masks that others made: ADP's, exact, and PanNuke tiles whose edges were blended by enlarging."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.spatial import cKDTree

from acinus.labels import colours

MORPHOLOGICAL = {
    "background": (255, 255, 255),
    "E.M.S": (0, 0, 128),
    "E.M.U": (0, 128, 0),
    "E.M.O": (255, 165, 0),
    "E.T.S": (255, 192, 203),
    "E.T.U": (255, 0, 0),
    "E.T.O": (173, 20, 87),
    "E.P": (176, 141, 105),
    "C.D.I": (3, 155, 229),
    "C.L": (216, 27, 96),
    "H.E": (244, 81, 30),
    "H.K": (124, 179, 66),
    "H.Y": (142, 36, 255),
    "A.W": (121, 134, 203),
    "M.M": (228, 196, 136),
    "rare 1": (4, 58, 236),  # in one of the masks, and what they stand for is not said
    "rare 2": (204, 25, 165),
    "rare 3": (249, 127, 57),
}
FUNCTIONAL = {
    "background": (255, 255, 255),
    "other": (3, 155, 229),
    "G.O": (0, 0, 128),
    "G.N": (0, 128, 0),
    "T": (173, 20, 87),
}
NUCLEI = {
    "background": (0, 0, 0),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "yellow": (255, 255, 0),
}


def decoded(path: Path, table: dict[str, tuple[int, int, int]], tolerance: int, folder: Path) -> colours.Counts:
    return colours.to_class_mask(path, folder / "mask.tif", list(table.values()), tolerance, list(table))


@pytest.mark.parametrize(("folder", "table"), [("adp_morph", MORPHOLOGICAL), ("adp_func", FUNCTIONAL)])
def test_adp_masks_decode_exactly(
    folder: str, table: dict[str, tuple[int, int, int]], shared_data: Path, tmp_path: Path
) -> None:
    paths = sorted((shared_data / "rgb_masks" / folder).iterdir())
    assert len(paths) == 10
    for path in paths:
        counts = decoded(path, table, 0, tmp_path)
        assert counts.ignored_px == 0, path.name
        assert sum(counts.exact_px.values()) == 1088 * 1088
        rgb = np.asarray(Image.open(path).convert("RGB"))
        np.testing.assert_array_equal(np.array(list(table.values()))[tifffile.imread(tmp_path / "mask.tif")], rgb)


@pytest.mark.parametrize(
    ("folder", "table", "names"),
    [
        (
            "adp_morph",
            MORPHOLOGICAL,
            ("E.M.S", "E.T.S", "E.T.U", "E.T.O", "E.P", "C.D.I", "C.L", "H.E", "H.K", "H.Y", "A.W", "M.M"),
        ),
        ("adp_func", FUNCTIONAL, ("G.O", "T")),
    ],
)
def test_decoded_classes_are_those_that_the_patches_were_labelled_with(
    folder: str,
    table: dict[str, tuple[int, int, int]],
    names: tuple[str, ...],
    shared_data: Path,
    tmp_path: Path,
) -> None:
    """gt_labels.csv was written by looking at the image, not at the mask."""
    with (shared_data / "rgb_masks" / "gt_labels.csv").open(newline="") as stream:
        labelled = {row["Patch Names"]: row for row in csv.DictReader(stream)}
    for path in sorted((shared_data / "rgb_masks" / folder).iterdir()):
        counts = decoded(path, table, 0, tmp_path)
        found = {name for name in names if counts.exact_px[name]}
        assert found == {name for name in names if labelled[path.name][name] == "1"}, path.name


@pytest.mark.parametrize("tolerance", [0, 16, 64])
def test_blended_edges_are_near_or_ignored(tolerance: int, shared_data: Path, tmp_path: Path) -> None:
    table = np.array(list(NUCLEI.values()))
    tree = cKDTree(table)
    paths = sorted((shared_data / "pannuke_mini10" / "masks").iterdir())
    assert len(paths) == 4
    for path in paths:
        counts = decoded(path, NUCLEI, tolerance, tmp_path)
        rgb = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
        apart, nearest = tree.query(rgb, k=2, p=np.inf)
        assert (apart[apart[:, 0] <= tolerance, 0] < apart[apart[:, 0] <= tolerance, 1]).all()  # no ties to argue about
        expected = np.where(apart[:, 0] <= tolerance, nearest[:, 0], 255)
        values = tifffile.imread(tmp_path / "mask.tif")
        np.testing.assert_array_equal(values.ravel(), expected)
        assert counts.ignored_px == int((expected == 255).sum()) > 0
        assert sum(counts.near_px.values()) == int(((expected != 255) & (apart[:, 0] > 0)).sum())
        assert (sum(counts.near_px.values()) > 0) == (tolerance > 0)
        assert counts.transparent_px == 0
