"""Every family through every stage, at the smallest size: what must add up adds up, and twice is the same to the byte.

The truth of a map's px is read here from the cohorts' own files, with other libraries than the pipeline's.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import openslide
import pandas as pd
import pytest
import shapely
import tifffile
from PIL import Image

from acinus import records
from acinus.files import read_json
from acinus.maps.tiff import read_map
from acinus_demo.rgb_mask import COLOURS
from tests.pipeline.families import CONTEXT, SMALL, run_all

CELL_PX = 128
SEGMENTATIONS = ("demo-panda", "demo-biopsy", "demo-pannuke")
NOT_COMPARED = ("data_docs", "index.html", "/slides/", ".run.json", "machine.json", "study.log")
"""What names times, runs or the machine."""


@pytest.fixture(scope="module")
def done(every_family: Any) -> Any:
    return every_family


@pytest.fixture(scope="module")
def tables(done: Any) -> dict[str, list[dict[str, Any]]]:
    """Recipe -> for every slide with a map its row of the manifest and of the quantities together."""
    found = {}
    for name in SMALL:
        read = (records.read(getattr(records, one.upper()), folder(done, name) / f"{one}.parquet") for one in ROWS)
        manifest, quantities = read
        found[name] = records.rows(manifest.merge(quantities.drop(columns="mpp_source"), on="slide_id"))
        assert found[name]
    return found


ROWS = ("manifest", "quantities")
EDGES = ("width", "height")


def folder(project: Any, name: str) -> Path:
    return project.root / "data" / name


# ------------------------------------------------------------------ the truth, from the files


def centres(length: int, downsample: float) -> np.ndarray:
    """Where map px look at the slide: in the middle of what of them lies on it, level-0 px."""
    starts = np.arange(math.ceil(length / downsample)) * downsample
    return (starts + np.minimum(starts + downsample, length)) / 2


def panda_truth(root: Path, row: dict[str, Any]) -> np.ndarray:
    """The red channel; cancer is 2 at Karolinska, 3 to 5 at Radboud."""
    red = tifffile.imread(root / "train_label_masks" / f"{row['slide_id']}_mask.tiff", key=0)[..., 0]
    return np.isin(red, [2] if row["provider"] == "karolinska" else [3, 4, 5]).astype(np.uint8)


def biopsy_truth(root: Path, row: dict[str, Any]) -> np.ndarray:
    with Image.open(root / row["label_source"]) as picture:
        rgb = np.asarray(picture.convert("RGB"))
    return np.stack([(rgb == colour).all(axis=2) for colour in COLOURS]).argmax(axis=0)


def pannuke_truth(root: Path, row: dict[str, Any]) -> np.ndarray:
    """Channels 0 to 4 are classes 1 to 5; 5 is the background, class 0."""
    path, number = row["label_source"].split("#")
    return np.roll(np.load(root / path, allow_pickle=False)[int(number)] != 0, 1, axis=2).argmax(axis=2)


def context_truth(root: Path, row: dict[str, Any]) -> np.ndarray:
    """Outlines, less what is cut out of them, at the middle of every level-0 px."""
    truth = np.zeros((row["height"], row["width"]), dtype=np.uint8)
    if row["label_source"] is None:
        return truth
    for one in ElementTree.parse(root / row["label_source"]).iter("Annotation"):  # outlines go before their cut-outs
        ring = [(float(dot.get("X") or ""), float(dot.get("Y") or "")) for dot in one.iter("Coordinate")]
        y, x = np.mgrid[: row["height"], : row["width"]] + 0.5
        truth[shapely.contains_xy(shapely.Polygon(ring), x, y)] = int(one.get("PartOfGroup") == "_0")
    return truth


def cells(values: np.ndarray) -> np.ndarray:
    """Level-0 px (h, w) as cells (rows, columns, px of a cell), those beyond the slide 0."""
    rows, columns = (math.ceil(edge / CELL_PX) for edge in values.shape)
    whole = np.zeros((rows * CELL_PX, columns * CELL_PX), dtype=values.dtype)
    whole[: values.shape[0], : values.shape[1]] = values
    apart = whole.reshape(rows, CELL_PX, columns, CELL_PX).swapaxes(1, 2)
    return apart.reshape(rows, columns, CELL_PX**2)


def looked_at(values: np.ndarray, downsample: float) -> np.ndarray:
    """What of level-0 px (h, w) the px of a map look at."""
    y, x = (centres(edge, downsample).astype(int) for edge in values.shape)
    return values[np.ix_(y, x)]


TRUTH: dict[str, tuple[str, Callable[[Path, dict[str, Any]], np.ndarray]]] = {
    "demo-panda": ("panda", panda_truth),
    "demo-biopsy": ("rgb_mask", biopsy_truth),
    "demo-pannuke": ("pannuke", pannuke_truth),
    CONTEXT: ("camelyon", context_truth),
}


@pytest.mark.parametrize("name", SMALL)
def test_the_confusion_counts_every_px_of_known_truth_under_its_class(
    done: Any, tables: dict[str, list[dict[str, Any]]], name: str
) -> None:
    family, read = TRUTH[name]
    classes, known = len(done.recipe(name, {}).classes), 0
    for row in tables[name]:
        if row["label_kind"] == "unknown":  # a slide of panda without a mask
            assert row["confusion"] is None
            continue
        truth = read(done.root / "data" / "demo" / family, row)
        assert truth.shape == (row["height"], row["width"])
        # a cell is tumour where any of it is, however its centre looks
        on_map = cells(truth).max(axis=2) if name == CONTEXT else looked_at(truth, row["map_downsample"])
        expected = np.bincount(on_map.ravel(), minlength=classes)
        for kind in ("confusion", "confusion_majority", "confusion_colour")[: 3 if name in SEGMENTATIONS else 1]:
            matrix = np.array(row[kind]).reshape(classes, classes)
            assert matrix.sum(axis=1).tolist() == expected.tolist(), (row["slide_id"], kind)
        assert sum(row["confusion"]) == on_map.size
        known += int(expected[1:].sum())
    assert known > 0  # there is tumour among the slides


def tissue_of(done: Any, name: str, row: dict[str, Any]) -> np.ndarray:
    """Which px of a slide's map are tissue, from its mask's file."""
    mask = np.asarray(Image.open(folder(done, name) / "tissue" / f"{row['slide_id']}.png").convert("L")) > 0
    size = row["height"], row["width"]
    if name == CONTEXT:  # a cell is tissue where enough of it is
        y, x = ((np.arange(edge) + 0.5) * own / edge for edge, own in zip(size, mask.shape, strict=True))
        return cells(mask[np.ix_(y.astype(int), x.astype(int))]).mean(axis=2) >= 0.1
    down = row["map_downsample"]
    y, x = (centres(edge, down) * own / edge for edge, own in zip(size, mask.shape, strict=True))
    return mask[np.ix_(y.astype(int), x.astype(int))]


@pytest.mark.parametrize("name", SMALL)
def test_the_classes_of_a_slide_add_up_to_its_tissue(
    done: Any, tables: dict[str, list[dict[str, Any]]], name: str
) -> None:
    for row in tables[name]:
        assert sum(row["class_px"]) == row["tissue_px"] > 0
        assert row["tumour_px"] == sum(row["class_px"][1:])  # every class but the first is positive here
        assert row["tissue_px"] == np.count_nonzero(tissue_of(done, name, row))


def test_every_slide_of_the_test_split_has_a_map_and_a_picture(
    done: Any, tables: dict[str, list[dict[str, Any]]]
) -> None:
    for name, rows in tables.items():
        manifest = records.read(records.MANIFEST, folder(done, name) / "manifest.parquet")
        test = sorted(manifest.loc[manifest["split"] == "test", "slide_id"])
        mapped = sorted(manifest.loc[manifest["status"] == "ok", "slide_id"]) if name == "demo-panda" else test
        assert [row["slide_id"] for row in rows] == mapped  # graders learn from the maps of the other slides
        assert sorted(path.stem for path in (folder(done, name) / "maps").iterdir()) == mapped
        page = (done.root / "reports" / name / "index.html").read_text()
        assert [one for one in test if one not in page] == []


# ------------------------------------------------------------------ each family's own


def test_predicted_masks_of_biopsies_lie_beside_their_pictures(done: Any) -> None:
    """Of the same size, in the cohort's colours and no others, each px the likeliest class of the map under it."""
    data, root = folder(done, "demo-biopsy"), done.root / "data" / "demo" / "rgb_mask"
    masks = sorted((data / "masks").iterdir())
    assert len(masks) == 1
    for path in masks:
        with Image.open(path) as mask, Image.open(next((root / "images").glob(f"{path.stem}.*"))) as picture:
            assert mask.size == picture.size
            rgb = np.asarray(mask.convert("RGB"))
        prob, _, info = read_map(data / "maps" / f"{path.stem}.tif")
        assert list(info.classes) == ["background", "yellow", "grey", "green", "blue", "red"]
        said = prob.argmax(axis=0)  # where no window was all are 0, and so is the class
        large = said.repeat(2, axis=0).repeat(2, axis=1)[: rgb.shape[0], : rgb.shape[1]]
        np.testing.assert_array_equal(rgb, np.array(COLOURS, dtype=np.uint8)[large])
        assert len(np.unique(large)) > 1


