"""Annotations as a table: areas by hand, and nothing of a file is lost without a word."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import acinus

OUTER = [[100, 100], [300, 100], [300, 200], [100, 200], [100, 100]]
HOLE = [[150, 120], [170, 120], [170, 130], [150, 130], [150, 120]]
BOW_TIE = [[400, 100], [500, 200], [500, 100], [400, 200], [400, 100]]
LAYER = (
    '<Annotation Name="{name}" LineColor="255" Id="{number}"><Regions><Region Id="1" Type="{kind}" NegativeROA="0">'
    '<Vertices><Vertex X="10" Y="20"/><Vertex X="610" Y="20"/><Vertex X="610" Y="420"/></Vertices></Region></Regions>'
    "</Annotation>"
)


@pytest.fixture
def slide(tmp_path: Path) -> Any:
    Image.fromarray(np.full((800, 1000, 3), (190, 110, 170), dtype=np.uint8)).save(tmp_path / "a.png")
    with acinus.open_slide(tmp_path / "a.png", mpp=(0.5, 0.25)) as opened:
        yield opened


def geojson(folder: Path, *geometries: Any) -> Path:
    properties = {"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 10]}}
    features = [
        {"type": "Feature", "id": f"id-{number}", "geometry": geometry, "properties": properties if number == 0 else {}}
        for number, geometry in enumerate(geometries)
    ]
    (folder / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return folder / "a.geojson"


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def test_rows_are_outlines_with_areas_by_hand(tmp_path: Path, slide: Any) -> None:
    table = acinus.read_annotations(geojson(tmp_path, polygon(OUTER, HOLE), polygon(OUTER)), slide)
    columns = ["id", "class", "tool", "geometry", "area_px", "area_um2", "colour", "object_type"]
    assert list(table.columns) == columns
    assert table["id"].tolist() == ["id-0", "id-1"]
    assert table["class"].tolist() == ["Tumor", None]
    assert table["area_px"].tolist() == [200 * 100 - 20 * 10, 200 * 100]
    assert table["area_um2"].tolist() == [area * 0.5 * 0.25 for area in table["area_px"]]
    assert table["colour"].tolist() == ["#c8000a", None]
    assert table["geometry"].iloc[0].bounds == (100, 100, 300, 200)
    assert table.attrs["passed_over"] == {}
    assert table.attrs["warnings"] == []


def test_what_is_no_row_is_counted_and_warned_of(tmp_path: Path, slide: Any) -> None:
    point, line = {"type": "Point", "coordinates": [5, 5]}, {"type": "LineString", "coordinates": OUTER[:2]}
    path = geojson(tmp_path, polygon(OUTER), point, point, line, polygon(BOW_TIE))
    with pytest.warns(acinus.AcinusWarning) as caught:
        table = acinus.read_annotations(path, slide)
    texts = [str(warning.message) for warning in caught]
    assert "a.geojson: 1 lines, 2 points: not used, since only areas are; draw them as outlines" in texts
    assert "a.geojson: 1 outlines touched or crossed themselves and were made valid" in texts
    assert table.attrs["warnings"] == texts
    assert table.attrs["passed_over"] == {"lines": 1, "points": 2}
    assert len(table) == 2
    assert table["area_px"].tolist() == [200 * 100, 2 * 100 * 50 / 2]  # both halves of the bow-tie


def test_other_tools_give_the_same_columns(tmp_path: Path, slide: Any) -> None:
    layers = [LAYER.format(name="Stroma", number=1, kind=0), LAYER.format(name="Rulers", number=2, kind=4)]
    (tmp_path / "a.xml").write_text(f"<Annotations>{''.join(layers)}</Annotations>")
    with pytest.warns(acinus.AcinusWarning, match=r"a.xml: 1 rulers: not used"):
        table = acinus.read_annotations(tmp_path / "a.xml", slide)
    assert table[["class", "tool", "area_px", "colour"]].to_numpy().tolist() == [
        ["Stroma", "imagescope", 600 * 400 / 2, "#ff0000"]  # LineColor counts blue, green, red
    ]


def test_a_file_without_outlines_is_an_empty_table_of_the_same_columns(tmp_path: Path, slide: Any) -> None:
    full = acinus.read_annotations(geojson(tmp_path, polygon(OUTER)), slide)
    empty = acinus.read_annotations(geojson(tmp_path), slide)
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_unknown_um_per_px_give_no_areas(tmp_path: Path, slide: Any) -> None:
    with acinus.open_slide(slide.path) as plain, warnings.catch_warnings():
        warnings.simplefilter("error")
        table = acinus.read_annotations(geojson(tmp_path, polygon(OUTER)), plain)
    assert table["area_px"].notna().all()
    assert table["area_um2"].isna().all()


def test_a_file_of_another_slide_is_refused(tmp_path: Path, slide: Any) -> None:
    far = [[x + 5000, y] for x, y in OUTER]
    with pytest.raises(acinus.AcinusError, match=r"1 of 1 outlines lie wholly outside the slide of 1000 x 800"):
        acinus.read_annotations(geojson(tmp_path, polygon(far)), slide)
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(acinus.AcinusError, match=r"notes.txt: no annotations of a tool that is known"):
        acinus.read_annotations(tmp_path / "notes.txt", slide)
