"""Random flips and quarter turns: the eight symmetries of the square, drawn per (seed, epoch, item)."""

from dataclasses import dataclass

import numpy as np

from acinus import params
from acinus.seeds import derive

SYMMETRIES = 8

_NO_COLOURS, _NO_CHANGE = params.Photometric(), params.Geometric()


@dataclass(frozen=True)
class Augmentation:
    """`copies` of every tumour patch beside the plain one; `everything` turns all patches at random.

    `photometric` changes the colours of all patches (not of masks), copies or not. `crop_px` and `geometric`: see
    `shape`; of all patches and their masks.
    """

    copies: int = 0
    everything: bool = False
    seed: int = 0
    photometric: params.Photometric = _NO_COLOURS
    crop_px: int | None = None
    geometric: params.Geometric = _NO_CHANGE


NO_AUGMENTATION = Augmentation()


def transform(patch: np.ndarray, symmetry: int) -> np.ndarray:
    """Return an (n, n, channels) patch or (n, n) mask under one of the 8 symmetries; 0 changes nothing.

    The symmetry is `symmetry % 4` quarter turns, then a left-right flip if it is 4 or more. No pixel
    is resampled.
    """
    turned = np.rot90(patch, symmetry % 4)
    return turned[:, ::-1] if symmetry >= 4 else turned


def draw(augmentation: Augmentation, epoch: int, item: int, copy: int) -> int:
    """Return the symmetry of one item in one epoch; it depends on nothing but the arguments.

    A copy (1, 2, ...) of a tumour patch is drawn from the 7 symmetries that change it: an unchanged
    copy would be the plain patch once more. The plain patch (copy 0) stays as it is, or is drawn from
    all 8 where everything is augmented.
    """
    number = derive(augmentation.seed, "augment", epoch, item)
    if copy > 0:
        return 1 + number % (SYMMETRIES - 1)
    return number % SYMMETRIES if augmentation.everything else 0
