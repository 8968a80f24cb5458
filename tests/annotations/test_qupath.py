"""Every form of QuPath's GeoJSON, with areas worked out by hand, and every way in which a file can be broken."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from acinus.annotations.frame import Frame
from acinus.annotations.outline import AnnotationFile
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
    file = read(tmp_path, content)
    assert [outline.area.area for outline in file.outlines] == [200 * 100, 300 * 200]
    assert [outline.source_id for outline in file.outlines] == ["feature 0", "feature 1"]
    assert file.tool == "qupath"
    assert (file.passed_over, file.repaired, file.warnings) == ({}, 0, ())


@pytest.mark.parametrize("content", [feature(polygon(FAR, HOLE)), polygon(FAR)], ids=["feature", "geometry"])
def test_one_object(tmp_path: Path, content: Any) -> None:
    assert len(read(tmp_path, content).outlines) == 1


def test_a_hole_is_not_area(tmp_path: Path) -> None:
    (outline,) = read(tmp_path, feature(polygon(SQUARE, HOLE))).outlines
    assert outline.area.area == 200 * 100 - 20 * 10


def test_coordinates_count_from_the_bounds(tmp_path: Path) -> None:
    frame = Frame(5000, 4000, bounds=(800, 600, 1000, 800))
    assert read(tmp_path, feature(), frame=frame).outlines[0].area.bounds == (900, 700, 1100, 800)


def test_packed_files(tmp_path: Path) -> None:
    text = json.dumps(feature()).encode()
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(text))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("objects.geojson", text)
    for path in tmp_path.iterdir():
        assert tool_of(path) == "qupath"
        assert read_annotations(path, FRAME).outlines[0].area.area == 20000


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    text = json.dumps([feature(), feature()])
    with pytest.raises(SlideError, match=r"^slide\.geojson: not valid GeoJSON"):
        read(tmp_path, text[:-20])
