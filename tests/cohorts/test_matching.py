"""What belongs together in a folder of slides, by names."""

from pathlib import Path

import pytest

from acinus.cohorts.matching import Match, annotated_name, match
from acinus.plugins import finding

UUID = "381c8f82-61a0-4e9d-982d-1ad0af7bead9"


def look(*files: str, stated: dict[str, str] | None = None) -> Match:
    return match(files, lambda path: None if "meta" in path else "qupath", stated)


@pytest.mark.parametrize(
    ("slide", "annotation"),
    [
        ("a.svs", "a.geojson"),
        ("A.SVS", "a.GeoJSON"),
        ("a.svs", "a.svs.geojson"),
        ("x/a.ndpi", "x/a.ndpi.ndpa"),
        ("x/a.svs", "y/Annotations/a.xml"),
        ("x/a.svs", "masks/deep/a.png"),
        ("a.tif", "a_mask.tif"),
        ("a.tif", "a-annotations.geojson.gz"),
        ("Präparat 1.svs", "geojson/Pra\u0308parat 1.json"),
        (f"TCGA-83-5908-01Z-00-DX1.{UUID}.svs", "TCGA-83-5908-01Z-00-DX1.xml"),
        ("TCGA-83-5908-01Z-00-DX1.svs", f"xml/TCGA-83-5908-01Z-00-DX1.{UUID}.xml"),
        ("case_mask_12.svs", "case_mask_12.geojson"),
    ],
)
def test_an_annotation_goes_with_the_slide_of_its_name(slide: str, annotation: str) -> None:
    found = look(slide, annotation)
    assert list(found.annotations.values()) == [annotation]
    assert list(found.slides.values()) == [slide]
    assert (found.orphans, found.ignored, found.faults) == ({}, {}, [])


def test_tables_stay_tables_where_a_plugin_reads_files_of_their_suffix(tmp_path: Path) -> None:
    reader = "@plugins.annotation_reader('corners', suffixes=('.csv', '.corners.tsv'))\ndef f(path, frame):\n    pass\n"
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "own.py").write_text(f"from acinus import plugins\n\n\n{reader}")
    finding.use(tmp_path)
    tables = ["cases.csv", "groups.csv", "slides.csv", "x/splits.csv"]
    try:
        found = look("a.svs", "a.csv", "b.svs", "x/b.csv", "c.corners.tsv", *tables)
    finally:
        finding.use(None)
    assert found.annotations == {"a": "a.csv"}
    assert found.tables == tables
    assert list(found.orphans) == ["c.corners.tsv", "x/b.csv"]  # called as a slide, or by a suffix that no table has


def test_every_file_is_accounted_for() -> None:
    files = [
        *("a.svs", "a.jpg", "a.geojson", "labels.csv", "notes.txt", "b.lif", "scan/meta.xml", "g.ome.zarr"),
        *("d.mrxs", "d/Data0001.dat", "d/Slidedat.ini", "e.vms", "e-1.jpg", "other/c.geojson", "flat.png"),
        *("old/a.xml", "s.xlsx", "f.ome.tiff", "annotations/f.json", "h.zarr.zip"),
    ]
    found = look(*files)
    expected = {"a": "a.svs", "d": "d.mrxs", "e": "e.vms", "f": "f.ome.tiff", "flat": "flat.png", "g": "g.ome.zarr"}
    assert found.slides == expected
    assert found.annotations == {"a": "a.geojson", "f": "annotations/f.json"}
    assert found.tables == ["labels.csv", "s.xlsx"]
    assert set(found.foreign) == {"b.lif", "h.zarr.zip"}
    assert found.ignored == {
        "a.jpg": "a picture with the name of a slide beside it",
        "notes.txt": "by its name no slide, annotation or table",
        "scan/meta.xml": "no tool known to Acinus writes such a file",
    }
    assert found.orphans["other/c.geojson"] == "no slide has its name; add the slide, rename the file or move it away"
    assert found.orphans["old/a.xml"].startswith("is called as a.svs, but lies neither beside it nor in a folder ann")
    assert found.faults == []


def test_what_a_person_must_decide_is_named() -> None:
    found = look("x/a.svs", "y/A.tif", "b (1).svs", "b_1.svs", "c.svs", "c.xml", "masks/c.png")
    assert sorted(found.faults) == [
        "b (1).svs and b_1.svs: all would be slide b_1; rename all but one, or move them away",
        "c.xml and masks/c.png: annotations of one slide, c.svs; keep one, or name the one that counts in column "
        "annotation of slides.csv",
        "x/a.svs and y/A.tif: all would be slide a; rename all but one, or move them away",
    ]


def test_a_table_decides_between_annotations() -> None:
    files = ("x/c.svs", "x/c.xml", "masks/c.png", "x/d.svs", "lab/final.geojson", "x/e.svs")
    found = look(*files, stated={"x/c.svs": "c.xml", "x/d.svs": "Final.geojson", "x/e.svs": "none.xml"})
    assert found.annotations == {"c": "x/c.xml", "d": "lab/final.geojson"}
    assert found.ignored == {"masks/c.png": "the table names another annotation for x/c.svs"}
    assert found.faults == ["x/e.svs: its annotation 'none.xml' is no such file below the root; correct the table"]


def test_two_slides_of_one_name_leave_an_annotation_open() -> None:
    found = look("x/a.svs", "y/a.svs", "annotations/a.xml", "y/a.geojson")
    assert found.orphans == {
        "annotations/a.xml": "may be of x/a.svs or y/a.svs; name it in column annotation of slides.csv"
    }
    assert len(found.faults) == 1


def test_the_ending_of_an_annotations_name_may_be_part_of_the_slides() -> None:
    assert annotated_name("q/a_annotations.geojson.gz") == ("a_annotations", "a")
    assert annotated_name("a.svs.geojson") == ("a.svs", "a.svs")
    assert look("a_annotations.svs", "a_annotations.xml").annotations == {"a_annotations": "a_annotations.xml"}
