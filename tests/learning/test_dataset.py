"""Items, copies, order and the symmetries of the square."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from acinus.errors import AcinusError
from acinus.learning.augmentation import Augmentation, draw, transform
from acinus.learning.dataset import PatchDataset, ShuffledTickets, plain_tickets


class MemoryStore:
    """A patch store in memory."""

    def __init__(self, patches: dict[str, np.ndarray]) -> None:
        self.patches = patches

    def read(self, key: str) -> np.ndarray:
        return self.patches[key]


def noise_store(count: int, px: int = 8) -> MemoryStore:
    rng = np.random.default_rng(0)
    patches = {f"s/{i}_0": rng.integers(0, 256, (px, px, 3), dtype=np.uint8) for i in range(count)}
    for patch in patches.values():
        patch.flags.writeable = False  # as LMDB lends it
    return MemoryStore(patches)


LABELS = [0, 1, 0, 0, 1]


def dataset(augmentation: Augmentation) -> PatchDataset:
    store = noise_store(len(LABELS))
    return PatchDataset(store, list(store.patches), LABELS, 8, augmentation)


def hwc(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(1, 2, 0).numpy()


def test_the_eight_symmetries_are_distinct_keep_the_pixels_and_form_a_group() -> None:
    patch = np.arange(5 * 5 * 3).reshape(5, 5, 3)
    images = [transform(patch, k) for k in range(8)]
    assert len({image.tobytes() for image in images}) == 8
    assert all(sorted(image.reshape(-1, 3).tolist()) == sorted(patch.reshape(-1, 3).tolist()) for image in images)
    again = {transform(image, k).tobytes() for image in images for k in range(8)}
    assert again == {image.tobytes() for image in images}
    np.testing.assert_array_equal(images[0], patch)
    np.testing.assert_array_equal(images[4], np.fliplr(patch))


def test_each_tumour_patch_is_there_once_plain_and_aug_factor_times_changed() -> None:
    data = dataset(Augmentation(copies=3, seed=1))
    assert len(data) == 5 + 2 * 3
    seen: Counter[tuple[str, bool]] = Counter()
    for item in range(len(data)):
        tensor, label = data[(0, item)]
        assert tensor.dtype == torch.uint8
        assert tensor.shape == (3, 8, 8)
        pixels = hwc(tensor)
        (key,) = [
            key
            for key, patch in noise_store(5).patches.items()
            if any(np.array_equal(pixels, transform(patch, k)) for k in range(8))
        ]
        plain = np.array_equal(pixels, noise_store(5).patches[key])
        assert label == LABELS[int(key[2])]
        seen[key, plain] += 1
    assert {key: count for (key, plain), count in seen.items() if plain} == {f"s/{i}_0": 1 for i in range(5)}
    assert {key: count for (key, plain), count in seen.items() if not plain} == {"s/1_0": 3, "s/4_0": 3}


def test_copies_are_uniform_over_the_seven_changes_and_everything_over_all_eight() -> None:
    rounds = 4000
    copies = Counter(draw(Augmentation(1, False, 3), epoch, 5, 1) for epoch in range(rounds))
    plain = Counter(draw(Augmentation(1, True, 3), epoch, 5, 0) for epoch in range(rounds))
    assert sorted(copies) == list(range(1, 8))
    assert sorted(plain) == list(range(8))
    # five standard deviations of a binomial count
    assert max(abs(count - rounds / 7) for count in copies.values()) < 5 * (rounds / 7) ** 0.5
    assert max(abs(count - rounds / 8) for count in plain.values()) < 5 * (rounds / 8) ** 0.5


def test_a_draw_depends_on_seed_epoch_and_item() -> None:
    def draws(seed: int, epoch: int) -> list[int]:
        return [draw(Augmentation(0, True, seed), epoch, item, 0) for item in range(50)]

    assert draws(1, 0) == draws(1, 0)
    assert len({tuple(draws(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_without_augmentation_patches_are_as_stored() -> None:
    data = dataset(Augmentation())
    for item, patch in enumerate(noise_store(5).patches.values()):
        np.testing.assert_array_equal(hwc(data[(7, item)][0]), patch)


def test_the_order_is_a_new_permutation_per_epoch_and_can_start_anywhere() -> None:
    def order(first: int, epoch: int) -> list[tuple[int, int]]:
        tickets = ShuffledTickets(20, 4, 9, first)
        tickets.set_epoch(epoch)
        return list(tickets)

    assert sorted(item for _, item in order(0, 0)) == list(range(20))
    assert {epoch for epoch, _ in order(0, 3)} == {3}
    assert order(0, 3) == order(2, 1) == order(3, 0)
    assert [item for _, item in order(0, 0)] != [item for _, item in order(0, 1)]
    assert list(ShuffledTickets(20, 4, 9, 3)) == order(3, 0)  # before anyone called set_epoch


@pytest.mark.parametrize(("items", "batch", "kept"), [(9, 4, 8), (10, 4, 10), (1, 4, 1), (5, 1, 5), (3, 2, 2)])
def test_a_remainder_of_one_sits_out(items: int, batch: int, kept: int) -> None:
    tickets = ShuffledTickets(items, batch, 0, 0)
    assert len(tickets) == len(list(tickets)) == kept


def test_workers_do_not_change_the_epoch() -> None:
    data = dataset(Augmentation(copies=2, everything=True, seed=4))

    def epoch(workers: int) -> torch.Tensor:
        tickets = ShuffledTickets(len(data), 4, 11, 0)
        tickets.set_epoch(2)
        # fork would be refused under pytest where other tests have started threads
        context = "forkserver" if workers else None
        loader = DataLoader(data, batch_size=4, sampler=tickets, num_workers=workers, multiprocessing_context=context)
        return torch.cat([patches for patches, _ in loader])

    torch.testing.assert_close(epoch(0), epoch(1), rtol=0, atol=0)


def test_wrong_patches_and_labels_are_refused_by_name() -> None:
    store = noise_store(2)
    with pytest.raises(AcinusError, match=r"patch s/1_0 has label ignore"):
        PatchDataset(store, list(store.patches), [0, -1], 8)
    with pytest.raises(AcinusError, match="2 keys but labels"):
        PatchDataset(store, list(store.patches), [0], 8)
    with pytest.raises(AcinusError, match=r"patch s/0_0: found uint8 \(8, 8, 3\), expected uint8 \(16, 16, 3\)"):
        PatchDataset(store, list(store.patches), [0, 1], 16)[(0, 0)]
    with pytest.raises(AcinusError, match="label 1 found, but the model has 1 classes"):
        PatchDataset(store, list(store.patches), [0, 1], 8).counts(1)


def test_counts_are_of_patches_not_of_copies() -> None:
    assert dataset(Augmentation(copies=5)).counts(2) == [3, 2]
    assert plain_tickets(dataset(Augmentation())) == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]
