"""NDPA: nanometres from the centre of the glass against level-0 px worked out by hand."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from acinus.annotations.frame import Frame
from acinus.annotations.outline import AnnotationFile
from acinus.annotations.reading import read_annotations, tool_of
from acinus.errors import SlideError

# 1,000 x 800 px of 0.5 x 0.25 um; its centre lies 1,000,000 nm right of and 2,000,000 nm above that of the glass
FRAME = Frame.of(
    (1000, 800),
    {"hamamatsu.XOffsetFromSlideCentre": "1000000", "hamamatsu.YOffsetFromSlideCentre": "-2000000"},
    (0.5, 0.25),
)
BOX = [(900_000, -2_050_000), (1_100_000, -2_050_000), (1_100_000, -1_950_000), (900_000, -1_950_000)]
"""200 x 100 um about the image's centre: px 300..700 by 200..600."""


def mark(kind: str, body: str, title: str = "Tumor", unit: str = "nanometers") -> str:
    return (
        f'<ndpviewstate id="5"><title>{title}</title><details/><coordformat>{unit}</coordformat><lens>1.2</lens>'
        f'<x>0</x><y>0</y><annotation type="{kind}" displayname="Annotate" color="#ff8000">{body}</annotation>'
        "</ndpviewstate>"
    )


def points(corners: list[tuple[int, int]], closed: str = "<closed>1</closed>") -> str:
    rows = "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x, y in corners)
    return f"<measuretype>3</measuretype>{closed}<pointlist>{rows}</pointlist>"


def read(folder: Path, *marks: str, frame: Frame = FRAME) -> AnnotationFile:
    path = folder / "slide.ndpi.ndpa"
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?><annotations>{"".join(marks)}</annotations>')
    return read_annotations(path, frame)


def test_freehand_and_rectangle(tmp_path: Path) -> None:
    file = read(tmp_path, mark("freehand", points(BOX)), mark("rectangle", points([BOX[0], BOX[2]]), "Other"))
    assert [one.area.bounds for one in file.outlines] == [(300, 200, 700, 600)] * 2
    assert [(one.class_name, one.source_id, one.colour) for one in file.outlines] == [
        ("Tumor", "5", (255, 128, 0)),
        ("Other", "5", (255, 128, 0)),
    ]
    assert file.tool == "ndpa"
    assert (file.passed_over, file.warnings) == ({}, ())


def test_a_circle_is_an_ellipse_where_px_are_not_square(tmp_path: Path) -> None:
    (circle,) = read(tmp_path, mark("circle", "<x>1000000</x><y>-2000000</y><radius>50000</radius>")).outlines
    assert circle.area.area == pytest.approx(math.pi * 100 * 200, rel=1e-12)  # 50 um are 100 px across, 200 down
    assert circle.area.centroid.coords[0] == pytest.approx((500, 400))
    assert circle.area.bounds == pytest.approx((400, 200, 600, 600), abs=0.1)


def test_marks_without_area_are_counted(tmp_path: Path) -> None:
    marks = [
        mark("freehand", points(BOX, "<closed>0</closed>")),
        mark("pin", "<x>1</x><y>2</y>"),
        mark("linearmeasure", "<x1>1</x1><y1>1</y1><x2>2</x2><y2>2</y2>"),
        mark("pointer", "<x1>1</x1><y1>1</y1><x2>2</x2><y2>2</y2>"),
        mark("strange", ""),
        mark("freehand", points(BOX[:2])),
        mark("freehand", points([])),
        "<ndpviewstate id='9'><title>empty</title></ndpviewstate>",
    ]
    file = read(tmp_path, *marks)
    assert file.outlines == ()
    assert file.passed_over == {
        "arrows": 1,
        "lines": 1,
        "marks of type strange": 1,
        "points": 1,
        "rulers": 1,
        "without area": 2,
        "without geometry": 1,
    }


def test_a_mark_without_a_title_has_no_class(tmp_path: Path) -> None:
    assert read(tmp_path, mark("freehand", points(BOX), "")).outlines[0].class_name is None


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (replace(FRAME, hamamatsu_offset=None), "hamamatsu.XOffsetFromSlideCentre"),
        (replace(FRAME, mpp_x=None), "um per px"),
        (Frame.of((10, 10), {"hamamatsu.XOffsetFromSlideCentre": "nan"}, (1, 1)), "hamamatsu.XOffsetFromSlideCentre"),
    ],
)
def test_a_slide_that_does_not_say_where_it_lies(tmp_path: Path, frame: Frame, says: str) -> None:
    with pytest.raises(SlideError, match=f"^slide.ndpi.ndpa: .*{says}"):
        read(tmp_path, mark("freehand", points(BOX)), frame=frame)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (mark("freehand", points(BOX), unit="pixels"), "counts in 'pixels'"),
        (mark("freehand", points(BOX).replace("900000", "nan")), "X 'nan'; expected a number of nanometres"),
        (mark("freehand", points(BOX).replace("900000", "1e13")), "X '1e13'"),
        (mark("freehand", points(BOX).replace("<x>900000</x>", "")), "X ''"),
        (mark("circle", "<x>1</x><y>1</y>"), "X ''"),
        (mark("freehand", points(BOX))[:-30], "not well-formed XML"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SlideError) as caught:
        read(tmp_path, text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_known_by_its_content_and_by_its_name(tmp_path: Path) -> None:
    read(tmp_path, mark("freehand", points(BOX)))
    (tmp_path / "other.xml").write_bytes((tmp_path / "slide.ndpi.ndpa").read_bytes())
    (tmp_path / "damaged.ndpa").write_bytes(b"")
    assert {tool_of(path) for path in tmp_path.iterdir()} == {"ndpa"}
