"""The real slides beside the checkout: usable, or bad for the reason that their README gives."""

import re
from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image

from acinus import params
from acinus.cohorts import camelyon, inventory
from acinus.cohorts.adapter import Order
from acinus.cohorts.manifest import build_manifest
from acinus.slides.geometry import Resolution, at_downsample, resolve
from acinus.slides.jpeg_tiles import tiles_of
from acinus.slides.slide import Slide
from acinus.slides.tile_pass import TilePass
from acinus.tissue.mask import find_tissue
from acinus.tissue.saturation import classify

BOGUS = r"no plausible mpp \(the tag says {}.*set cohort\.mpp"
VERDICTS = {
    "CRC-AI-8_E_X40_IHC": BOGUS.format("1000"),
    "broken": r"broken\.svs does not open",
    "cmu-1-small-region": "",
    "cyto_A_BB_563479_1": BOGUS.format("1000"),
    "multiframe_camelyon_challenge_image": r"28\.969 um/px, .*; correct the tag, or list",  # whatever cohort.mpp says
    "sm_image": "",
    "small_HE_levels": BOGUS.format(r"352\.858"),
    "tcga-cr-7395-01a-01-ts1": r"no plausible mpp \(no tag",
}


@pytest.mark.parametrize("override", [None, 0.25])
def test_each_file_is_usable_or_has_the_right_reason(shared_data: Path, override: float | None) -> None:
    root = shared_data / "slides"
    settings = params.CamelyonCohort(root=str(root), mpp=override, max_bad_fraction=1.0)
    prints = inventory.fingerprints(inventory.inventory(root, None))
    order = Order(root, root, settings, ("normal", "tumor"), ("tumor",), prints, 7, map)
    table = build_manifest(camelyon.ingest(order), settings).set_index("slide_id")
    assert sorted(table.index) == sorted(VERDICTS)
    for slide_id, reason in VERDICTS.items():
        row = table.loc[slide_id]
        usable = not reason or (override is not None and "mpp" in reason)
        assert row["status"] == ("ok" if usable else "bad"), slide_id
        assert row["reason"] == "" if usable else re.search(reason, row["reason"]), row["reason"]
        if usable:
            assert row["mpp_source"] == ("override" if reason else "tag")
            assert row["width"] > 0
    assert (table.loc["cmu-1-small-region", ["mpp_x", "mpp_y"]] == 0.499).all()


@pytest.mark.parametrize("name", ["cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs", "CRC-AI-8_E_X40_IHC.tif"])
def test_patches_are_openslides_pixels(shared_data: Path, name: str) -> None:
    path = shared_data / "slides" / name
    with Slide(path, path.stem) as slide, openslide.OpenSlide(path) as other:
        patch = slide.read(1000, 900, 256, 200, Resolution(1.0, 0, 1.0))
        np.testing.assert_array_equal(patch, np.asarray(other.read_region((1000, 900), 0, (256, 200)).convert("RGB")))


