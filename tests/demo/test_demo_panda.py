"""The drawn PANDA cohort as a stranger finds it on disk, and its grades by hand."""

import csv
import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from acinus.params import PandaDemo
from acinus_demo import panda, pyramid
from acinus_demo.panda import SlidePlan

SEED = 20261121
DRAWN = 12  # the first ones: every ISUP of both providers
CANCER = {"karolinska": (2,), "radboud": (3, 4, 5)}
# the grading table of the domain, as text
ISUP = {"0+0": 0, "3+3": 1, "3+4": 2, "4+3": 3, "4+4": 4, "3+5": 4, "5+3": 4, "4+5": 5, "5+4": 5, "5+5": 5}


@pytest.fixture(scope="module")
def plans() -> list[SlidePlan]:
    """The plans of the cohort at its default size."""
    return panda.plan(SEED, PandaDemo())


@pytest.fixture(scope="module")
def small_plans() -> list[SlidePlan]:
    """The plans of a cohort of small slides."""
    return panda.plan(SEED, PandaDemo(slides=DRAWN, width_px=1030, height_px=820))


@pytest.fixture(scope="module")
def small_root(small_plans: list[SlidePlan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the small slides."""
    folder = tmp_path_factory.mktemp("demo") / "small"
    for plan in small_plans:
        panda.draw_slide(plan, folder)
    panda.finish(small_plans, folder)
    return folder


@pytest.fixture(scope="module")
def root(plans: list[SlidePlan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the first slides, drawn with two processes."""
    folder = tmp_path_factory.mktemp("demo") / "panda"
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(partial(panda.draw_slide, root=folder), plans[:DRAWN]))
    panda.finish(plans[:DRAWN], folder)
    return folder


def rows(root: Path) -> list[dict[str, str]]:
    """Read train.csv."""
    with (root / "train.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def pixels(root: Path, plan: SlidePlan) -> NDArray[np.uint8]:
    return tifffile.imread(root / plan.image, key=0)


def label(root: Path, plan: SlidePlan) -> NDArray[np.uint8]:
    assert plan.mask is not None
    return tifffile.imread(root / plan.mask, key=0)[..., 0]


def saturated(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a picture shows dye."""
    return np.ptp(picture, axis=2) > 20


@pytest.mark.parametrize(
    ("area", "score", "isup"),
    [
        ({}, "0+0", 0),
        ({3: 10}, "3+3", 1),
        ({3: 70, 4: 30}, "3+4", 2),
        ({3: 30, 4: 70}, "4+3", 3),
        ({4: 1}, "4+4", 4),
        ({3: 6, 5: 4}, "3+5", 4),
        ({3: 4, 5: 6}, "5+3", 4),
        ({4: 6, 5: 4}, "4+5", 5),
        ({4: 4, 5: 6}, "5+4", 5),
        ({5: 3}, "5+5", 5),
        ({3: 95, 4: 5}, "3+4", 2),  # 5 % of the cancer names a pattern
        ({3: 96, 4: 4}, "3+3", 1),
        ({3: 50, 4: 50}, "4+3", 3),  # a tie goes to the higher one
        ({3: 60, 4: 30, 5: 10}, "3+4", 2),  # the third pattern is not in the score
    ],
)
def test_grade_by_hand(area: dict[int, int], score: str, isup: int) -> None:
    assert panda.grade(area) == (score, isup)


def test_every_plan_amounts_to_the_grade_it_was_planned_for(plans: list[SlidePlan]) -> None:
    for plan in plans:
        counts = Counter(panda.architecture(plan).labels().ravel().tolist())
        order = sorted((3, 4, 5), key=lambda pattern: -counts[pattern])
        cancer = sum(counts[pattern] for pattern in order)
        if not cancer:
            assert plan.isup == 0
            continue
        named = [pattern for pattern in order if counts[pattern] >= 0.05 * cancer]
        assert ISUP[f"{named[0]}+{named[min(1, len(named) - 1)]}"] == plan.isup, plan
        tissue = sum(counts[value] for value in range(1, 6))
        assert 0.15 < cancer / tissue < 0.85
        assert 0.35 < tissue / sum(counts.values()) < 0.75


def test_providers_and_grades_are_balanced(plans: list[SlidePlan]) -> None:
    assert Counter((plan.provider, plan.isup) for plan in plans) == {
        (provider, isup): 3 for provider in ("karolinska", "radboud") for isup in range(6)
    }
    ids = [plan.slide_id for plan in plans]
    assert len(set(ids)) == len(ids) == 36
    assert all(len(slide_id) == 32 and set(slide_id) <= set("0123456789abcdef") for slide_id in ids)
    assert all(len(plan.cores) >= 2 for plan in plans)
    assert [(plan.provider, plan.isup) for plan in plans if plan.mask is None] == [("radboud", 1)]


def test_layout_and_table_are_those_of_panda(small_root: Path, small_plans: list[SlidePlan]) -> None:
    found = sorted(str(path.relative_to(small_root)) for path in small_root.rglob("*") if path.is_file())
    ids = [plan.slide_id for plan in small_plans[:DRAWN]]
    without_mask = small_plans[7].slide_id
    masks = [f"train_label_masks/{i}_mask.tiff" for i in ids if i != without_mask]
    assert found == sorted(["train.csv", *(f"train_images/{i}.tiff" for i in ids), *masks])
    table = rows(small_root)
    assert list(table[0]) == ["image_id", "data_provider", "isup_grade", "gleason_score"]
    assert [row["image_id"] for row in table] == sorted(ids)
    by_id = {plan.slide_id: plan for plan in small_plans}
    for row in table:
        plan = by_id[row["image_id"]]
        assert row["data_provider"] == plan.provider
        assert int(row["isup_grade"]) == plan.isup
        nothing = "negative" if plan.provider == "radboud" else "0+0"
        assert (row["gleason_score"] == nothing) == (plan.isup == 0)
        assert row["gleason_score"] == "negative" or ISUP[row["gleason_score"]] == plan.isup


def test_openslide_reads_three_levels_that_are_not_whole_numbers_apart(
    small_root: Path, small_plans: list[SlidePlan]
) -> None:
    for plan in small_plans[:DRAWN]:
        with openslide.OpenSlide(small_root / plan.image) as slide:
            assert slide.dimensions == plan.size
            assert slide.level_count == 3
            np.testing.assert_allclose(slide.level_downsamples, (1, 4, 16), rtol=0.02)
            assert not any(float(downsample).is_integer() for downsample in slide.level_downsamples[1:])
            mpp = float(slide.properties["openslide.mpp-x"])
            allowed = (0.4520, 0.5032) if plan.provider == "karolinska" else (0.4862,)
            assert min(abs(mpp - value) for value in allowed) < 1e-4
            dimensions = slide.level_dimensions
        if plan.mask is not None:
            with openslide.OpenSlide(small_root / plan.mask) as mask:
                assert mask.level_dimensions == dimensions
    assert {plan.mpp for plan in panda.plan(SEED, PandaDemo())} == {0.4520, 0.5032, 0.4862}


def test_masks_hold_their_providers_codes_in_red(small_root: Path, small_plans: list[SlidePlan]) -> None:
    for plan in small_plans[:DRAWN]:
        if plan.mask is None:
            continue
        with tifffile.TiffFile(small_root / plan.mask) as tiff:
            assert [page.compression.name for page in tiff.pages] == ["LZW"] * 3
            for page in tiff.pages:
                raster = page.asarray()
                assert not raster[..., 1:].any()
                cancer = np.isin(raster[..., 0], CANCER[plan.provider])
                assert cancer.any() == (plan.isup > 0)
                assert raster[..., 0].max() <= (2 if plan.provider == "karolinska" else 5)
        assert set(np.unique(label(small_root, plan))) >= {0, 1, 2} - ({2} if plan.isup == 0 else set())


def test_the_table_is_what_the_masks_amount_to(small_root: Path, small_plans: list[SlidePlan]) -> None:
    scores = {row["image_id"]: row["gleason_score"] for row in rows(small_root)}
    checked = 0
    for plan in small_plans[:DRAWN]:
        if plan.provider == "karolinska" or plan.mask is None or plan.isup == 0:
            continue
        counts = np.bincount(label(small_root, plan).ravel(), minlength=6)[3:]
        primary, second = (int(k) + 3 for k in np.argsort(-counts)[:2])
        secondary = second if counts[second - 3] >= 0.05 * counts.sum() else primary
        assert scores[plan.slide_id] == f"{primary}+{secondary}"
        checked += 1
    assert checked == 4


def test_masks_lie_on_the_tissue(small_root: Path, small_plans: list[SlidePlan]) -> None:
    for plan in small_plans[1:DRAWN:4]:
        picture, mask = pixels(small_root, plan), label(small_root, plan) > 0
        coloured = saturated(picture)
        assert coloured[~mask].mean() < 0.02
        # in rows and columns alike the edges agree: a shift by 8 px makes it worse on every side
        agree = (coloured == mask).mean()
        for axis, shift in ((0, 8), (0, -8), (1, 8), (1, -8)):
            assert (coloured == np.roll(mask, shift, axis)).mean() < agree


def test_the_two_laboratories_stain_differently(small_root: Path, small_plans: list[SlidePlan]) -> None:
    ratio: dict[str, list[float]] = {"karolinska": [], "radboud": []}
    for plan in small_plans[:DRAWN]:
        picture = pixels(small_root, plan)[::4, ::4]
        density = -np.log((picture[saturated(picture)] + 1.0) / 256).mean(axis=0)
        ratio[plan.provider].append(float(density[0] / density[2]))  # red absorbed per blue: how bluish
    assert min(ratio["karolinska"]) > 1.15 * max(ratio["radboud"])
    assert np.std(ratio["radboud"]) > 0


def cut(root: Path, plan: SlidePlan) -> tuple[list[NDArray[np.float64]], list[bool]]:
    """Return mean and deviation of RGB of 128-um patches with tissue, and which bear cancer (others have none)."""
    picture, mask = pixels(root, plan)[::2, ::2], label(root, plan)[::2, ::2]
    edge = round(64 / plan.mpp)
    features, bearing = [], []
    for y in range(0, mask.shape[0] - edge + 1, edge // 2):
        for x in range(0, mask.shape[1] - edge + 1, edge // 2):
            window = mask[y : y + edge, x : x + edge]
            share = (window >= CANCER[plan.provider][0]).mean() / max(1e-9, (window > 0).mean())
            if (window > 0).mean() < 0.5 or 0 < share < 0.1:
                continue
            patch = picture[y : y + edge, x : x + edge].reshape(-1, 3)
            features.append(np.concatenate([patch.mean(axis=0), patch.std(axis=0)]))
            bearing.append(bool(share > 0))
    return features, bearing


@pytest.mark.slow
def test_colour_does_not_give_the_cancer_away(root: Path, plans: list[SlidePlan]) -> None:
    parts = [cut(root, plan) for plan in plans[:DRAWN] if plan.mask is not None]
    scores, truth = [], []
    for fold in range(3):
        seen = [part for k, part in enumerate(parts) if k % 3 != fold]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        model.fit(np.concatenate([part[0] for part in seen]), np.concatenate([part[1] for part in seen]))
        for part in parts[fold::3]:
            scores += model.predict_proba(np.array(part[0]))[:, 1].tolist()
            truth += part[1]
    assert min(sum(truth), len(truth) - sum(truth)) > 200
    assert roc_auc_score(truth, scores) < 0.85


@pytest.mark.slow
def test_the_patterns_differ_in_their_lumina(root: Path, plans: list[SlidePlan]) -> None:
    holes: dict[int, list[float]] = {2: [], 3: [], 4: []}
    open_share: dict[int, list[float]] = {3: [], 4: [], 5: []}
    for plan in [plan for plan in plans[:DRAWN] if plan.provider == "radboud" and plan.mask]:
        mask = label(root, plan)
        glass = pixels(root, plan).min(axis=2) > 225
        whole = ndimage.binary_erosion(mask > 0, iterations=12)
        numbered, count = ndimage.label(ndimage.binary_opening(glass & (mask > 0), iterations=2))
        sizes = np.bincount(numbered.ravel(), minlength=count + 1)
        for k, box in enumerate(ndimage.find_objects(numbered), 1):
            inside = numbered[box] == k
            if whole[box][inside].all():
                values = np.bincount(mask[box][inside], minlength=6)
                kind = int(values.argmax())
                if kind in holes:
                    holes[kind].append(float(sizes[k]) * plan.mpp**2)
        for kind in open_share:
            if (mask == kind).any():
                open_share[kind].append(float(glass[mask == kind].mean()))
    assert min(len(found) for found in holes.values()) > 40
    # benign acini open wide, the lumina of cancer are small; cribriform sheets have many, sheets none
    assert np.percentile(holes[2], 75) > 2 * np.percentile(holes[3], 75)
    assert np.percentile(holes[2], 75) > 2 * np.percentile(holes[4], 75)
    assert max(open_share[5]) < 0.02 < 0.05 < min(open_share[4])


def test_mask_levels_hold_the_label_at_the_centre(tmp_path: Path) -> None:
    columns, rows_ = 101, 70
    value = np.random.default_rng(0).integers(0, 6, (rows_, columns)).astype(np.uint8)
    pyramid.write_biopsy_mask(tmp_path / "mask.tiff", value, 0.5, tile_px=16)
    with tifffile.TiffFile(tmp_path / "mask.tiff") as tiff:
        found = [page.asarray()[..., 0] for page in tiff.pages]
    assert [level.shape for level in found] == [(70, 101), (17, 25), (4, 6)]
    np.testing.assert_array_equal(found[0], value)
    for level in found[1:]:
        for row in range(level.shape[0]):
            for column in range(level.shape[1]):
                y, x = (row + 0.5) * rows_ / level.shape[0], (column + 0.5) * columns / level.shape[1]
                assert level[row, column] == value[int(y), int(x)]


def test_picture_levels_are_area_means(tmp_path: Path) -> None:
    picture = np.zeros((258, 322, 3), np.uint8)
    picture[..., 0] = np.linspace(20, 220, 322).astype(np.uint8)
    picture[..., 1] = np.linspace(200, 60, 258).astype(np.uint8)[:, None]
    picture[..., 2] = 128
    pyramid.write_biopsy(tmp_path / "slide.tiff", picture, 0.5, quality=95, tile_px=64)
    with tifffile.TiffFile(tmp_path / "slide.tiff") as tiff:
        for page, shape in zip(tiff.pages, [(258, 322), (64, 80), (16, 20)], strict=True):
            level = page.asarray()
            assert level.shape == (*shape, 3)
            x = 20 + 200 * ((np.arange(shape[1]) + 0.5) / shape[1])
            y = 200 - 140 * ((np.arange(shape[0]) + 0.5) / shape[0])
            expected = np.stack(np.broadcast_arrays(x[None, :], y[:, None], 128.0), axis=-1)
            assert np.abs(level - expected).max() < 6
