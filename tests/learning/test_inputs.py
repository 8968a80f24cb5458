"""From stored patches and masks to what a network eats and is held against."""

import numpy as np
import pytest
import torch

from acinus.learning.inputs import InputSpec, to_input, to_target, to_tensor


def test_input_is_normalised_by_hand_and_resized_by_pillow() -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    patch = rng.integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    spec = InputSpec((0.4, 0.5, 0.6), (0.2, 0.3, 0.4), 16)
    expected = (patch / 255 - np.array(spec.mean)) / np.array(spec.std)
    np.testing.assert_allclose(to_input(to_tensor(patch), spec).permute(0, 2, 3, 1), expected, atol=1e-6)
    small = to_input(to_tensor(patch), InputSpec((0, 0, 0), (1, 1, 1), 8))[0].permute(1, 2, 0) * 255
    pillow = np.asarray(Image.fromarray(patch[0]).resize((8, 8), Image.Resampling.BILINEAR), dtype=float)
    np.testing.assert_allclose(small, pillow, atol=1.01)  # Pillow rounds to whole values, twice


@pytest.mark.parametrize("edge", [16, 24])
def test_the_bits_of_an_input_do_not_depend_on_how_its_patches_lie(edge: int) -> None:
    """Loaded for training a patch lies channel by channel, for prediction px by px: by hand, one value at a time."""
    patches = np.random.default_rng(0).integers(0, 256, (3, edge, edge, 3), dtype=np.uint8)
    spec = InputSpec((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), edge)
    by_px, by_channel = to_tensor(patches), to_tensor(patches).contiguous()
    assert by_px.stride() != by_channel.stride()
    number = np.float32
    of_255 = patches.transpose(0, 3, 1, 2).astype(number) / number(255)
    mean, std = (np.array(of, dtype=number).reshape(3, 1, 1) for of in (spec.mean, spec.std))
    for batch in (by_px, by_channel):
        for last in (True, False):
            found = to_input(batch, spec, channels_last=last)
            np.testing.assert_array_equal(found, (of_255 - mean) / std)
            assert found.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
            assert torch.equal(batch, to_tensor(patches))


def test_a_target_of_the_same_size_is_the_mask_itself() -> None:
    masks = np.random.default_rng(0).choice(np.array([0, 1, 5, 255], dtype=np.uint8), (2, 9, 9))
    target = to_target(torch.from_numpy(masks), 9)
    assert target.dtype == torch.int64
    np.testing.assert_array_equal(target, masks)


@pytest.mark.parametrize("px", [3, 8, 16, 24, 37, 96])
def test_a_target_takes_the_value_under_each_centre_as_pillow_does(px: int) -> None:
    from PIL import Image

    masks = np.random.default_rng(px).choice(np.array([0, 1, 2, 255], dtype=np.uint8), (2, 24, 24))
    expected = [np.asarray(Image.fromarray(mask).resize((px, px), Image.Resampling.NEAREST)) for mask in masks]
    np.testing.assert_array_equal(to_target(torch.from_numpy(masks), px), expected)


def test_a_target_by_hand() -> None:
    mask = torch.tensor([[[0, 1, 2, 255], [0, 1, 2, 255], [3, 4, 5, 6], [3, 4, 5, 6]]], dtype=torch.uint8)
    assert to_target(mask, 2)[0].tolist() == [[1, 255], [4, 6]]  # centres lie on borders: the later one
    assert to_target(mask[:, :2, :2], 4)[0].tolist() == [[0, 0, 1, 1]] * 4


def test_image_and_target_stay_aligned_when_both_are_resized() -> None:
    """Where the resized image is bright, the resized mask says 1."""
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 2, (1, 6, 6)), np.ones((1, 8, 8))).astype(np.uint8)
    patch = np.repeat(mask[..., None] * 255, 3, axis=3).astype(np.uint8)
    for px in (24, 96):
        bright = to_input(to_tensor(patch), InputSpec((0, 0, 0), (1, 1, 1), px))[:, 0]
        sure = (bright - 0.5).abs() > 0.49
        assert sure.float().mean() > 0.5
        assert torch.equal(to_target(torch.from_numpy(mask), px)[sure], (bright > 0.5).long()[sure])
