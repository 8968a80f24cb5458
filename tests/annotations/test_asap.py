"""ASAP XML as outlines with classes; what its vertices mean is tested in labels/test_asap.py."""

from pathlib import Path

import pytest

from acinus.annotations.frame import Frame
from acinus.annotations.reading import read_annotations
from acinus.errors import SlideError

SQUARE = [(100, 100), (300, 100), (300, 200), (100, 200)]


def annotation(points: list[tuple[float, float]], group: str = "_0", kind: str = "Polygon", name: str = "A") -> str:
    rows = "".join(f'<Coordinate Order="{o}" X="{x}" Y="{y}" />' for o, (x, y) in enumerate(points))
    return (
        f'<Annotation Name="{name}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{rows}</Coordinates></Annotation>"
    )


def write(folder: Path, *annotations: str) -> Path:
    path = folder / "slide.xml"
    path.write_text(f"<ASAP_Annotations><Annotations>{''.join(annotations)}</Annotations></ASAP_Annotations>")
    return path


def test_groups_are_classes(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        annotation(SQUARE, "Tumor"),
        annotation([SQUARE[0], SQUARE[2]], "None", "Rectangle", "B"),
        annotation(SQUARE, "", "Spline", ""),
        annotation([(5, 5)], "Tumor", "Dot"),
        annotation(SQUARE[:2], "Tumor", "PointSet"),
        annotation(SQUARE[:2], "Tumor", "Measurement"),
        annotation(SQUARE[:2], "Tumor"),
        annotation(SQUARE[:1], "Tumor", "Rectangle"),
    )
    file = read_annotations(path, Frame(1000, 800, bounds=(100, 50, 800, 700)))  # counted from the full slide
    assert [(one.class_name, one.source_id, one.area.bounds) for one in file.outlines] == [
        ("Tumor", "A", (100, 100, 300, 200)),
        (None, "B", (100, 100, 300, 200)),
        (None, "number 2", (100, 100, 300, 200)),
    ]
    assert {one.colour for one in file.outlines} == {(0xF4, 0xFA, 0x58)}
    assert file.tool == "asap"
    assert file.passed_over == {"points": 2, "rulers": 1, "without area": 2}


def test_a_ring_that_crosses_itself_keeps_both_halves_and_is_counted(tmp_path: Path) -> None:
    file = read_annotations(write(tmp_path, annotation([(0, 0), (400, 0), (0, 400), (400, 400)])), Frame(1000, 800))
    assert [one.area.area for one in file.outlines] == [2 * 400 * 200 / 2]
    assert file.repaired == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (annotation(SQUARE, kind="Ellipse"), "unknown type 'Ellipse'"),
        (annotation([*SQUARE, ("nan", 1)]), "X 'nan'"),
        (annotation(SQUARE[:3], kind="Rectangle"), "3 distinct corners"),
        (annotation(SQUARE).replace('Order="2"', 'Order="1"'), "Order 1 stands twice"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SlideError, match=f"^slide.xml: annotation 'A'.*{says}"):
        read_annotations(write(tmp_path, text), Frame(1000, 800))
