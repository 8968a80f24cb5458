"""Exported regions read back: GeoJSON by shapely, ASAP XML by the reader of annotations."""

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from acinus.labels import asap
from acinus.labels.outlines import rasterise
from acinus.labels.palette import palette
from acinus.maps.geometry import MapGeometry
from acinus.regions.files import Legend, exported
from acinus.regions.operating_point import CleanUp
from acinus.regions.table import Found, find_regions
from acinus.slides.geometry import pixel_centres

TWO = Legend.of(("normal", "tumor"))


def drawn(text: str) -> np.ndarray:
    return np.array([[sign == "#" for sign in row] for row in text.split()])


def found_in(mask: np.ndarray, geometry: MapGeometry, height: int = 3, mpp: tuple[float, float] | None = None) -> Found:
    prob = np.where(mask, 204, 0).astype(np.uint8)[None]

    def bands() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for top in range(0, len(mask), height):
            yield top, prob[:, top : top + height], np.ones_like(mask[top : top + height])

    return find_regions(bands, geometry, CleanUp(), (1,), mpp)


def export(found: Found, folder: Path, legend: Legend = TWO) -> tuple[Path, Path]:
    paths = folder / "a.geojson", folder / "a.xml"
    for _ in exported(found, legend, *paths):
        pass
    return paths


def features(path: Path) -> list[dict]:
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["type"] == "FeatureCollection"
    return data["features"]


def read_back(path: Path, geometry: MapGeometry) -> np.ndarray:
    """Return the px of a map whose centres lie in the annotations' tumour."""
    area = asap.parse(path, ["Tumor"], ["Exclusion"], "refuse").tumour
    x = pixel_centres(geometry.columns, geometry.downsample, geometry.width)
    return rasterise(area, x, pixel_centres(geometry.rows, geometry.downsample, geometry.height))


@given(
    seed=st.integers(0, 100_000),
    width=st.integers(3, 40),
    height=st.integers(3, 40),
    downsample=st.sampled_from([1.0, 2.0, 3.7]),
    share=st.sampled_from([0.4, 0.6, 0.8]),
    rows=st.integers(1, 9),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    width: int,
    height: int,
    downsample: float,
    share: float,
    rows: int,
) -> None:
    geometry = MapGeometry(width, height, downsample)
    mask = np.random.default_rng(seed).random(geometry.shape) < share
    found = found_in(mask, geometry, rows, (0.5, 0.5))
    json_path, xml_path = export(found, tmp_path_factory.mktemp("regions"))
    shapes = {one["properties"]["name"]: shapely.geometry.shape(one["geometry"]) for one in features(json_path)}
    assert len(shapes) == len(found.rows)
    for row in found.rows:
        shape = shapes[f"region {row['region']}"]
        assert shapely.is_valid(shape)
        assert shape.area * 0.25 / 1e6 == pytest.approx(row["area_mm2"])  # px cut by the border count by their share
        assert shape.bounds == (row["x0"], row["y0"], row["x1"], row["y1"])
    if mask.any():
        assert np.array_equal(read_back(xml_path, geometry), mask)


def test_regions_within_regions_survive_the_cut_outs(tmp_path: Path) -> None:
    mask = drawn("#######  #.....#  #.###.#  #.#.#.#  #.###.#  #.....#  #######  .......  .###...  .#.#...  .###...")
    geometry = MapGeometry(70, 110, 10.0)
    json_path, xml_path = export(found_in(mask, geometry), tmp_path)
    assert np.array_equal(read_back(xml_path, geometry), mask)
    text = xml_path.read_text(encoding="utf-8")
    assert 'Name="region 1 part 1"' in text  # it goes around another one: divided
    assert 'Name="region 3 hole 1"' in text  # it does not
    assert [len(one["geometry"]["coordinates"]) for one in features(json_path)] == [2, 2, 2]


def test_what_qupath_reads(tmp_path: Path) -> None:
    geometry = MapGeometry(25, 20, 10.0)
    (one,) = features(export(found_in(drawn("..#  ..."), geometry, mpp=(0.5, 0.25)), tmp_path)[0])
    assert one == {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[[20, 0], [25, 0], [25, 10], [20, 10], [20, 0]]]},
        "properties": {
            "objectType": "annotation",
            "name": "region 1",
            "classification": {"name": "tumor", "color": [0, 114, 178]},
            "measurements": {"area_mm2": pytest.approx(50 * 0.125 / 1e6), "prob_max": 0.8, "prob_mean": 0.8},
        },
    }


