"""Where a training patch is cut from the stored one, and how it is stretched: drawn per (seed, epoch, item).

A patch and its mask are cut and stretched alike. Without stretching no px is resampled.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acinus.learning.augmentation import Augmentation
from acinus.seeds import derive

NODES_PX = 32
"""Distance of the points that an elastic change moves each for itself."""


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
    return Shape(float(x), float(y), float(edge), shown, _moved(rng, shown, change.elastic_px))


def _moved(rng: np.random.Generator, shown: int, elastic_px: float) -> np.ndarray | None:
    """Return displacements of NODES_PX-wide meshes, smoothly filled in, or None."""
    if not elastic_px:
        return None
    nodes = -(-shown // NODES_PX) + 1
    drawn = torch.from_numpy(rng.normal(0.0, elastic_px, (1, 2, nodes, nodes)).astype(np.float32))
    return F.interpolate(drawn, (shown, shown), mode="bicubic", align_corners=True)[0].numpy()
