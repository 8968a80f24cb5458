"""ImageScope's and HALO's XML, with areas worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import shapely

from acinus.annotations.frame import Frame
from acinus.annotations.outline import AnnotationFile
from acinus.annotations.reading import read_annotations, tool_of
from acinus.errors import SlideError

FRAME = Frame(1900, 1200, 0.5, 0.5, bounds=(300, 200, 1000, 800))
SQUARE = [(100, 100), (300, 100), (300, 200), (100, 200)]
HOLE = [(150, 120), (170, 120), (170, 130), (150, 130)]
FAR = [(600, 500), (900, 500), (900, 700), (600, 700)]


def region(
    points: list[tuple[float, float]], kind: str = "0", negative: str = "0", text: str = "", vertex: str = "Vertex"
) -> str:
    rows = "".join(f'<{vertex} X="{x}" Y="{y}" Z="0"/>' for x, y in points)
    head = f'<Region Id="7" Type="{kind}" Text="{text}" NegativeROA="{negative}">'
    return f"{head}<Attributes/><Vertices>{rows}</Vertices></Region>"


def layer(*regions: str, name: str = "Tumor", colour: str = "65280", description: str = "") -> str:
    return (
        f'<Annotation Id="3" Name="{name}" Type="4" LineColor="{colour}"><Attributes><Attribute Name="Description"'
        f' Id="0" Value="{description}"/></Attributes><Regions><RegionAttributeHeaders/>{"".join(regions)}</Regions>'
        "<Plots/></Annotation>"
    )


def document(*layers: str, mpp: str = "0.5") -> str:
    return f'<Annotations MicronsPerPixel="{mpp}">{"".join(layers)}</Annotations>'


def read(folder: Path, text: str, name: str = "slide.xml", frame: Frame = FRAME) -> AnnotationFile:
    (folder / name).write_text(text, encoding="utf-8")
    return read_annotations(folder / name, frame)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SlideError) as caught:
        read(folder, text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("slide.xml: ")
    return str(caught.value)


def test_a_free_hand_region_is_closed_and_counts_from_the_full_slide(tmp_path: Path) -> None:
    file = read(tmp_path, document(layer(region(SQUARE), region([*FAR, FAR[0]]))))
    assert file.tool == "imagescope"
    assert [outline.area.bounds for outline in file.outlines] == [(100, 100, 300, 200), (600, 500, 900, 700)]
    assert [(one.class_name, one.colour, one.source_id) for one in file.outlines] == [
        ("Tumor", (0, 255, 0), "layer 3 region 7")
    ] * 2
    assert (file.passed_over, file.repaired, file.warnings) == ({}, 0, ())


@pytest.mark.parametrize(
    "corners", [SQUARE, [SQUARE[i] for i in (0, 2, 1, 3)], [SQUARE[0], SQUARE[2]], [*SQUARE, SQUARE[0]]]
)
def test_rectangles(tmp_path: Path, corners: list[tuple[float, float]]) -> None:
    assert read(tmp_path, document(layer(region(corners, "1")))).outlines[0].area.area == 200 * 100


def test_an_ellipse_has_the_area_of_its_half_axes(tmp_path: Path) -> None:
    (outline,) = read(tmp_path, document(layer(region([SQUARE[0], SQUARE[2]], "2")))).outlines
    assert outline.area.area == pytest.approx(math.pi * 100 * 50, rel=1e-12)
    assert outline.area.bounds == pytest.approx((100, 100, 300, 200), abs=0.03 * 2)
    assert outline.area.centroid.coords[0] == pytest.approx((200, 150))


def test_marks_without_area_are_counted(tmp_path: Path) -> None:
    marks = [region(SQUARE[:2], kind) for kind in ("3", "4", "4", "5", "7")]
    thin = [region(SQUARE[:2]), region([(1, 1), (1, 1)], "1"), region([], "2"), region([(1, 1), (2, 2), (3, 3)])]
    file = read(tmp_path, document(layer(*marks, region(SQUARE), *thin)))
    assert len(file.outlines) == 1
    assert file.passed_over == {
        "arrows": 1,
        "marks of type 5": 1,
        "marks of type 7": 1,
        "rulers": 2,
        "without area": 4,
    }


def test_a_negative_region_is_cut_out_of_its_layer_only(tmp_path: Path) -> None:
    text = document(
        layer(region(HOLE, negative="1"), region(SQUARE), region(FAR)),  # wherever in the layer it stands
        layer(region(SQUARE), region(HOLE), name="Stroma"),
    )
    file = read(tmp_path, text)
    assert [(one.class_name, one.area.area) for one in file.outlines] == [
        ("Tumor", 200 * 100 - 20 * 10),
        ("Tumor", 300 * 200),
        ("Stroma", 200 * 100),
        ("Stroma", 20 * 10),
    ]


def test_many_cut_outs(tmp_path: Path) -> None:
    rows = [
        region([(x, y), (x + 6, y), (x + 6, y + 6), (x, y + 6)], negative="1")
        for x in range(0, 1000, 10)
        for y in (3, 13, 23)
    ]
    boxes = [region([(x, 0), (x + 100, 0), (x + 100, 20), (x, 20)]) for x in range(0, 1000, 100)]
    file = read(tmp_path, document(layer(*rows, *boxes)))
    # two of three rows of holes lie wholly or partly (3..9, 13..19) in the boxes, one (23..29) in none
    assert [outline.area.area for outline in file.outlines] == [100 * 20 - 10 * (36 + 36)] * 10
    assert file.passed_over == {"cut-outs over no outline": 100}


def test_what_is_wholly_cut_out_has_no_area(tmp_path: Path) -> None:
    bow_tie = [(0, 0), (400, 0), (0, 400), (400, 400)]
    file = read(
        tmp_path, document(layer(region([(190, 20), (210, 20), (210, 30), (190, 30)]), region(bow_tie, negative="1")))
    )
    assert (file.outlines, file.passed_over, file.repaired) == ((), {"without area": 1}, 1)


@pytest.mark.parametrize(
    ("name", "description", "text", "colour", "expected"),
    [
        ("Tumor", "d", "t", "255", "Tumor"),
        ("", "necrosis", "t", "255", "necrosis"),
        ("", "", "lymph node", "255", "lymph node"),
        (" ", "", "", "255", "LineColor 255"),
        ("", "", "", "16711680", "LineColor 16711680"),
        ("", "", "", "", "layer 3"),
        ("", "", "", "green", "layer 3"),
        ("a &lt;b&gt;", "", "", "255", "a <b>"),
    ],
)
def test_the_class_of_a_region(
    tmp_path: Path, name: str, description: str, text: str, colour: str, expected: str
) -> None:
    content = document(layer(region(SQUARE, text=text), name=name, description=description, colour=colour))
    assert read(tmp_path, content).outlines[0].class_name == expected


@pytest.mark.parametrize(
    ("number", "colour"),
    [("255", (255, 0, 0)), ("65280", (0, 255, 0)), ("16711680", (0, 0, 255)), ("65535", (255, 255, 0))],
)
def test_colours_are_bgr(tmp_path: Path, number: str, colour: tuple[int, int, int]) -> None:
    assert read(tmp_path, document(layer(region(SQUARE), colour=number))).outlines[0].colour == colour


def test_halo(tmp_path: Path) -> None:
    kinds = [
        ("Polygon", SQUARE),
        ("Rectangle", [FAR[0], FAR[2]]),
        ("Ellipse", [SQUARE[0], SQUARE[2]]),
        ("Ruler", SQUARE[:2]),
    ]
    regions = [region(points, kind, vertex="V") for kind, points in kinds]
    text = document(layer(*regions, region(HOLE, "Polygon", "1", vertex="V")), mpp="0")
    file = read(tmp_path, text, "slide.annotations")
    assert file.tool == "halo"
    hole = 20 * 10  # wholly within the square and within the ellipse about it: (30 / 100)^2 + (20 / 50)^2 < 1
    assert [one.area.area for one in file.outlines] == pytest.approx([20000 - hole, 60000, math.pi * 5000 - hole])
    assert file.passed_over == {"rulers": 1}
    assert tool_of(tmp_path / "slide.annotations") == "halo"
    (tmp_path / "other.xml").write_text(text)
    assert tool_of(tmp_path / "other.xml") == "halo"


@pytest.mark.parametrize("bad", ["nan", "inf", "1e999", "x", "", "1e9", "1.234,5"])
def test_a_vertex_that_is_no_number_is_refused(tmp_path: Path, bad: str) -> None:
    message = refusal(tmp_path, document(layer(region(SQUARE), region(FAR)).replace('X="900"', f'X="{bad}"')))
    assert f"layer 3 region 7: a coordinate has X {bad!r}" in message


def test_a_comma_is_a_decimal_mark(tmp_path: Path) -> None:
    text = document(layer(region(SQUARE))).replace('Y="200"', 'Y="200,5"')
    assert read(tmp_path, text).outlines[0].area.area == 200 * 100.5


def test_a_rectangle_of_three_corners_is_refused(tmp_path: Path) -> None:
    assert "3 distinct corners" in refusal(tmp_path, document(layer(region(SQUARE[:3], "1"))))


def test_damaged_and_hostile_files_are_one_line(tmp_path: Path) -> None:
    whole = document(layer(region(SQUARE)))
    for length in range(20, len(whole) - 1, 37):
        assert "not well-formed XML" in refusal(tmp_path, whole[:length])
    bomb = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
    assert "can be hostile" in refusal(tmp_path, bomb + whole.replace("Tumor", "&c;"))


def test_another_resolution_than_the_slides_is_a_warning(tmp_path: Path) -> None:
    (warning,) = read(tmp_path, document(layer(region(SQUARE), region(FAR)), mpp="0.25")).warnings
    assert "0.25 um per px, the slide has 0.5 (factor 0.5)" in warning
    assert read(tmp_path, document(layer(region(FAR)), mpp="0.51")).warnings == ()
    assert read(tmp_path, document(layer(region(FAR)), mpp="nan")).warnings == ()


def test_every_shape_of_a_real_file(shared_data: Path) -> None:
    file = read_annotations(shared_data / "annotations" / "imagescope_shapes.xml", Frame(1900, 1200))
    free, *others = file.outlines
    text = (shared_data / "annotations" / "imagescope_shapes.xml").read_text().partition("</Vertices>")[0]
    vertices = np.array([[float(part.split('"')[1]), float(part.split('"')[3])] for part in text.split("<Vertex ")[1:]])
    x, y = vertices.T
    assert free.area.area == pytest.approx(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
    assert [one.area.area for one in others] == pytest.approx([320 * 357, 504 * 158, math.pi * 169 * 100])
    assert {one.class_name for one in file.outlines} == {"LineColor 16711680"}
    assert file.passed_over == {"arrows": 3}
    assert (file.repaired, file.warnings) == (0, ())
    assert shapely.is_valid([one.area for one in file.outlines]).all()