def without(path: Path, groups: set[str]) -> Path:
    """Return a copy of ASAP XML without the annotations of these groups; the reader knows one class at a time."""
    tree = ElementTree.parse(path)
    (annotations,) = tree.iter("Annotations")
    for one in list(annotations):
        if one.get("PartOfGroup") in groups:
            annotations.remove(one)
    copy = path.with_name("copy.xml")
    tree.write(copy)
    return copy


@given(st.integers(0, 100_000), st.integers(1, 7), st.sampled_from([1.0, 3.7]))
def test_each_class_goes_out_under_its_own_name(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, downsample: float
) -> None:
    geometry = MapGeometry(50, 40, downsample)
    classes = np.random.default_rng(seed).choice(4, geometry.shape, p=[0.4, 0.25, 0.1, 0.25])
    prob = np.where(classes == np.arange(4)[:, None, None], 255, 0).astype(np.uint8)

    def bands() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for top in range(0, geometry.rows, rows):
            yield top, prob[:, top : top + rows], np.ones_like(classes[top : top + rows], dtype=bool)

    names, colours = ("zero", "one", "two", "three"), ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3))
    found = find_regions(bands, geometry, CleanUp(), (1, 3), (0.5, 0.5))
    paths = export(found, tmp_path_factory.mktemp("regions"), Legend.of(names, colours))
    x, y = (
        pixel_centres(count, downsample, length)
        for count, length in ((geometry.columns, geometry.width), (geometry.rows, geometry.height))
    )
    ones = features(paths[0])
    for index, name in ((1, "one"), (3, "three")):
        wanted = {"name": name, "color": [index] * 3}
        shapes = [
            shapely.geometry.shape(one["geometry"]) for one in ones if one["properties"]["classification"] == wanted
        ]
        area = shapely.union_all(shapes)
        assert area.area == pytest.approx(sum(shape.area for shape in shapes))
        assert np.array_equal(rasterise(area, x, y), classes == index)
        group = asap.parse(without(paths[1], {"one", "three"} - {name}), [name], ["Exclusion"], "refuse").tumour
        assert np.array_equal(rasterise(group, x, y), classes == index)
    assert {one["properties"]["classification"]["name"] for one in ones} <= {"one", "three"}


@pytest.mark.parametrize("number", [2, 3, 9, 10, 14])
def test_without_colours_those_of_the_reports_pictures(number: int) -> None:
    names = tuple(f"c{index}" for index in range(number))
    assert Legend.of(names).colours == tuple(palette(names).values())


def test_an_unknown_area_is_left_out(tmp_path: Path) -> None:
    (one,) = features(export(found_in(drawn("#"), MapGeometry(1, 1, 1.0)), tmp_path)[0])
    assert sorted(one["properties"]["measurements"]) == ["prob_max", "prob_mean"]


def test_parts_that_meet_at_corners_are_one_feature(tmp_path: Path) -> None:
    (one,) = features(export(found_in(drawn("#.  .#"), MapGeometry(2, 2, 1.0)), tmp_path)[0])
    assert one["geometry"]["type"] == "MultiPolygon"
    assert len(one["geometry"]["coordinates"]) == 2


def test_no_region_is_an_empty_valid_file(tmp_path: Path) -> None:
    json_path, xml_path = export(found_in(drawn("..  .."), MapGeometry(2, 2, 1.0)), tmp_path)
    assert features(json_path) == []
    assert asap.parse(xml_path, ["Tumor"], ["Exclusion"], "refuse").outlines == ()


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    name = '"><Annotation Name="x\x00\x0b&\'\u2028'
    legend = Legend(("normal", name, "c"), ((0, 0, 0), (1, 2, 255), (3, 3, 3)))
    json_path, xml_path = export(found_in(drawn("#"), MapGeometry(1, 1, 1.0)), tmp_path, legend)
    assert features(json_path)[0]["properties"]["classification"] == {"name": name, "color": [1, 2, 255]}
    found = asap.parse(xml_path, ['"><Annotation Name="x??&\'\u2028'], ["Exclusion"], "refuse")
    assert [one.role for one in found.outlines] == ["tumor"]
    assert 'Color="#0102ff"' in xml_path.read_text(encoding="utf-8")


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    bands = exported(
        found_in(drawn("#  #  #  #"), MapGeometry(1, 4, 1.0), height=1), TWO, tmp_path / "a", tmp_path / "b"
    )
    next(bands)
    bands.close()
    assert list(tmp_path.iterdir()) == []


def test_same_regions_same_bytes(tmp_path: Path) -> None:
    mask = np.random.default_rng(1).random((30, 30)) < 0.6
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths = export(found_in(mask, MapGeometry(100, 100, 3.4)), tmp_path / name)
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