@pytest.mark.parametrize("name", sorted(set(VERDICTS) - {"broken"}))
def test_a_pass_over_any_level_gives_openslides_pixels(shared_data: Path, name: str) -> None:
    """JPEG tiles as YCbCr and as Aperio's RGB, or none (JPEG 2000, DICOM); downsamples of 2 and of 16.03."""
    path = next(path for path in (shared_data / "slides").iterdir() if path.stem == name)
    edge, rng = 150, np.random.default_rng(0)
    with Slide(path, path.stem) as slide, openslide.OpenSlide(path) as other:
        for level, own in enumerate(slide.level_downsamples):
            x0, y0 = (rng.integers(-100, extent, 12) // round(own) * round(own) for extent in other.dimensions)
            with TilePass(slide, Resolution(own, level, own), np.stack([x0, y0], axis=1), edge, 2, 1) as squares:
                for x, y, pixels in zip(x0.tolist(), y0.tolist(), squares, strict=True):
                    rgba = other.read_region((x, y), level, (edge, edge))
                    expected = Image.new("RGB", rgba.size, (255, 255, 255))
                    expected.paste(rgba, mask=rgba.getchannel("A"))
                    np.testing.assert_array_equal(pixels, np.asarray(expected))
                if own == round(own) and tiles_of(slide, level) is not None:
                    assert squares.counts.through_openslide == 0


@pytest.mark.parametrize(
    ("name", "mcu"),
    [("cmu-1-small-region.svs", (8, 8)), ("CRC-AI-8_E_X40_IHC.tif", (16, 16)), ("small_HE_levels.tiff", None)],
)
def test_which_slides_have_jpeg_tiles(shared_data: Path, name: str, mcu: tuple[int, int] | None) -> None:
    with Slide(shared_data / "slides" / name, "a") as slide:
        for level in range(len(slide.level_dimensions)):
            tiles = tiles_of(slide, level)
            assert (tiles and tiles.mcu_px) == mcu


def test_a_resolution_between_levels_is_the_level_0_pixels_shrunk(shared_data: Path) -> None:
    """Against Pillow's own reduction of a larger region, away from whose borders the two must agree."""
    path = shared_data / "slides" / "cmu-1-small-region.svs"
    with Slide(path, path.stem) as slide, openslide.OpenSlide(path) as other:
        at = resolve(slide.level_downsamples, 0.499, mpp=0.499 * 2.5)
        patch = slide.read(600, 700, 120, 100, at)
        region = other.read_region((500, 600), 0, (500, 450)).convert("RGB")
    expected = np.asarray(region.resize((200, 180), Image.Resampling.BILINEAR))[40:140, 40:160]
    assert at == Resolution(2.5, 0, 1.0)
    assert np.abs(patch.astype(int) - expected.astype(int)).max() <= 1


def test_levels_show_the_same_place(shared_data: Path) -> None:
    """The pyramid's own level 2 and level 0 shrunk to it, at a downsample that is not exact (4.0009)."""
    path = shared_data / "slides" / "CRC-AI-8_E_X40_IHC.tif"
    with Slide(path, path.stem) as slide:
        own = slide.level_downsamples[2]
        direct = slide.read(1200, 1400, 200, 200, at_downsample(slide.level_downsamples, own))
        shrunk = slide.read(1200, 1400, 200, 200, Resolution(own, 0, 1.0))
        shifted = slide.read(1208, 1400, 200, 200, Resolution(own, 0, 1.0))
    close = np.abs(direct.astype(int) - shrunk.astype(int)).mean()
    assert close < 3.0
    assert close < 0.6 * np.abs(direct.astype(int) - shifted.astype(int)).mean()


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("cmu-1-small-region.svs", 0.25, 0.42),  # by eye: a third, and its gaps
        ("tcga-cr-7395-01a-01-ts1.svs", 0.50, 0.70),
        ("multiframe_camelyon_challenge_image.dcm", 0.15, 0.42),  # four nodes and their fat on tinted glass
        ("CRC-AI-8_E_X40_IHC.tif", 0.08, 0.20),  # pale IHC; more than half of the file is filling
        ("cyto_A_BB_563479_1.svs", 0.25, 0.45),  # a disc of single cells
    ],
)
def test_tissue_of_real_slides(shared_data: Path, name: str, low: float, high: float) -> None:
    path = shared_data / "slides" / name
    with Slide(path, path.stem) as slide:
        assert low <= find_tissue(slide, params.Tissue(downsample=8.0)).mask.mean() <= high


def test_the_dark_half_of_an_independent_reading_is_tissue(shared_data: Path) -> None:
    """Stain absorbs light: density of all channels together, cut without any glass, must tell the same story."""
    path = shared_data / "slides" / "cmu-1-small-region.svs"
    with Slide(path, path.stem) as slide:
        found = find_tissue(slide, params.Tissue(downsample=8.0)).mask
        overview = slide.overview(found.shape[1], found.shape[0])
    density = -np.log((overview.astype(float) + 1) / 256).sum(axis=2)
    assert found[density > 1.0].mean() > 0.9
    assert found[density < 0.3].mean() < 0.1  # lumina and narrow gaps, which are filled


def test_images_that_are_all_tissue_stay_tissue(shared_data: Path) -> None:
    """GlaS images are cut from within the tissue: half of them must not vanish behind Otsu's cut."""
    shares = []
    for path in sorted((shared_data / "glas" / "images").iterdir())[::6]:
        with Image.open(path) as image:
            shares.append(classify(np.asarray(image.convert("RGB").reduce(8)), 0.04).mean())
    assert np.median(shares) > 0.9
    assert min(shares) > 0.35  # train_15 is about half glass and empty mucin, by eye
