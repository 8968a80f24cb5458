"""A DICOM slide is several files: one slide of the cohort, whichever of them carries the annotation."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from acinus.cohorts import dicom
from acinus.cohorts.adapter import new_row


def rows(*known: dict[str, Any]) -> list[dict[str, Any]]:
    names = [f"s{number}" for number in range(len(known))]
    return [new_row(name, f"{name}.dcm", f"print-{name}", **one) for name, one in zip(names, known, strict=True)]


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    known: dict[str, str | None] = {}
    monkeypatch.setattr(dicom, "series_of", lambda root, image: known.get(image.removesuffix(".dcm")))
    return known


def settled(given: list[dict[str, Any]], root: Path) -> list[tuple[str, str]]:
    return [(row["status"], row["reason"]) for row in dicom.one_per_series(given, root)]


def test_files_of_one_series_are_one_slide_and_its_fingerprint_covers_them(tmp_path: Path, series) -> None:
    series |= {"s0": "1.2", "s1": "1.3", "s2": "1.2", "s3": None, "s4": None}
    given = rows({}, {}, {}, {}, {})
    found = dicom.one_per_series(given, tmp_path)
    assert [row["status"] for row in found] == ["ok", "ok", "excluded", "ok", "ok"]
    assert found[2]["reason"] == "a file of the DICOM series of slide s0"
    assert [row["slide_id"] for row in found] == [row["slide_id"] for row in given]
    assert found[1] == given[1]
    assert found[0]["fingerprint"] not in {row["fingerprint"] for row in given}
    given[2]["fingerprint"] = "another"
    assert dicom.one_per_series(given, tmp_path)[0]["fingerprint"] != found[0]["fingerprint"]


@pytest.mark.parametrize(
    ("known", "kept"),
    [
        ({"label_source": "s2.xml"}, 2),
        ({"split": "test", "split_rule": "splits.csv"}, 2),
        ({"label_source": "s2.xml", "status": "bad", "reason": "x"}, 2),  # its slide is bad, not its other file good
        ({"label_source": "s2.xml", "status": "excluded", "reason": "x"}, 0),
    ],
)
def test_the_file_that_more_is_known_of_stands_for_the_slide(tmp_path: Path, series, known, kept: int) -> None:
    series |= {"s0": "1", "s1": "1", "s2": "1"}
    given = rows({}, {}, known)
    found = dicom.one_per_series(given, tmp_path)
    left = [row["slide_id"] for row in found if "DICOM" not in row["reason"] and row["reason"] != "x"]
    assert left == ([] if known.get("status") == "bad" else [f"s{kept}"])
    assert found[kept]["status"] == (known.get("status", "ok") if kept == 2 else "ok")


def test_two_annotations_of_one_slide_are_refused(tmp_path: Path, series) -> None:
    series |= {"s0": "1", "s1": "1", "s2": "1"}
    assert settled(rows({}, {"label_source": "s1.xml"}, {"label_source": "s2.xml"}), tmp_path) == [
        ("excluded", "a file of the DICOM series of slide s1"),
        ("bad", "slide s1: annotations of several files of one DICOM series (s1, s2); keep one"),
        ("excluded", "a file of the DICOM series of slide s1"),
    ]


def test_the_series_of_a_real_file(shared_data: Path, tmp_path: Path) -> None:
    for name in ("a/one.dcm", "a/two.dcm", "b/three.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(shared_data / "slides" / "sm_image.dcm", tmp_path / name)
    shutil.copyfile(shared_data / "slides" / "multiframe_camelyon_challenge_image.dcm", tmp_path / "four.dcm")
    (tmp_path / "five.dcm").write_bytes(b"DICM")
    names = ("a/one.dcm", "a/two.dcm", "b/three.dcm", "four.dcm", "five.dcm")
    assert [dicom.series_of(tmp_path, name) for name in names] == [
        *["1.2.826.0.1.3680043.9.7433.3.57084118109582350083572639456817453"] * 3,
        "1.3.6.1.4.1.11129.5.7.0.1.517182092386.24422120.1688792467737634",
        None,
    ]


def test_a_file_that_leads_out_of_the_root_is_bad_and_stops_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside.dcm").write_bytes(b"DICM")
    (root / "s0.dcm").symlink_to(tmp_path / "outside.dcm")
    given = rows({"status": "bad", "reason": "leads out"}, {"status": "bad", "reason": "is not there"})
    given[1]["image"] = "../outside.dcm"
    assert dicom.one_per_series(given, root) == given


def test_a_file_that_opens_stands_before_one_that_does_not_and_no_reason_is_lost(tmp_path: Path, series) -> None:
    series |= {"s0": "1", "s1": "1"}
    assert settled(rows({"status": "bad", "reason": "slide s0: cut off"}, {}), tmp_path) == [
        ("excluded", "a file of the DICOM series of slide s1; slide s0: cut off"),
        ("ok", ""),
    ]
