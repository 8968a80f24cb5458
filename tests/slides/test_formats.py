"""The table of formats: every suffix has a reader or a remedy, parts go with their slide, headers decide the rest."""

from pathlib import Path

import pytest

from acinus.cohorts.camelyon import SLIDE_SUFFIXES
from acinus.errors import SlideError
from acinus.slides.formats import FORMATS, format_of, is_dicom_folder, parts, unread
from acinus.slides.open import open_slide


def test_every_format_has_a_name_and_a_remedy() -> None:
    for suffix, form in FORMATS.items():
        assert suffix == suffix.lower()
        assert suffix.startswith(".")
        assert form.name
        assert form.remedy
        assert not form.remedy.endswith(".")
    assert set(SLIDE_SUFFIXES) <= {suffix for suffix, form in FORMATS.items() if form.readable}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.svs", "Aperio SVS"),
        ("TCGA-AA-3488-01Z-00-DX1.4ea0e0a9.SVS", "Aperio SVS"),
        ("a.ome.tif", "OME-TIFF"),
        ("a.b.OME.TIFF", "OME-TIFF"),
        ("a.ome.b.tif", "TIFF"),
        ("a.vsi", "Olympus VSI"),
        ("a.ome.zarr", "OME-Zarr"),
        ("a.zarr", "OME-Zarr"),
        ("a.qptiff", "Akoya QPTIFF"),
        ("a.png", "picture"),
        ("a.geojson", None),
        ("a.csv", None),
        ("notes.txt", None),
        ("svs", None),
        (".svs", None),
        ("", None),
    ],
)
def test_the_format_of_a_name(name: str, expected: str | None) -> None:
    form = format_of(Path("cohort") / name)
    assert (form.name if form else None) == expected


@pytest.mark.parametrize("suffix", sorted(suffix for suffix, form in FORMATS.items() if not form.readable))
def test_a_file_that_is_not_read_says_what_makes_it_readable(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"some other format" * 100)
    with pytest.raises(SlideError) as raised:
        open_slide(path, "s")
    form = FORMATS[suffix]
    expected = f"slide s: a{suffix} is not read: {form.name}; {form.remedy}, or list the slide under cohort.exclude"
    assert str(raised.value) == expected


def test_a_zarr_that_is_no_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.ome.zarr").write_bytes(b"x")
    with pytest.raises(SlideError, match=r"a\.ome\.zarr does not open .*; write it as 8-bit RGB of NGFF 0\.4 or 0\.5"):
        open_slide(tmp_path / "a.ome.zarr", "s")


def test_a_czi_and_a_mrxs_that_do_not_open_have_their_remedy(tmp_path: Path) -> None:
    for name, remedy in (("a.czi", "pylibCZIrw"), ("a.mrxs", "Slidedat.ini"), ("a.dcm", "all files of its series")):
        (tmp_path / name).write_bytes(b"x" * 500)
        with pytest.raises(SlideError, match=rf"slide s: {name} .*{remedy}.*cohort\.exclude"):
            open_slide(tmp_path / name, "s")


def test_an_mrxs_is_read_with_its_folder_only(tmp_path: Path) -> None:
    (tmp_path / "a.mrxs").write_bytes(b"x")
    form = format_of(tmp_path / "a.mrxs")
    assert (form.name, form.readable) == ("3DHISTECH MRXS without its folder", False)
    assert "Slidedat.ini" in form.remedy
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Slidedat.ini").write_text("")
    assert format_of(tmp_path / "a.mrxs") == FORMATS[".mrxs"]


def test_dicom_is_known_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(10))
    (tmp_path / "README").write_text("no slide")
    assert format_of(tmp_path / "IM0001") == FORMATS[".dcm"]
    assert format_of(tmp_path / "README") is None
    assert format_of(tmp_path) == FORMATS[".dcm"]
    (tmp_path / "IM0001").unlink()
    assert not is_dicom_folder(tmp_path)


def test_parts_belong_to_their_slide() -> None:
    files = {
        "a/one.mrxs": None,
        "a/one/Slidedat.ini": "a/one.mrxs",
        "a/one/Data0000.dat": "a/one.mrxs",
        "one/Data0000.dat": None,
        "two.vsi": None,
        "_two_/stack1/frame_t.ets": "two.vsi",
        "_three_/stack1/frame_t.ets": None,
        "four.vms": None,
        "four_map2.jpg": "four.vms",
        "four(0,1).jpg": "four.vms",
        "four.opt": "four.vms",
        "four.xml": None,
        "c/four.jpg": None,
        "five.jpg": None,
    }
    assert parts(files) == {file: slide for file, slide in files.items() if slide}


def test_slides_that_nothing_reads_are_named_once_each() -> None:
    files = ["b/x.zarr", "two.VSI", "_two_/s/t.ets", "_lost_/s/t.ets", "a.svs"]
    files += ["b.xml", "c.lif", "e.mrxs", "e/Data.dat", "f.ozx"]
    found = {file: form.name for file, form in unread(files).items()}
    assert found == {
        "_lost_/s/t.ets": "part of a slide",
        "c.lif": "Leica LIF",
        "f.ozx": "OME-Zarr in a zip",
        "two.VSI": "Olympus VSI",
    }
