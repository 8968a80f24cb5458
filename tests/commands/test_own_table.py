"""Tables as laboratories have them: which slides they name, what they say, and the slides.csv made of them."""

import csv
import io
from pathlib import Path

import pytest

from acinus.cohorts.slide_names import SlideNames
from acinus.cohorts.slides_table import parse
from acinus.commands.own_legend import legend
from acinus.commands.own_table import best_known, read_known, table_text, with_splits

SLIDES = {"A_1": "x/A 1.svs", "B": "x/B.svs", "C": "y/C.tif"}


def test_the_column_that_names_slides_may_have_any_title_and_the_rest_is_kept(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(
        "\ufeffNo;File;Case ID;MPP;Slide;Diagnosis\r\n1;A 1.svs;007;0,25;left;benign\r\n2;gone.svs;008;;left;tumor\r\n"
        "3;b;007;;right;Tumor\r\n".encode()
    )
    known, lines, _ = best_known(tmp_path, ["list.csv"], SLIDES.values())
    assert known is not None
    assert (known.column, sorted(known.rows), known.lost) == ("File", ["x/A 1.svs", "x/B.svs"], ("gone.svs",))
    assert lines == ["list.csv: 1 of its rows name no slide of this folder in column File: 'gone.svs'"]
    text = table_text(SLIDES, {"B": "x/B.geojson"}, known, {"y/C.tif": "y/C.tif: is empty (0 bytes); replace it"})
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["slide"] for row in rows] == ["x/A 1.svs", "x/B.svs", "y/C.tif"]
    assert [row["patient"] for row in rows] == ["007", "007", ""]
    assert [row["mpp"] for row in rows] == ["0,25", "", ""]
    assert [row["Slide_"] for row in rows] == ["left", "right", ""]
    assert [row["folder"] for row in rows] == ["x", "x", "y"]
    assert [row["annotation"] for row in rows] == ["", "x/B.geojson", ""]
    assert (rows[2]["exclude"], rows[2]["reason"]) == ("yes", "y/C.tif: is empty (0 bytes)")
    read = parse(text, "slides.csv")
    assert not read.faults
    assert [entry.mpp for entry in read.entries] == [0.25, None, None]
    assert read.label_columns == ("No", "Case ID", "Slide_", "Diagnosis", "folder")


def test_of_two_tables_the_one_that_names_more_counts_and_the_others_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("slide,x\nB,1\n")
    (tmp_path / "b.csv").write_text("slide,x\nB,1\nC,1\n")
    (tmp_path / "c.csv").write_text("gene,x\nTP53,1\n")
    (tmp_path / "d.csv").write_text('slide\n"B\n')
    (tmp_path / "splits.csv").write_text("slide_id,split,patient\nB,test,B\n")
    names = ["a.csv", "b.csv", "c.csv", "d.csv", "e.xlsx", "splits.csv"]
    known, lines, first = best_known(tmp_path, names, SLIDES.values())
    assert known is not None
    assert known.path == "b.csv"
    assert [line.partition(":")[0] for line in lines] == ["c.csv", "a.csv"]
    assert [line.partition(":")[0] for line in first] == ["d.csv", "e.xlsx"]
    assert lines[1] == "a.csv: names slides too, but slides.csv has what b.csv says; copy into it what else counts"


def test_a_split_is_written_for_the_slides_that_have_one() -> None:
    text = table_text(SLIDES, {}, None, {})
    rows = list(csv.DictReader(io.StringIO(with_splits(text, {"x/B.svs": "test"}))))
    assert [row["split"] for row in rows] == ["", "test", ""]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("class;red;green;blue\ntumor;255;0;0\nstroma;0;128;0\n", {"#ff0000": "tumor", "#008000": "stroma"}),
        ("name,colour\ntumor,#FF0000\nstroma,(0 128 0)\n", {"#ff0000": "tumor", "#008000": "stroma"}),
        ("value,label\n0,background\n1,tumor\n", {"0": "background", "1": "tumor"}),
        ("class,red,green,blue\ntumor,256,0,0\n", {}),
        ("slide,label\na,tumor\n", {}),
        ("class\ntumor\n", {}),
    ],
)
def test_a_table_of_colours_or_values_names_the_classes(tmp_path: Path, text: str, names: dict[str, str]) -> None:
    (tmp_path / "colours.csv").write_text(text)
    assert legend(tmp_path, ["a.xlsx", "colours.csv"]) == ((names, "colours.csv") if names else ({}, ""))


