"""Real nuclei (CoNSeP) in PanNuke's layout: pixels and classes come back as they were drawn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from acinus import params
from acinus.labels.fold import instances
from acinus.labels.labels import LabelRow, LabelRules, check_source, open_labels
from acinus.slides.geometry import Resolution
from acinus.slides.open import open_slide
from acinus.tissue.mask import find_tissue

CLASSES = ["background", "neoplastic", "inflammatory", "connective", "dead", "epithelial"]
CHANNEL = {1: 3, 2: 1, 3: 4, 4: 2}  # other, inflammatory, epithelial, spindle-shaped -> a channel of PanNuke each
TILES = 12


@pytest.fixture(scope="module")
def fold(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """Folder with images.npy and masks.npy (float64, as the data set has them), the images, the drawn classes."""
    folder = tmp_path_factory.mktemp("fold1")
    pictures, drawn, ids = [], [], []
    for path in sorted((shared_data / "consep" / "masks").iterdir())[:TILES]:
        mask = np.asarray(Image.open(path))
        with Image.open(next((shared_data / "consep" / "images").glob(f"{path.stem}.*"))) as image:
            pictures.append(np.asarray(image.convert("RGB")))
        channels = np.zeros((*mask.shape, 6))
        for value, channel in CHANNEL.items():
            channels[..., channel] = ndimage.label(mask == value)[0]
        channels[..., 5] = mask == 0
        drawn.append(mask)
        ids.append(channels)
    np.save(folder / "images.npy", np.stack(pictures).astype(np.float64))
    np.save(folder / "masks.npy", np.stack(ids))
    return folder, np.stack(pictures), np.stack(drawn)


def test_pixels_and_classes_come_back(fold: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, pictures, drawn = fold
    rules = LabelRules.of(CLASSES, params.PannukeCohort(root=str(folder)))
    total = np.zeros(7, dtype=np.int64)
    for row in range(TILES):
        slide_id = f"f1_{row}"
        with open_slide(folder / f"images.npy#{row}", slide_id) as slide:
            width, height = slide.width, slide.height
            np.testing.assert_array_equal(slide.read(0, 0, width, height, Resolution(1.0, 0, 1.0)), pictures[row])
            assert find_tissue(slide, params.Tissue(method="all")).mask.shape == (2, 2)
        label_row = LabelRow(slide_id, folder / f"masks.npy#{row}", "fold", True, "unknown", width, height)
        (window,) = open_labels(label_row, rules).windows(np.array([0]), np.array([0]), width, 1.0)
        for value in range(5):
            assert set(np.unique(window[drawn[row] == value])) <= {(CHANNEL[value] + 1) % 6 if value else 0}
        total += check_source(label_row, rules)
    counted = np.bincount(drawn.ravel(), minlength=5)
    assert total.tolist() == [int(counted[0]), 0, *(int(counted[v]) for v in (2, 4, 1, 3)), 0]


def test_instances_are_the_connected_nuclei(fold: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, _, drawn = fold
    ids = instances(folder / "masks.npy", 3)
    for value, channel in CHANNEL.items():
        assert len(np.unique(ids[channel])) - 1 == ndimage.label(drawn[3] == value)[1]
