"""Real glands drawn in three tools' formats: the same polygons from all three; and a real file of another frame."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openslide
import pytest
import shapely

from acinus.annotations.frame import Frame
from acinus.annotations.outline import AnnotationFile, class_counts
from acinus.annotations.reading import read_annotations
from acinus.labels.outlines import rasterise
from acinus.regions.outlines import Polygon, cut, outlines
from tests.real.glas import lay_out

NAMES = [["train_1"], ["train_15", "train_20"], ["train_33", "train_44", "train_55", "train_66"]]
HALF_PX = 0.5  # so that coordinates are no whole numbers


def qupath(polygons: Sequence[Polygon]) -> str:
    """A feature per polygon, holes as rings, as QuPath writes them."""
    features = []
    for number, polygon in enumerate(polygons):
        rings = [[[x + HALF_PX, y + HALF_PX] for x, y in [*ring.tolist(), ring[0].tolist()]] for ring in polygon]
        properties = {"objectType": "annotation", "classification": {"name": "gland", "color": [0, 200, 0]}}
        geometry = {"type": "Polygon", "coordinates": rings}
        features.append({"type": "Feature", "id": f"id-{number}", "geometry": geometry, "properties": properties})
    return json.dumps({"type": "FeatureCollection", "features": features})


def imagescope(polygons: Sequence[Polygon]) -> str:
    """A layer per polygon, holes as negative regions."""
    text = '<Annotations MicronsPerPixel="0">'
    for number, polygon in enumerate(polygons):
        text += f'<Annotation Id="{number}" Name="gland" LineColor="51200"><Regions>'
        for place, ring in enumerate(polygon):
            vertices = "".join(f'<Vertex X="{x + HALF_PX}" Y="{y + HALF_PX}" Z="0"/>' for x, y in ring.tolist())
            text += (
                f'<Region Id="{place}" Type="0" NegativeROA="{min(place, 1)}"><Vertices>{vertices}</Vertices></Region>'
            )
        text += "</Regions></Annotation>"
    return f"{text}</Annotations>"


def asap(mask: np.ndarray) -> str:
    """An annotation per piece without holes, since ASAP has none."""
    text = "<ASAP_Annotations><Annotations>"
    for number, (ring,) in enumerate(cut(mask)):
        rows = "".join(
            f'<Coordinate Order="{order}" X="{x + HALF_PX}" Y="{y + HALF_PX}"/>' for order, (x, y) in enumerate(ring)
        )
        text += f'<Annotation Name="{number}" Type="Polygon" PartOfGroup="gland" Color="#00c800"><Coordinates>{rows}'
        text += "</Coordinates></Annotation>"
    return f"{text}</Annotations></ASAP_Annotations>"


def union(file: AnnotationFile) -> shapely.Geometry:
    assert (file.passed_over, file.warnings) == ({}, ())
    (count,) = class_counts(file.outlines)
    assert (count.class_name, count.colour) == ("gland", (0, 200, 0))
    return shapely.union_all([outline.area for outline in file.outlines])


@pytest.mark.parametrize("names", NAMES, ids=str)
def test_three_tools_give_the_same_polygons(shared_data: Path, tmp_path: Path, names: list[str]) -> None:
    _, mask = lay_out(shared_data / "glas", names)
    frame = Frame(mask.shape[1] + 1, mask.shape[0] + 1)
    texts = {
        "qupath.json": qupath(outlines(mask)),
        "imagescope.xml": imagescope(outlines(mask)),
        "asap.xml": asap(mask),
    }
    files = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        files[name] = read_annotations(tmp_path / name, frame)
        assert files[name].tool == name.partition(".")[0]
    from_qupath, from_imagescope, from_asap = (union(file) for file in files.values())
    assert from_qupath.area == pytest.approx(mask.sum(), rel=1e-12)
    for other in (from_imagescope, from_asap):
        assert other.area == pytest.approx(from_qupath.area, rel=1e-6)
        assert other.symmetric_difference(from_qupath).area <= 1e-6 * from_qupath.area
    for one, another in zip(files["qupath.json"].outlines, files["imagescope.xml"].outlines, strict=True):
        assert one.area.symmetric_difference(another.area).area < 1e-6
    # the px of the mask, whose centres lie half a px from its corners, moved by half a px
    x, y = np.arange(mask.shape[1]) + 1.0, np.arange(mask.shape[0]) + 1.0
    assert np.array_equal(rasterise(from_qupath, x, y), mask)


def test_the_polygons_have_holes(shared_data: Path) -> None:
    """Else the test above would not see a lost one."""
    _, mask = lay_out(shared_data / "glas", NAMES[0] + NAMES[1])
    assert any(len(polygon) > 1 for polygon in outlines(mask))


def test_a_slide_with_bounds(shared_data: Path, tmp_path: Path) -> None:
    """What ASAP drew on the full slide lies where QuPath, which shows its bounds, has it."""
    folder = shared_data / "reported" / "01_bounds_qupath"
    with openslide.OpenSlide(folder / "tumor_001.scn") as slide:
        frame = Frame.of(slide.dimensions, dict(slide.properties), (0.5, 0.5))
    assert frame == Frame(3500, 3300, 0.5, 0.5, (800, 600, 1536, 1536))
    drawn = read_annotations(folder / "tumor_001.xml", frame)
    assert len(drawn.outlines) == 25
    shown = [shapely.transform(outline.area, lambda at: at - np.array([800, 600])) for outline in drawn.outlines]
    features = [
        {"type": "Feature", "geometry": json.loads(shapely.to_geojson(area)), "properties": {}} for area in shown
    ]
    (tmp_path / "tumor_001.geojson").write_text(json.dumps(features))
    back = read_annotations(tmp_path / "tumor_001.geojson", frame)
    for one, another in zip(drawn.outlines, back.outlines, strict=True):
        assert one.area.symmetric_difference(another.area).area < 1e-6 * one.area.area


def test_regions_of_the_full_frame_are_told_from_those_of_the_bounds(shared_data: Path) -> None:
    """As they were written once, 800 and 600 px off: they pass the border of what QuPath shows."""
    path = shared_data / "reported" / "01_bounds_qupath" / "regions_of_the_3072_variant.geojson"
    file = read_annotations(path, Frame(3500, 3300, 0.5, 0.5, (800, 600, 1536, 1536)))
    assert len(file.outlines) == 2
    assert "(corner at 800, 600), 1536 x 1536 px, by up to 736 px" in file.warnings[0]  # 2,272 - 1,536
    assert read_annotations(path, Frame(3500, 3300)).warnings == ()
