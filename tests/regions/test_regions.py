"""Regions band by band against the same map held whole, and against maps worked by hand."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label, regionprops

from acinus import records
from acinus.maps.geometry import MapGeometry
from acinus.regions.amounts import positive_values, tumour_mask
from acinus.regions.cleaned import cleaned_classes, smoothed
from acinus.regions.operating_point import CleanUp
from acinus.regions.table import Found, find_regions

PLAIN = CleanUp()


def cleaned(prob: np.ndarray, looked: np.ndarray, point: CleanUp) -> np.ndarray:
    """The tumour mask of a map of two classes, uint8 (rows, columns)."""
    return cleaned_classes(prob[None], looked, point, (1,)) == 1


def in_bands(prob: np.ndarray, tissue: np.ndarray, heights: list[int]) -> Callable[[], Iterator]:
    """Return a source of bands of these heights, repeated as needed."""

    def bands() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        top, turn = 0, 0
        while top < len(tissue):
            stop = min(len(tissue), top + heights[turn % len(heights)])
            yield top, prob[:, top:stop], tissue[top:stop]
            top, turn = stop, turn + 1

    return bands


def drawn(text: str) -> np.ndarray:
    """Return a mask from rows of # and dots, parted by blanks."""
    return np.array([[sign == "#" for sign in row] for row in text.split()])


def values_of(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 255, 0).astype(np.uint8)


def found_whole(prob: np.ndarray, tissue: np.ndarray, point: CleanUp, heights: list[int]) -> tuple:
    geometry = MapGeometry(prob.shape[2] * 4, prob.shape[1] * 4, 4.0)
    positive = (1,) if len(prob) == 1 else (1, 3)
    found = find_regions(in_bands(prob, tissue, heights), geometry, point, positive, (0.5, 0.5))
    bands = list(found.bands())
    classes, regions = (np.concatenate([getattr(band, name) for band in bands]) for name in ("classes", "regions"))
    return found, classes, regions, positive


def blobs(seed: int, shape: tuple[int, int, int], grain: float) -> np.ndarray:
    """Return uint8 noise of about this grain, so that there are regions, holes and islands of all sizes."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), (0, grain, grain))
    low, high = noise.min(), noise.max()
    return np.round((noise - low) / max(high - low, 1e-9) * 255).astype(np.uint8)


points = st.builds(
    CleanUp,
    threshold=st.sampled_from([0.3, 0.45, 0.5, 0.6]),
    smoothing_px=st.sampled_from([0.0, 0.4, 1.0, 2.3]),
    min_region_px=st.integers(0, 12),
    min_peak=st.sampled_from([0.0, 0.6, 0.9, 1.0]),
    max_hole_px=st.integers(0, 20),
)


def of_each_class(classes: np.ndarray, positive: tuple[int, ...]) -> np.ndarray:
    """Return the map's regions, labelled class by class, numbered from 1 by their first px."""
    merged = np.zeros(classes.shape, dtype=np.int64)
    for index in positive:
        of_class = label(classes == index, connectivity=2)
        merged[of_class > 0] = of_class[of_class > 0] + merged.max()
    numbers, first = np.unique(merged, return_index=True)
    order = numbers[np.argsort(first)]
    new = np.zeros(numbers[-1] + 1, dtype=np.int64)
    new[order[order > 0]] = np.arange(1, np.count_nonzero(order) + 1)
    return new[merged]


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 45),
    columns=st.integers(1, 30),
    heights=st.lists(st.integers(1, 17), min_size=1, max_size=4),
    grain=st.sampled_from([0.0, 0.7, 1.5]),
    channels=st.sampled_from([1, 1, 4]),
    point=points,
)
def test_bands_give_what_the_whole_map_gives(
    seed: int, rows: int, columns: int, heights: list[int], grain: float, channels: int, point: CleanUp
) -> None:
    prob = blobs(seed, (channels, rows, columns), grain)
    tissue = np.random.default_rng(seed + 1).random((rows, columns)) < 0.95
    found, classes, regions, positive = found_whole(prob, tissue, point, heights)
    assert np.array_equal(classes, cleaned_classes(prob, tissue, point, positive))
    expected = of_each_class(classes, positive)
    assert np.array_equal(regions, expected)
    assert len(found.rows) == expected.max()
    value = positive_values(prob, positive)
    for row, props in zip(found.rows, regionprops(expected, intensity_image=value), strict=True):
        inside = expected == props.label
        top, left, bottom, right = props.bbox
        assert row["area_px"] == props.area
        assert row["area_mm2"] == pytest.approx(props.area * 4e-6)
        assert (row["x0"], row["y0"], row["x1"], row["y1"]) == (left * 4, top * 4, right * 4, bottom * 4)
        assert tuple(found.boxes[row["region"]]) == (top, left, bottom - 1, right - 1)
        assert (row["centroid_y0"], row["centroid_x0"]) == pytest.approx([(c + 0.5) * 4 for c in props.centroid])
        assert row["prob_max"] == props.intensity_max / 255
        assert row["prob_mean"] == pytest.approx(props.intensity_mean / 255)
        peak = np.argwhere(inside & (value == props.intensity_max))[0]
        assert (row["peak_y0"], row["peak_x0"]) == tuple((peak + 0.5) * 4)
        assert {row["class_index"]} == set(classes[inside].tolist())


