"""The drawn PanNuke cohort as a stranger finds it on disk."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import regionprops
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from acinus.params import PannukeDemo
from acinus_demo import pannuke
from acinus_demo.pannuke import FoldPlan

NEOPLASTIC, INFLAMMATORY, CONNECTIVE, DEAD, EPITHELIAL, BACKGROUND = range(6)
CHANNEL = {"neoplastic": 0, "inflammatory": 1, "connective": 2, "dead": 3, "epithelial": 4}
TILES = 14


@pytest.fixture(scope="module")
def plans() -> list[FoldPlan]:
    return pannuke.plan(20261121, PannukeDemo(tiles_per_fold=TILES))


@pytest.fixture(scope="module")
def root(plans: list[FoldPlan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "pannuke"
    for fold in plans:
        pannuke.draw_slide(fold, folder)
    pannuke.finish(plans, folder)
    return folder


def load(root: Path, fold: int, name: str) -> NDArray:
    kind = "masks" if name == "masks" else "images"
    return np.load(root / f"Fold {fold}" / kind / f"fold{fold}" / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def semantic(masks: NDArray) -> NDArray[np.uint8]:
    """Return 0 background, 1 + channel elsewhere."""
    label = np.zeros(masks.shape[:3], np.uint8)
    for channel in range(5):
        label[masks[..., channel] > 0] = channel + 1
    return label


def test_layout_and_numeric_types_are_those_of_pannuke(root: Path, plans: list[FoldPlan]) -> None:
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    parts = ("images/fold{k}/images.npy", "images/fold{k}/types.npy", "masks/fold{k}/masks.npy")
    assert found == [f"Fold {k}/{part.format(k=k)}" for k in (1, 2, 3) for part in parts]
    assert [plan.slide_id for plan in plans] == ["fold1", "fold2", "fold3"]
    assert [load(root, k, "images").dtype.name for k in (1, 2, 3)] == ["uint8", "float32", "uint16"]
    for k in (1, 2, 3):
        images, masks, types = (load(root, k, name) for name in ("images", "masks", "types"))
        assert images.shape == (TILES, 256, 256, 3)
        assert masks.shape == (TILES, 256, 256, 6)
        assert types.shape == (TILES,)
        assert types.dtype.kind == "U"
        assert len(set(types.tolist())) >= 4
        assert 0 <= images.min() < 90 < 200 < images.max() <= 255
        assert (images == np.rint(images)).all()


def test_no_pixel_belongs_to_two_nuclei_and_background_is_the_rest(root: Path) -> None:
    for k in (1, 2, 3):
        masks = np.asarray(load(root, k, "masks"))
        assert ((masks > 0).sum(axis=-1) == 1).all()
        assert set(np.unique(masks[..., BACKGROUND])) == {0, 1}


def test_nuclei_keep_apart_and_are_numbered_without_gaps(root: Path) -> None:
    masks = np.asarray(load(root, 1, "masks"))[..., :5].astype(int)
    for tile in masks:
        flat = (tile + 1000 * np.arange(5) * (tile > 0)).max(axis=-1)
        highest = ndimage.maximum_filter(flat, 3)
        lowest = ndimage.minimum_filter(np.where(flat > 0, flat, 10**6), 3)
        assert (highest[flat > 0] == flat[flat > 0]).all()
        assert (lowest[flat > 0] == flat[flat > 0]).all()
        for channel in range(5):
            numbers = np.unique(tile[..., channel])
            assert numbers.tolist() == list(range(numbers.size))
            if channel == DEAD:  # fragments by nature
                continue
            assert ndimage.label(tile[..., channel] > 0, np.ones((3, 3)))[1] == numbers.size - 1


def test_tiles_mix_the_types_they_were_planned_with(root: Path, plans: list[FoldPlan]) -> None:
    for plan in plans:
        masks = load(root, plan.fold, "masks")
        present = np.array([[masks[i, ..., c].any() for c in range(5)] for i in range(TILES)])
        for row, tile in zip(present, plan.tiles, strict=True):
            assert set(np.flatnonzero(row)) == {CHANNEL[name] for name in tile.types}
        assert set(present.sum(axis=1)) <= {2, 3, 4}
        share = present.mean(axis=0)
        assert (share[[NEOPLASTIC, INFLAMMATORY, CONNECTIVE, EPITHELIAL]] >= 0.5).all()
        assert share[DEAD] >= 1 / 3
        np.testing.assert_array_equal(load(root, plan.fold, "types"), [tile.tissue for tile in plan.tiles])


@pytest.mark.parametrize("count", range(4, 41, 3))
def test_every_fold_size_has_all_types_often_enough(count: int) -> None:
    for fold in pannuke.plan(7, PannukeDemo(tiles_per_fold=count)):
        tally = {name: sum(name in tile.types for tile in fold.tiles) for name in CHANNEL}
        assert tally.pop("dead") * 3 >= count
        assert min(tally.values()) * 2 >= count


def shapes(root: Path, fold: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (area, eccentricity, solidity, long axis) and the channel of every nucleus that is not cut off."""
    features, kinds = [], []
    for tile in np.asarray(load(root, fold, "masks"))[..., :5]:
        for channel in range(5):
            for region in regionprops(tile[..., channel].astype(np.int32)):
                top, left, bottom, right = region.bbox
                if min(top, left) > 0 and max(bottom, right) < 256:
                    axes = region.axis_major_length, region.axis_minor_length
                    features.append((region.equivalent_diameter_area, axes[0] / axes[1], region.solidity, axes[0]))
                    kinds.append(channel)
    return np.array(features), np.array(kinds)


