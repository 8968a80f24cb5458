"""Random changes of training patches, drawn per (seed, epoch, item): symmetries, crops and stretches, colours.

A patch and its mask are turned, cut and stretched alike; without stretching no px is resampled. Colour functions take
and give float (h, w, 3) RGB, 0 to 1 where no other range is said, and do not clip: `jitter` does so at the end, once,
so that one change does not eat what the next gives back.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Tensor

from acinus import params
from acinus.errors import AcinusError
from acinus.plugins import finding, loading
from acinus.seeds import derive

SYMMETRIES = 8

NODES_PX = 32
"""Distance of the points that an elastic change moves each for itself."""

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Grey of RGB: ITU-R BT.601."""

_DARKEST = 1e-6  # of an intensity whose logarithm is taken, as in skimage

_BLOCK_PX = 1 << 14
"""Px of which `hue` holds a dozen values at a time: that little stays in the processor's cache, and in memory that
the process has already. Of a whole 256-px patch at once it takes more than twice as long."""


@dataclass(frozen=True)
class Augmentation:
    """`copies` of every tumour patch beside the plain one; `everything` turns all patches at random.

    `photometric` changes the colours of all patches (not of masks), copies or not; `crop_px` and `geometric` cut and
    stretch (`Shape`) all patches and their masks. `plugged`: names of plug-ins that change all patches after that.
    """

    copies: int = 0
    everything: bool = False
    seed: int = 0
    photometric: params.Photometric = field(default_factory=params.Photometric)
    crop_px: int | None = None
    geometric: params.Geometric = field(default_factory=params.Geometric)
    plugged: tuple[str, ...] = ()


NO_AUGMENTATION = Augmentation()


def transform(patch: np.ndarray, symmetry: int) -> np.ndarray:
    """Return an (n, n, channels) patch or (n, n) mask under one of the 8 symmetries; 0 changes nothing.

    The symmetry is `symmetry % 4` quarter turns, then a left-right flip if it is 4 or more. No pixel
    is resampled.
    """
    turned = np.rot90(patch, symmetry % 4)
    return turned[:, ::-1] if symmetry >= 4 else turned


def draw_symmetry(augmentation: Augmentation, epoch: int, item: int, copy: int) -> int:
    """Return the symmetry of one item in one epoch; it depends on nothing but the arguments.

    A copy (1, 2, ...) of a tumour patch is drawn from the 7 symmetries that change it: an unchanged
    copy would be the plain patch once more. The plain patch (copy 0) stays as it is, or is drawn from
    all 8 where everything is augmented.
    """
    number = derive(augmentation.seed, "augment", epoch, item)
    if copy > 0:
        return 1 + number % (SYMMETRIES - 1)
    return number % SYMMETRIES if augmentation.everything else 0


@dataclass(frozen=True)
class Shape:
    """A square of `edge` px of a stored patch, with its upper left corner at (x, y), shown in `shown` px.

    moved: how far each px shown is looked for elsewhere, float32 (2, shown, shown) of x and y in stored px, or None.
    What lies outside the stored patch is its mirror image.
    """

    x: float
    y: float
    edge: float
    shown: int
    moved: np.ndarray | None = None

    def of_patch(self, patch: np.ndarray) -> np.ndarray:
        """Return uint8 (shown, shown, 3) of a stored uint8 (h, w, 3) patch, bilinear where it is stretched."""
        if self._is_cut:
            return self._cut(patch)
        planes = torch.from_numpy(np.array(patch, order="C")).permute(2, 0, 1)
        return self._stretched(planes, "bilinear").round_().to(torch.uint8).permute(1, 2, 0).numpy()

    def of_mask(self, mask: np.ndarray) -> np.ndarray:
        """Return uint8 (shown, shown) of a stored uint8 (h, w) mask; no two classes are mixed."""
        if self._is_cut:
            return self._cut(mask)
        return self._stretched(torch.from_numpy(np.array(mask, order="C"))[None], "nearest").to(torch.uint8)[0].numpy()

    @property
    def _is_cut(self) -> bool:
        return self.moved is None and self.edge == self.shown

    def _cut(self, stored: np.ndarray) -> np.ndarray:
        x, y = int(self.x), int(self.y)
        return stored[y : y + self.shown, x : x + self.shown]

    def _stretched(self, planes: Tensor, mode: str) -> Tensor:
        """Return float32 (channels, shown, shown) of uint8 (channels, h, w)."""
        step = self.edge / self.shown
        along = (torch.arange(self.shown, dtype=torch.float32) + 0.5) * step - 0.5  # centres, from the corner
        rows, columns = torch.meshgrid(along + self.y, along + self.x, indexing="ij")
        places = torch.stack([columns, rows])
        if self.moved is not None:
            places = places + torch.from_numpy(self.moved)
        size = torch.tensor([planes.shape[2], planes.shape[1]], dtype=torch.float32)[:, None, None]
        grid = ((2 * places + 1) / size - 1).permute(1, 2, 0)[None]
        return F.grid_sample(planes.float()[None], grid, mode, padding_mode="reflection", align_corners=False)[0]


