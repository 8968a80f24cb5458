"""slides.csv as people write it, and which slide a text means."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus.cohorts import slides_table
from acinus.cohorts.slide_names import SlideNames, patient_of, safe_id, stem_of
from acinus.cohorts.slides_table import join, parse
from acinus.cohorts.tables import read_text
from acinus.errors import AcinusError
from acinus.records import is_safe_id

UUID = "381c8f82-61a0-4e9d-982d-1ad0af7bead9"
BARCODE = "TCGA-83-5908-01Z-00-DX1"


def table(text: str) -> slides_table.SlidesTable:
    return parse(text, "slides.csv")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_spreadsheet_may_save_it_in_any_way(tmp_path: Path, separator: str, encoding: str) -> None:
    lines = [
        ["Slide", "PATIENT", "Split", "mpp", "Grade (WHO)", "exclude", "reason", ""],
        ["007.SVS", "0012", "Validation", '"0,25"' if separator == "," else "0,25", "1.0", "x", '"torn, folded"', ""],
        ["b", "", "", ".5", "", "0", "", ""],
    ]
    file = tmp_path / "slides.csv"
    file.write_bytes("\r\n".join(separator.join(cells) for cells in lines).encode(encoding))
    read = parse(read_text(file), "slides.csv")
    first, second = read.entries
    assert read.faults == ()
    assert (first.slide, first.patient, first.split, first.mpp) == ("007.SVS", "0012", "val", 0.25)
    assert (first.labels, first.excluded, first.reason) == ({"Grade (WHO)": "1.0"}, True, "torn, folded")
    assert (second.mpp, second.excluded, second.labels, second.split) == (0.5, False, {}, None)
    assert read.label_columns == ("Grade (WHO)",)


def test_all_faults_of_a_table_are_told_at_once() -> None:
    read = table(
        "slide,split,mpp,exclude,patient,\n"
        "a,hold-out,,,,\nb,,1000,maybe,,\n1.2E+12,,,,,\nc,,,,4E+10,\n,,,yes,,\nd,train,0.5,no,p,stray\ne,,nan,,,\n"
    )
    wanted = [
        "row 2: split 'hold-out'; write train, val, test or nothing",
        "row 3: mpp '1000'; write um per px, 0.05 to 20, or nothing",
        "row 3: exclude 'maybe'; write yes or no",
        "row 4: slide '1.2E+12' is an id that a spreadsheet has rounded",
        "row 5: patient '4E+10' is an id that",
        "row 6: neither slide nor patient",
        "row 7: a field without a column name",
        "row 8: mpp 'nan'",
    ]
    assert len(read.faults) == len(wanted)
    for fault, start in zip(read.faults, wanted, strict=True):
        assert fault.startswith(f"slides.csv: {start}")
    with pytest.raises(AcinusError) as failure:
        slides_table.refuse(read.faults, "look")
    assert "\n" not in str(failure.value)
    assert all(start in str(failure.value) for start in wanted)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no column slide among none"),
        ("image_id,label\na,1\n", "no column slide among image_id, label; call the column slide"),
        ("slide,Slide\na,b\n", "column slide stands twice"),
        ("slide,Grade,GRADE\na,b,c\n", "column grade stands twice"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(text: str, what: str) -> None:
    with pytest.raises(AcinusError, match=re.escape(what)):
        table(text)


def test_rows_and_slides_that_do_not_go_together_are_named() -> None:
    slides = ["x/a.svs", "y/a.svs", "007.svs", "b.ndpi", "unnamed.tif", "Präparat 1.svs"]
    joined = join(table("slide\na\n7\nB.NDPI\nb\nx/a.svs\nPra\u0308parat 1\nbb\n"), slides)
    assert set(joined.by_slide) == {"b.ndpi", "x/a.svs", "Präparat 1.svs"}
    assert joined.slides_without == ("y/a.svs", "007.svs", "unnamed.tif")
    assert joined.faults == (
        "slides.csv: row 2: slide 'a' may be x/a.svs or y/a.svs; write its path",
        "slides.csv: row 5: slide 'b' stands in row 4 too; keep one row for b.ndpi",
    )
    assert joined.rows_without == (
        "slides.csv: row 3: slide '7' is no slide below the root (007.svs has other zeros in front: make the column "
        "text in the spreadsheet); correct or remove the row",
        "slides.csv: row 8: slide 'bb' is no slide below the root; correct or remove the row",
    )


def test_what_is_said_of_a_patient_once_holds_for_all_its_slides() -> None:
    joined = join(
        table(
            "slide,patient,split,site,grade,stage\n"
            "a,p,,,low,I\nb,p,test,north,,II\n,p,,,low,\n"
            "c,q,train,,high,\nd,q,val,,low,\ne,q,,,,\n,nobody,,,high,\n"
        ),
        [f"{name}.svs" for name in "abcde"],
    )
    a, b, e = (joined.by_slide[f"{name}.svs"] for name in "abe")
    assert (a.split, a.site, a.labels) == ("test", "north", {"grade": "low", "stage": "I"})
    assert (b.split, b.labels) == ("test", {"grade": "low", "stage": "II"})
    assert (e.split, e.labels) == (None, {}), "what the rows of a patient do not agree on is nobody else's"
    assert joined.rows_without == (
        "slides.csv: row 8: patient 'nobody' has no slide; name one in the row, or remove it",
    )


@pytest.mark.parametrize(
    ("text", "slides", "found"),
    [
        (f"{BARCODE}.{UUID}", [f"{BARCODE}.svs"], [f"{BARCODE}.svs"]),
        (f"{BARCODE}.{UUID.upper()}.svs", [f"t/{BARCODE}.{UUID}.svs"], [f"t/{BARCODE}.{UUID}.svs"]),
        (BARCODE, [f"{BARCODE}.{UUID}.svs"], [f"{BARCODE}.{UUID}.svs"]),
        (f"{BARCODE}.{UUID}", [f"{BARCODE}.{UUID.replace('3', '4')}.svs"], []),
        (BARCODE, [f"{BARCODE}.{UUID}.svs", f"{BARCODE}.{UUID.replace('3', '4')}.svs"], None),
        ("D:\\scans\\a.svs", ["a.svs", "b/a.tif"], ["a.svs"]),
        ("/data/b/a.tif", ["b/a.tif", "c/a.tif"], ["b/a.tif"]),
        ("b/a.tif", ["a.tif", "b/a.tif", "x/b/a.tif"], ["b/a.tif"]),
        ("./q/a.tif", ["b/a.tif"], []),
        ("a.tif", ["a.svs"], ["a.svs"]),
        ("a", ["a.ome.tiff"], ["a.ome.tiff"]),
    ],
)
def test_a_text_means_a_path_a_name_or_a_stem(text: str, slides: list[str], found: list[str] | None) -> None:
    assert SlideNames(slides).find(text) == (slides if found is None else found)


def test_a_name_close_to_a_slides_is_offered() -> None:
    names = SlideNames(["case_0012_HE.svs", "other.svs"])
    assert names.near("case_0012-HE.svs") == " (is case_0012_HE.svs meant?)"
    assert names.near("quite different") == ""


@pytest.mark.parametrize(
    ("stem", "slide_id"),
    [
        ("tumor_001", "tumor_001"),
        (f"{BARCODE}.{UUID}", f"{BARCODE}.{UUID}"),
        ("Präparat 1 (HE)", "Praparat_1_HE"),
        ("Straße [Kopie]", "Strasse_Kopie"),
        ("a..b", "a.b"),
        ("..", safe_id("..")),
        ("病理", safe_id("病理")),
        ("_x_", "x"),
        ("a-", "a-"),
        ("x" * 300, "x" * 200),
    ],
)
def test_ids_are_safe_by_a_stated_rule(stem: str, slide_id: str) -> None:
    assert safe_id(stem) == slide_id
    assert is_safe_id(slide_id)


@given(st.text(min_size=1))
def test_every_name_has_a_safe_id_and_safe_names_keep_theirs(stem: str) -> None:
    assert is_safe_id(safe_id(stem))
    if is_safe_id(stem):
        assert safe_id(stem) == stem


def test_a_barcode_names_its_patient() -> None:
    assert patient_of(f"{BARCODE}.{UUID}") == "TCGA-83-5908"
    assert patient_of("TCGA-summary") is None
    assert stem_of("x/a.OME.TIF") == "a"


def test_a_real_table_goes_with_files_that_have_the_uuid_or_not(shared_data: Path) -> None:
    text = read_text(shared_data / "annotations" / "lung_labels_mini.csv")
    read = parse(text, "lung_labels_mini.csv")
    ids = [line.split(",")[3] for line in text.splitlines()[1:]]
    assert (len(read.entries), read.label_columns, read.faults) == (len(ids), ("subtype",), ())
    for files in ([f"{name}.svs" for name in ids], [f"s/{name.split('.')[0]}.SVS" for name in ids]):
        joined = join(read, files)
        assert [joined.by_slide[file].patient for file in files] == [name[:12] for name in ids]
        assert joined.rows_without == joined.slides_without == joined.faults == ()
    assert {entry.labels["subtype"] for entry in read.entries} == {"adenocarcinoma", "squamous"}