def test_nuclei_have_the_sizes_and_shapes_of_their_type(root: Path) -> None:
    features, kinds = shapes(root, 2)
    diameter, ratio, solidity, long = (np.array(column) for column in features.T)
    for channel, low, high in ((NEOPLASTIC, 22, 52), (INFLAMMATORY, 18, 26), (EPITHELIAL, 26, 34), (DEAD, 11, 24)):
        assert low < diameter[kinds == channel].min() <= diameter[kinds == channel].max() < high
    assert diameter[kinds == NEOPLASTIC].std() > 3 * diameter[kinds == EPITHELIAL].std()
    assert ratio[kinds == CONNECTIVE].min() > 2
    assert 35 < np.median(long[kinds == CONNECTIVE]) < 52
    assert ratio[kinds == INFLAMMATORY].max() < 1.4
    assert np.median(solidity[kinds == DEAD]) < 0.92 < np.median(solidity[kinds != DEAD])


def test_masks_lie_on_the_nuclei(root: Path) -> None:
    images, masks = load(root, 1, "images"), load(root, 1, "masks")
    for picture, mask in zip(images, masks, strict=True):
        nuclear = mask[..., BACKGROUND] == 0
        inner = ndimage.binary_erosion(nuclear, iterations=2)
        rim = ndimage.binary_dilation(nuclear, iterations=5) & ~ndimage.binary_dilation(nuclear, iterations=2)
        red = picture[..., 0].astype(float)
        assert red[rim].mean() - red[inner].mean() > 25
        moved = np.roll(inner, (9, 9), (0, 1))
        assert red[moved].mean() > red[inner].mean() + 10


@pytest.mark.slow
def test_colour_does_not_give_the_type_away(root: Path) -> None:
    train_x = np.asarray(load(root, 1, "images"))[:, ::2, ::2].reshape(-1, 3)
    train_y = semantic(load(root, 1, "masks"))[:, ::2, ::2].ravel()
    test_x = np.asarray(load(root, 3, "images"))[:, 1::4, 1::4].reshape(-1, 3)
    test_y = semantic(load(root, 3, "masks"))[:, 1::4, 1::4].ravel()
    model = HistGradientBoostingClassifier(max_iter=30, random_state=0, early_stopping=False)
    found = model.fit(train_x[::3], train_y[::3]).predict(test_x)
    both = [((found == c) & (test_y == c)).sum() for c in range(6)]
    either = [((found == c) | (test_y == c)).sum() for c in range(6)]
    assert np.mean(np.array(both) / np.array(either)) < 0.42


@pytest.mark.slow
def test_shape_does(root: Path) -> None:
    train_x, train_y = shapes(root, 1)
    test_x, test_y = shapes(root, 3)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(train_x, train_y)
    assert model.score(test_x, test_y) > 0.90


def test_every_fold_has_a_seed_of_its_own(plans: list[FoldPlan]) -> None:
    assert len({fold.seed for fold in plans}) == 3