def test_masks_of_other_recipes_are_class_indices_on_the_maps_grid(
    done: Any, tables: dict[str, list[dict[str, Any]]]
) -> None:
    """One per mapped slide; the positive px in its tissue are as many as were counted."""
    for name in SMALL:
        masks = folder(done, name) / "masks"
        assert sorted(one.name for one in masks.iterdir()) == sorted(f"{row['slide_id']}.png" for row in tables[name])
        if name == "demo-biopsy":
            continue
        for row in tables[name]:
            with Image.open(masks / f"{row['slide_id']}.png") as mask:
                assert (mask.mode, mask.size) == ("L", tuple(math.ceil(row[e] / row["map_downsample"]) for e in EDGES))
                within = np.asarray(mask)[tissue_of(done, name, row)]
                said = np.bincount(within, minlength=len(row["class_px"]))
            assert said[1:].tolist() == list(row["class_px"][1:])


def test_the_map_of_the_context_recipe_has_one_value_per_cell(
    done: Any, tables: dict[str, list[dict[str, Any]]]
) -> None:
    """And it is what the model said of the cell's own window, as stage train recorded it of the sampled cells."""
    scores = records.read(records.SCORES, done.root / "models" / CONTEXT / "patch_scores.parquet")
    assert len(scores)
    for row in tables[CONTEXT]:
        with openslide.OpenSlide(folder(done, CONTEXT) / "maps" / f"{row['slide_id']}.tif") as opened:
            assert opened.dimensions == (math.ceil(row["width"] / 128), math.ceil(row["height"] / 128))
            values = np.asarray(opened.read_region((0, 0), 0, opened.dimensions).convert("L"))
        own = scores[scores["slide_id"] == row["slide_id"]]
        i, j = ((own[axis].to_numpy() + 85) // 128 for axis in ("x0", "y0"))
        seen = 255 * own["probs"].to_numpy()  # of a JPEG of the window: as near as its compression lets
        assert np.abs(values[j, i] - seen).mean() < 3


def test_pannuke_names_protocol_and_tissues(done: Any, tables: dict[str, list[dict[str, Any]]]) -> None:
    manifest = records.read(records.MANIFEST, folder(done, "demo-pannuke") / "manifest.parquet")
    assert set(zip(manifest["provider"], manifest["split"], strict=True)) == {
        ("fold1", "train"),
        ("fold2", "val"),
        ("fold3", "test"),
    }
    assert set(manifest["split_rule"]) == {"official-1"}
    fold = done.root / "data" / "demo" / "pannuke" / "Fold 3" / "images" / "fold3"
    assert [row["tissue_type"] for row in tables["demo-pannuke"]] == np.load(fold / "types.npy").tolist()
    assert "official-1" in (done.root / "reports" / "demo-pannuke" / "index.html").read_text()


def test_panda_keeps_grades_and_the_slide_without_a_mask(done: Any) -> None:
    table = pd.read_csv(done.root / "data" / "demo" / "panda" / "train.csv").set_index("image_id")
    manifest = records.read(records.MANIFEST, folder(done, "demo-panda") / "manifest.parquet").set_index("slide_id")
    assert manifest["isup"].astype(int).to_dict() == table["isup_grade"].to_dict()
    assert manifest["gleason"].to_dict() == table["gleason_score"].to_dict()
    without = manifest[manifest["label_kind"] == "unknown"]
    assert without["findings"].tolist() == ["mask_missing"]
    assert without["status"].tolist() == ["ok"]
    assert {*manifest["split"]} == {"train", "val", "test"}


# ------------------------------------------------------------------ figures


def test_baselines_stand_beside_every_figure_and_in_the_summary(done: Any) -> None:
    of_all = read_json(done.root / "reports" / "metrics.json")
    assert set(of_all) == set(SMALL)
    figures = dict.fromkeys(SEGMENTATIONS, ("dice_mean", "dice_mean_tumor", "miou", "mdice", "pixel_accuracy"))
    for name, own in (figures | {CONTEXT: ("patch_auc",)}).items():
        metrics = read_json(done.root / "reports" / name / "metrics.json")
        assert metrics == of_all[name]
        for figure in own:
            for which in ("majority", "colour"):
                value = metrics[f"{figure}.baseline_{which}"]
                assert (value is None) == (metrics[figure] is None)
                assert value is None or 0 <= value <= 1


def test_the_majority_of_tiles_is_the_share_of_their_background(done: Any) -> None:
    """PanNuke's tiles are tissue throughout: who says background everywhere is right wherever there is some."""
    fold = done.root / "data" / "demo" / "pannuke" / "Fold 3" / "masks" / "fold3" / "masks.npy"
    share = float((np.load(fold, allow_pickle=False)[..., 5] != 0).mean())
    metrics = read_json(done.root / "reports" / "demo-pannuke" / "metrics.json")
    assert metrics["pixel_accuracy.baseline_majority"] == pytest.approx(share, abs=1e-12)
    assert metrics["miou.baseline_majority"] == pytest.approx(share / 6, abs=1e-12)  # five classes at 0


# ------------------------------------------------------------------ twice


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file that the pipeline made."""
    paths = [path for top in ("data", "models", "reports") for path in (root / top).rglob("*") if path.is_file()]
    kept = {path.relative_to(root).as_posix(): path for path in paths}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(kept.items())
        if not name.startswith("data/demo/") and not any(part in name for part in NOT_COMPARED)
    }


@pytest.mark.slow  # test_kill.py compares two folders of one recipe
def test_a_second_run_in_another_folder_gives_the_same_bytes(done: Any, direct: Any, tmp_path: Path) -> None:
    first, second = digests(done.root), digests(run_all(direct.copy(tmp_path)).root)
    assert {name for name in first if first[name] != second.get(name)} == set()
    assert set(second) == set(first)
    for kind in ("manifest.parquet", ".tif", "model.safetensors", "metrics.json", ".png", "store.json", ".lmdb"):
        assert [name for name in first if name.endswith(kind)], kind
