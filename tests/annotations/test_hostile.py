"""Whatever bytes come: outlines that are valid, or one line that says why not."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from acinus.annotations.frame import Frame
from acinus.annotations.reading import read_annotations, tool_of
from acinus.errors import SlideError

FRAME = Frame(1000, 800, 0.5, 0.5, (100, 80, 800, 700), (0.0, 0.0))
RING = [[100.5, 100], [300, 100], [300, 200.25], [100, 200]]
GEOJSON = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": "1-2",
                "geometry": {"type": "Polygon", "coordinates": [[*RING, RING[0]]]},
                "properties": {"objectType": "annotation", "classification": {"names": ["a"], "color": [1, 2, 3]}},
            },
            {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [[RING], [RING]]}},
            {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]}]},
        ],
    }
)
VERTICES = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in RING)
REGION = f'<Region Id="1" Type="0" NegativeROA="0"><Vertices>{VERTICES}</Vertices></Region>'
LAYER = f'<Annotation Id="1" Name="a"><Regions>{REGION}</Regions></Annotation>'
IMAGESCOPE = f'<Annotations MicronsPerPixel="0.5">{LAYER}</Annotations>'
POINTS = "".join(f"<point><x>{int(x * 500)}</x><y>{int(y * 500)}</y></point>" for x, y in RING)
NDPA = (
    '<annotations><ndpviewstate id="1"><title>a</title><annotation type="freehand" color="#000000"><closed>1</closed>'
    f"<pointlist>{POINTS}</pointlist></annotation></ndpviewstate></annotations>"
)
ORDERED = "".join(f'<Coordinate Order="{number}" X="{x}" Y="{y}"/>' for number, (x, y) in enumerate(RING))
ASAP = (
    '<ASAP_Annotations><Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="b"><Coordinates>'
    f"{ORDERED}</Coordinates></Annotation></Annotations></ASAP_Annotations>"
)
FILES = {"a.geojson": GEOJSON, "a.xml": IMAGESCOPE, "a.ndpa": NDPA, "b.xml": ASAP}
PIECES = ["null", "NaN", "1e999", '"', "[", "]", "{}", "-1", "<", "&x;", "Type", "\x00", "\u202e", "9" * 30, "type", ""]


def outcome(path: Path) -> int:
    """Read a file: the number of its outlines, or -1 where it is refused."""
    line = ""
    try:
        file = read_annotations(path, FRAME)
    except SlideError as error:
        line = str(error)
    if line:
        assert "\n" not in line
        assert path.name in line
        assert len(line) < 600
        return -1
    assert shapely.is_valid([outline.area for outline in file.outlines]).all()
    assert all(outline.area.area > 0 and (outline.class_name or "x").isprintable() for outline in file.outlines)
    return len(file.outlines)


@pytest.mark.parametrize("name", FILES)
def test_whole_files_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FILES[name])
    assert outcome(tmp_path / name) >= 1


@given(
    name=st.sampled_from(sorted(FILES)),
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=4),
    end=st.floats(0, 2),
)
def test_changed_and_cut_off_files(
    tmp_path_factory: pytest.TempPathFactory, name: str, places: list[tuple[float, int, str]], end: float
) -> None:
    text = FILES[name]
    for place, count, piece in places:
        at = int(place * len(text))
        text = text[:at] + piece + text[at + count :]
    path = tmp_path_factory.mktemp("hostile") / name
    path.write_text(text[: int(end * len(text))], encoding="utf-8")
    outcome(path)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["Polygon", "Feature"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "features", "geometry", "coordinates", "geometries", "properties", "classification"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(value=json_values, key=st.sampled_from(["geometry", "properties", "id", "type", "nucleusGeometry", None]))
def test_json_of_any_shape(tmp_path_factory: pytest.TempPathFactory, value: object, key: str | None) -> None:
    path = tmp_path_factory.mktemp("json") / "a.geojson"
    feature = json.loads(GEOJSON)["features"][0]
    path.write_text(json.dumps(value if key is None else [feature | {key: value}]))
    outcome(path)


@given(
    data=st.binary(max_size=60), head=st.sampled_from([b"", b"\x1f\x8b", b"PK\x03\x04", b"<", b"[", b"\xff\xfe", b"{"])
)
def test_bytes_of_any_kind(tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    for name in ("a.geojson", "a.xml", "a.ndpa", "a.annotations", "a.zip"):
        (folder / name).write_bytes(head + data)
        tool_of(folder / name)
        outcome(folder / name)


def test_a_ring_that_crosses_itself_too_often_is_refused_at_once(tmp_path: Path) -> None:
    """2,000 corners anywhere cross about 460,000 times: to repair them takes minutes and gigabytes."""
    ring = np.random.default_rng(0).uniform(0, 1000, (2000, 2)).tolist()
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    with pytest.raises(SlideError, match="cross themselves more than 200000 times"):
        read_annotations(tmp_path / "a.geojson", FRAME)


def test_a_long_ring_that_crosses_itself_now_and_then_is_repaired(tmp_path: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    ring = 400 + (300 - np.arange(20_000) % 2)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ring[[500, 510]] = ring[[510, 500]]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring.tolist()]}))
    file = read_annotations(tmp_path / "a.geojson", Frame(1000, 800))
    assert file.repaired == 1
    assert file.outlines[0].area.area == pytest.approx(np.pi * 299.5**2, rel=1e-3)


def test_many_parts_that_touch_are_repaired(tmp_path: Path) -> None:
    """As a pixel classifier draws them: the way from part to part is no edge of theirs."""
    order = np.random.default_rng(0).permutation(2500)
    corners = [(float(n % 50 * 20), float(n // 50 * 16)) for n in order]
    parts = [[[[x, y], [x + 10, y], [x + 10, y + 8], [x, y + 8], [x, y]]] for x, y in corners]
    parts.append([[[5, 4], [25, 4], [25, 6], [5, 6], [5, 4]]])  # over two of them: 5 x 2 of each, 10 x 2 between
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "MultiPolygon", "coordinates": parts}))
    file = read_annotations(tmp_path / "a.geojson", Frame(1000, 800))
    assert file.repaired == 1
    assert file.outlines[0].area.area == 2500 * 80 + 10 * 2
