"""The demonstration cohort as a stranger finds it on disk."""

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from defusedxml import ElementTree
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from shapely.geometry import Polygon
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from acinus_demo import camelyon, node
from acinus_demo.camelyon import SlidePlan
from acinus_demo.outline import write_asap


def read_outlines(path: Path) -> list[tuple[str, Polygon]]:
    """Read an ASAP file with nothing of ours."""
    found = []
    for element in ElementTree.parse(path).getroot().iter("Annotation"):
        points = sorted((int(c.get("Order")), float(c.get("X")), float(c.get("Y"))) for c in element.iter("Coordinate"))
        found.append((element.get("PartOfGroup"), Polygon([(x, y) for _, x, y in points])))
    return found


def truth(path: Path | None, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the tumour mask (h, w) at level 0."""
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    for group, polygon in sorted(read_outlines(path) if path else [], key=lambda item: item[0] != "_0"):
        draw.polygon(list(polygon.exterior.coords), fill=int(group == "_0"))
    return np.asarray(image, dtype=bool)


def test_layout_is_that_of_camelyon16(small_cohort: Path) -> None:
    found = sorted(str(path.relative_to(small_cohort)) for path in small_cohort.rglob("*") if path.is_file())
    training = [f"training/tumor/tumor_{i:03d}.tif" for i in range(1, 5)]
    training += ["training/normal/normal_001.tif"]
    training += [f"training/lesion_annotations/tumor_{i:03d}.xml" for i in range(1, 5)]
    images = [f"testing/images/test_{i:03d}.tif" for i in range(1, 4)]
    reference = (small_cohort / "testing" / "reference.csv").read_text().splitlines()
    fields = [line.split(",") for line in reference]
    tumours = [row[0] for row in fields if row[1] == "Tumor"]
    annotations = [f"testing/lesion_annotations/{slide_id}.xml" for slide_id in tumours]
    assert found == sorted([*training, *images, *annotations, "testing/reference.csv"])
    assert len(tumours) == 2
    assert [row[0] for row in fields] == [f"test_{i:03d}" for i in range(1, 4)]
    for _, kind, histology, extent in fields:
        assert (histology in {"IDC", "ILC"}, extent in {"Macro", "Micro"}) == (kind == "Tumor",) * 2


def test_openslide_reads_size_levels_and_mpp(small_cohort: Path, small_plans: list[SlidePlan]) -> None:
    for plan in small_plans:
        with openslide.OpenSlide(small_cohort / plan.image) as slide:
            assert slide.properties["openslide.vendor"] == "generic-tiff"
            assert slide.dimensions == plan.size
            assert min(plan.size) >= 1024
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(plan.mpp, rel=1e-4)
            assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(plan.mpp, rel=1e-4)
            assert slide.level_count == 7
            np.testing.assert_allclose(slide.level_downsamples, [2**k for k in range(7)], rtol=0.05)  # 16 px
    assert len({plan.mpp for plan in small_plans}) > 1
    assert any(plan.size[0] != plan.size[1] and plan.size[0] % 256 for plan in small_plans)


def test_levels_show_the_same_picture_and_carry_no_date(small_cohort: Path, small_plans: list[SlidePlan]) -> None:
    path = small_cohort / small_plans[3].image
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        for page in tiff.pages:
            assert "DateTime" not in page.tags
            assert "Software" not in page.tags
        first, third = tiff.pages[0].asarray(), tiff.pages[3].asarray()
    height, width = first.shape[0] // 8 * 8, first.shape[1] // 8 * 8
    mean = first[:height, :width].reshape(height // 8, 8, width // 8, 8, 3).mean(axis=(1, 3))
    third = third[: height // 8, : width // 8]
    assert np.abs(mean - third).mean() < 5
    assert np.abs(mean[1:] - third[:-1]).mean() > 10


def test_annotations_say_what_was_planned(small_cohort: Path, small_plans: list[SlidePlan]) -> None:
    groups = set()
    for plan in small_plans:
        if plan.annotation is None:
            assert plan.lesions == ()
            continue
        found = read_outlines(small_cohort / plan.annotation)
        groups |= {group for group, _ in found}
        lesions = [polygon for group, polygon in found if group == "_0"]
        assert 1 <= len(lesions) <= 4
        for group, polygon in found:
            assert polygon.is_valid
            assert Polygon([(0, 0), (plan.size[0], 0), plan.size, (0, plan.size[1])]).contains(polygon)
            if group != "_0":
                assert any(lesion.contains(polygon) for lesion in lesions)
        planned = sum(Polygon(lesion.ring).area for lesion in plan.lesions)
        assert sum(lesion.area for lesion in lesions) == pytest.approx(planned)
        for i, lesion in enumerate(lesions):
            assert all(not lesion.intersects(other) for other in lesions[:i])
    assert groups == {"_0", "_2", "Exclusion"}


def test_the_rare_cases_are_there(demo_plans: list[SlidePlan]) -> None:
    widths, gaps_um, border_px = [], [], []
    for plan in demo_plans:
        lesions = [Polygon(lesion.ring) for lesion in plan.lesions]
        for i, lesion in enumerate(lesions):
            left, top, right, bottom = lesion.bounds
            widths.append(max(right - left, bottom - top))
            gaps_um += [lesion.distance(other) * plan.mpp for other in lesions[:i]]
            border_px.append(min(Polygon(ring).exterior.distance(lesion) for ring in plan.tissue))
    assert min(widths) < 256
    assert sorted(widths)[-8] > 800
    assert 0 < min(gaps_um) < 75
    assert sum(gap < 75 for gap in gaps_um) == 1
    assert min(border_px) < 1


@pytest.mark.slow
def test_tissue_covers_about_half_of_a_slide(demo_cohort: Path, demo_plans: list[SlidePlan]) -> None:
    for plan in demo_plans:
        with openslide.OpenSlide(demo_cohort / plan.image) as slide:
            small = np.asarray(slide.read_region((0, 0), 5, slide.level_dimensions[5]).convert("RGB"))
        share = (np.ptp(small, axis=2) > 20).mean()
        assert 0.33 < share < 0.65, plan.slide_id


def patches(root: Path, plan: SlidePlan, edge: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a slide's tissue patches (n, edge, edge, 3) with a clear label, and the label."""
    picture = tifffile.imread(root / plan.image, key=0)
    tumour = truth(root / plan.annotation if plan.annotation else None, plan.size)
    tissue = np.ptp(picture, axis=2) > 15
    rows, columns = picture.shape[0] // edge, picture.shape[1] // edge

    def cut(plane: NDArray) -> NDArray:
        whole = plane[: rows * edge, : columns * edge].reshape(rows, edge, columns, edge, *plane.shape[2:])
        return whole.swapaxes(1, 2).reshape(rows * columns, edge, edge, *plane.shape[2:])

    share, covered = cut(tumour).mean(axis=(1, 2)), cut(tissue).mean(axis=(1, 2))
    keep = (covered >= 0.5) & ((share >= 0.5) | (share == 0))
    return cut(picture)[keep], share[keep] >= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("edge", [128, 256])
def test_colour_does_not_give_the_tumour_away(demo_cohort: Path, demo_plans: list[SlidePlan], edge: int) -> None:
    features: dict[str, list] = {"training": [], "testing": []}
    labels: dict[str, list] = {"training": [], "testing": []}
    for plan in demo_plans:
        pixels, label = patches(demo_cohort, plan, edge)
        looks = [np.concatenate([patch.mean(axis=(0, 1)), patch.std(axis=(0, 1))]) for patch in pixels]
        features[plan.split].append(np.array(looks))
        labels[plan.split].append(label)
    train_x, train_y = np.concatenate(features["training"]), np.concatenate(labels["training"])
    test_x, test_y = np.concatenate(features["testing"]), np.concatenate(labels["testing"])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(train_x, train_y)
    assert test_y.sum() > 50
    assert roc_auc_score(test_y, model.predict_proba(test_x)[:, 1]) < 0.80


@pytest.mark.slow
def test_the_size_of_nuclei_does(demo_cohort: Path, demo_plans: list[SlidePlan]) -> None:
    scores, labels = [], []
    for plan in [plan for plan in demo_plans if plan.split == "testing"]:
        pixels, label = patches(demo_cohort, plan, 256)
        for patch, is_tumour in zip(pixels, label, strict=True):
            red = ndimage.uniform_filter(patch[..., 0].astype(np.float32), 3)
            dark = red < 0.72 * np.percentile(red, 95)
            depth = ndimage.distance_transform_edt(dark)
            scores.append(float((depth > 8).sum() / max(1, dark.sum())))
            labels.append(bool(is_tumour))
    assert roc_auc_score(labels, scores) > 0.85


def test_tumour_cells_lie_within_the_annotation_and_not_in_its_cut_outs(
    demo_plans: list[SlidePlan], tmp_path: Path
) -> None:
    for plan in [plan for plan in demo_plans if any(lesion.holes for lesion in plan.lesions)][:2]:
        write_asap(tmp_path / "a.xml", camelyon.outlines(plan))
        mask = truth(tmp_path / "a.xml", plan.size)[2::4, 2::4]
        drawn = node.build(np.random.default_rng(0), plan.size, plan.tissue, plan.lesions).cells["tumour"]
        drawn = drawn[: mask.shape[0], : mask.shape[1]] > 0
        near, well_inside = ndimage.binary_dilation(mask, iterations=2), ndimage.binary_erosion(mask, iterations=2)
        assert not drawn[~near].any()  # 8 px, two samples of the architecture's grid
        assert drawn[well_inside].mean() > 0.6
