"""What quantify writes as GeoJSON reads back without loss, also where QuPath counts from another corner."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from acinus.annotations.frame import Frame
from acinus.annotations.outline import Outline
from acinus.annotations.reading import read_annotations
from acinus.maps.geometry import MapGeometry
from acinus.pages.outlines import outlines as drawn_outlines
from acinus.regions.files import Legend, exported
from acinus.regions.operating_point import CleanUp
from acinus.regions.table import Found, find_regions

LEGEND = Legend(("zero", "<one>", "two\u2028\n", "three"), ((0, 0, 0), (1, 20, 200), (2, 2, 2), (255, 3, 3)))


def found_in(classes: np.ndarray, geometry: MapGeometry) -> Found:
    prob = np.where(classes == np.arange(4)[:, None, None], 255, 0).astype(np.uint8)

    def bands() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for top in range(0, geometry.rows, 5):
            yield top, prob[:, top : top + 5], np.ones_like(classes[top : top + 5], dtype=bool)

    return find_regions(bands, geometry, CleanUp(), (1, 3), (0.5, 0.5))


def written(folder: Path, found: Found, corner0: tuple[int, int]) -> Path:
    path = folder / "slide.geojson"
    for _ in exported(found, LEGEND, path, folder / "slide.xml", corner0):
        pass
    return path


@given(
    seed=st.integers(0, 100_000),
    width=st.integers(3, 40),
    height=st.integers(3, 40),
    downsample=st.sampled_from([1.0, 2.0, 3.7]),
    corner0=st.sampled_from([(0, 0), (2, 1), (17, 30)]),
)
def test_regions_read_back_without_loss(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    width: int,
    height: int,
    downsample: float,
    corner0: tuple[int, int],
) -> None:
    geometry = MapGeometry(width, height, downsample)
    classes = np.random.default_rng(seed).choice(4, geometry.shape, p=[0.3, 0.4, 0.0, 0.3])
    found = found_in(classes, geometry)
    path = written(tmp_path_factory.mktemp("regions"), found, corner0)
    frame = Frame(width, height, 0.5, 0.5, (*corner0, width, height) if any(corner0) else None)
    file = read_annotations(path, frame)
    assert (file.passed_over, file.repaired, len(file.outlines)) == ({}, 0, len(found.rows))
    rows = {f"region {row['region']}": row for row in found.rows}
    written_names = [one["properties"]["name"] for one in json.loads(path.read_text())["features"]]
    for name, outline in zip(written_names, file.outlines, strict=True):
        row = rows[name]
        assert outline.area.area * 0.25 / 1e6 == pytest.approx(row["area_mm2"], rel=1e-6)
        assert outline.area.bounds == pytest.approx((row["x0"], row["y0"], row["x1"], row["y1"]), abs=1e-9)
        assert (outline.class_name, outline.colour) == (
            LEGEND.names[row["class_index"]],
            LEGEND.colours[row["class_index"]],
        )
    squares = np.diff(geometry.edges_y0)[:, None] * np.diff(geometry.edges_x0)  # level-0 px of each px of the map
    for index in (1, 3):
        area = sum(one.area.area for one in file.outlines if one.class_name == LEGEND.names[index])
        assert area == pytest.approx(squares[classes == index].sum(), rel=1e-6)


polygons = st.builds(
    lambda seed, corners, holes: star(np.random.default_rng(seed), corners, holes),
    st.integers(0, 100_000),
    st.integers(3, 30),
    st.integers(0, 3),
)


def star(random: np.random.Generator, corners: int, holes: int) -> shapely.Polygon:
    """A polygon about a point that sees all of its corners, with triangles cut out: valid by how it is made."""
    angles = np.arange(corners) / corners * 2 * np.pi
    ring = random.uniform(100, 200, (corners, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    centre = random.uniform(300, 700, 2)
    shift = np.array([[-20, -20], [20, -20], [0, 20]])
    cut = [np.array([[0, 0], [9.3, 1], [4, 8]]) + centre + shift[hole] for hole in range(holes)]
    return shapely.Polygon(ring + centre, cut)


@given(drawn=st.lists(polygons, min_size=1, max_size=5), corner0=st.sampled_from([(0, 0), (2000, 1017)]))
def test_polygons_to_geojson_to_polygons(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[shapely.Polygon], corner0: tuple[int, int]
) -> None:
    """By shapely's own writer of GeoJSON."""
    path = tmp_path_factory.mktemp("polygons") / "slide.geojson"
    path.write_text(json.dumps([json.loads(shapely.to_geojson(polygon)) for polygon in drawn]))
    file = read_annotations(path, Frame(4000, 3000, bounds=(*corner0, 1000, 1000)))
    assert len(file.outlines) == len(drawn)
    for polygon, outline in zip(drawn, file.outlines, strict=True):
        moved = shapely.transform(polygon, lambda at: at + np.array(corner0))
        assert outline.area.area == pytest.approx(polygon.area, rel=1e-6)
        assert outline.area.symmetric_difference(moved).area < 1e-6


def test_a_corner_moves_what_qupath_sees_and_nothing_else(tmp_path: Path) -> None:
    geometry = MapGeometry(100, 80, 10.0)
    classes = np.zeros(geometry.shape, dtype=int)
    classes[3:5, 4:7] = 1  # level-0 px 40..70 by 30..50
    found = found_in(classes, geometry)
    (tmp_path / "plain").mkdir()
    plain, moved = written(tmp_path / "plain", found, (0, 0)), written(tmp_path, found, (30, 20))
    (feature,) = json.loads(moved.read_text())["features"]
    assert feature["geometry"]["coordinates"] == [[[10, 10], [40, 10], [40, 30], [10, 30], [10, 10]]]
    assert moved.with_suffix(".xml").read_bytes() == plain.with_suffix(".xml").read_bytes()
    paths = [
        drawn_outlines(json.loads(path.read_text()), 0.3, "", None, corner)
        for path, corner in ((plain, (0, 0)), (moved, (30, 20)))
    ]
    assert paths[0] == paths[1]


def test_without_bounds_not_a_byte_differs(tmp_path: Path) -> None:
    geometry = MapGeometry(37, 23, 3.7)
    classes = np.random.default_rng(3).choice(4, geometry.shape)
    found = found_in(classes, geometry)
    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "slide.geojson"
        for _ in exported(found, LEGEND, path, path.with_suffix(".xml"), *([(0, 0)] if name == "b" else [])):
            pass
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]


def test_outlines_can_be_compared() -> None:
    box = shapely.box(0, 0, 1, 1)
    assert Outline(box, "a", "1") == Outline(box, "a", "1")
