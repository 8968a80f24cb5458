"""A drawn cohort of three tissues in slides of 1,024 px, and the recipe that classifies its patches."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

EDGE = 1024
CLASSES = ("stroma", "gland", "lymph")
COLOURS = {"stroma": (0, 0, 0), "gland": (0, 255, 0), "lymph": (0, 0, 255)}
SPLITS = {"train": 3, "val": 2, "test": 3}
UNKNOWN = (255, 0, 255)
"""A colour of no class: what is not known."""


def draw(root: Path, seed: int = 0) -> None:
    """Write images/, masks/ and splits.csv: each slide has every tissue, in shapes of its own, and a patch unknown."""
    rows = ["slide_id,split,patient"]
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    number = 0
    for split, slides in SPLITS.items():
        for _ in range(slides):
            random = np.random.default_rng([seed, number])
            image, mask = _slide(random)
            Image.fromarray(image).save(root / "images" / f"s{number}.png")
            mask.save(root / "masks" / f"s{number}.png")
            rows.append(f"s{number},{split},p{number}")
            number += 1
    (root / "splits.csv").write_text("\n".join(rows) + "\n")


def _slide(random: np.random.Generator) -> tuple[np.ndarray, Image.Image]:
    """Return the image and its mask: outlines of glands and lymphoid tissue in stroma."""
    mask = Image.new("RGB", (EDGE, EDGE), COLOURS["stroma"])
    pen = ImageDraw.Draw(mask)
    for name, left in (("gland", 0), ("lymph", EDGE // 2)):
        centre = np.array([left + EDGE // 4, EDGE // 2]) + random.integers(-40, 40, 2)
        angles = np.sort(random.uniform(0, 2 * np.pi, 14))
        reach = random.uniform(150, 250, 14)[:, None] * (1, 1.6)
        ring = centre + reach * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        pen.polygon([tuple(corner) for corner in ring.tolist()], fill=COLOURS[name])
    pen.rectangle((0, 0, 140, 140), fill=UNKNOWN)
    painted = np.asarray(mask)
    fibres = np.sin(np.arange(EDGE)[:, None] / 3.0 + 4 * gaussian_filter(random.normal(size=(EDGE, EDGE)), 24) * 24)
    blobs = gaussian_filter(random.normal(size=(EDGE, EDGE)), 6) * 12
    nuclei = (gaussian_filter(random.normal(size=(EDGE, EDGE)), 2) * 7 > 0.9).astype(float)
    textures = {
        "stroma": ((228, 160, 196), fibres * 14),
        "gland": ((190, 120, 190), np.clip(blobs, -1, 1) * 40),
        "lymph": ((206, 140, 196), nuclei * -110),
    }
    image = np.zeros((EDGE, EDGE, 3))
    for name, (colour, texture) in textures.items():
        where = (painted == COLOURS[name]).all(axis=2) | ((painted == UNKNOWN).all(axis=2) & (name == "stroma"))
        image[where] = np.array(colour) + texture[where][:, None]
    noise = random.normal(scale=4, size=image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), mask


def recipe(repository: Path, root: str) -> dict[str, Any]:
    """Return the document of a recipe: that of the rasters, with patches classified."""
    document: dict[str, Any] = yaml.safe_load((repository / "recipes" / "demo-biopsy.yaml").read_text())
    document |= {"task": "patch_classification", "classes": list(CLASSES), "positive": ["gland", "lymph"]}
    colours = {name: list(colour) for name, colour in COLOURS.items()}
    document["cohort"] |= {"root": root, "colours": colours, "tolerance": 0, "mpp": 0.5}
    index = document["index"] | {"patch_px": 64, "stride_px": 64, "level": 0, "min_class_fraction": 0.6}
    document["index"] = {key: value for key, value in index.items() if key != "tumor_min_fraction"}
    document["index"] |= {"min_foreground_fraction": 0.0}
    document["sample"] = {"scheme": "balanced", "max_class_ratio": 1.5, "balance": ["train", "val"]}
    train = {key: value for key, value in document["train"].items() if key != "encoder"}
    loss = train["loss"] | {"class_weights": "balanced"}
    small = {"model": "test_resnet.r160_in1k", "weights": "none", "max_epochs": 2, "lr": 0.003}
    document["train"] = train | small | {"loss": loss}
    document["tune"] |= {"trials": 0, "objective": None, "space": {}}
    document["infer"] |= {"stride_px": 64, "map_downsample": 16.0}
    document["report"] |= {"bootstrap": 50, "picture_px": 256, "views": 1}
    return document
