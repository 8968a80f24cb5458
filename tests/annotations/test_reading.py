"""Which files are annotations, told by their content."""

from pathlib import Path

import pytest

from acinus.annotations.frame import Frame
from acinus.annotations.reading import READERS, read_annotations, tool_of
from acinus.errors import SlideError


@pytest.mark.parametrize(
    ("name", "content", "tool"),
    [
        ("a.xml", b"<ASAP_Annotations/>", "asap"),
        ("a.txt", b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- x -->\n<ASAP_Annotations>', "asap"),
        ("a.xml", "<Annotations>".encode("utf-16"), "imagescope"),
        ("a.xml", b"<Annotations MicronsPerPixel='1'><Region Type='0'>", "imagescope"),
        ("a.xml", b'<Annotations><Annotation Name="V"><Region HasEndcaps="0" Type="Polygon">', "halo"),
        ("a.xml", b"<annotations><ndpviewstate>", "ndpa"),
        ("a.XML", b"<OME>", None),
        ("a.xml", b"", None),
        ("a.json", b'  [{"id": 5, "type" : "Feature"', "qupath"),
        ("a.json", b'{"type": "MultiPolygon"', "qupath"),
        ("a.json", b'{"images": [], "annotations": [], "type": "instances"}', None),
        ("a.json", b"[]", None),
        ("a.geojson", b"", "qupath"),
        ("A.GEOJSON", b"\xff\xd8\xff\xe0", "qupath"),
        ("a.geojson.zip", b"PK\x03\x04 cut off", "qupath"),
        ("a.geojson.gz", b"\x1f\x8b", "qupath"),
        ("a.gz", b"\x1f\x8b\x08\x00\x00", None),
        ("a.zip", b"PK\x03\x04 cut off", None),
        ("a.annotations", b"\x00", "halo"),
        ("a.svs", b"II*\x00" + bytes(100), None),
        ("a.csv", b"slide,label\n", None),
    ],
)
def test_tool_of(tmp_path: Path, name: str, content: bytes, tool: str | None) -> None:
    (tmp_path / name).write_bytes(content)
    assert tool_of(tmp_path / name) == tool
    with pytest.raises(SlideError) as caught:
        read_annotations(tmp_path / name, Frame(10, 10, 1, 1, None, (0, 0)))
    assert str(caught.value).startswith(f"{name}: ") or name == "a.xml"
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"^gone\.xml: cannot be read \(No such file"):
        tool_of(tmp_path / "gone.xml")


def test_real_files(shared_data: Path) -> None:
    places = {
        "annotations/imagescope_shapes.xml": "imagescope",
        "annotations/lung_labels_mini.csv": None,
        "camelyon/tumor_001.xml": "asap",
        "slides/cmu-1-small-region.svs": None,
        "slides/sm_image.dcm": None,
        "glas/masks/train_1.png": None,
    }
    assert {name: tool_of(shared_data / name) for name in places} == places


def test_every_tool_has_a_reader() -> None:
    assert sorted(READERS) == ["asap", "halo", "imagescope", "ndpa", "qupath"]
