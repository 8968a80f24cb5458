"""Squares of haematoxylin and eosin: cut from real slides where there are some, else drawn."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide

from acinus.params import CamelyonDemo
from acinus_demo.camelyon import picture, plan

REAL = ("slides/cmu-1-small-region.svs", "slides/tcga-cr-7395-01a-01-ts1.svs")
"""Real H&E at level 0, relative to the folder of shared data."""
STEP_PX = 160
STAINED, MIN_SHARE = 20, 0.85
"""A px is stained whose channels differ by so much; a square is taken where so large a share of it is."""


def squares(shared: Path | None, edge_px: int, count: int) -> tuple[list[np.ndarray], str]:
    """Return up to `count` different uint8 (edge_px, edge_px, 3) of stained tissue, and where they are from."""
    found = [shared / name for name in REAL if (shared / name).is_file()] if shared is not None else []
    pictures = (_level0(path) for path in found) if found else iter([_drawn(max(1536, 3 * edge_px))])
    chosen = [square for one in pictures for square in _cut(one, edge_px)]
    if not chosen:
        raise ValueError(f"no stained square of {edge_px} px in {', '.join(path.name for path in found) or 'drawn'}")
    steps = np.linspace(0, len(chosen) - 1, min(count, len(chosen))).astype(int)  # of all pictures alike
    return [chosen[i] for i in steps], f"real: {', '.join(path.name for path in found)}" if found else "drawn"


def _level0(path: Path) -> np.ndarray:
    with openslide.OpenSlide(path) as slide:
        return np.array(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))


def _drawn(edge_px: int) -> np.ndarray:
    settings = CamelyonDemo(size_px=edge_px, training_tumor=1, training_normal=0, test_tumor=1, test_normal=0)
    return picture(plan(1, settings)[0])


def _cut(pixels: np.ndarray, edge_px: int) -> Iterator[np.ndarray]:
    """Yield the stained squares of a picture; neighbours overlap, so that a small picture gives hundreds."""
    height, width = pixels.shape[:2]
    for top in range(0, height - edge_px + 1, STEP_PX):
        for left in range(0, width - edge_px + 1, STEP_PX):
            square = pixels[top : top + edge_px, left : left + edge_px]
            sparse = square[::8, ::8].astype(np.int16)
            if (np.ptp(sparse, axis=2) >= STAINED).mean() >= MIN_SHARE:
                yield square