def test_a_table_that_names_no_slide_is_none(tmp_path: Path) -> None:
    for text in ("", "\n", "gene,x\nTP53,1\n", "slide\n"):
        (tmp_path / "a.csv").write_text(text)
        assert read_known(tmp_path, "a.csv", SlideNames(SLIDES.values())) is None


def test_what_stands_twice_and_what_names_no_slide_is_named(tmp_path: Path) -> None:
    """Regression: a second row of a slide, a second column of a name and rows of no slide went in silence."""
    (tmp_path / "a.csv").write_text("file,grade,grade\nB,1,2\nx/B.svs,3,4\nC,5,6\nD,7,8\n")
    known, lines, first = best_known(tmp_path, ["a.csv"], [*SLIDES.values(), "D_1.svs"])
    assert known is not None
    assert known.rows == {"x/B.svs": {"file": "B", "grade": "1"}, "y/C.tif": {"file": "C", "grade": "5"}}
    assert lines == ["a.csv: 1 of its rows name no slide of this folder in column file: 'D'"]
    assert first == [
        "a.csv: slides of several rows, of which the first counts: x/B.svs (rows 2, 3)",
        "a.csv: columns of one name, of which the first counts: 'grade'",
    ]
    (tmp_path / "a.csv").write_text("file,x\nscan_01,1\nscan_1x2,1\n")
    _, (line,), _ = best_known(tmp_path, ["a.csv"], ["scan_01.svs", "scan_112.svs"])
    assert line.endswith("in column file: 'scan_1x2' (is scan_112.svs meant?)")


@pytest.mark.parametrize(
    ("titles", "column"),
    [
        ("Fallnummer;Patientennummer", "Patientennummer"),
        ("case;MRN", "MRN"),
        ("Pat-ID;patient", "patient"),
        ("Case ID;age", "Case ID"),
        ("age;site", None),
    ],
)
def test_of_columns_that_may_say_whose_slide_it_is_the_patients_counts(
    tmp_path: Path, titles: str, column: str | None
) -> None:
    (tmp_path / "a.csv").write_text(f"file;{titles}\nB;1;2\nC;3;4\n")
    known, *_ = best_known(tmp_path, ["a.csv"], SLIDES.values())
    assert known is not None
    assert known.patient_column == column
    rows = csv.DictReader(io.StringIO(table_text(SLIDES, {}, known, {})))
    texts = {None: ["", "", ""], titles.split(";")[0]: ["", "1", "3"], titles.split(";")[1]: ["", "2", "4"]}
    assert [row["patient"] for row in rows] == texts[column]


@pytest.mark.parametrize("title", ["MPP", "µm/px", "μm/px", "um/px", "um_per_px", "Microns per pixel", "mpp (µm/px)"])
def test_resolutions_stand_below_many_titles(tmp_path: Path, title: str) -> None:
    (tmp_path / "a.csv").write_text(f"file;{title}\nB;0,25\n", encoding="utf-8")
    known, *_ = best_known(tmp_path, ["a.csv"], SLIDES.values())
    read = parse(table_text(SLIDES, {}, known, {}), "slides.csv")
    assert [entry.mpp for entry in read.entries] == [None, 0.25, None]
    assert parse(f"slide;{title}\nB;0,25\n", "slides.csv").entries[0].mpp == 0.25
    assert read.label_columns == ("folder",)
