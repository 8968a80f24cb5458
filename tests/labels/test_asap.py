"""ASAP XML against areas worked out by hand, and every kind of file that must be refused."""

import time
from typing import get_args

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from acinus import params
from acinus.annotations import safe_xml
from acinus.errors import RecipeError, SlideError
from acinus.labels import asap

POSITIVE, SUBTRACTED = ["_0", "_1", "Tumor", "metastases"], ["_2", "Exclusion", "normal"]
ODD = "0123456789.,eE+-_ ;\N{ARABIC-INDIC DIGIT FIVE}nfi\n"
SQUARE = [(100, 100), (200, 100), (200, 200), (100, 200)]


def annotation(points, group="_0", kind="Polygon", name="A", orders=None):
    orders = range(len(points)) if orders is None else orders
    rows = "".join(f'<Coordinate Order="{o}" X="{x}" Y="{y}" />' for o, (x, y) in zip(orders, points, strict=True))
    return (
        f'<Annotation Name="{name}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{rows}</Coordinates></Annotation>"
    )


def document(*annotations):
    return (
        '<?xml version="1.0"?><ASAP_Annotations><Annotations>'
        + "".join(annotations)
        + '</Annotations><AnnotationGroups><Group Name="_0" PartOfGroup="None" Color="#00ff00"><Attributes/></Group>'
        "</AnnotationGroups></ASAP_Annotations>"
    )


@pytest.fixture
def parse(tmp_path):
    def run(text, none_group="refuse", positive=POSITIVE, subtracted=SUBTRACTED):
        path = tmp_path / "tumor_001.xml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return asap.parse(path, positive, subtracted, none_group)

    return run


def refusal(parse, text, **rules):
    with pytest.raises(SlideError) as caught:
        parse(text, **rules)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("tumor_001.xml: ")
    return message


def test_positive_groups_are_united_and_overlap_counts_once(parse):
    shifted = [(x + 50, y) for x, y in SQUARE]
    area = parse(document(annotation(SQUARE, "_0"), annotation(shifted, "Tumor", name="B")))
    assert area.tumour.area == 15000
    assert [one.name for one in area.outlines] == ["A", "B"]


@pytest.mark.parametrize("group", SUBTRACTED)
def test_a_donut_is_what_the_cut_out_leaves(parse, group):
    hole = [(120, 120), (140, 120), (140, 150), (120, 150)]
    area = parse(document(annotation(hole, group), annotation(SQUARE)))  # the hole first: file order means nothing
    assert area.tumour.area == 10000 - 20 * 30
    assert area.outlined.area == 10000
    assert not area.tumour.contains(shapely.Point(130, 130))


def test_vertices_go_by_order_not_by_place_in_the_file(parse):
    mixed = [SQUARE[i] for i in (2, 0, 3, 1)]
    assert parse(document(annotation(mixed, orders=[2, 0, 3, 1]))).tumour.area == 10000
    # Order 10 comes after 9 as a number, before 2 as text. Five steps of height 1, each one shorter.
    stairs = [(0, 0), (10, 0), (10, 1), (9, 1), (9, 2), (8, 2), (8, 3), (7, 3), (7, 4), (6, 4), (6, 5), (0, 5)]
    assert parse(document(annotation(stairs[::-1], orders=range(11, -1, -1)))).tumour.area == 10 + 9 + 8 + 7 + 6


def test_a_comma_is_a_decimal_mark(parse):
    points = [("0,5", "0,5"), ("10,5", "0,5"), ("10,5", "2,75"), ("0,5", "2,75")]
    assert parse(document(annotation(points))).tumour.area == 22.5


def test_a_bow_tie_keeps_both_halves(parse):
    # Two triangles of base 10 and height 5 that meet in (5, 5).
    assert parse(document(annotation([(0, 0), (10, 0), (0, 10), (10, 10)]))).tumour.area == 50


def test_what_a_ring_goes_round_twice_is_inside(parse):
    # A 20 x 10 band drawn past its own start by a 5 x 10 overlap: no hole where it overlaps.
    twice = [(0, 0), (20, 0), (20, 10), (0, 10), (0, 0), (5, 0), (5, 10), (0, 10)]
    assert parse(document(annotation(twice))).tumour.area == 200


