"""Slides, tissue and grids of the API against OpenSlide, shapely and figures worked by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import shapely
from PIL import Image

import acinus
from acinus.slides.pyramid import to_pyramid

WIDTH, HEIGHT, MPP = 1500, 1000, 0.5
TISSUE_X0 = (256, 768)
"""Tissue is where x lies between; all else is glass."""


def pixels() -> np.ndarray:
    rng = np.random.default_rng(1)
    rgb = np.full((HEIGHT, WIDTH, 3), 244, dtype=np.int64)
    rgb[:, slice(*TISSUE_X0)] = (190, 110, 170)
    return np.clip(rgb + rng.integers(-6, 7, rgb.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    Image.fromarray(pixels()).save(folder / "raster.png", dpi=(25_400 / MPP, 25_400 / MPP))
    to_pyramid(folder / "raster.png", folder / "A slide (1).tif", 95)
    return folder / "A slide (1).tif"


def test_what_a_slide_says_and_shows_is_what_openslide_does(path: Path) -> None:
    with acinus.open_slide(path) as slide, openslide.OpenSlide(path) as other:
        assert (slide.name, slide.dimensions) == ("A_slide_1", (WIDTH, HEIGHT))
        assert slide.mpp == pytest.approx((MPP, MPP), rel=1e-4)
        assert [level[:2] for level in slide.levels] == list(other.level_dimensions)
        assert [level.downsample for level in slide.levels] == list(other.level_downsamples)
        assert slide.properties["openslide.level-count"] == str(len(slide.levels))
        for level in (0, 1):
            expected = np.asarray(other.read_region((200, 300), level, (64, 48)).convert("RGB"))
            assert np.array_equal(slide.read(200, 300, 64, 48, level=level), expected)
            at_mpp = slide.read(200, 300, 64, 48, mpp=slide.mpp[0] * 2**level)
            assert np.array_equal(at_mpp, expected)
        assert np.array_equal(slide.read(200, 300, 64, 48), slide.read(200, 300, 64, 48, level=0))
        beyond = slide.read(WIDTH - 10, 0, 20, 5)
        assert (beyond[:, 10:] == 255).all()
        assert (slide.read(-5, -5, 5, 5) == 255).all()


def test_a_thumbnail_is_the_whole_slide(path: Path) -> None:
    with acinus.open_slide(path) as slide:
        small = slide.thumbnail(150)
        assert small.shape == (100, 150, 3)
        whole = pixels().reshape(100, 10, 150, 10, 3).mean(axis=(1, 3))  # each px is the mean of what it covers
        assert np.abs(small - whole).mean() < 2
        assert slide.thumbnail(10_000).shape == (HEIGHT, WIDTH, 3)


def test_um_per_px_may_be_given(path: Path) -> None:
    with acinus.open_slide(path, mpp=0.25) as slide:
        assert slide.mpp == (0.25, 0.25)
        assert np.array_equal(slide.read(0, 0, 32, 32, mpp=0.5), slide.read(0, 0, 32, 32, level=1))
    with acinus.open_slide(path, mpp=(0.2, 0.3)) as slide:
        assert slide.mpp == (0.2, 0.3)
        assert slide.resolution(mpp=0.5).downsample == 2.0


def test_a_large_picture_without_levels_gets_some_of_the_same_pixels(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(150, 240, (4200, 4100, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "large.png", compress_level=1)
    slide = acinus.open_slide(tmp_path / "large.png")
    scratch = Path(slide.pixels.path).parent
    with slide:
        assert slide.path == tmp_path / "large.png"
        assert len(slide.levels) > 1
        assert np.array_equal(slide.read(3000, 4000, 256, 200), rgb[4000:4200, 3000:3256])
    assert not scratch.exists()


def test_tissue_is_where_it_was_drawn(path: Path) -> None:
    with acinus.open_slide(path) as slide:
        tissue = acinus.find_tissue(slide, downsample=10.0, closing_um=0.0)
    assert tissue.mask.shape == (100, 150)
    assert tissue.downsample == (10.0, 10.0)
    assert tissue.mpp == pytest.approx((5.0, 5.0), rel=1e-4)
    left, _, right, _ = tissue.polygons.bounds
    assert (left, right) == pytest.approx(TISSUE_X0, abs=10)
    assert tissue.polygons.is_valid
    assert tissue.polygons.area == pytest.approx(tissue.mask.sum() * 100)
    assert tissue.area_mm2 == pytest.approx(tissue.polygons.area * tissue.mpp[0] * tissue.mpp[1] / 100 / 1e6)


def test_polygons_have_the_holes_and_corners_of_the_mask() -> None:
    mask = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], dtype=bool)
    area = acinus.Tissue(mask, 40, 80).polygons  # a px covers 10 x 20 level-0 px
    assert area.is_valid
    ring = shapely.box(0, 0, 30, 60) - shapely.box(10, 20, 20, 40)
    assert area.symmetric_difference(ring | shapely.box(30, 60, 40, 80)).area == 0
    assert acinus.Tissue(mask, 40, 80).area_mm2 is None


def test_a_grid_has_the_patches_that_cover_enough_tissue(path: Path) -> None:
    """Shares from shapely's areas: another way than the summed table of the mask."""
    with acinus.open_slide(path) as slide:
        tissue = acinus.find_tissue(slide, downsample=10.0)
        every = acinus.patch_grid(slide, 100, 60, mpp=2 * slide.mpp[0], tissue=tissue, min_tissue_fraction=0.0)
        some = acinus.patch_grid(slide, 100, 60, mpp=2 * slide.mpp[0], tissue=tissue, min_tissue_fraction=0.4)
    assert len(every) == 13 * 9  # a step of 120 level-0 px
    assert every[["x0", "y0"]].iloc[:2].to_numpy().tolist() == [[0, 0], [120, 0]]
    assert set(every["downsample"]) == {2.0}
    boxes = shapely.box(every["x0"], every["y0"], every["x0"] + 200, every["y0"] + 200)
    shares = shapely.area(shapely.intersection(boxes, tissue.polygons)) / 200**2
    assert every["tissue_fraction"].to_numpy() == pytest.approx(shares, abs=1e-9)
    assert some.equals(every[every["tissue_fraction"] >= 0.4].reset_index(drop=True))


