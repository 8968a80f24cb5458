"""Tissue on drawn slides whose truth is known, and exact area shares by conservation and by counting."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from acinus import params
from acinus.errors import AcinusError, SlideError
from acinus.labels.labels import LabelRow, LabelRules, open_tissue
from acinus.slides.open import open_slide
from acinus.slides.slide import Slide
from acinus.tissue.mask import TissueMask, find_tissue, load_tissue, save_tissue

GLASS, TISSUE = (242, 240, 243), (190, 110, 170)


def draw(shape: tuple[int, int], colour: tuple[int, int, int], spread: float = 4.0, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0.0, spread, (*shape, 3))
    return np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)


def write(path: Path, picture: np.ndarray, mpp: float | None = 0.5) -> Path:
    tags = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
    tifffile.imwrite(path, picture, tile=(256, 256), photometric="rgb", compression="deflate", metadata=None, **tags)
    return path


def test_specks_are_removed_by_px_and_by_um2(tmp_path: Path) -> None:
    picture = draw((1024, 1024), GLASS, spread=1.0)
    picture[100:400, 100:400] = TISSUE  # 37.5 x 37.5 px at downsample 8
    picture[800:824, 800:824] = TISSUE  # 3 x 3 px, 144 um2 at 0.5 um/px
    with Slide(write(tmp_path / "a.tif", picture), "a") as slide:
        every = find_tissue(slide, params.Tissue(downsample=8.0, min_area_px=0))
        by_px = find_tissue(slide, params.Tissue(downsample=8.0, min_area_px=10))
        kept = find_tissue(slide, params.Tissue(downsample=8.0, min_area_px=0, min_area_um2=140.0))
        gone = find_tissue(slide, params.Tissue(downsample=8.0, min_area_px=0, min_area_um2=150.0))
        bigger = find_tissue(slide, params.Tissue(downsample=8.0, min_area_px=0, min_area_um2=150.0), (0.6, 0.6))
    assert [one.mask[100:103, 100:103].all() for one in (every, by_px, kept, gone, bigger)] == [1, 0, 1, 0, 1]
    assert all(one.mask[14:49, 14:49].all() for one in (every, by_px, kept, gone, bigger))
    assert every.mask.shape == (128, 128)


def test_um2_without_mpp_names_the_key(tmp_path: Path) -> None:
    with (
        Slide(write(tmp_path / "a.tif", draw((300, 300), TISSUE), mpp=None), "a") as slide,
        pytest.raises(SlideError, match=r"slide a: .*min_area_um2 = 5 .*set cohort\.mpp"),
    ):
        find_tissue(slide, params.Tissue(method="otsu", min_area_um2=5.0))


def test_a_slide_smaller_than_a_mask_px_still_has_one(tmp_path: Path) -> None:
    with Slide(write(tmp_path / "a.tif", draw((50, 40), TISSUE)), "a") as slide:
        found = find_tissue(slide, params.Tissue(downsample=128.0))
    assert found.mask.tolist() == [[True]]
    assert found.fractions(np.array([0]), np.array([0]), 40.0).tolist() == [1.0]


def test_an_overview_too_large_to_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acinus.tissue.mask.MAX_MASK_PX", 1000)
    with (
        Slide(write(tmp_path / "a.tif", draw((300, 300), TISSUE)), "a") as slide,
        pytest.raises(SlideError, match=r"raise index\.tissue\.downsample \(now 2\)"),
    ):
        find_tissue(slide, params.Tissue(downsample=2.0))


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.floats(5.0, 400.0),
    st.integers(30, 900),
    st.integers(30, 900),
    st.integers(0, 9),
)
def test_shares_over_a_tiling_add_up_to_the_area(
    rows: int, columns: int, edge0: float, width: int, height: int, seed: int
) -> None:
    mask = TissueMask(np.random.default_rng(seed).random((rows, columns)) < 0.5, width, height)
    x0, y0 = np.meshgrid(np.arange(0, width, edge0), np.arange(0, height, edge0))
    shares = mask.fractions(x0.ravel(), y0.ravel(), edge0)
    area = mask.mask.sum() * (width / columns) * (height / rows)
    assert shares.sum() * edge0**2 == pytest.approx(area, rel=1e-9, abs=1e-6)
    assert ((shares >= 0) & (shares <= 1)).all()


def test_shares_equal_counting_level_0_px() -> None:
    rng = np.random.default_rng(1)
    mask = TissueMask(rng.random((7, 9)) < 0.5, 90, 70)
    full = np.zeros((400, 400))
    full[:70, :90] = mask.mask.repeat(10, axis=0).repeat(10, axis=1)
    x0, y0 = rng.integers(0, 95, 300), rng.integers(0, 75, 300)
    counted = [full[y : y + 33, x : x + 33].mean() for x, y in zip(x0, y0, strict=True)]
    np.testing.assert_allclose(mask.fractions(x0, y0, 33.0), counted, atol=1e-12)


def test_raster_is_the_nearest_px_at_any_size() -> None:
    mask = TissueMask(np.array([[True, False], [False, True]]), 200, 100)
    assert mask.raster(4, 2, 50.0).tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]
    assert mask.raster(1, 1, 198.0).tolist() == [[False]]  # looked at in (99, 50)
    # 3 columns of 80 px: centres 40, 120 and, of the part on the slide, 180
    assert mask.raster(3, 1, 80.0).tolist() == [[True, False, False]]


def test_rows_of_a_raster_are_the_slice_of_the_whole() -> None:
    mask = TissueMask(np.random.default_rng(4).random((37, 53)) < 0.5, 5300, 3700)
    whole = mask.raster(43, 31, 123.7)
    for top, rows in ((0, 31), (0, 4), (9, 13), (30, 1)):
        np.testing.assert_array_equal(mask.raster(43, rows, 123.7, top), whole[top : top + rows])


def test_all_is_tissue_where_the_method_says_so(tmp_path: Path) -> None:
    """A pale tile has no tissue for Otsu; a recipe whose images are cut from within tissue keeps it."""
    np.save(tmp_path / "images.npy", draw((256, 200), GLASS, spread=1.0)[np.newaxis])
    with open_slide(tmp_path / "images.npy#0", "a") as slide:
        by_look = find_tissue(slide, params.Tissue(downsample=128.0))
        every = find_tissue(slide, params.Tissue(method="all", downsample=128.0, min_area_um2=500.0))
        one = find_tissue(slide, params.Tissue(method="all", downsample=1000.0))
    assert not by_look.mask.any()
    assert every.mask.tolist() == [[True, True], [True, True]]
    assert (every.width, every.height) == (200, 256)
    assert one.mask.tolist() == [[True]]
    np.testing.assert_array_equal(every.fractions(np.array([0, 100]), np.array([0, 128]), 128.0), [1.0, 100 / 128])


def test_a_small_tile_is_looked_at_in_four_pixels(tmp_path: Path) -> None:
    picture = draw((256, 256), GLASS, spread=1.0)
    picture[:128] = TISSUE
    np.save(tmp_path / "images.npy", picture[np.newaxis])
    with open_slide(tmp_path / "images.npy#0", "a") as slide:
        assert find_tissue(slide, params.Tissue(downsample=128.0)).mask.tolist() == [[True, True], [False, False]]


def test_a_mask_survives_its_file_byte_for_byte(tmp_path: Path) -> None:
    mask = TissueMask(np.random.default_rng(2).random((37, 53)) < 0.5, 5300, 3700)
    save_tissue(mask, tmp_path / "a.png")
    save_tissue(mask, tmp_path / "b.png")
    again = load_tissue(tmp_path / "a.png", 5300, 3700)
    np.testing.assert_array_equal(again.mask, mask.mask)
    assert (again.width, again.height) == (5300, 3700)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_mask_that_is_not_there_or_damaged_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match=r"gone\.png: not found"):
        load_tissue(tmp_path / "gone.png", 10, 10)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(AcinusError, match=r"a\.png: not a readable PNG"):
        load_tissue(tmp_path / "a.png", 10, 10)
    save_tissue(TissueMask(np.ones((300, 300), dtype=bool), 10, 10), tmp_path / "b.png")
    data = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(AcinusError, match=r"b\.png: not a readable PNG"):
        load_tissue(tmp_path / "b.png", 10, 10)


def test_tissue_comes_from_the_annotation_where_the_method_says_so(tmp_path: Path) -> None:
    """A mask px is tissue from half of it on, also where mask and tissue have grids that do not fit."""
    data = np.zeros((30, 40), np.uint8)
    data[5:20, 10:33] = 1
    tifffile.imwrite(tmp_path / "mask.tif", data, tile=(16, 16), compression="lzw")
    rules = LabelRules(("glass", "tissue"), {"*": {0: "glass", 1: "tissue"}})
    labels = open_tissue(LabelRow("a", tmp_path / "mask.tif", "mask", True, "x", 400, 300), rules)
    settings = params.Tissue(method="annotation", downsample=20.0)
    with Slide(write(tmp_path / "a.tif", draw((300, 400), TISSUE)), "a") as slide:
        found = find_tissue(slide, settings, annotated=labels)
        finer = find_tissue(slide, settings.model_copy(update={"downsample": 7.0}), annotated=labels)
        with pytest.raises(SlideError, match="annotation without labels; write density"):
            find_tissue(slide, settings)
    expected = np.zeros((15, 20), dtype=bool)
    expected[2:10, 5:17] = True  # rows 50 to 200, columns 100 to 330 level-0 px: halves ...
    expected[2, 16] = False  # ... but no quarter
    np.testing.assert_array_equal(found.mask, expected)
    truth = np.kron(data, np.ones((10, 10), dtype=np.uint8)) == 1
    assert (finer.raster(400, 300, 1.0) == truth).mean() > 0.97
    assert finer.mask.mean() == pytest.approx(truth.mean(), abs=0.01)


def test_where_um_per_px_is_unknown_sizes_are_px_of_the_overview(tmp_path: Path) -> None:
    picture = draw((1200, 1200), GLASS, spread=1.0)
    picture[100:1100, 100:1100] = draw((1000, 1000), TISSUE, spread=10.0)
    picture[300:480, 300:480] = draw((180, 180), GLASS, spread=1.0)  # 18 x 18 px at downsample 10, 8100 um2
    settings = params.Tissue(downsample=10.0, max_hole_um2=5000.0, min_area_um2=1e4)
    holes = []
    for mpp in (0.5, 0.25, None):
        with Slide(write(tmp_path / "a.tif", picture, mpp), "a") as slide:
            holes.append(find_tissue(slide, settings).mask[32:46, 32:46].mean())
    assert holes == [0.0, 1.0, 1.0]
