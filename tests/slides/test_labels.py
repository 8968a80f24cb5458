"""One interface over every source of labels; what a label may not be; where it may not lie."""

import numpy as np
import pytest
import tifffile

from acinus import params
from acinus.errors import SlideError
from acinus.slides.labels import LabelRow, Uniform, check_source, open_labels

RULES = params.Cohort(root="anywhere")
WIDTH, HEIGHT = 400, 300


def polygon(name, group, x0, y0, x1, y1):
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    rows = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(corners))
    return (
        f'<Annotation Name="{name}" Type="Polygon" PartOfGroup="{group}"><Coordinates>{rows}</Coordinates></Annotation>'
    )


def row(kind="asap_xml", source="ann/s1.xml", exhaustive=True, slide_id="s1"):
    return LabelRow(slide_id, source, kind, exhaustive, WIDTH, HEIGHT)


@pytest.fixture
def root(tmp_path):
    """A cohort with a 200 x 200 lesion that has a 50 x 50 hole and sticks out of the slide, and the same as a mask."""
    (tmp_path / "ann").mkdir()
    annotations(tmp_path, polygon("lesion", "_0", 250, 100, 450, 300), polygon("hole", "_2", 300, 150, 350, 200))
    data = np.zeros((HEIGHT, WIDTH), np.uint8)
    data[100:300, 250:400] = 255
    data[150:200, 300:350] = 0
    tifffile.imwrite(tmp_path / "ann" / "s1_mask.tif", data, tile=(64, 64), compression="lzw")
    return tmp_path


def annotations(root, *items):
    text = f"<ASAP_Annotations><Annotations>{''.join(items)}</Annotations></ASAP_Annotations>"
    (root / "ann" / "s1.xml").write_text(text)


def refusal(root, label_row, rules=RULES, action=open_labels):
    with pytest.raises(SlideError) as caught:
        action(label_row, root, rules)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("slide s1: ")
    assert str(root) not in message  # a manifest that names this machine's folders is another manifest elsewhere
    return message


X0, Y0 = np.array([250, 300, 0, 350, 225]), np.array([100, 150, 0, 250, 75])
TUMOUR = [1.0, 0.0, 0.0, 1.0, 0.25]  # patches of 50 px


@pytest.mark.parametrize("source", [("asap_xml", "ann/s1.xml"), ("mask", "ann/s1_mask.tif")])
def test_outlines_and_mask_of_the_same_lesion_give_the_same_labels(root, source):
    labels = open_labels(row(*source), root, RULES)
    tumour, ignored = labels.fractions(X0, Y0, 50)
    np.testing.assert_array_equal(tumour, TUMOUR)
    np.testing.assert_array_equal(ignored, np.zeros(5))
    tumour, _ = labels.fractions(np.array([290]), np.array([140]), 70)
    np.testing.assert_allclose(tumour, [(70**2 - 50**2) / 70**2])
    raster = labels.raster(40, 30, 10.0)
    expected = np.zeros((30, 40), np.uint8)
    expected[10:30, 25:40] = 1
    expected[15:20, 30:35] = 0
    assert raster.dtype == np.uint8
    np.testing.assert_array_equal(raster, expected)
    check_source(row(*source), root, RULES)


def test_what_lies_beyond_the_slide_is_not_tumour(root):
    labels = open_labels(row(), root, RULES)
    tumour, ignored = labels.fractions(np.array([375]), np.array([200]), 50)
    assert tumour[0] == 0.5  # the outline goes on, the slide ends in the middle of the patch
    assert ignored[0] == 0.0
    assert not labels.raster(60, 30, 10.0)[:, 40:].any()