CALLS: dict[str, Any] = {
    "width = 0: expected a whole number of px": lambda s: s.read(0, 0, 0, 5),
    "height = 2.5: expected a whole number": lambda s: s.read(0, 0, 5, 2.5),
    "x0 = nan: expected a number of level-0 px": lambda s: s.read(float("nan"), 0, 5, 5),
    "slide A_slide_1: level 9 asked for, but the slide has levels 0 to": lambda s: s.read(0, 0, 5, 5, level=9),
    "slide A_slide_1: level = 0 and mpp = 1.0: give exactly one": lambda s: s.read(0, 0, 5, 5, level=0, mpp=1),
    "slide A_slide_1: 0.1 um/px asked for, but the slide has 0.5": lambda s: s.read(0, 0, 5, 5, mpp=0.1),
    "metod: no such setting; allowed are closing_um": lambda s: acinus.find_tissue(s, metod="otsu"),
    "method = 'annotation': needs the labels": lambda s: acinus.find_tissue(s, method="annotation"),
    "patch_px = 4: ": lambda s: acinus.patch_grid(s, 4),
    "give exactly one of level and mpp": lambda s: acinus.patch_grid(s, 64, level=0, mpp=1.0),
    "the tissue is of a slide of 4 x 4 px": lambda s: acinus.patch_grid(
        s, 64, tissue=acinus.Tissue(np.ones((1, 1), dtype=bool), 4, 4)
    ),
}


@pytest.mark.parametrize("text", CALLS)
def test_a_call_that_cannot_be_is_one_line(path: Path, text: str) -> None:
    with acinus.open_slide(path) as slide, pytest.raises(acinus.AcinusError) as caught:
        CALLS[text](slide)
    message = str(caught.value)
    assert message.startswith(text) or text in message
    assert "\n" not in message
    assert "cohort." not in message


def test_files_that_are_no_slides_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "torn.svs").write_bytes(b"II*\0")
    Image.fromarray(np.zeros((9, 9), dtype=np.uint8)).save(tmp_path / "grey.png")
    for name, what in (("no.svs", "no such file"), ("torn.svs", "does not open"), ("grey.png", "the picture is grey")):
        with pytest.raises(acinus.AcinusError, match=what) as caught:
            acinus.open_slide(tmp_path / name)
        assert "cohort." not in str(caught.value)
    with pytest.raises(acinus.AcinusError, match=r"mpp = 1000: expected um per px, 0.05 to 20"):
        acinus.open_slide(tmp_path / "grey.png", mpp=1000)


def test_um_per_px_that_are_asked_for_and_not_known(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "plain.png")
    with acinus.open_slide(tmp_path / "plain.png") as slide:
        assert slide.mpp is None
        assert acinus.find_tissue(slide).area_mm2 is None
        with pytest.raises(acinus.AcinusError, match="give mpp to open_slide or ask for a level"):
            slide.read(0, 0, 5, 5, mpp=1.0)
