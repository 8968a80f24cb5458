"""Real ASAP files against shapely on a plain parse of the same XML."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import shapely

from acinus import params
from acinus.labels import asap
from acinus.labels.labels import LabelRow, LabelRules, tumour_left
from acinus.labels.outlines import area_fractions, rasterise

NAMES = ["patient_004_node_4", "tumor_001", "tumor_002", "tumor_003", "tumor_004", "tumor_005", "tumor_101"]
RULES = params.CamelyonCohort(root="anywhere")
POSITIVE, CUT = RULES.positive_groups, RULES.subtracted_groups


@pytest.fixture(params=NAMES)
def file(request, shared_data):
    return shared_data / "camelyon" / f"{request.param}.xml"


def parsed(file):
    return asap.parse(file, RULES.positive_groups, RULES.subtracted_groups, RULES.none_group)


def plainly(file, groups):
    """The rings of some groups, by nothing but the standard library."""
    rings = []
    for annotation in ET.parse(file).getroot().find("Annotations"):
        if annotation.get("PartOfGroup") in groups:
            points = sorted(annotation.find("Coordinates"), key=lambda c: int(c.get("Order")))
            rings.append(np.array([[float(c.get("X")), float(c.get("Y"))] for c in points]))
    return rings


def test_every_file_of_the_folder_is_tested(shared_data):
    assert sorted(path.stem for path in (shared_data / "camelyon").glob("*.xml")) == NAMES


def wound(ring):
    """What a ring goes around, by counting its turns round one point of every face its lines cut the plane into."""
    closed = np.vstack([ring, ring[:1]])
    (x, y), (x1, y1) = closed[:-1].T, closed[1:].T
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(shapely.node(shapely.LineString(closed)))))
    inside = []
    for face in faces:
        px, py = face.representative_point().coords[0]
        left = (x1 - x) * (py - y) - (px - x) * (y1 - y)
        turns = np.sum((y <= py) & (y1 > py) & (left > 0)) - np.sum((y > py) & (y1 <= py) & (left < 0))
        if turns:
            inside.append(face)
    return shapely.union_all(inside)


def test_area_equals_shapelys(file):
    rings = plainly(file, RULES.positive_groups)
    holes = plainly(file, RULES.subtracted_groups)
    expected = shapely.union_all([wound(ring) for ring in rings]).difference(
        shapely.union_all([wound(ring) for ring in holes])
    )
    area = parsed(file)
    assert len(area.outlines) == len(rings) + len(holes)
    assert area.tumour.is_valid
    assert area.tumour.area == pytest.approx(expected.area, rel=1e-10)
    assert area.tumour.symmetric_difference(expected).area < 1e-3


@pytest.mark.parametrize("name", ["patient_004_node_4", "tumor_002"])
def test_area_is_the_shoelace_where_outlines_neither_overlap_nor_cross(shared_data, name):
    file = shared_data / "camelyon" / f"{name}.xml"
    shoelace = 0.0
    for ring in plainly(file, RULES.positive_groups):
        x, y = (ring - ring[0]).T
        shoelace += abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert parsed(file).tumour.area == pytest.approx(shoelace, rel=1e-9)


def test_the_subtracted_hole_of_tumor_003_is_not_tumour(shared_data):
    file = shared_data / "camelyon" / "tumor_003.xml"
    (ring,) = plainly(file, RULES.subtracted_groups)
    hole = shapely.make_valid(shapely.Polygon(ring))
    area = parsed(file)
    assert area.tumour.intersection(hole).area == 0
    lost = area.outlined.area - area.tumour.area
    assert lost == pytest.approx(area.outlined.intersection(hole).area, rel=1e-9)
    assert lost > 0
    centre = hole.representative_point()
    at = np.array([centre.x]) - 0.5, np.array([centre.y]) - 0.5
    assert area_fractions(area.outlined, *at, 1.0) == 1.0
    assert area_fractions(area.tumour, *at, 1.0) == 0.0


def test_patches_and_pixels_conserve_the_area(file):
    tumour = parsed(file).tumour
    left, top, right, bottom = tumour.bounds
    edge = 256
    x0, y0 = np.meshgrid(np.arange(left // edge, right // edge + 1), np.arange(top // edge, bottom // edge + 1))
    shares = area_fractions(tumour, x0.ravel() * edge, y0.ravel() * edge, edge)
    assert shares.sum() * edge**2 == pytest.approx(tumour.area, rel=1e-9)
    downsample = 16.0
    pixels = rasterise(tumour, np.arange(left, right, downsample), np.arange(top, bottom, downsample))
    # The error of counting centres is far below the strip of one pixel along the outline.
    assert pixels.sum() * downsample**2 == pytest.approx(tumour.area, abs=0.25 * tumour.length * downsample)


def test_the_cut_outs_of_real_files_leave_nearly_all_of_the_tumour(file):
    """What stops the pipeline (below half) is far from what annotators do."""
    rules = LabelRules.of(("normal", "tumor"), RULES)
    row = LabelRow("x", file, "asap_xml", True, "*", 250_000, 250_000)
    tumour, cut = (shapely.union_all([shapely.Polygon(r).buffer(0) for r in plainly(file, g)]) for g in (POSITIVE, CUT))
    assert tumour_left(row, rules) == pytest.approx(tumour.difference(cut).area / tumour.area, rel=1e-3)
    assert tumour_left(row, rules) > 0.99
