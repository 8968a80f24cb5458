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
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def brightness(rgb: np.ndarray, factor: float) -> np.ndarray:
    """Return all values times `factor`."""
    return rgb * np.float32(factor)


def contrast(rgb: np.ndarray, factor: float) -> np.ndarray:
    """Return all differences from the patch's mean grey times `factor`."""
    grey = (rgb @ _LUMA).mean(dtype=np.float64).astype(np.float32)
    return (rgb - grey) * np.float32(factor) + grey


def saturation(rgb: np.ndarray, factor: float) -> np.ndarray:
    """Return all differences from the pixel's own grey times `factor`; 0 leaves a grey picture."""
    grey = (rgb @ _LUMA)[..., None]
    return (rgb - grey) * np.float32(factor) + grey


def hue(rgb: np.ndarray, turns: float) -> np.ndarray:
    """Return the colours with their hue (HSV) turned; 1 turn is the whole circle. Greys stay as they are."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value = rgb.max(axis=-1)
    chroma = value - rgb.min(axis=-1)
    scale = np.where(chroma == 0, np.float32(1), chroma)
    # in sixths of the circle, from red; as skimage's two conversions, in less than half their time
    sixths = np.where(
        value == red,
        (green - blue) / scale,
        np.where(value == green, 2 + (blue - red) / scale, 4 + (red - green) / scale),
    ) + np.float32(6 * turns)
    turned = np.empty_like(rgb)
    for channel, offset in enumerate((5, 3, 1)):
        away = (sixths + offset) % 6
        turned[..., channel] = value - chroma * np.clip(np.minimum(away, 4 - away), 0, 1)
    return turned


def stain(rgb: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return the picture with its amounts of haematoxylin, eosin and the third stain (DAB) times `scales` (3,).

    Optical densities are unmixed by skimage's H-E-DAB matrix, scaled and mixed again. Negative amounts
    (colours outside the stains' reach) are kept, else scales of 1 would change them. Source: Ruifrok
    and Johnston 2001; as augmentation Tellez et al. 2018.
    """
    change = (hed_from_rgb * np.asarray(scales)) @ rgb_from_hed
    density = -np.log(np.maximum(rgb, np.float32(_DARKEST)))
    return np.exp(-(density @ change.astype(np.float32)))
