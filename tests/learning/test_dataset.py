"""Items, copies, order and the symmetries of the square."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from acinus import params
from acinus.errors import AcinusError
from acinus.learning.augmentation import Augmentation, draw_symmetry, jitter, transform
from acinus.learning.dataset import PatchDataset, ShuffledTickets, plain_tickets
from tests.learning.fit_case import FakeStore


class MemoryStore(FakeStore):
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


def turned(patch: np.ndarray, symmetry: int) -> np.ndarray:
    """The symmetry as numpy has it: quarter turns, then a flip; (n, n, channels) or (n, n)."""
    image = np.rot90(patch, symmetry % 4)
    return np.fliplr(image) if symmetry >= 4 else image


def test_the_eight_symmetries_are_numpys_turns_and_flips_and_all_distinct() -> None:
    patch = np.arange(5 * 5 * 3).reshape(5, 5, 3)
    images = [transform(patch, k) for k in range(8)]
    for k, image in enumerate(images):
        np.testing.assert_array_equal(image, turned(patch, k))
    assert len({image.tobytes() for image in images}) == 8
    assert all(sorted(image.reshape(-1, 3).tolist()) == sorted(patch.reshape(-1, 3).tolist()) for image in images)
    again = {transform(image, k).tobytes() for image in images for k in range(8)}
    assert again == {image.tobytes() for image in images}


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
            if any(np.array_equal(pixels, turned(patch, k)) for k in range(8))
        ]
        plain = np.array_equal(pixels, noise_store(5).patches[key])
        assert label == LABELS[int(key[2])]
        seen[key, plain] += 1
    assert {key: count for (key, plain), count in seen.items() if plain} == {f"s/{i}_0": 1 for i in range(5)}
    assert {key: count for (key, plain), count in seen.items() if not plain} == {"s/1_0": 3, "s/4_0": 3}


def test_copies_are_uniform_over_the_seven_changes_and_everything_over_all_eight() -> None:
    rounds = 4000
    copies = Counter(draw_symmetry(Augmentation(1, False, 3), epoch, 5, 1) for epoch in range(rounds))
    plain = Counter(draw_symmetry(Augmentation(1, True, 3), epoch, 5, 0) for epoch in range(rounds))
    assert sorted(copies) == list(range(1, 8))
    assert sorted(plain) == list(range(8))
    # five standard deviations of a binomial count
    assert max(abs(count - rounds / 7) for count in copies.values()) < 5 * (rounds / 7) ** 0.5
    assert max(abs(count - rounds / 8) for count in plain.values()) < 5 * (rounds / 8) ** 0.5


def test_a_draw_depends_on_seed_epoch_and_item() -> None:
    def draws(seed: int, epoch: int) -> list[int]:
        return [draw_symmetry(Augmentation(0, True, seed), epoch, item, 0) for item in range(50)]

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


def test_an_epoch_of_stated_length_goes_through_all_items_before_any_comes_again() -> None:
    def epoch(number: int, first: int = 0) -> list[tuple[int, int]]:
        tickets = ShuffledTickets(10, 4, 9, first, iterations=3)
        tickets.set_epoch(number - first)
        assert len(tickets) == 12
        return list(tickets)

    row = [ticket for number in range(5) for ticket in epoch(number)]
    for start in range(0, 60, 10):
        assert sorted(item for _, item in row[start : start + 10]) == list(range(10))
    assert [number for number, _ in row] == [place // 10 for place in range(60)]
    assert len(set(row)) == 60  # an item that comes twice in an epoch has another ticket, so another crop
    assert epoch(3, first=2) == epoch(3)
    plain = [item for _, item in ShuffledTickets(10, 4, 9, 0)]
    assert [item for _, item in row[:10]] == plain


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


class IndexStore(FakeStore):
    """4-px patches whose red channel is a number per pixel, and masks with the very same numbers."""

    def __init__(self, mask: bool) -> None:
        self._mask = mask

    def read(self, key: str) -> np.ndarray:
        numbers = (np.arange(16, dtype=np.uint8) + 16 * int(key)).reshape(4, 4)
        return numbers if self._mask else np.repeat(numbers[..., None], 3, axis=2)


def masked(augmentation: Augmentation) -> PatchDataset:
    return PatchDataset(IndexStore(False), ["0", "1", "2"], [0, 1, 0], 4, augmentation, IndexStore(True))


def test_image_and_mask_get_the_same_symmetry() -> None:
    data, seen = masked(Augmentation(copies=2, everything=True, seed=2)), set()
    assert (len(data), data.masked) == (5, True)
    for epoch in range(60):
        for item in range(len(data)):
            pixels, mask = data[(epoch, item)]
            assert isinstance(mask, torch.Tensor)
            assert (mask.dtype, mask.shape) == (torch.uint8, (4, 4))
            torch.testing.assert_close(pixels[0], mask, rtol=0, atol=0)
            seen.add((int(mask.min()) // 16, bytes(mask.flatten().tolist())))
    assert len(seen) == 3 * 8  # each patch in all eight positions


def test_colours_change_the_image_and_never_the_mask() -> None:
    colours = Augmentation(photometric=params.Photometric(brightness=0.5), seed=2)
    changed = 0
    for item in range(3):
        (pixels, mask), (plain, same) = masked(colours)[(4, item)], masked(Augmentation())[(4, item)]
        torch.testing.assert_close(mask, same, rtol=0, atol=0)
        changed += not torch.equal(pixels, plain)
    assert changed == 3
    everything = Augmentation(everything=True, photometric=params.Photometric(brightness=0.5), seed=2)
    for item in range(3):  # the factor is the same with and without the symmetry
        turned, plain = masked(everything)[(4, item)][0], masked(colours)[(4, item)][0]
        assert sorted(turned.flatten().tolist()) == sorted(plain.flatten().tolist())


def test_pixels_are_counted_once_per_patch_and_strange_values_refused() -> None:
    class Masks(FakeStore):
        def read(self, key: str) -> np.ndarray:
            return np.array([[0, 1], [1, 255]], np.uint8) if key == "a" else np.array([[2, 0], [0, 0]], np.uint8)

    class Patches(FakeStore):
        def read(self, key: str) -> np.ndarray:
            return np.zeros((2, 2, 3), np.uint8)

    data = PatchDataset(Patches(), ["a", "b"], [1, 0], 2, Augmentation(copies=3), Masks())
    assert data.pixel_counts(3) == data.with_extra([0], 5).pixel_counts(3) == [4, 2, 1]
    assert data.pixel_counts(4) == [4, 2, 1, 0]
    with pytest.raises(AcinusError, match=r"mask b: value 2 found, expected classes 0..1 or 255"):
        data.pixel_counts(2)
    with pytest.raises(AcinusError, match=r"mask a: found uint8 \(2, 2, 3\), expected uint8 \(2, 2\)"):
        PatchDataset(Patches(), ["a"], [1], 2, masks=Patches())[(0, 0)]


def test_extra_items_come_last_as_often_as_asked_and_leave_the_others_alone() -> None:
    data = masked(Augmentation(copies=1, seed=2))
    grown = data.with_extra([2, 0], 2)
    assert (len(data), len(grown)) == (4, 8)
    for item in range(4):
        for before, after in zip(data[(3, item)], grown[(3, item)], strict=True):
            torch.testing.assert_close(before, after, rtol=0, atol=0)
    for item, patch in zip(range(4, 8), (2, 2, 0, 0), strict=True):
        torch.testing.assert_close(grown[(3, item)][1], data[(3, patch)][1], rtol=0, atol=0)
    assert list(grown.labels) == [0, 1, 0]


class BatchStore(MemoryStore):
    """A store that reads in the order of its keys, as those on disk do, and notes what was asked for at once."""

    def __init__(self, patches: dict[str, np.ndarray]) -> None:
        super().__init__(patches)
        self.asked: list[list[str]] = []

    def visit(self, keys: Sequence[str]) -> Iterator[tuple[int, np.ndarray]]:
        self.asked.append(list(keys))
        for at in sorted(range(len(keys)), key=lambda at: keys[at]):
            yield at, self.patches[keys[at]]


@pytest.mark.parametrize("masked", [False, True])
def test_a_batch_is_the_items_one_by_one(masked: bool) -> None:
    augmentation = Augmentation(2, True, 4, params.Photometric(brightness=0.3, hue=0.1, stain=0.2))
    images = BatchStore(noise_store(5).patches)
    masks = BatchStore({key: patch[..., 0] for key, patch in images.patches.items()}) if masked else None
    data = PatchDataset(images, list(images.patches), LABELS, 8, augmentation, masks)
    tickets = list(ShuffledTickets(len(data), 5, 11, 2))
    assert len(tickets) == 9
    batches = list(DataLoader(data, batch_size=4, sampler=tickets))
    asked = [len(keys) for keys in images.asked]
    assert asked == [4, 4, 1]  # each batch at once
    assert masks is None or masks.asked == images.asked
    for (epoch, item), pixels, target in zip(
        tickets, torch.cat([one for one, _ in batches]), torch.cat([one for _, one in batches]), strict=True
    ):
        sample, copy = (item, 0) if item < 5 else ([1, 1, 4, 4][item - 5], 1 + (item - 5) % 2)
        patch = noise_store(5).patches[f"s/{sample}_0"]
        symmetry = draw_symmetry(augmentation, epoch, item, copy)
        colours = jitter(patch, augmentation.photometric, 4, epoch, item)
        np.testing.assert_array_equal(hwc(pixels), turned(colours, symmetry))
        if masked:
            np.testing.assert_array_equal(target.numpy(), turned(patch[..., 0], symmetry))
        else:
            assert int(target) == LABELS[sample]