def test_rectangle_by_two_or_four_corners_in_any_order(parse):
    four = [SQUARE[i] for i in (0, 2, 1, 3)]
    for corners in ([SQUARE[0], SQUARE[2]], four):
        assert parse(document(annotation(corners, kind="Rectangle"))).tumour.area == 10000


def test_a_spline_is_the_polygon_through_its_points(parse):
    assert parse(document(annotation(SQUARE, kind="Spline"))).tumour.area == 10000


def test_points_have_no_area_and_are_counted(parse):
    dots = [annotation([(5, 5)], kind="Dot", group="None"), annotation([(1, 1), (2, 2)], kind="PointSet")]
    area = parse(document(annotation(SQUARE), *dots))
    assert area.points == 2
    assert area.tumour.area == 10000


def test_none_means_what_the_recipe_says(parse):
    strip = [(150, 100), (250, 100), (250, 200), (150, 200)]  # half of it over the square
    text = document(annotation(SQUARE), annotation(strip, "None", name="stray"))
    message = refusal(parse, text)
    assert "'stray'" in message
    assert "cohort.none_group" in message
    assert parse(text, none_group="tumor").tumour.area == 15000
    assert parse(text, none_group="subtract").tumour.area == 5000
    ignoring = parse(text, none_group="ignore")
    assert (ignoring.tumour.area, ignoring.ignored.area, ignoring.outlined.area) == (5000, 10000, 5000)


def test_an_annotation_without_a_group_is_in_group_none(parse):
    text = document(annotation(SQUARE).replace('PartOfGroup="_0"', ""))
    assert "cohort.none_group" in refusal(parse, text)
    assert parse(text, none_group="tumor").tumour.area == 10000


def test_an_unknown_group_is_named_with_what_is_allowed(parse):
    message = refusal(parse, document(annotation(SQUARE, "_7", name="Annotation 3")))
    for part in ("'_7'", "'Annotation 3'", "_0", "Exclusion", "cohort.positive_groups", "cohort.subtracted_groups"):
        assert part in message


def test_a_group_cannot_mean_two_things(parse):
    with pytest.raises(RecipeError, match="'_2' stands in"):
        parse(document(), positive=["_0", "_2"], subtracted=["_2"])
    with pytest.raises(RecipeError, match=r"cohort\.none_group"):
        parse(document(), positive=["None"])


@pytest.mark.parametrize(
    ("points", "orders", "says"),
    [
        (SQUARE, [0, 1, 1, 2], "Order 1 stands twice"),
        (SQUARE, [0, 1, 3, 4], "Order 2 is missing"),
        (SQUARE, [0, 1, 2, "x"], "Order 'x'"),
        (SQUARE, [0, 1, 2, "-3"], "Order '-3'"),
        ([*SQUARE[:3], ("nan", "1")], None, "X 'nan'"),
        ([*SQUARE[:3], ("1", "inf")], None, "Y 'inf'"),
        ([*SQUARE[:3], ("1", "1e999")], None, "Y '1e999'"),
        ([*SQUARE[:3], ("1.234,5", "1")], None, "X '1.234,5'"),
        ([*SQUARE[:3], ("1_0", "1")], None, "X '1_0'"),
        ([*SQUARE[:3], ("", "1")], None, "X ''"),
        ([], None, "0 distinct points"),
        ([(1, 1), (2, 2), (1, 1), (2, 2)], None, "2 distinct points"),
        ([(1, 1), (2, 2), (3, 3)], None, "on a line"),
    ],
)
def test_bad_vertices_are_refused_with_the_annotations_name(parse, points, orders, says):
    message = refusal(parse, document(annotation(points, name="Annotation 5", orders=orders)))
    assert says in message
    assert "'Annotation 5'" in message


def test_a_missing_order_is_refused(parse):
    assert "Order None" in refusal(parse, document(annotation(SQUARE).replace('Order="2"', "")))


@pytest.mark.parametrize("corners", [1, 3])
def test_a_rectangle_with_other_corners_is_refused(parse, corners):
    text = document(annotation(SQUARE[:corners], kind="Rectangle"))
    assert f"{corners} distinct corners" in refusal(parse, text)


