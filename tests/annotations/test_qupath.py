"""Every form of QuPath's GeoJSON, with areas worked out by hand, and every way in which a file can be broken."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from acinus.annotations.frame import Frame
from acinus.annotations.outline import AnnotationFile, ClassCount, class_counts
from acinus.annotations.reading import read_annotations, tool_of
from acinus.errors import SlideError

FRAME = Frame(1000, 800)
SQUARE = [[100, 100], [300, 100], [300, 200], [100, 200], [100, 100]]
HOLE = [[150, 120], [170, 120], [170, 130], [150, 130], [150, 120]]
FAR = [[600, 500], [900, 500], [900, 700], [600, 700], [600, 500]]


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry: Any = None, classification: Any = None, **others: Any) -> dict[str, Any]:
    properties = {"objectType": "annotation"} | ({"classification": classification} if classification else {})
    return {"type": "Feature", "geometry": geometry or polygon(SQUARE), "properties": properties} | others


def read(folder: Path, content: Any, name: str = "slide.geojson", frame: Frame = FRAME) -> AnnotationFile:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_annotations(path, frame)


def refusal(folder: Path, content: Any) -> str:
    with pytest.raises(SlideError) as caught:
        read(folder, content)
    message = str(caught.value)
    assert message.startswith("slide.geojson: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "content",
    [
        {"type": "FeatureCollection", "features": [feature(), feature(polygon(FAR))]},
        {"features": [feature(), feature(polygon(FAR))], "type": "FeatureCollection", "crs": {"features": [1]}},
        [feature(), feature(polygon(FAR))],
        [polygon(SQUARE), polygon(FAR)],
    ],
    ids=["collection", "keys in another order", "list", "bare geometries"],
)
def test_many_objects(tmp_path: Path, content: Any) -> None:
    for indent in (None, 2):
        file = read(tmp_path, "\ufeff" + json.dumps(content, indent=indent) + "\n")
        assert [outline.area.area for outline in file.outlines] == [200 * 100, 300 * 200]
        assert [outline.source_id for outline in file.outlines] == ["feature 0", "feature 1"]
        assert file.tool == "qupath"
        assert (file.passed_over, file.repaired, file.warnings) == ({}, 0, ())


@pytest.mark.parametrize("content", [feature(polygon(FAR)), polygon(FAR)], ids=["feature", "geometry"])
def test_one_object(tmp_path: Path, content: Any) -> None:
    assert [outline.area.bounds for outline in read(tmp_path, content).outlines] == [(600, 500, 900, 700)]


@pytest.mark.parametrize("content", [{"type": "FeatureCollection", "features": []}, "[ ]"])
def test_no_object(tmp_path: Path, content: Any) -> None:
    assert read(tmp_path, content).outlines == ()


def test_a_hole_is_not_area(tmp_path: Path) -> None:
    (outline,) = read(tmp_path, feature(polygon(SQUARE, HOLE))).outlines
    assert outline.area.area == 200 * 100 - 20 * 10


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [FAR]]},
        {"type": "GeometryCollection", "geometries": [polygon(SQUARE, HOLE), polygon(FAR)]},
        {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "GeometryCollection", "geometries": [polygon(SQUARE, HOLE)]},
                {"type": "MultiPolygon", "coordinates": [[FAR]]},
            ],
        },
    ],
)
def test_several_polygons_are_one_outline(tmp_path: Path, geometry: Any) -> None:
    (outline,) = read(tmp_path, feature(geometry)).outlines
    assert outline.area.area == 200 * 100 - 20 * 10 + 300 * 200
    assert outline.area.is_valid


def test_an_ellipse_is_the_ring_it_comes_with(tmp_path: Path) -> None:
    content = feature(polygon(SQUARE) | {"isEllipse": True, "plane": {"c": -1, "z": 0, "t": 0}})
    assert read(tmp_path, content).outlines[0].area.area == 200 * 100


def test_what_has_no_area_is_counted(tmp_path: Path) -> None:
    line = {"type": "LineString", "coordinates": [[1, 1], [5, 5]]}
    others: list[Any] = [
        {"type": "Point", "coordinates": [5, 5]},
        {"type": "MultiPoint", "coordinates": [[5, 5], [6, 6]]},
        line,
        {"type": "MultiLineString", "coordinates": [[[1, 1], [5, 5]]]},
        {"type": "GeometryCollection", "geometries": [line, polygon(FAR)]},
        polygon([]),
        polygon([[1, 1], [2, 2]]),
        polygon([[1, 1], [2, 2], [1, 1]]),
        polygon([[1, 1], [2, 2], [3, 3], [1, 1]]),
        {"type": "MultiPolygon", "coordinates": []},
    ]
    content: list[Any] = [*[feature(other) for other in others], feature() | {"geometry": None}]
    file = read(tmp_path, content)
    assert [outline.area.area for outline in file.outlines] == [300 * 200]
    assert file.passed_over == {"lines": 3, "points": 2, "without area": 5, "without geometry": 1}


def test_a_cells_nucleus_is_counted_and_its_border_is_the_outline(tmp_path: Path) -> None:
    cell = feature(polygon(SQUARE), nucleusGeometry=polygon(HOLE))
    cell["properties"]["objectType"] = "cell"
    file = read(tmp_path, [cell])
    assert [(outline.object_type, outline.area.area) for outline in file.outlines] == [("cell", 20000)]
    assert file.passed_over == {"nuclei of cells": 1}


@pytest.mark.parametrize(
    ("classification", "name", "colour"),
    [
        ({"name": "Tumor", "color": [200, 0, 10]}, "Tumor", (200, 0, 10)),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, "Tumor: Positive", (1, 2, 3)),
        ({"names": ["Stroma"]}, "Stroma", None),
        ({"name": "Tumor", "colorRGB": -3670016}, "Tumor", (200, 0, 0)),  # 0xffc80000
        ({"name": "Other", "colorRGB": -14336}, "Other", (255, 200, 0)),  # 0xffffc800
        ({"name": "Tumor"}, "Tumor", None),
        ({"name": "Tumor", "color": "red"}, "Tumor", None),
        ({"name": ""}, None, None),
        ({"name": None}, None, None),
        ("Tumor", "Tumor", None),
        (None, None, None),
    ],
)
def test_classes(tmp_path: Path, classification: Any, name: str | None, colour: Any) -> None:
    (outline,) = read(tmp_path, feature(None, classification)).outlines
    assert (outline.class_name, outline.colour) == (name, colour)


def test_without_a_class_colour_that_of_the_object(tmp_path: Path) -> None:
    content = feature()
    content["properties"]["color"] = [9, 8, 7]
    assert read(tmp_path, content).outlines[0].colour == (9, 8, 7)


@pytest.mark.parametrize(
    ("others", "properties", "object_type", "source"),
    [
        ({"id": "0a1b-22"}, {"objectType": "tile", "isLocked": True}, "tile", "0a1b-22"),
        ({"id": "0a1b-22"}, {"object_type": "detection"}, "detection", "0a1b-22"),
        ({"id": "PathAnnotationObject"}, {}, "annotation", "feature 0"),
        ({"id": "PathDetectionObject"}, {"isLocked": False}, "detection", "feature 0"),
        ({"id": "PathCellObject"}, {}, "cell", "feature 0"),
        ({"id": "TMACoreObject"}, {}, "tma_core", "feature 0"),
        ({"id": 7}, {}, "annotation", "7"),
        ({}, None, "annotation", "feature 0"),
    ],
)
def test_object_types_of_all_releases(
    tmp_path: Path, others: Any, properties: Any, object_type: str, source: str
) -> None:
    (outline,) = read(tmp_path, feature() | others | {"properties": properties}).outlines
    assert (outline.object_type, outline.source_id) == (object_type, source)


def test_coordinates_count_from_the_bounds(tmp_path: Path) -> None:
    frame = Frame(5000, 4000, bounds=(800, 600, 1000, 800))
    assert read(tmp_path, feature(), frame=frame).outlines[0].area.bounds == (900, 700, 1100, 800)


def test_packed_files(tmp_path: Path) -> None:
    text = json.dumps(feature()).encode()
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(text))
    (tmp_path / "b.json").write_bytes(gzip.compress(text))  # whatever its name says
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("objects.geojson", text)
        archive.writestr("__MACOSX/._objects.geojson", b"\0")
    (tmp_path / "d.json").write_bytes(json.dumps(feature()).encode("utf-16"))
    for path in tmp_path.iterdir():
        assert tool_of(path) == "qupath", path
        assert read_annotations(path, FRAME).outlines[0].area.area == 20000


def test_damaged_packed_files_are_one_line(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps([feature()] * 50).encode())
    (tmp_path / "a.geojson.gz").write_bytes(packed[:-20])
    with zipfile.ZipFile(tmp_path / "b.geojson.zip", "w") as archive:
        for name in ("one.json", "two.json"):
            archive.writestr(name, json.dumps(feature()))
    (tmp_path / "c.geojson.zip").write_bytes((tmp_path / "b.geojson.zip").read_bytes()[:-60])
    for name, says in (("a.geojson.gz", "unpacked"), ("b.geojson.zip", "2 JSON files"), ("c.geojson.zip", "unpacked")):
        assert tool_of(tmp_path / name) == "qupath"
        with pytest.raises(SlideError, match=f"^{name}: .*{says}"):
            read_annotations(tmp_path / name, FRAME)


def test_a_packed_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acinus.annotations.qupath.MAX_BYTES", 10_000)
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(b"[" + b" " * 1_000_000 + b"]"))
    with pytest.raises(SlideError, match="more than 10000 bytes"):
        read_annotations(tmp_path / "a.geojson.gz", FRAME)


WHOLE = json.dumps({"type": "FeatureCollection", "features": [feature(polygon(SQUARE, HOLE), {"name": "a"})] * 2})


@pytest.mark.parametrize("length", [0, 1, 40, 60, 200, len(WHOLE) - 60, len(WHOLE) - 2, len(WHOLE) - 1])
def test_a_cut_off_file_is_refused(tmp_path: Path, length: int) -> None:
    assert "not valid GeoJSON" in refusal(tmp_path, WHOLE[:length])


def with_corner(text: str) -> str:
    return json.dumps(feature()).replace("[300, 100]", text)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (with_corner("[NaN, 100]"), "NaN is no coordinate"),
        (with_corner("[Infinity, 100]"), "Infinity is no coordinate"),
        (with_corner("[1e999, 100]"), "is no level-0 pixel"),
        (with_corner("[1e9, 100]"), "is no level-0 pixel"),
        (with_corner(f"[{'9' * 400}, 100]"), "is no level-0 pixel"),
        (with_corner(f"[{'9' * 5000}, 100]"), "not valid GeoJSON"),
        (with_corner('["300", 100]'), "coordinate '300' is no number"),
        (with_corner("[true, 100]"), "coordinate True is no number"),
        (with_corner("[null, 100]"), "coordinate None is no number"),
        (with_corner("[[300], 100]"), "coordinate [300] is no number"),
        (with_corner("[300]"), "position 1 is [300], not [x, y]"),
        (with_corner("300"), "position 1 is 300, not [x, y]"),
        (feature({"type": "Polygon"}), "its coordinates are None"),
        (feature({"type": "Polygon", "coordinates": SQUARE}), "position 0 is 100"),
        (feature({"type": "Circle", "coordinates": [1, 2]}), "geometry of type 'Circle'"),
        (feature({"type": "GeometryCollection"}), "its coordinates are None"),
        (feature(None, {"name": 5}), "class name that is no text"),
        (feature(None, [1]), "classification is [1]"),
        (feature(None, {"name": "x" * 201}), "a class name of 201 characters"),
        ("[1]", "feature 0 is no object"),
        ('{"type": "FeatureCollection", "features": 5}', "'5' instead of '['"),
        ('{"type": "Polygon", "features": []}', "expected FeatureCollection"),
        (WHOLE + "x", "more text after its end"),
        ('{"type": "FeatureCollection" "features": []}', "instead of ','"),
        ('{"type": "FeatureCollection", 5: []}', "not valid GeoJSON"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "not valid GeoJSON"),
        ('{"type": "Polygon", "coordinates": ' + "[" * 200_000, "nested too deeply"),
        ('{"type": "Polygon", "a": ' * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, content: Any, says: str) -> None:
    assert says in refusal(tmp_path, content)


def test_a_third_coordinate_is_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, feature(polygon([[*point, 0.5] for point in SQUARE]))).outlines[0].area.area == 20000


def test_rings_that_touch_or_cross_themselves_are_repaired_and_counted(tmp_path: Path) -> None:
    bow_tie = [[0, 0], [100, 0], [0, 100], [100, 100], [0, 0]]  # two triangles of base 100 and height 50
    touching = [[300, 300], [400, 300], [350, 350], [400, 400], [300, 400], [350, 350], [300, 300]]
    overlapping = {"type": "MultiPolygon", "coordinates": [[SQUARE], [[[x + 100, y] for x, y in SQUARE]]]}
    file = read(tmp_path, [feature(polygon(bow_tie)), feature(polygon(touching)), feature(overlapping), feature()])
    # touching: a 100 x 100 square less the triangles left and right, of base 100 and height 50
    assert [outline.area.area for outline in file.outlines] == [5000, 5000, 30000, 20000]
    assert all(outline.area.is_valid for outline in file.outlines)
    assert file.repaired == 3


def test_class_names_are_kept_but_for_what_cannot_be_printed(tmp_path: Path) -> None:
    names = [
        "<script>alert(1)</script>",
        " Tumor\n\u00a0core ",
        "a\x00\x1b[31mb",
        "\u202edesrever",
        "Tumör, 腫瘍",
        "\ud800",
    ]
    file = read(tmp_path, [feature(None, {"name": name}) for name in names])
    assert [outline.class_name for outline in file.outlines] == [
        "<script>alert(1)</script>",
        "Tumor core",
        "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[31mb",
        "\N{REPLACEMENT CHARACTER}desrever",
        "Tumör, 腫瘍",
        "\N{REPLACEMENT CHARACTER}",
    ]
    assert len([warning for warning in file.warnings if "cannot be printed" in warning]) == 3
    "".join(file.warnings).encode()


def test_counts_and_areas_by_class(tmp_path: Path) -> None:
    tumour = {"name": "Tumor", "color": [200, 0, 0]}
    file = read(
        tmp_path, [feature(None, tumour), feature(polygon(FAR)), feature(polygon(FAR), tumour), feature(None, "a")]
    )
    assert class_counts(file.outlines) == [
        ClassCount("Tumor", 2, 80000.0, (200, 0, 0)),
        ClassCount("a", 1, 20000.0, None),
        ClassCount(None, 1, 60000.0, None),
    ]
