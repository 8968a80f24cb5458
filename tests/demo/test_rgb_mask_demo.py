"""The drawn biopsies with colour-coded masks as a stranger finds them on disk."""

import csv
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from acinus.params import RgbMaskDemo
from acinus_demo import rgb_mask
from acinus_demo.rgb_mask import BiopsyPlan

SETTINGS = RgbMaskDemo(train=6, val=1, test=2, width_px=1109, height_px=983)
COLOURS = {(0, 0, 0): 0, (255, 255, 0): 1, (150, 150, 150): 2, (0, 255, 0): 3, (0, 0, 255): 4, (0, 150, 255): 5}


@pytest.fixture(scope="module")
def plans() -> list[BiopsyPlan]:
    return rgb_mask.plan(20261121, SETTINGS)


@pytest.fixture(scope="module")
def root(plans: list[BiopsyPlan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "rgb_mask"
    for slide in plans:
        rgb_mask.draw_slide(slide, folder)
    rgb_mask.finish(plans, folder)
    return folder


def image_of(root: Path, slide: BiopsyPlan) -> NDArray[np.uint8]:
    with Image.open(root / slide.image) as image:
        return np.asarray(image.convert("RGB"))


def labels_of(root: Path, slide: BiopsyPlan) -> NDArray[np.uint8]:
    """Return the class of every pixel by its exact colour, 255 for any other colour."""
    with Image.open(root / slide.mask) as image:
        pixels = np.asarray(image.convert("RGB"))
    packed = pixels @ np.array([65536, 256, 1])
    labels = np.full(pixels.shape[:2], 255, np.uint8)
    for (red, green, blue), index in COLOURS.items():
        labels[packed == 65536 * red + 256 * green + blue] = index
    return labels


def test_every_image_has_a_mask_of_its_size(root: Path, plans: list[BiopsyPlan]) -> None:
    ids = [f"biopsy_{i:03d}" for i in range(1, 10)]
    suffixes = dict.fromkeys(ids, ".png") | {"biopsy_005": ".jpg", "biopsy_009": ".tif"}
    expected = [f"images/{i}{suffixes[i]}" for i in ids] + [f"masks/{i}.png" for i in ids] + ["splits.csv"]
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == expected
    for slide in plans:
        with Image.open(root / slide.image) as image, Image.open(root / slide.mask) as mask:
            assert image.size == mask.size == slide.size
        assert all(edge % 4 for edge in slide.size)
    assert len({slide.size for slide in plans}) == 3


def test_splits_keep_patients_together(root: Path, plans: list[BiopsyPlan]) -> None:
    with (root / "splits.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["slide_id"] for row in rows] == [slide.slide_id for slide in plans]
    assert [row["split"] for row in rows] == ["train"] * 6 + ["val"] + ["test"] * 2
    splits = {
        patient: {r["split"] for r in rows if r["patient"] == patient} for patient in {r["patient"] for r in rows}
    }
    assert all(len(found) == 1 for found in splits.values())
    assert len(splits) < len(rows)


def test_masks_come_in_the_forms_that_occur(root: Path, plans: list[BiopsyPlan]) -> None:
    modes = []
    for slide in plans:
        with Image.open(root / slide.mask) as mask:
            modes.append(mask.mode)
    assert modes == ["RGB", "RGB", "P", "RGBA", "RGB", "RGB", "RGB", "RGB", "RGB"]
    strange = [int((labels_of(root, slide) == 255).sum()) for slide in plans]
    assert [count > 0 for count in strange] == [slide.slide_id == "biopsy_002" for slide in plans]
    assert strange[1] < 0.05 * plans[1].size[0] * plans[1].size[1]


def test_blended_colours_lie_along_the_borders(root: Path, plans: list[BiopsyPlan]) -> None:
    _, truth = rgb_mask.picture(plans[1])
    found = labels_of(root, plans[1])
    border = ndimage.maximum_filter(truth, 3) != ndimage.minimum_filter(truth, 3)
    near = ndimage.binary_dilation(border, np.ones((3, 3)), iterations=2)
    assert (found[~near] == truth[~near]).all()
    assert (found[near] == 255).mean() > 0.5


def test_images_other_than_png(root: Path, plans: list[BiopsyPlan]) -> None:
    jpeg, strips = plans[4], plans[8]
    drawn, _ = rgb_mask.picture(jpeg)
    assert 0 < np.abs(image_of(root, jpeg).astype(int) - drawn).mean() < 3
    with tifffile.TiffFile(root / strips.image) as tiff:
        assert not tiff.pages[0].is_tiled
        assert len(tiff.pages[0].dataoffsets) > 1
        np.testing.assert_array_equal(tiff.asarray(), rgb_mask.picture(strips)[0])
    assert openslide.OpenSlide.detect_format(root / strips.image) is None


def test_every_image_shows_all_tissues(root: Path, plans: list[BiopsyPlan]) -> None:
    for slide in plans:
        counts = np.bincount(labels_of(root, slide).ravel(), minlength=256)[:6]
        assert 0.3 < counts[1:].sum() / counts.sum() < 0.75
        assert (counts[1:] / counts[1:].sum()).min() > 0.04, slide.slide_id


def test_the_mask_covers_the_tissue(root: Path, plans: list[BiopsyPlan]) -> None:
    for slide in plans:
        pixels = image_of(root, slide)[::2, ::2]
        stained = ndimage.uniform_filter(np.ptp(pixels, axis=2).astype(np.float32), 5) > 14
        masked = labels_of(root, slide)[::2, ::2] > 0
        assert (stained & masked).sum() / (stained | masked).sum() > 0.93, slide.slide_id


def of_split(root: Path, plans: list[BiopsyPlan], split: str) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    chosen = [slide for slide in plans if (slide.split == "test") == (split == "test")]
    return [(image_of(root, slide), labels_of(root, slide)) for slide in chosen]


def dice(found: NDArray, truth: NDArray) -> float:
    """Return the mean over all six classes."""
    return float(
        np.mean([2 * ((found == c) & (truth == c)).sum() / ((found == c).sum() + (truth == c).sum()) for c in range(6)])
    )


@pytest.mark.slow
def test_colour_does_not_give_the_tissue_away(root: Path, plans: list[BiopsyPlan]) -> None:
    rng = np.random.default_rng(0)
    colours, classes = [], []
    for pixels, labels in of_split(root, plans, "train"):
        for c in range(6):
            where = rng.choice(np.flatnonzero(labels.ravel() == c), 1000)
            colours.append(pixels.reshape(-1, 3)[where])
            classes.append(np.full(1000, c))
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0, early_stopping=False)
    model.fit(np.concatenate(colours), np.concatenate(classes))
    scores = []
    for pixels, labels in of_split(root, plans, "test"):
        found = model.predict(pixels[::5, ::5].reshape(-1, 3)).reshape(labels[::5, ::5].shape)
        scores.append(dice(found, labels[::5, ::5]))
    assert np.mean(scores) < 0.45


def textures(pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[NDArray, NDArray]:
    """Return scale and direction of the grey structure of windows of one tissue, brightness and contrast removed."""
    grey = pixels[..., 0].astype(np.float32)
    bands = [ndimage.gaussian_filter(grey, s) - ndimage.gaussian_filter(grey, 1.6 * s) for s in (0.7, 1.4, 2.8, 5.6)]
    flow = [ndimage.gaussian_filter(grey, 2, order) for order in ((0, 1), (1, 0))]
    features, kinds = [], []
    edge = 80
    for y in range(0, labels.shape[0] - edge, 48):
        for x in range(0, labels.shape[1] - edge, 48):
            cut = (slice(y, y + edge), slice(x, x + edge))
            kind = np.bincount(labels[cut].ravel(), minlength=256)
            if kind[1:6].max() < 0.95 * edge * edge:
                continue
            energy = np.array([band[cut].std() for band in bands])
            skew = [((band[cut] - band[cut].mean()) ** 3).mean() / band[cut].std() ** 3 for band in bands]
            xx, yy, xy = ((flow[a][cut] * flow[b][cut]).mean() for a, b in ((0, 0), (1, 1), (0, 1)))
            coherence = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy)
            features.append([*np.log(energy / energy.sum()), *skew, coherence])
            kinds.append(int(kind.argmax()))
    return np.array(features), np.array(kinds)


@pytest.mark.slow
def test_texture_does(root: Path, plans: list[BiopsyPlan]) -> None:
    train = [textures(*pair) for pair in of_split(root, plans, "train")[:4]]
    test = [textures(*pair) for pair in of_split(root, plans, "test")]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    model.fit(np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train]))
    test_y = np.concatenate([y for _, y in test])
    assert set(test_y) == {1, 2, 3, 4, 5}
    assert model.score(np.concatenate([x for x, _ in test]), test_y) > 0.80


def test_the_smallest_cohort_can_be_drawn(tmp_path: Path) -> None:
    for slide in rgb_mask.plan(1, RgbMaskDemo(train=1, val=1, test=1, width_px=512, height_px=512)):
        rgb_mask.draw_slide(slide, tmp_path)
        assert set(range(6)) <= set(np.unique(labels_of(tmp_path, slide)))