def test_not_exhaustive_outlines_leave_the_rest_unknown_but_not_their_cut_outs(root):
    labels = open_labels(row(exhaustive=False), root, RULES)
    tumour, ignored = labels.fractions(X0, Y0, 50)
    np.testing.assert_array_equal(tumour, TUMOUR)
    np.testing.assert_array_equal(ignored, [0.0, 0.0, 1.0, 0.0, 0.75])
    raster = labels.raster(40, 30, 10.0)
    assert (raster[15:20, 30:35] == 0).all()
    assert (raster == 1).sum() == 20 * 15 - 25
    assert (raster == 255).sum() == 1200 - 300


def test_an_ignored_region_wins_over_tumour_and_normal(root):
    annotations(root, polygon("a", "_0", 0, 0, 100, 100), polygon("b", "None", 50, 0, 150, 100))
    rules = params.Cohort(root="x", none_group="ignore")
    for exhaustive, rest in ((True, 0), (False, 255)):
        labels = open_labels(row(exhaustive=exhaustive), root, rules)
        tumour, ignored = labels.fractions(np.array([0, 50, 100, 25]), np.zeros(4), 50)
        np.testing.assert_array_equal(tumour, [1, 0, 0, 0.5])
        np.testing.assert_array_equal(ignored[:3], [0, 1, 1])
        assert ignored[3] == 0.5
        assert labels.raster(4, 3, 100.0)[2, 3] == rest
        np.testing.assert_array_equal(labels.raster(8, 6, 50.0)[0, :4], [1, 255, 255, rest])


def test_nothing_to_draw_is_normal_and_unknown_is_ignored(root):
    x0 = np.zeros(3)
    for kind, value, share in (("none", 0, 0.0), ("unknown", 255, 1.0)):
        labels = open_labels(row(kind, None), root, RULES)
        assert isinstance(labels, Uniform)
        tumour, ignored = labels.fractions(x0, x0, 64)
        assert tumour.tolist() == [0.0] * 3
        assert ignored.tolist() == [share] * 3
        assert (labels.raster(4, 5, 2.0) == value).all()
        assert labels.raster(4, 5, 2.0).shape == (5, 4)


@pytest.mark.parametrize("group", ["_0", "_2"])
def test_an_outline_wholly_outside_the_slide_is_refused(root, group):
    # Level-0 outlines of another slide, or drawn at another level: labels would silently vanish.
    annotations(root, polygon("in", "_0", 0, 0, 50, 50), polygon("far away", group, 400, 10, 500, 60))
    message = refusal(root, row())
    assert "s1.xml: annotation 'far away'" in message
    assert "400 x 300" in message
    assert "400, 10, 500, 60" in message


def test_failures_name_slide_and_file(root):
    (root / "ann" / "s1.xml").write_text("<ASAP_Anno")
    assert "s1.xml: not well-formed" in refusal(root, row())
    assert "gone.xml: cannot be read" in refusal(root, row(source="ann/gone.xml"))
    assert "without a label_source" in refusal(root, row(source=None))
    assert "label kind 'geojson'" in refusal(root, row("geojson"))
    small = LabelRow("s1", "ann/s1_mask.tif", "mask", True, 300, 400)
    assert "does not lie over the slide" in refusal(root, small)


def test_an_undeclared_mask_value_names_slide_file_and_value(root):
    rules = params.Cohort(root="x", mask_values={0: "normal", 1: "tumor"})
    mask_row = row("mask", "ann/s1_mask.tif")
    labels = open_labels(mask_row, root, rules)  # the header is fine
    for action in (
        check_source,
        lambda *_: labels.raster(40, 30, 10.0),
        lambda *_: labels.fractions(X0, Y0, 50),
    ):
        assert "s1_mask.tif: value 255" in refusal(root, mask_row, rules, action)


@pytest.mark.parametrize("source", ["../secret.xml", "ann/../../secret.xml", "/etc/passwd"])
def test_a_label_may_not_lie_outside_the_cohort(root, source):
    (root.parent / "secret.xml").write_text("<ASAP_Annotations><Annotations/></ASAP_Annotations>")
    assert "leaves the cohort" in refusal(root, row(source=source))