def draw_shape(augmentation: Augmentation, patch_px: int, epoch: int, item: int) -> Shape:
    """Return what one item shows in one epoch of a stored patch with an edge of `patch_px`.

    A crop lies anywhere in the patch, all places alike; scaled, it shows 1 - scale to 1 + scale times as much, as far
    as the patch goes. An uncropped patch is scaled about its centre.
    """
    shown, change = augmentation.crop_px or patch_px, augmentation.geometric
    if shown == patch_px and not change.scale and not change.elastic_px:
        return Shape(0, 0, patch_px, patch_px)
    rng = np.random.default_rng(derive(augmentation.seed, "shape", epoch, item))
    corner, size = rng.uniform(0.0, 1.0, 2), rng.uniform(-1.0, 1.0)
    edge = shown * (1 + change.scale * size)
    if augmentation.crop_px is None:
        x = y = (patch_px - edge) / 2
    elif change.scale:
        edge = min(edge, patch_px)
        x, y = corner * (patch_px - edge)
    else:
        x, y = np.floor(corner * (patch_px - shown + 1))
    moved = None
    if change.elastic_px:  # displacements of NODES_PX-wide meshes, smoothly filled in
        nodes = -(-shown // NODES_PX) + 1
        drawn = torch.from_numpy(rng.normal(0.0, change.elastic_px, (1, 2, nodes, nodes)).astype(np.float32))
        moved = F.interpolate(drawn, (shown, shown), mode="bicubic", align_corners=True)[0].numpy()
    return Shape(float(x), float(y), float(edge), shown, moved)


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


class Plugged:
    """The plug-ins of an augmentation, in its order; each draws for itself from (seed, its name, epoch, item)."""

    def __init__(self, augmentation: Augmentation) -> None:
        """Run the files of the plug-ins. AcinusError: one that is not there or cannot be run."""
        self._augmentation, self._seed, self._changes = augmentation, augmentation.seed, []
        for name in augmentation.plugged:
            plugin = loading.named("augmentation", name)
            if plugin is None:
                raise AcinusError(f"train.augmentations: {name}: no such plug-in")
            self._changes.append((name, plugin))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a loader's process as what is asked for, in which project: functions of a file cannot."""
        return _plugged, (finding.project(), self._augmentation)

    def changed(self, pixels: np.ndarray, epoch: int, item: int) -> np.ndarray:
        """Return a uint8 (h, w, 3) patch, or its (h, w) mask, changed as drawn: a mask where px change their places."""
        for name, plugin in self._changes:
            if pixels.ndim == 2 and not plugin.options.get("moves"):
                continue
            rng = np.random.default_rng(derive(self._seed, f"augmentation {name}", epoch, item))
            after = plugin.function(pixels.copy(), rng)
            if not isinstance(after, np.ndarray) or after.dtype != np.uint8 or after.shape != pixels.shape:
                what = f"{after.dtype} {after.shape}" if isinstance(after, np.ndarray) else type(after).__name__
                raise AcinusError(
                    f"{plugin.plugin.place}: augmentation {name!r} gave {what}; expected uint8 {pixels.shape}"
                )
            pixels = after
        return pixels


def _plugged(project: Path | None, augmentation: Augmentation) -> Plugged:
    finding.use(project)
    return Plugged(augmentation)


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
