"""Crops and stretched patches: anywhere, drawn from the seed alone, and the mask goes with its patch."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from acinus import params
from acinus.learning.augmentation import Augmentation, Shape, draw_shape
from acinus.learning.dataset import PatchDataset
from tests.learning.fit_case import FakeStore

EDGE, CROP = 40, 16


class PlaceStore(FakeStore):
    """40-px patches whose px say where they are: red the column, green the row; a mask says column // 10."""

    def __init__(self, masks: bool) -> None:
        self._masks = masks

    def read(self, key: str) -> np.ndarray:
        rows, columns = np.mgrid[:EDGE, :EDGE].astype(np.uint8)
        return columns // 10 if self._masks else np.stack([columns, rows, np.full_like(rows, int(key))], axis=-1)


def dataset(**settings: object) -> PatchDataset:
    augmentation = Augmentation(seed=5, **settings)
    return PatchDataset(PlaceStore(False), ["0", "1", "2"], [0, 1, 1], EDGE, augmentation, PlaceStore(True))


def test_crops_lie_anywhere_and_their_masks_with_them() -> None:
    data, corners = dataset(crop_px=CROP), set()
    for epoch in range(400):
        patch, mask = data[(epoch, 0)]
        assert patch.shape == (3, CROP, CROP)
        x, y = int(patch[0, 0, 0]), int(patch[1, 0, 0])
        corners.add((x, y))
        rows, columns = np.mgrid[y : y + CROP, x : x + CROP]
        assert np.array_equal(patch.numpy()[:2], [columns, rows])
        assert torch.equal(mask, torch.from_numpy((columns // 10).astype(np.uint8)))
    for axis in (0, 1):  # 25 places each way; each is missed by 400 draws once in 10^7
        assert {corner[axis] for corner in corners} == set(range(EDGE - CROP + 1))


def test_a_crop_depends_on_seed_epoch_and_item_alone() -> None:
    data = dataset(crop_px=CROP, everything=True)
    for ticket in ((0, 0), (0, 1), (3, 2)):
        assert torch.equal(data[ticket][0], dataset(crop_px=CROP, everything=True)[ticket][0])
    assert not torch.equal(data[(0, 1)][0], data[(1, 1)][0])
    together = data.__getitems__([(3, 2), (0, 1)])
    assert torch.equal(together[1][0], data[(0, 1)][0])


def test_a_patch_that_is_not_changed_is_not_resampled() -> None:
    patch, mask = dataset()[(7, 2)]
    assert torch.equal(patch, torch.from_numpy(PlaceStore(False).read("2").transpose(2, 0, 1).copy()))
    assert torch.equal(mask, torch.from_numpy(PlaceStore(True).read("2")))


@pytest.mark.parametrize("crop_px", [None, CROP])
def test_scaled_and_bent_patches_are_those_of_scipy(crop_px: int | None) -> None:
    change = params.Geometric(scale=0.3, elastic_px=1.5)
    augmentation = Augmentation(seed=1, crop_px=crop_px, geometric=change)
    noise = np.random.default_rng(0)
    stored = ndimage.gaussian_filter(noise.uniform(0, 255, (EDGE, EDGE, 3)), (1, 1, 0)).astype(np.uint8)
    labels, edges = noise.integers(0, 4, (EDGE, EDGE), dtype=np.uint8), set()
    for epoch in range(12):
        shape = draw_shape(augmentation, EDGE, epoch, 0)
        edges.add(shape.edge)
        shown = crop_px or EDGE
        assert shape.shown == shown
        assert 0.7 * shown <= shape.edge <= 1.3 * shown
        assert shape.moved is not None
        along = (np.arange(shown) + 0.5) * shape.edge / shown - 0.5
        y, x = along[:, None] + shape.y + shape.moved[1], along[None, :] + shape.x + shape.moved[0]
        expected = [
            ndimage.map_coordinates(stored[..., n].astype(float), [y, x], order=1, mode="reflect") for n in range(3)
        ]
        found = shape.of_patch(stored)
        assert np.abs(found - np.stack(expected, axis=-1)).max() <= 0.51  # rounded
        nearest = ndimage.map_coordinates(labels, [y, x], order=0, mode="reflect")
        assert (shape.of_mask(labels) == nearest).mean() > 0.99  # halves may fall to either side
    assert len(edges) == 12
    assert max(edges) > shown > min(edges)


def test_scaled_crops_stay_within_the_stored_patch() -> None:
    change = params.Geometric(scale=0.5)
    for epoch in range(200):
        shape = draw_shape(Augmentation(seed=2, crop_px=32, geometric=change), EDGE, epoch, 1)
        assert min(shape.x, shape.y) >= 0
        assert max(shape.x, shape.y) + shape.edge <= EDGE + 1e-9


def test_displacements_have_the_size_asked_for() -> None:
    change = params.Geometric(elastic_px=2.0)
    moved = [draw_shape(Augmentation(geometric=change), 256, epoch, 0).moved for epoch in range(8)]
    corners = np.concatenate([one[:, [0, 0, -1, -1], [0, -1, 0, -1]].ravel() for one in moved if one is not None])
    assert 1.4 < float(corners.std()) < 2.7  # 64 values of a normal distribution
    assert Shape(0, 0, 8, 8).moved is None
