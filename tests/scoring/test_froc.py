"""Lesion-level FROC: hand-made masks and curves, and the whole protocol written out without shortcuts."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label

from acinus.scoring.froc import FALSE_POSITIVES, Detection, Froc, Lesions, curve, hit, lesions, outcomes

PROTOCOL_UM = 0.243 * 32  # per px: tumour grows by less than 4.82 px, ITC end at 35.4 px
COARSE_UM = 40.0  # per px: tumour grows by less than 0.94 px, so not at all; ITC end at 6.875 px


def froc(detections: list[Detection], slides: dict[str, int]) -> Froc | None:
    """The curve over all slides."""
    return curve(list(outcomes(detections, slides).values()))


def mask(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (70, 160)) -> np.ndarray:
    """Return a tumour mask of boxes (top, left, height, width)."""
    result = np.zeros(shape, dtype=bool)
    for top, left, height, width in boxes:
        result[top : top + height, left : left + width] = True
    return result


def written_out(tumour: np.ndarray, um_per_px: float) -> Lesions:
    """The protocol on the whole mask: all pairs of pixels for the distance, the axis from second moments."""
    rows, columns = np.nonzero(tumour)
    place = np.indices(tumour.shape).reshape(2, -1, 1)
    near = (
        ((place - np.array([rows, columns])[:, None]) ** 2).sum(axis=0) if rows.size else np.full((tumour.size, 1), 9e9)
    )
    grown = (near.min(axis=1) < (75 / (um_per_px * 2)) ** 2).reshape(tumour.shape)
    outside, _ = ndimage.label(np.pad(~grown, 1, constant_values=True))
    filled = (outside != outside[0, 0])[1:-1, 1:-1]
    labels, count = ndimage.label(filled, structure=np.ones((3, 3)))
    itc = []
    for one in range(1, count + 1):
        spread = np.cov(np.argwhere(labels == one).T, bias=True) if (labels == one).sum() > 1 else np.zeros((2, 2))
        if 4 * math.sqrt(np.linalg.eigvalsh(spread).max()) < 275 / um_per_px:
            itc.append(one)
    return Lesions(labels, tuple(itc))


def test_lesions_closer_than_75_um_are_one() -> None:
    # each grows by 4 px towards the other: a gap of 8 px closes, one of 9 leaves a px between them
    near = lesions(mask((10, 10, 50, 50), (10, 68, 50, 50)), PROTOCOL_UM)
    assert near.labels.max() == 1
    apart = lesions(mask((10, 10, 50, 50), (10, 69, 50, 50)), PROTOCOL_UM)
    assert apart.labels.max() == 2
    assert apart.targets == (1, 2)
    edge = lesions(mask((10, 10, 50, 50), (10, 69, 50, 50)), 7.5)  # of 75 / (2 * 7.5) = 5 px exactly, 4 are joined
    assert edge.labels.max() == 2
    assert hit(near, 63.5, 30) == 1
    assert hit(apart, 64.5, 30) == 0


def test_lesions_that_touch_at_a_corner_are_one() -> None:
    assert lesions(mask((0, 0, 10, 10), (10, 10, 10, 10)), COARSE_UM).labels.max() == 1
    assert lesions(mask((0, 0, 10, 10), (11, 11, 10, 10)), COARSE_UM).labels.max() == 2


def test_isolated_tumour_cells_by_the_major_axis_of_the_grown_mask() -> None:
    # a row of n px has the variance (n^2 - 1) / 12: axes of 6.83 and 8.0 px against 6.875
    found = lesions(mask((0, 0, 1, 6), (10, 0, 1, 7), (20, 0, 7, 1), (30, 0, 1, 1)), COARSE_UM)
    assert found.itc == (1, 4)
    assert found.targets == (2, 3)
    # at the protocol's resolution growing counts: a disc of 12 px radius grows to about 33 px, one of 14 to 37
    place = np.indices((80, 160))
    discs = [
        ((place - np.array(centre)[:, None, None]) ** 2).sum(axis=0) <= radius**2
        for centre, radius in (((40, 40), 12), ((40, 110), 14))
    ]
    both = lesions(discs[0] | discs[1], PROTOCOL_UM)
    assert both.labels[40, 40] in both.itc
    assert both.targets == (int(both.labels[40, 110]),)


def test_a_lesion_of_many_isolated_cells_is_a_lesion() -> None:
    cells = [(10, 8 * i, 2, 2) for i in range(8)]  # 6 px apart, so they merge to one of 62 px
    found = lesions(mask(*cells), PROTOCOL_UM)
    assert found.targets == (1,)
    assert lesions(mask(*cells[:1]), PROTOCOL_UM).targets == ()


def test_holes_belong_to_their_lesion_and_bays_do_not() -> None:
    ring = mask((10, 10, 50, 50)) & ~mask((25, 25, 20, 20))
    closed = lesions(ring, PROTOCOL_UM)
    assert hit(closed, 35, 35) == 1
    opened = lesions(ring & ~mask((25, 25, 20, 45)), PROTOCOL_UM)
    assert hit(opened, 40, 35) == 0
    at_border = lesions(mask((0, 0, 30, 60), shape=(40, 60)) & ~mask((0, 20, 15, 20), shape=(40, 60)), PROTOCOL_UM)
    assert hit(at_border, 30, 2) == 0  # enclosed by tumour and the slide's edge, which is no tumour


def test_ids_are_in_raster_order() -> None:
    found = lesions(mask((40, 0, 10, 10), (5, 60, 10, 10), (5, 20, 10, 10)), COARSE_UM)
    assert [int(found.labels[at]) for at in ((5, 20), (5, 60), (40, 0))] == [1, 2, 3]
    assert found.labels.dtype == np.int32


@given(st.integers(0, 10**6), st.sampled_from([6.0, 10.0, 25.0, 60.0]), st.floats(0.0, 0.1))
def test_agrees_with_the_protocol_written_out(seed: int, um_per_px: float, share: float) -> None:
    random = np.random.default_rng(seed)
    tumour = ndimage.binary_dilation(random.random((24, 31)) < share / 3, iterations=int(random.integers(1, 4)))
    tumour &= random.random(tumour.shape) < 0.95
    found, expected = lesions(tumour, um_per_px), written_out(tumour, um_per_px)
    assert np.array_equal(found.labels, expected.labels)
    assert found.itc == expected.itc


def test_masks_of_nothing_and_of_everything() -> None:
    nothing = lesions(np.zeros((5, 7), dtype=bool), PROTOCOL_UM)
    assert (nothing.targets, nothing.itc, nothing.labels.shape) == ((), (), (5, 7))
    everything = lesions(np.ones((50, 50), dtype=bool), PROTOCOL_UM)
    assert everything.targets == (1,)
    assert everything.labels.all()


def test_hit_names_lesion_isolated_cells_or_none() -> None:
    found = lesions(mask((0, 0, 1, 6), (10, 2, 1, 20)), COARSE_UM)
    assert hit(found, 3.9, 0.9) == -1
    assert hit(found, 2.0, 10.0) == 2
    assert hit(found, 1.9, 10.0) == 0
    assert hit(found, 159.9, 69.9) == 0
    for x, y in ((160, 0), (0, 70), (-0.1, 0)):
        with pytest.raises(ValueError, match="outside the evaluation mask of 160 x 70 px"):
            hit(found, x, y)


@pytest.mark.parametrize("um_per_px", [0.0, -1.0, math.nan, math.inf])
def test_a_pixel_needs_a_width(um_per_px: float) -> None:
    with pytest.raises(ValueError, match="um per px"):
        lesions(mask((0, 0, 9, 9)), um_per_px)


HAND_SLIDES = {"t1": 2, "t2": 1, "n1": 0, "n2": 0}
HAND = [
    Detection("t1", 0.9, 1),
    Detection("t1", 0.95, 1),  # the same lesion again: its highest counts, once
    Detection("t1", 0.2, 1),
    Detection("t1", 0.8, 0),
    Detection("t1", 0.5, 2),
    Detection("t2", 0.99, -1),  # isolated tumour cells: nothing, and the lesion of t2 is missed
    Detection("n1", 0.6, 0),
    Detection("n1", 0.3, 0),
]  # n2 has none and counts among the four slides


def test_curve_and_score_by_hand() -> None:
    found = froc(HAND, HAND_SLIDES)
    assert found is not None
    #                               0.95 0.8   0.6  0.5  0.3
    assert found.fps == (0.0, 0.0, 0.25, 0.5, 0.5, 0.75)
    assert found.sensitivity == pytest.approx((0, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3))
    assert found.at == pytest.approx((1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3))
    assert found.score == pytest.approx(11 / 18)


def test_between_points_the_curve_is_a_line() -> None:
    # one slide: a hit at 0 false positives, three false positives with two more hits among them
    detections = [Detection("t", 0.9, 1), *(Detection("t", p, 0) for p in (0.8, 0.7, 0.6)), Detection("t", 0.6, 2)]
    found = froc(detections, {"t": 4})
    assert found is not None
    assert found.fps == (0, 0, 1, 2, 3)
    assert found.sensitivity == (0, 0.25, 0.25, 0.25, 0.5)  # equal probabilities enter together
    assert found.at == (0.25, 0.25, 0.25, 0.25, 0.5, 0.5)
    tied = froc([Detection("t", 0.5, 1), Detection("t", 0.5, 0)], {"t": 1})
    assert tied is not None
    assert tied.at == (0.25, 0.5, 1, 1, 1, 1)


def test_lesions_of_the_same_number_on_two_slides_are_two() -> None:
    found = froc([Detection("a", 0.9, 1), Detection("b", 0.8, 1)], {"a": 1, "b": 1})
    assert found is not None
    assert found.sensitivity == (0, 0.5, 1)
    assert found.score == 1


def test_slides_without_detections_stay_in_the_denominator() -> None:
    detections = [Detection("t", 0.9, 0), Detection("t", 0.5, 1)]
    alone = froc(detections, {"t": 1})
    beside = froc(detections, {"t": 1, "n1": 0, "n2": 0, "n3": 0})
    missed = froc(detections, {"t": 1, "t2": 3})
    assert alone is not None
    assert beside is not None
    assert missed is not None
    assert alone.fps == (0, 1, 1)
    assert beside.fps == (0, 0.25, 0.25)
    assert (missed.fps, missed.sensitivity) == ((0, 0.5, 0.5), (0, 0, 0.25))


def test_without_detections_nothing_is_found_and_without_lesions_nothing_is_defined() -> None:
    assert froc([], {"t": 1, "n": 0}) == Froc(0.0, (0.0,), (0.0,), (0.0,) * 6)
    assert froc([Detection("n", 0.9, 0)], {"n": 0}) is None
    assert froc([], {}) is None


def by_thresholds(detections: list[Detection], slides: dict[str, int]) -> float:
    """The score from its definition: at every threshold, count anew."""
    points = {(0.0, 0.0)}
    for cut in {one.prob for one in detections}:
        kept = [one for one in detections if one.prob >= cut]
        found = {(one.slide, one.lesion) for one in kept if one.lesion > 0}
        points.add((sum(one.lesion == 0 for one in kept) / len(slides), len(found) / sum(slides.values())))
    ordered = sorted(points)
    values = []
    for x in FALSE_POSITIVES:
        left = max(one for one in ordered if one[0] <= x)
        right = min((one for one in ordered if one[0] > x), default=None)
        slope = (right[1] - left[1]) / (right[0] - left[0]) if right else 0.0
        values.append(left[1] + slope * (x - left[0]))
    return sum(values) / 6


DETECTIONS = st.lists(
    st.builds(Detection, st.sampled_from(["a", "b", "c"]), st.integers(1, 9).map(lambda p: p / 10), st.integers(-1, 2)),
    max_size=25,
)


@given(DETECTIONS, st.permutations(range(25)))
def test_agrees_with_counting_at_every_threshold(detections: list[Detection], order: list[int]) -> None:
    slides = {"a": 2, "b": 3, "c": 2}
    found = froc(detections, slides)
    assert found is not None
    assert found.score == pytest.approx(by_thresholds(detections, slides))
    assert all(a <= b for a, b in itertools.pairwise(found.fps))
    assert all(a <= b for a, b in itertools.pairwise(found.sensitivity))
    shuffled = [detections[i] for i in order if i < len(detections)]
    assert froc(shuffled, slides) == found  # the order of the detections says nothing


@given(DETECTIONS)
def test_only_the_order_of_the_probabilities_counts(detections: list[Detection]) -> None:
    slides = {"a": 2, "b": 2, "c": 2}
    assert froc([one._replace(prob=one.prob**3) for one in detections], slides) == froc(detections, slides)


def test_a_slide_drawn_twice_counts_as_two_slides() -> None:
    of = outcomes(HAND, HAND_SLIDES)
    again = [one._replace(slide="t1 again") for one in HAND if one.slide == "t1"]
    drawn = curve([of["t1"], of["n1"], of["t1"], of["n2"]])
    assert drawn == froc(
        [*(one for one in HAND if one.slide != "t2"), *again], {"t1": 2, "n1": 0, "t1 again": 2, "n2": 0}
    )
    assert curve([of["n1"], of["n2"]]) is None


@pytest.mark.parametrize(
    ("detection", "text"),
    [
        (Detection("x", 0.5, 0), "slide x, which is not among"),
        (Detection("t2", math.nan, 0), "probability nan on slide t2"),
        (Detection("n1", 0.5, 1), "slide n1: 1 lesions were hit, expected at most its 0"),
    ],
)
def test_what_cannot_be_is_refused(detection: Detection, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        froc([*HAND, detection], HAND_SLIDES)


def test_lesions_grow_alike_in_strips_and_as_a_whole() -> None:
    """Against scipy's distances over the whole mask, with tumour on both sides of the strips' borders."""
    rng = np.random.default_rng(4)
    for um_per_px in (4.0, 9.0, 30.0):
        tumour = np.zeros((700, 90), dtype=bool)
        rows, columns = rng.integers(0, 700, 12), rng.integers(0, 90, 12)
        tumour[rows, columns] = True
        tumour[[255, 256, 511, 512], [10, 40, 70, 80]] = True
        grown = ndimage.distance_transform_edt(~tumour) < 75 / (2 * um_per_px)
        expected = label(ndimage.binary_fill_holes(grown), connectivity=2)
        np.testing.assert_array_equal(lesions(tumour, um_per_px).labels, expected)
