"""The rgb_mask demonstration cohort: biopsies beside colour-coded masks of the same size."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from acinus import seeds
from acinus.files import atomic_path, write_text
from acinus.params import RgbMaskDemo
from acinus_demo import layout, render, stain, territories, tissues
from acinus_demo.outline import Ring

# background, yellow, grey, green, blue, red: the data set's own names, in class order
COLOURS = ((0, 0, 0), (255, 255, 0), (150, 150, 150), (0, 255, 0), (0, 0, 255), (0, 150, 255))
SIZE_STEPS = ((0, 0), (46, -28), (-18, 30))  # no two neighbours of the list have the same size
Split = Literal["train", "val", "test"]
MaskForm = Literal["rgb", "palette", "alpha", "blended"]
MASK_FORMS: tuple[MaskForm, ...] = ("rgb", "blended", "palette", "alpha")  # of the first training slides


@dataclasses.dataclass(frozen=True)
class BiopsyPlan:
    """All that is needed to draw one image and its mask; paths are relative to the root."""

    slide_id: str
    split: Split
    patient: str
    image: str
    mask: str
    mask_form: MaskForm
    size: tuple[int, int]  # width, height
    seed: int


def plan(seed: int, settings: RgbMaskDemo) -> list[BiopsyPlan]:
    """Return the plans of all images in drawing order; cheap, and the same for the same arguments."""
    plans: list[BiopsyPlan] = []
    splits: tuple[tuple[Split, int], ...] = (
        ("train", settings.train),
        ("val", settings.val),
        ("test", settings.test),
    )
    for split, count in splits:
        plans += [_plan_slide(seed, settings, split, i, len(plans) + i) for i in range(count)]
    return plans


def _plan_slide(seed: int, settings: RgbMaskDemo, split: Split, number: int, overall: int) -> BiopsyPlan:
    slide_id = f"biopsy_{overall + 1:03d}"
    suffix = ".jpg" if (split, number) == ("train", 4) else ".tif" if (split, number) == ("test", 1) else ".png"
    wider, taller = SIZE_STEPS[overall % len(SIZE_STEPS)]
    in_pairs = number - number % 2 if split == "train" else number  # two training biopsies per patient
    return BiopsyPlan(
        slide_id=slide_id,
        split=split,
        patient=f"{split}_{in_pairs + 1:02d}",
        image=f"images/{slide_id}{suffix}",
        mask=f"masks/{slide_id}.png",
        mask_form=MASK_FORMS[number] if split == "train" and number < len(MASK_FORMS) else "rgb",
        size=(settings.width_px + wider, settings.height_px + taller),
        seed=seeds.derive(seed, "demo", "rgb_mask", slide_id),
    )


def _stream(slide: BiopsyPlan, name: str) -> np.random.Generator:
    return np.random.default_rng(seeds.derive(slide.seed, name))


def picture(slide: BiopsyPlan) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return an image (h, w, 3) and the class of each of its pixels (h, w), drawn from the plan alone."""
    rings: tuple[Ring, ...] = layout.tissue(_stream(slide, "outline"), slide.size, 1)
    land = territories.divide(_stream(slide, "territories"), slide.size, rings, len(tissues.TISSUES))
    built = tissues.build(_stream(slide, "tissues"), land)
    nuclear, bodies = tissues.populate(_stream(slide, "cells"), slide.size, built)
    textures = render.make_tiles(_stream(slide, "tiles"))
    dye = stain.vary(_stream(slide, "stain"))
    return render.render(slide.size, built.ground, nuclear, bodies, textures, dye), land.labels


def draw_slide(slide: BiopsyPlan, root: Path) -> None:
    """Draw one image and its mask under `root`.

    Raises:
        AcinusError: `root` cannot be written.
    """
    pixels, labels = picture(slide)
    with atomic_path(root / slide.image) as part:
        _write_image(part, pixels)
    with atomic_path(root / slide.mask) as part:
        coded(labels, slide.mask_form).save(part, compress_level=6)


def _write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    if path.suffix == ".tif":
        # strips, which OpenSlide does not open
        tifffile.imwrite(path, pixels, photometric="rgb", rowsperstrip=64, compression="zlib", metadata=None)
    elif path.suffix == ".jpg":
        Image.fromarray(pixels).save(path, quality=95, subsampling=0)
    else:
        Image.fromarray(pixels).save(path, compress_level=1)


def coded(labels: NDArray[np.uint8], form: MaskForm) -> Image.Image:
    """Return class indices (h, w) as a picture in the colour code."""
    if form == "palette":
        indexed = Image.fromarray(labels, "P")
        indexed.putpalette([value for colour in COLOURS for value in colour])
        return indexed
    rgb = np.array(COLOURS, np.uint8)[labels]
    if form == "alpha":
        return Image.fromarray(np.concatenate([rgb, np.full((*labels.shape, 1), 255, np.uint8)], axis=2))
    return Image.fromarray(blend(blend(rgb)) if form == "blended" else rgb)


def blend(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the 3 x 3 mean, rounded down: what a drawing program's smooth edges leave in a mask."""
    height, width = rgb.shape[:2]
    padded = np.pad(rgb, ((1, 1), (1, 1), (0, 0)), mode="edge").astype(np.uint16)
    total = np.zeros(rgb.shape, np.uint16)
    for dy in range(3):
        for dx in range(3):
            total += padded[dy : dy + height, dx : dx + width]
    return (total // 9).astype(np.uint8)


def finish(plans: Sequence[BiopsyPlan], root: Path) -> None:
    """Write splits.csv: slide_id, split, patient."""
    lines = [f"{slide.slide_id},{slide.split},{slide.patient}\n" for slide in plans]
    write_text(root / "splits.csv", "slide_id,split,patient\n" + "".join(lines))