def test_an_unknown_type_is_refused(parse):
    assert "unknown type 'Ellipse'" in refusal(parse, document(annotation(SQUARE, kind="Ellipse")))


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{("&" + a + ";") * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
    + "]><ASAP_Annotations><Annotations>&j;</Annotations></ASAP_Annotations>"
)
EXTERNAL = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    "<ASAP_Annotations><Annotations>&e;</Annotations></ASAP_Annotations>"
)
DTD = '<!DOCTYPE x SYSTEM "http://example.org/x.dtd"><ASAP_Annotations><Annotations/></ASAP_Annotations>'


@pytest.mark.parametrize("text", [LAUGHS, EXTERNAL, DTD], ids=["entity bomb", "external entity", "dtd"])
def test_hostile_xml_is_refused_unread(parse, text):
    assert "can be hostile" in refusal(parse, text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not xml",
        document(annotation(SQUARE))[:-40],
        b"\x00\xff\xfe",
        '<?xml version="1.0" encoding="klingon"?><a/>',
    ],
    ids=["empty", "text", "cut off", "binary", "encoding"],
)
def test_malformed_xml_is_one_line(parse, text):
    assert "not well-formed" in refusal(parse, text)


def test_xml_of_another_tool_is_refused(parse):
    assert "<Annotations>, not <ASAP_Annotations>" in refusal(parse, '<Annotations MicronsPerPixel="0.5"/>')
    assert "no <Annotations> element" in refusal(parse, "<ASAP_Annotations><AnnotationGroups/></ASAP_Annotations>")


def test_a_file_without_annotations_is_an_empty_area(parse):
    area = parse(document())
    assert area.tumour.is_empty
    assert area.outlines == ()


def test_a_missing_or_oversized_file_is_one_line(tmp_path):
    with pytest.raises(SlideError, match=r"gone\.xml: cannot be read \(No such file"):
        asap.parse(tmp_path / "gone.xml", POSITIVE, SUBTRACTED, "refuse")
    huge = tmp_path / "huge.xml"
    with huge.open("wb") as stream:
        stream.truncate(safe_xml.MAX_BYTES + 1)
    with pytest.raises(SlideError, match=r"huge\.xml: 200000001 bytes"):
        asap.parse(huge, POSITIVE, SUBTRACTED, "refuse")


def test_the_policies_are_those_a_recipe_may_name():
    assert set(get_args(asap.NonePolicy)) == set(get_args(params.CamelyonCohort.model_fields["none_group"].annotation))


def test_names_are_kept_even_where_missing(parse):
    area = parse(document(annotation(SQUARE).replace('Name="A"', "")))
    assert area.outlines[0].name == "number 0"


@pytest.mark.parametrize("encoding", ["gb2312", "shift_jis", "utf-7"])
def test_an_encoding_that_the_parser_does_not_take_is_one_line(parse, encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><ASAP_Annotations><Annotations/></ASAP_Annotations>'
    assert "not well-formed XML" in refusal(parse, text)


@given(
    texts=st.lists(st.text(alphabet=ODD, max_size=5), min_size=4, max_size=4),
    good=st.integers(0, 4),
)
def test_a_coordinate_means_the_same_in_whatever_company_it_stands(tmp_path_factory, texts, good):
    """Numbers as ASAP writes them are taken all at once; that way takes no text that the way one by one refuses."""
    corners = [("100", "100"), ("900.5", "100"), ("900.5", "700"), ("100", "700")]
    for place, text in enumerate(texts[good:]):
        corners[place] = (text.replace("\n", "&#10;"), corners[place][1])
    path = tmp_path_factory.mktemp("asap") / "tumor_001.xml"
    path.write_text(document(annotation(corners)))

    def outcome():
        try:
            return asap.parse(path, POSITIVE, SUBTRACTED, "refuse").tumour.wkt
        except SlideError as error:
            return str(error)

    at_once = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(safe_xml, "plain_points", lambda vertices, most: None)
        assert outcome() == at_once


def test_outlines_that_cross_themselves_too_often_are_refused_at_once(parse):
    """Two of 1,500 corners anywhere cross about 500,000 times together; to repair them would take minutes."""
    rings = np.random.default_rng(0).uniform(0, 1e4, (2, 1500, 2))
    start = time.process_time()
    with pytest.raises(SlideError, match=r"cross themselves more than 200000 times; .* redraw them"):
        parse(document(*(annotation(ring.round(2).tolist()) for ring in rings)))
    assert time.process_time() - start < 20
    few = annotation(rings[0, :100].tolist())
    assert parse(document(few)).tumour.area > 1e7