@given(st.integers(0, 10_000), points, st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_laws_of_a_cleaned_mask(seed: int, point: CleanUp, heights: list[int]) -> None:
    prob = blobs(seed, (1, 25, 25), 1.0)
    tissue = np.random.default_rng(seed).random((25, 25)) < 0.9
    mask = cleaned(prob[0], tissue, point)
    assert not (mask & ~tissue).any()
    sizes = np.bincount(label(mask, connectivity=2).ravel())[1:]
    assert (sizes >= point.min_region_px).all()
    assert len(found_whole(prob, tissue, point, heights)[0].rows) == len(sizes)
    assert sum(row["area_px"] for row in found_whole(prob, tissue, point, heights)[0].rows) == mask.sum()


def test_without_clean_up_it_is_the_threshold() -> None:
    prob = blobs(3, (1, 30, 30), 1.0)
    tissue = np.random.default_rng(0).random((30, 30)) < 0.8
    assert np.array_equal(cleaned(prob[0], tissue, PLAIN), tumour_mask(prob[0], 0.5) & tissue)


def test_a_region_across_every_border_of_bands_is_one() -> None:
    spiral = drawn("#######  ......#  #####.#  #...#.#  #.###.#  #.....#  #######")
    found, _, regions, _ = found_whole(values_of(spiral)[None], np.ones_like(spiral), PLAIN, [1])
    assert [row["area_px"] for row in found.rows] == [spiral.sum()]
    assert np.array_equal(regions, spiral)


def painted(text: str) -> np.ndarray:
    """Return a map of four channels (1 and 3 are positive), certain of the class that each digit names."""
    digits = np.array([[int(digit) for digit in row] for row in text.split()])
    return np.where(digits == np.arange(4)[:, None, None], 255, 0).astype(np.uint8)


@pytest.mark.parametrize("heights", [[1], [2], [5]])
def test_classes_that_touch_are_regions_side_by_side(heights: list[int]) -> None:
    prob = painted("11300  13130  00013  22010  30000")
    found, classes, regions, _ = found_whole(prob, np.ones((5, 5), dtype=bool), PLAIN, heights)
    # 1 and 3 cross each other twice at corners, and each stays one; 2 is not positive
    expected = [[1, 1, 2, 0, 0], [1, 2, 1, 2, 0], [0, 0, 0, 1, 2], [0, 0, 0, 1, 0], [3, 0, 0, 0, 0]]
    assert regions.tolist() == expected
    assert [(row["class_index"], row["area_px"]) for row in found.rows] == [(1, 6), (3, 4), (3, 1)]
    assert classes.tolist() == [[1, 1, 3, 0, 0], [1, 3, 1, 3, 0], [0, 0, 0, 1, 3], [2, 2, 0, 1, 0], [3, 0, 0, 0, 0]]


@pytest.mark.parametrize("heights", [[1], [3]])
def test_the_clean_up_looks_at_all_positive_classes_together(heights: list[int]) -> None:
    prob = painted("11100  11300  11100  00000  33011")
    point = CleanUp(min_region_px=3)
    found, classes, _, _ = found_whole(prob, np.ones((5, 5), dtype=bool), point, heights)
    assert [(row["region"], row["class_index"], row["area_px"]) for row in found.rows] == [(1, 1, 8), (2, 3, 1)]
    assert not classes[3:].any()


def test_corners_join_regions_but_open_no_hole() -> None:
    mask = drawn("#....  .###.  .#.#.  .##..  .....")
    expected = drawn("#....  .###.  .###.  .##..  .....")  # the hole meets what is outside by a corner only
    point = CleanUp(max_hole_px=1, min_region_px=8)
    assert np.array_equal(cleaned(values_of(mask), np.ones_like(mask), point), expected)
    assert len(found_whole(values_of(mask)[None], np.ones_like(mask), point, [2])[0].rows) == 1


@pytest.mark.parametrize(("largest", "filled"), [(1, False), (2, True)])
def test_holes_up_to_a_size_are_filled(largest: int, filled: bool) -> None:
    mask = drawn("####  #..#  ####")
    result = cleaned(values_of(mask), np.ones_like(mask), CleanUp(max_hole_px=largest))
    assert result.all() == filled
    assert np.array_equal(result, mask) != filled


def test_a_bay_at_the_border_is_no_hole() -> None:
    mask = drawn("####  #..#  #..#")
    assert np.array_equal(cleaned(values_of(mask), np.ones_like(mask), CleanUp(max_hole_px=99)), mask)


def test_what_is_no_tissue_stays_empty_in_a_filled_hole() -> None:
    mask, tissue = drawn("####  #..#  ####"), np.ones((3, 4), dtype=bool)
    tissue[1, 1] = False
    expected = drawn("####  #.##  ####")
    assert np.array_equal(cleaned(values_of(mask), tissue, CleanUp(max_hole_px=2)), expected)


@pytest.mark.parametrize(("least", "kept"), [(3, True), (4, False)])
def test_regions_below_a_size_are_removed(least: int, kept: bool) -> None:
    mask = drawn("##....  #.....  ...###  ...###")
    result = cleaned(values_of(mask), np.ones_like(mask), CleanUp(min_region_px=least))
    assert result[0, 0] == kept
    assert result[2:, 3:].all()


def test_a_filled_hole_counts_to_the_size_of_its_region() -> None:
    mask = drawn("###  #.#  ###")
    point = CleanUp(max_hole_px=1, min_region_px=9)
    assert cleaned(values_of(mask), np.ones_like(mask), point).all()


def test_smoothing_is_a_gaussian_that_keeps_the_mean() -> None:
    impulse = np.zeros((1, 21, 21), dtype=np.uint8)
    impulse[0, 10, 10] = 255
    sigma, away = 1.0, np.arange(-4, 5)
    bell = np.exp(-(away**2) / (2 * sigma**2))
    bell /= bell.sum()
    expected = np.rint(255 * np.outer(bell, bell))
    assert np.array_equal(smoothed(impulse, sigma)[0, 6:15, 6:15], expected)
    assert (smoothed(np.full((1, 5, 4), 77, dtype=np.uint8), 3.0) == 77).all()


def test_classes_of_a_filled_hole_and_of_a_removed_region() -> None:
    # four classes of which 1 and 3 are positive; a hole of class 2 inside class 1, where 3 is likelier than 1
    prob = np.zeros((4, 5, 9), dtype=np.uint8)
    prob[0] = 10
    prob[1, 1:4, 1:4] = 200
    prob[:, 2, 2] = (0, 20, 90, 60)
    prob[3, 2, 7] = 255  # a region of one px
    classes = cleaned_classes(prob, np.ones((5, 9), dtype=bool), CleanUp(max_hole_px=1, min_region_px=2), (1, 3))
    assert classes[2].tolist() == [0, 1, 3, 1, 0, 0, 0, 0, 0]
    assert (classes == 1).sum() == 8
    assert (classes == 3).sum() == 1


def test_figures_at_the_slides_border_by_hand() -> None:
    # 25 x 15 level-0 px at 10 per px: the last column and the last row are half on the slide
    prob = np.array([[[0, 0, 200], [0, 0, 255]]], dtype=np.uint8)
    geometry = MapGeometry(25, 15, 10.0)
    found = find_regions(in_bands(prob, np.ones((2, 3), dtype=bool), [1]), geometry, PLAIN, (1,), (0.5, 0.25))
    assert found.rows == [
        {
            "region": 1,
            "class_index": 1,
            "area_px": 2,
            "area_mm2": pytest.approx(5 * 15 * 0.125 / 1e6),
            "centroid_x0": 22.5,
            "centroid_y0": (5 + 12.5) / 2,
            "x0": 20.0,
            "y0": 0.0,
            "x1": 25.0,
            "y1": 15.0,
            "prob_max": 1.0,
            "prob_mean": pytest.approx((200 + 255) / 2 / 255),
            "peak_x0": 22.5,
            "peak_y0": 12.5,
            "lesion": None,
        }
    ]
    table = records.frame(records.REGIONS, [{"slide_id": "a", **row} for row in found.rows])
    assert table.loc[0, "area_px"] == 2


def test_the_first_of_equal_peaks_counts_whichever_arm_began_first() -> None:
    # both arms begin in the first band and meet in the second; the right one has its peak a row above the left one's
    prob = np.array([[200, 0, 255], [255, 0, 200], [200, 200, 200]], dtype=np.uint8)[None]
    bands = in_bands(prob, np.ones((3, 3), dtype=bool), [2])
    (row,) = find_regions(bands, MapGeometry(3, 3, 1.0), PLAIN, (1,), None).rows
    assert (row["peak_x0"], row["peak_y0"]) == (2.5, 0.5)


def test_without_mpp_no_area_and_without_tumour_no_region() -> None:
    prob = np.full((1, 4, 4), 255, dtype=np.uint8)
    geometry, tissue = MapGeometry(4, 4, 1.0), np.ones((4, 4), dtype=bool)
    assert find_regions(in_bands(prob, tissue, [3]), geometry, PLAIN, (1,), None).rows[0]["area_mm2"] is None
    none: Found = find_regions(in_bands(prob, ~tissue, [3]), geometry, PLAIN, (1,), None)
    assert none.rows == []
    assert not any(classes.any() for _, classes in none.classes())


@pytest.mark.parametrize("rows", [3, 5])
def test_bands_that_do_not_fit_the_map_are_refused(rows: int) -> None:
    prob = np.zeros((1, rows, 4), dtype=np.uint8)
    bands = in_bands(prob, np.ones((rows, 4), dtype=bool), [2])
    with pytest.raises(ValueError, match="row"):
        find_regions(bands, MapGeometry(4, 4, 1.0), PLAIN, (1,), None)


@pytest.mark.parametrize("heights", [[5], [2, 2, 1]])
def test_a_removed_speck_takes_the_likeliest_class_that_is_not_positive(heights: list[int]) -> None:
    """Gleason's one px within benign tissue is benign when it goes, not background."""
    prob = np.zeros((4, 5, 6), dtype=np.uint8)
    prob[2] = 200  # benign everywhere
    prob[:, 2, 3] = (20, 130, 100, 5)
    tissue = np.ones((5, 6), dtype=bool)
    point = CleanUp(min_region_px=2)
    expected = np.full((5, 6), 2)
    assert np.array_equal(cleaned_classes(prob, tissue, point, (1, 3)), expected)
    found = find_regions(in_bands(prob, tissue, heights), MapGeometry(6, 5, 1.0), point, (1, 3), None)
    assert found.rows == []
    assert np.array_equal(np.concatenate([band for _, band in found.classes()]), expected)


def test_a_region_that_reaches_the_peak_nowhere_is_removed_on_the_map_as_it_is_smoothed() -> None:
    prob = np.zeros((1, 7, 30), dtype=np.uint8)
    prob[0, 2:5, 2:5], prob[0, 3, 3] = 150, 240  # one px of 240
    prob[0, 2:5, 12:15] = 240
    prob[0, 2:5, 22:25] = 150
    whole = np.ones((7, 30), dtype=bool)

    def left(**settings: float) -> list[bool]:
        mask = cleaned(prob[0], whole, CleanUp(**settings))
        found = find_regions(in_bands(prob, whole, [2]), MapGeometry(30, 7, 1.0), CleanUp(**settings), (1,), None)
        assert len(found.rows) == sum(bool(mask[3, column]) for column in (3, 13, 23))
        return [bool(mask[3, column]) for column in (3, 13, 23)]

    assert left() == [True, True, True]
    assert left(min_peak=0.9) == [True, True, False]
    assert left(min_peak=0.55, threshold=0.2, smoothing_px=1.0) == [False, True, False], "a single px is no peak"
