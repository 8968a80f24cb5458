"""Random colour changes of a patch: light, colour and stain as they vary from scanner to scanner.

Each function takes and gives float (h, w, 3) RGB, 0 to 1 where no other range is said, and does not
clip: `jitter` does so at the end, once, so that one change does not eat what the next gives back.
"""

import numpy as np
from skimage.color import hed_from_rgb, rgb_from_hed

from acinus import params
from acinus.seeds import derive

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Grey of RGB: ITU-R BT.601."""

_DARKEST = 1e-6  # of an intensity whose logarithm is taken, as in skimage

_BLOCK_PX = 1 << 14
"""Px of which `hue` holds a dozen values at a time: that little stays in the processor's cache, and in memory that
the process has already. Of a whole 256-px patch at once it takes more than twice as long."""


def jitter(patch: np.ndarray, settings: params.Photometric, seed: int, epoch: int, item: int) -> np.ndarray:
    """Return the uint8 (h, w, 3) patch with colours changed as drawn from (seed, epoch, item).

    An amplitude a draws from -a..a: a factor 1 + draw for brightness, contrast, saturation and each
    of the three stains, a shift by that part of a whole turn for hue. Every kind has its own draw, so
    that one amplitude does not move another kind. All amplitudes 0: the very same array is returned.
    """
    if not any(amplitude for _, amplitude in settings):
        return patch
    draws = np.random.default_rng(derive(seed, "photometric", epoch, item)).uniform(-1.0, 1.0, 7)
    rgb = patch.astype(np.float32) / np.float32(255)
    if settings.stain:
        rgb = stain(rgb, 1 + settings.stain * draws[4:7])
    if settings.brightness:
        rgb = brightness(rgb, 1 + settings.brightness * draws[0])
    if settings.contrast:
        rgb = contrast(rgb, 1 + settings.contrast * draws[1])
    if settings.saturation:
        rgb = saturation(rgb, 1 + settings.saturation * draws[2])
    if settings.hue:
        rgb = hue(rgb, settings.hue * draws[3])
    values = np.clip(rgb, 0, 1)
    values *= 255
    return np.rint(values, out=values).astype(np.uint8)


def brightness(rgb: np.ndarray, factor: float) -> np.ndarray:
    """Return all values times `factor`."""
    return rgb * np.float32(factor)


def contrast(rgb: np.ndarray, factor: float) -> np.ndarray:
    """Return all differences from the patch's mean grey times `factor`."""
    grey = (rgb @ _LUMA).mean(dtype=np.float64).astype(np.float32)
    return (rgb - grey) * np.float32(factor) + grey


def saturation(rgb: np.ndarray, factor: float) -> np.ndarray:
    """Return all differences from the pixel's own grey times `factor`; 0 leaves a grey picture."""
    grey = rgb @ _LUMA
    changed = np.empty_like(rgb)
    for channel in range(3):  # numpy takes five times as long to stretch grey over a last axis of 3
        np.subtract(rgb[..., channel], grey, out=changed[..., channel])
    changed *= np.float32(factor)
    for channel in range(3):
        changed[..., channel] += grey
    return changed


def hue(rgb: np.ndarray, turns: float) -> np.ndarray:
    """Return the colours with their hue (HSV) turned; 1 turn is the whole circle. Greys stay as they are.

    turns: -1 to 1.
    """
    turned = np.empty_like(rgb)
    rows = max(1, _BLOCK_PX // rgb.shape[1])
    for first in range(0, len(rgb), rows):
        _turn(rgb[first : first + rows], turns, turned[first : first + rows])
    return turned


def _turn(rgb: np.ndarray, turns: float, turned: np.ndarray) -> None:
    """Write into `turned` what `hue` makes of a few rows; as skimage's two conversions, in a tenth of their time."""
    red, green, blue = np.ascontiguousarray(np.moveaxis(rgb, -1, 0))
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    scale = np.where(chroma == 0, np.float32(1), chroma)
    # in sixths of the circle, from red
    sixths = np.where(
        value == red,
        (green - blue) / scale,
        np.where(value == green, 2 + (blue - red) / scale, 4 + (red - green) / scale),
    ) + np.float32(6 * turns)
    for channel, offset in enumerate((5, 3, 1)):
        away = sixths + offset  # -6 to 16
        away += np.float32(6) * (away < 0)
        for _ in range(2):
            away -= np.float32(6) * (away >= 6)
        turned[..., channel] = value - chroma * np.clip(np.minimum(away, 4 - away), 0, 1)


def stain(rgb: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return the picture with its amounts of haematoxylin, eosin and the third stain (DAB) times `scales` (3,).

    Optical densities are unmixed by skimage's H-E-DAB matrix, scaled and mixed again. Negative amounts
    (colours outside the stains' reach) are kept, else scales of 1 would change them. Source: Ruifrok
    and Johnston 2001; as augmentation Tellez et al. 2018.
    """
    change = (hed_from_rgb * np.asarray(scales)) @ rgb_from_hed
    density = np.maximum(rgb, np.float32(_DARKEST))
    np.negative(np.log(density, out=density), out=density)
    mixed = density @ change.astype(np.float32)
    return np.exp(np.negative(mixed, out=mixed), out=mixed)
