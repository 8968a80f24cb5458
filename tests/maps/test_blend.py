"""The band-by-band map against a px-by-px reference, constants, and the promise about memory."""

import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus.errors import AcinusError
from acinus.maps.blend import blended_rows, shown
from acinus.maps.geometry import MapGeometry
from acinus.maps.windows import Windows, grid

Answer = Callable[[int, int], np.ndarray]  # (x0, y0) -> (classes,) or (classes, h, w)


def run(geometry: MapGeometry, windows: Windows, answer: Answer, batch_size: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Blend what `answer` says of each window."""
    classes, corners = len(answer(0, 0)), list(zip(windows.x0.tolist(), windows.y0.tolist(), strict=True))
    parts = (corners[start : start + batch_size] for start in range(0, len(corners), batch_size))
    answers = (np.stack([answer(x0, y0) for x0, y0 in part]) for part in parts)
    bands = list(blended_rows(geometry, windows, answers, classes, batch_size))
    return np.concatenate([b.probs for b in bands], axis=1), np.concatenate([b.covered for b in bands])


def reference(geometry: MapGeometry, windows: Windows, answer: Answer) -> tuple[np.ndarray, np.ndarray]:
    """The definition, one map px and one window at a time, in float64."""
    classes, d = len(answer(0, 0)), geometry.downsample
    edge = math.ceil(windows.edge0 - 1e-6)
    total = np.zeros((classes, *geometry.shape))
    weights = np.zeros(geometry.shape)
    for r in range(geometry.rows):
        for c in range(geometry.columns):
            left, right = c * d, min((c + 1) * d, geometry.width)
            top, bottom = r * d, min((r + 1) * d, geometry.height)
            u, v = (left + right) / 2, (top + bottom) / 2
            for x0, y0 in zip(windows.x0.tolist(), windows.y0.tolist(), strict=True):
                if not (x0 <= u < x0 + edge and y0 <= v < y0 + edge):
                    continue
                w = math.prod(
                    1e-3 + 0.999 * math.sin(math.pi * (at - start) / edge) ** 2 for at, start in ((u, x0), (v, y0))
                )
                box = (left - x0, right - x0), (top - y0, bottom - y0)
                total[:, r, c] += w * area_mean(answer(x0, y0), *box, (windows.edge0, edge))
                weights[r, c] += w
    return total / np.where(weights > 0, weights, 1), weights > 0


def area_mean(
    probs: np.ndarray, x: tuple[float, float], y: tuple[float, float], edges: tuple[float, int]
) -> np.ndarray:
    """Mean of a window's picture over a box given in level-0 px from the window's corner.

    The picture is as large as the window (edges[0]); its last px also cover what rounding up to edges[1] added.
    """
    if probs.ndim == 1:
        return probs
    _, h, w = probs.shape
    total, area = np.zeros(len(probs)), 0.0
    for i in range(h):
        for j in range(w):
            bottom = edges[1] if i == h - 1 else (i + 1) * edges[0] / h
            right = edges[1] if j == w - 1 else (j + 1) * edges[0] / w
            high = min(y[1], bottom) - max(y[0], i * edges[0] / h)
            wide = min(x[1], right) - max(x[0], j * edges[0] / w)
            if high > 0 and wide > 0:
                total += probs[:, i, j] * high * wide
                area += high * wide
    return total / area


@st.composite
def layouts(draw: st.DrawFn) -> tuple[MapGeometry, Windows]:
    """A slide, a map and windows, whole and broken numbers, some windows left out."""
    downsample = draw(st.one_of(st.integers(1, 8).map(float), st.floats(1.0, 8.0)))
    edge0 = draw(st.one_of(st.integers(8, 40).map(float), st.floats(8.0, 40.0)))
    step0 = max(1.0, edge0 * draw(st.sampled_from([0.3, 0.5, 0.77, 1.0])))
    geometry = MapGeometry(draw(st.integers(1, 90)), draw(st.integers(1, 90)), downsample)
    windows = grid(geometry.width, geometry.height, edge0, step0)
    keep = np.random.default_rng(draw(st.integers(0, 99))).random(len(windows)) < draw(st.sampled_from([0.3, 1.0, 1.0]))
    return geometry, windows.only(keep)


def noise(shape: tuple[int, ...]) -> Answer:
    return lambda x0, y0: np.random.default_rng([x0, y0]).random(shape, dtype=np.float32)


@given(layouts(), st.sampled_from([(1,), (2,), (1, 4, 4), (3, 5, 7)]), st.integers(1, 9))
def test_equals_the_definition(layout: tuple[MapGeometry, Windows], shape: tuple[int, ...], batch: int) -> None:
    geometry, windows = layout
    probs, covered = run(geometry, windows, noise(shape), batch)
    expected, expected_covered = reference(geometry, windows, noise(shape))
    assert probs.dtype == np.float32
    assert np.array_equal(covered, expected_covered)
    np.testing.assert_allclose(probs, expected, atol=3e-6)
    assert not probs[:, ~covered].any()


@given(layouts(), st.floats(0.0, 1.0, width=32), st.sampled_from([(), (4, 4), (3, 2)]))
def test_a_constant_stays_that_constant(
    layout: tuple[MapGeometry, Windows], value: float, picture: tuple[int, ...]
) -> None:
    geometry, windows = layout
    probs, covered = run(geometry, windows, lambda x0, y0: np.full((1, *picture), value, dtype=np.float32))
    np.testing.assert_allclose(probs[:, covered], value, atol=1e-6)
    ones, _ = run(geometry, windows, lambda x0, y0: np.ones((1, *picture), dtype=np.float32))
    assert (np.rint(ones[:, covered] * 255) == 255).all()
    if not picture:
        assert (ones[:, covered] == 1.0).all()


@given(layouts(), st.integers(2, 6), st.sampled_from([(), (4, 4), (3, 2)]), st.integers(0, 5))
def test_probabilities_of_several_classes_stay_a_distribution(
    layout: tuple[MapGeometry, Windows], classes: int, picture: tuple[int, ...], sure: int
) -> None:
    geometry, windows = layout

    def answer(x0: int, y0: int) -> np.ndarray:
        shares = np.random.default_rng([x0, y0]).dirichlet(np.full(classes, 0.3), picture)
        return np.moveaxis(shares, -1, 0).astype(np.float32)

    probs, covered = run(geometry, windows, answer)
    np.testing.assert_allclose(probs[:, covered].sum(axis=0), 1.0, atol=1e-5)
    assert not probs[:, ~covered].any()
    certain = np.zeros((classes, *picture), dtype=np.float32)
    certain[sure % classes] = 1.0
    probs, _ = run(geometry, windows, lambda x0, y0: certain)
    values = np.rint(probs[:, covered] * 255)
    assert (values[sure % classes] == 255).all()
    assert (np.delete(values, sure % classes, axis=0) == 0).all()


def test_one_cell_one_value() -> None:
    # what is read around a cell is larger than the cell; the map has what was said of cell (i, j) at (j, i)
    width, height, cell = 1000, 700, 128
    geometry = MapGeometry(width, height, float(cell))
    cells = grid(width, height, cell, cell)
    said = np.random.default_rng(1).random((6, 8), dtype=np.float32)
    probs, covered = run(geometry, cells, lambda x0, y0: said[y0 // cell, x0 // cell][None], batch_size=5)
    assert geometry.shape == (6, 8)
    assert covered.all()
    np.testing.assert_allclose(probs[0], said, rtol=2e-7)
    some = cells.only(np.arange(48) % 5 > 0)
    probs, covered = run(geometry, some, lambda x0, y0: said[y0 // cell, x0 // cell][None])
    assert np.array_equal(covered.ravel(), np.arange(48) % 5 > 0)
    np.testing.assert_allclose(probs[0], np.where(covered, said, 0.0), rtol=2e-7)


@given(layouts(), st.floats(0.05, 1.0))
def test_a_full_grid_leaves_nothing_uncovered(layout: tuple[MapGeometry, Windows], share: float) -> None:
    geometry, windows = layout
    full = grid(geometry.width, geometry.height, windows.edge0, max(1.0, windows.edge0 * share))
    _, covered = run(geometry, full, noise((1,)), batch_size=64)
    assert covered.all()


def test_windows_side_by_side_show_their_own_values() -> None:
    geometry = MapGeometry(20, 10, 5.0)
    probs, covered = run(geometry, grid(20, 10, 10, 10), lambda x0, y0: np.array([0.25 if x0 == 0 else 0.75]))
    assert probs[0].tolist() == [[0.25, 0.25, 0.75, 0.75]] * 2
    assert covered.all()


def test_the_nearer_window_has_the_larger_say() -> None:
    # two windows, 0 and 1, overlap by half: the map rises from one centre to the other
    windows = Windows(np.array([0, 10]), np.array([0, 0]), 20.0)
    probs, _ = run(MapGeometry(30, 20, 2.0), windows, lambda x0, y0: np.array([x0 / 10]))
    row = probs[0, 4]
    assert row[0] == 0.0
    assert row[-1] == 1.0
    assert (np.diff(row[5:10]) > 0).all()
    assert row[7] == pytest.approx(0.5)


def test_no_window_gives_an_empty_map_of_the_right_size() -> None:
    geometry = MapGeometry(100, 70, 8.0)
    none = grid(100, 70, 32, 32).only(np.zeros(12, dtype=bool))
    probs, covered = run(geometry, none, noise((2,)))
    assert probs.shape == (2, *geometry.shape)
    assert not probs.any()
    assert not covered.any()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.array([np.nan]), "outside .0, 1. .or NaN. for the window at x0=0, y0=0"),
        (np.array([1.5]), "outside"),
        (np.array([-0.1]), "outside"),
        (np.zeros((1, 3)), "shape"),
    ],
)
def test_predictions_that_are_none_stop_the_slide(answer: np.ndarray, words: str) -> None:
    with pytest.raises(AcinusError, match=words):
        run(MapGeometry(20, 20, 5.0), grid(20, 20, 10, 10), lambda x0, y0: answer)


@given(layouts())
def test_what_is_not_shown_would_change_nothing(layout: tuple[MapGeometry, Windows]) -> None:
    geometry, windows = layout
    seen = shown(geometry, windows)
    some, covered = run(geometry, seen, noise((1,)))
    every, same = run(geometry, windows, noise((1,)))
    assert np.array_equal(some, every)
    assert np.array_equal(covered, same)
    for x0, y0 in zip(seen.x0.tolist(), seen.y0.tolist(), strict=True):  # and each that is shown covers something
        one = Windows(np.array([x0]), np.array([y0]), windows.edge0)
        assert run(geometry, one, noise((1,)))[1].any()


def test_windows_without_a_map_px_are_not_shown() -> None:
    # 20 px of slide, map px of 8: the last one is 16 to 20, its centre 18
    found = shown(MapGeometry(20, 20, 8.0), grid(20, 20, 8, 1))
    assert sorted(set(found.x0.tolist())) == list(range(19))


@pytest.mark.parametrize("batches", [1, 3])
def test_as_many_answers_as_windows_are_expected(batches: int) -> None:
    geometry, windows = MapGeometry(20, 10, 5.0), grid(20, 10, 10, 5)  # 8 windows
    answers = iter([np.ones((4, 1))] * batches)
    with pytest.raises(ValueError, match="zip"):
        list(blended_rows(geometry, windows, answers, 1, 4))


def test_map_px_larger_than_a_window_are_refused() -> None:
    with pytest.raises(AcinusError, match=r"larger than a window of 10 level-0 px; lower infer.map_downsample"):
        run(MapGeometry(200, 200, 11.0), grid(200, 200, 10, 10), noise((1,)))


def test_memory_depends_on_the_width_not_on_the_area() -> None:
    def peak(width: int, height: int) -> int:
        geometry = MapGeometry(width, height, 2.0)
        windows = grid(width, height, 128, 128)
        tracemalloc.start()
        try:
            answers = (np.ones((min(8, len(windows) - at), 1)) for at in range(0, len(windows), 8))
            for _ in blended_rows(geometry, windows, answers, 1, 8):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    short, tall, wide = peak(2048, 1024), peak(2048, 32 * 1024), peak(4 * 2048, 1024)
    whole_map = (2048 // 2) * (32 * 1024 // 2) * 4
    assert tall < 1.6 * short  # the list of windows and rows grows, the buffer does not
    assert tall < whole_map / 20
    assert wide > 2.5 * short
