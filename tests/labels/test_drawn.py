"""Outlines of several classes as labels: which lies on top, and exact shares, against shapely and by hand."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from acinus import params
from acinus.annotations.outline import Outline
from acinus.errors import SlideError
from acinus.labels import layers
from acinus.labels.drawn import Drawn, many_fractions, read_areas, write_areas
from acinus.labels.outlines import Outlined
from acinus.scoring.confusion import IGNORE

CLASSES = ("background", "gland", "tumor")
SIZE = (100, 80)


def outline(shape: Any, name: str | None, kind: str = "annotation") -> Outline:
    return Outline(shape, name, "id", None, kind)


def box(x0: float, y0: float, x1: float, y1: float, name: str | None) -> Outline:
    return outline(shapely.box(x0, y0, x1, y1), name)


def drawn(**more: Any) -> params.Annotations:
    meanings = {"Gland": "gland", "Tumor": "tumor", "Fold": "ignore", "ROI": "region", "Bud": "tumor"}
    return params.Annotations(**{"classes": meanings, "outside": "background"} | more)


def labels(*outlines: Outline, **more: Any) -> Drawn:
    return Drawn(layers.areas_of(outlines, drawn(**more), CLASSES, SIZE), *SIZE, len(CLASSES))


def shares(of: Drawn, x0: float, y0: float, edge0: float) -> list[float]:
    return of.fractions(np.array([x0]), np.array([y0]), edge0)[:, 0].tolist()


GLAND, TUMOR = box(0, 0, 20, 20, "Gland"), box(10, 0, 30, 10, "Tumor")


def test_what_stands_later_lies_on_top() -> None:
    assert shares(labels(GLAND, TUMOR), 0, 0, 20) == [0.0, 0.75, 0.25, 0.0]
    assert shares(labels(TUMOR, GLAND), 0, 0, 20) == [0.0, 0.75, 0.25, 0.0], "the order in the file is without meaning"
    turned = {"Tumor": "tumor", "Gland": "gland"}
    assert shares(labels(GLAND, TUMOR, classes=turned), 0, 0, 20) == [0.0, 1.0, 0.0, 0.0]
    assert shares(labels(GLAND, TUMOR), 20, 0, 20) == [0.75, 0.0, 0.25, 0.0]


def test_or_the_smaller_one_lies_on_top() -> None:
    inner, middle, outer = box(4, 4, 6, 6, "Gland"), box(2, 2, 8, 8, "Tumor"), box(0, 0, 10, 10, "Gland")
    both = labels(inner, middle, outer, overlap="smaller")
    assert shares(both, 0, 0, 10) == pytest.approx([0.0, 0.68, 0.32, 0.0])
    assert shares(labels(inner, middle, outer), 0, 0, 10) == pytest.approx([0.0, 0.64, 0.36, 0.0])


def test_ignored_outlines_and_places_outside_are_not_judged() -> None:
    fold = box(0, 0, 10, 10, "Fold")
    assert shares(labels(GLAND, fold), 0, 0, 20) == [0.0, 0.75, 0.0, 0.25]
    assert shares(labels(GLAND, outside="ignore"), 10, 0, 20) == [0.0, 0.5, 0.0, 0.5]
    assert shares(labels(box(10, 0, 20, 20, "Gland"), outside="tumor"), 0, 0, 20) == [0.0, 0.5, 0.5, 0.0]


def test_beyond_the_slide_is_class_0_where_outside_is_another_class() -> None:
    assert shares(labels(GLAND, outside="tumor"), 90, 0, 20) == [0.5, 0.0, 0.5, 0.0]
    over = labels(box(90, 0, 140, 20, "Gland"))
    assert shares(over, 90, 0, 20) == [0.5, 0.5, 0.0, 0.0], "an outline ends where the slide does"


def test_only_inside_a_region_is_the_slide_judged() -> None:
    region, cut = box(0, 0, 15, 20, "ROI"), labels(GLAND, box(0, 0, 15, 20, "ROI"))
    assert shares(cut, 0, 0, 20) == [0.0, 0.75, 0.0, 0.25]
    assert shares(cut, 10, 10, 20) == pytest.approx([0.0, 0.125, 0.0, 0.875])
    half = labels(box(0, 0, 10, 10, "Gland"), region)
    assert shares(half, 0, 0, 20) == [0.5, 0.25, 0.0, 0.25]
    assert shares(half, 80, 60, 20) == [0.0, 0.0, 0.0, 1.0]


def test_unnamed_classes_lie_below_all_others_and_are_counted() -> None:
    strange, bare = box(0, 0, 20, 20, "Stroma"), box(40, 40, 60, 60, None)
    cell = outline(shapely.box(0, 0, 1, 1), "Cell", "cell")
    assert layers.unmapped([strange, strange, bare, TUMOR, cell], drawn()) == {"Stroma": 2, "unclassified": 1}
    assert shares(labels(TUMOR, strange, cell), 0, 0, 20) == [0.0, 0.0, 0.25, 0.75]
    assert shares(labels(TUMOR, strange, overlap="smaller"), 0, 0, 20) == [0.0, 0.0, 0.25, 0.75]
    named = {"unclassified": "gland", "Cell": "tumor"}
    assert shares(labels(bare, classes=named), 40, 40, 20) == [0.0, 1.0, 0.0, 0.0]
    assert shares(labels(cell, classes=named, objects=["cell"]), 0, 0, 1) == [0.0, 0.0, 1.0, 0.0]


corner = st.integers(0, 60)
shapes = st.lists(
    st.tuples(
        corner, corner, st.integers(1, 40), st.integers(1, 40), st.sampled_from(["Gland", "Tumor", "Fold", "Bud"])
    ),
    min_size=1,
    max_size=12,
)


@given(shapes, st.sampled_from(["order", "smaller"]))
def test_every_place_has_the_label_of_what_lies_on_top(drawings: list[tuple[Any, ...]], overlap: str) -> None:
    outlines = [
        outline(shapely.Point(x, y).buffer(w, 3).union(shapely.box(x, y, x + w, y + h)), name)
        for x, y, w, h, name in drawings
    ]
    rules = drawn(overlap=overlap)
    made = labels(*outlines, overlap=overlap)
    meaning = {"Gland": 1, "Tumor": 2, "Bud": 2, "Fold": IGNORE}
    places = list(rules.classes)

    def rank(one: Outline) -> float:
        return places.index(str(one.class_name)) if overlap == "order" else -one.area.area

    points = np.random.default_rng(1).uniform(0, 80, (50, 2))
    for x, y in points:
        over = [one for one in outlines if shapely.contains_xy(one.area, x, y)]
        tops = {meaning[str(one.class_name)] for one in over if rank(one) == max(map(rank, over))}
        got = made._at(np.array([x]), np.array([y]))[0, 0]
        assert got in tops if over else got == 0
    areas = list(made.areas.by_label.values())
    assert sum(shapely.area(areas)) == pytest.approx(shapely.area(shapely.union_all(areas))), "disjoint"
    grid = np.arange(0, 100, 20.0)
    x0, y0 = np.repeat(grid, 5), np.tile(grid, 5)
    table = made.fractions(x0, y0, 20.0)
    np.testing.assert_allclose(table.sum(axis=0), 1.0, atol=1e-9)
    squares = shapely.box(x0, y0, x0 + 20, y0 + 20)
    for label, area in made.areas.by_label.items():
        exact = shapely.area(shapely.intersection(area, squares)) / 400
        np.testing.assert_allclose(table[-1 if label == IGNORE else label], exact, atol=1e-9)


def test_shares_of_many_small_outlines_and_holes_are_exact() -> None:
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(2.0, 98, 3.1), np.arange(2.0, 78, 3.1)))
    cells = shapely.union_all(shapely.buffer(shapely.points(x, y), 1.3, quad_segs=3))
    field = shapely.Point(50, 40).buffer(38, quad_segs=400).difference(cells)
    corners = np.random.default_rng(3).uniform(-20, 90, (200, 2))
    for area in (cells, field):
        for edge0 in (2.5, 17.0):
            squares = shapely.box(*corners.T, *(corners.T + edge0))
            exact = shapely.area(shapely.intersection(area, squares)) / edge0**2
            np.testing.assert_allclose(many_fractions(area, *corners.T, edge0), exact, atol=1e-9)
    assert many_fractions(field, np.array([500.0]), np.array([0.0]), 9.0).tolist() == [0.0]


def test_two_classes_are_what_the_older_labels_make_of_them() -> None:
    tumour = shapely.union_all([shapely.Point(x, 40).buffer(15) for x in (20, 50)])
    ignored = shapely.box(60.3, 0, 70.3, 80)  # no centre on a border, where the two differ by design
    old = Outlined(shapely.difference(tumour, ignored), ignored, None, *SIZE)
    rules = params.Annotations(classes={"T": "tumor", "X": "ignore"}, outside="normal")
    areas = layers.areas_of([outline(tumour, "T"), outline(ignored, "X")], rules, ("normal", "tumor"), SIZE)
    new = Drawn(areas, *SIZE, 2)
    x0, y0 = (axis.ravel() for axis in np.meshgrid(np.arange(-8.3, 100, 7), np.arange(-8.3, 80, 7)))
    np.testing.assert_allclose(new.fractions(x0, y0, 16.0), old.fractions(x0, y0, 16.0), atol=1e-12)
    np.testing.assert_array_equal(new.raster(33, 27, 3.0), old.raster(33, 27, 3.0))
    for one, other in zip(new.windows(x0, y0, 9, 2.0), old.windows(x0, y0, 9, 2.0), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_centre_on_a_border_that_two_outlines_share_is_in_one_of_them() -> None:
    both = labels(box(0, 0, 50, 80, "Gland"), box(50, 0, 100, 80, "Tumor"), outside="ignore")
    row = both.raster(100 // 4, 20, 4.0)  # centres at 2, 6, ... 50 ...
    assert set(np.unique(row)) == {1, 2}
    assert (row == 2).mean() == pytest.approx(13 / 25)


def test_areas_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    for made in (labels(GLAND, TUMOR, box(1 / 3, 0, 5, 5, "Fold")), labels(), labels(GLAND, outside="ignore")):
        file = tmp_path / "areas.parquet"
        write_areas(made.areas, file)
        back = read_areas(file)
        assert (back.rest, list(back.by_label)) == (made.areas.rest, list(made.areas.by_label))
        assert all(shapely.equals_exact(back.by_label[label], area) for label, area in made.areas.by_label.items())
    for damaged in (b"", b"PAR1 nonsense", file.read_bytes()[:-9]):
        file.write_bytes(damaged)
        with pytest.raises(SlideError, match=r"^areas\.parquet: cannot be read .*run ingest again$"):
            read_areas(file)


@pytest.mark.parametrize("overlap", ["order", "smaller"])
def test_time_is_in_proportion_to_the_outlines(overlap: str) -> None:
    def seconds(n: int) -> float:
        side = int(np.sqrt(n))
        x, y = (axis.ravel() * 30.0 for axis in np.meshgrid(np.arange(side), np.arange(side)))
        cells = [outline(cell, "Gland") for cell in shapely.buffer(shapely.points(x, y), 12.0, quad_segs=4)]
        region = outline(shapely.box(0, 0, 30 * side, 30 * side), "Tumor")
        start = time.process_time()
        rules = drawn(classes={"Tumor": "tumor", "Gland": "gland"}, overlap=overlap)
        layers.areas_of([region, *cells], rules, CLASSES, (30 * side, 30 * side))
        return time.process_time() - start

    seconds(400)
    assert seconds(20_000) < 12 * seconds(5_000)
