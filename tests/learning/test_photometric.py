"""Colour changes against colorsys, skimage and invariants."""

import colorsys

import numpy as np
import pytest
from skimage.color import combine_stains, hed_from_rgb, rgb_from_hed, separate_stains

from acinus import params
from acinus.learning.augmentation import brightness, contrast, hue, jitter, saturation, stain

KINDS = ("brightness", "contrast", "saturation", "hue", "stain")


def noise(px: int = 12, low: int = 20, high: int = 235) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, (px, px, 3), dtype=np.uint8)


def rgb() -> np.ndarray:
    return noise().astype(np.float32) / 255


def test_without_amplitudes_the_very_same_array_comes_back() -> None:
    patch = noise()
    patch.flags.writeable = False
    assert jitter(patch, params.Photometric(), 1, 2, 3) is patch


@pytest.mark.parametrize("kind", KINDS)
def test_every_amplitude_changes_the_patch_and_depends_on_seed_epoch_and_item_only(kind: str) -> None:
    patch, settings = noise(), params.Photometric(**{kind: 0.3})
    patch.flags.writeable = False
    changed = jitter(patch, settings, 1, 2, 3)
    assert (changed.dtype, changed.shape) == (np.uint8, patch.shape)
    np.testing.assert_array_equal(changed, jitter(patch, settings, 1, 2, 3))
    tickets = [(1, 2, 3), (9, 2, 3), (1, 9, 3), (1, 2, 9)]
    assert len({jitter(patch, settings, *ticket).tobytes() for ticket in tickets} | {patch.tobytes()}) == 5


def test_brightness_and_the_draws_behind_it_are_uniform_around_no_change() -> None:
    grey, settings = np.full((1, 1, 3), 100, np.uint8), params.Photometric(brightness=0.5)
    values = [int(jitter(grey, settings, 0, 0, item)[0, 0, 0]) for item in range(2000)]
    assert (min(values), max(values)) == (50, 150)
    assert abs(np.mean(values) - 100) < 5 * 100 / np.sqrt(12 * 2000)


def test_one_amplitude_does_not_move_another_kind() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)  # saturation and hue leave a grey patch alone
    alone = jitter(grey, params.Photometric(brightness=0.4), 5, 6, 7)
    both = jitter(grey, params.Photometric(brightness=0.4, saturation=0.9, hue=0.4), 5, 6, 7)
    np.testing.assert_array_equal(alone, both)


def test_brightness_contrast_and_saturation_by_hand() -> None:
    pixels = np.array([[[0.2, 0.4, 0.6], [0.8, 0.8, 0.8]]], dtype=np.float32)
    np.testing.assert_allclose(brightness(pixels, 1.5), pixels * 1.5, rtol=1e-6)
    first = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    mean = (first + 0.8) / 2
    np.testing.assert_allclose(contrast(pixels, 0.5)[0, 0], [(v + mean) / 2 for v in (0.2, 0.4, 0.6)], rtol=1e-5)
    np.testing.assert_allclose(saturation(pixels, 0.0)[0, 0], [first] * 3, rtol=1e-5)
    np.testing.assert_allclose(saturation(pixels, 1.7)[0, 1], [0.8] * 3, rtol=1e-5)
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(saturation(pixels, 1.7) @ np.array([0.299, 0.587, 0.114]), grey, rtol=1e-5)
    for change in (brightness, contrast, saturation):
        np.testing.assert_allclose(change(rgb(), 1.0), rgb(), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS[:4])
def test_the_picture_given_stays_as_it_is(kind: str) -> None:
    given = rgb()
    given.flags.writeable = False
    changed = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}[kind](given, 0.7)
    assert not np.shares_memory(changed, given)
    assert not np.shares_memory(stain(given, np.full(3, 1.1)), given)


@pytest.mark.parametrize("shape", [(12, 12), (1, 1), (200, 170), (3, 17_000)])  # the larger ones in several blocks
@pytest.mark.parametrize("turns", [0.25, -0.1, 0.5, -0.5, 1.0, -1.0])
def test_hue_equals_colorsys(turns: float, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (*shape, 3)).astype(np.float32) / 255
    expected = np.empty_like(pixels)
    for place in np.ndindex(*pixels.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*(float(value) for value in pixels[place]))
        expected[place] = colorsys.hsv_to_rgb((h + turns) % 1, s, v)
    np.testing.assert_allclose(hue(pixels, turns), expected, atol=1e-5)


def test_a_whole_turn_and_two_opposite_ones_change_nothing() -> None:
    np.testing.assert_allclose(hue(rgb(), 1.0), rgb(), atol=1e-5)
    np.testing.assert_allclose(hue(hue(rgb(), 0.3), -0.3), rgb(), atol=1e-5)


def test_stain_equals_skimages_unmixing_where_no_amount_is_negative() -> None:
    amounts = np.random.default_rng(1).uniform(0.0, 0.05, (9, 9, 3))
    patch = combine_stains(amounts, rgb_from_hed).astype(np.float32)
    scales = np.array([1.2, 0.8, 1.1])
    expected = combine_stains(separate_stains(patch, hed_from_rgb) * scales, rgb_from_hed)
    assert np.abs(expected - patch).max() > 0.02
    np.testing.assert_allclose(stain(patch, scales), expected, atol=1e-4)


def test_stain_scales_of_one_change_nothing_and_glass_stays_white() -> None:
    np.testing.assert_allclose(stain(rgb(), np.ones(3)), rgb(), atol=1e-5)
    white = np.ones((2, 2, 3), dtype=np.float32)
    np.testing.assert_allclose(stain(white, np.array([1.3, 0.7, 1.2])), white, atol=1e-6)
    np.testing.assert_allclose(stain(stain(rgb(), np.full(3, 1.25)), np.full(3, 0.8)), rgb(), atol=1e-4)


def test_black_and_white_survive_everything_at_once() -> None:
    settings = params.Photometric(brightness=0.9, contrast=0.9, saturation=0.9, hue=0.5, stain=0.9)
    for value in (0, 255):
        patch = np.full((3, 3, 3), value, np.uint8)
        for item in range(20):
            assert jitter(patch, settings, 0, 0, item).shape == (3, 3, 3)
    assert set(params.Photometric.model_fields) == set(KINDS)
