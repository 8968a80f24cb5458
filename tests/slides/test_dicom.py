"""The series of DICOM files by their headers, written in every encoding; folders of them as slides."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from acinus.errors import SlideError
from acinus.slides import dicom
from acinus.slides.open import open_slide

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"


def element(group: int, number: int, kind: bytes, value: bytes, implicit: bool = False, length: int = -1) -> bytes:
    value += b"\0" * (len(value) % 2)
    count = len(value) if length < 0 else length
    if implicit:
        return struct.pack("<HHI", group, number, count) + value
    if kind in (b"SQ", b"OB", b"UN", b"UT"):
        return struct.pack("<HH2sHI", group, number, kind, 0, count) + value
    return struct.pack("<HH2sH", group, number, kind, count) + value


def written(path: Path, syntax: str, *elements: bytes) -> Path:
    path.write_bytes(bytes(128) + b"DICM" + element(2, 0x10, b"UI", syntax.encode()) + b"".join(elements))
    return path


def nested(implicit: bool, undefined: bool) -> bytes:
    """A sequence of two items, each of which holds another series and a sequence of its own."""
    inner = element(0x20, 0xE, b"UI", b"9.9.9", implicit)
    deeper = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    inner += element(0x40, 0x100, b"SQ", deeper, implicit)
    if undefined:
        end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
        items = (struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + inner + end) * 2
        items += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        return element(8, 0x1115, b"SQ", items, implicit, 0xFFFFFFFF)
    items = (struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner) * 2
    return element(8, 0x1115, b"SQ", items, implicit)


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_the_series_stands_behind_sequences_that_name_others(syntax: str, undefined: bool, tmp_path: Path) -> None:
    implicit = syntax == IMPLICIT
    parts = [element(8, 0x60, b"CS", b"SM", implicit), nested(implicit, undefined)]
    parts += [element(0x20, 0xD, b"UI", b"1.1", implicit), element(0x20, 0xE, b"UI", b"1.2.3", implicit)]
    assert dicom.series_of(written(tmp_path / "a", syntax, *parts)) == "1.2.3"
    assert dicom.series_of(written(tmp_path / "a", syntax, *parts[:-1])) is None
    assert dicom.series_of(written(tmp_path / "a", syntax, *parts[:-1], element(0x28, 2, b"US", b"\3\0"))) is None


def test_what_is_no_header_has_no_series(tmp_path: Path) -> None:
    series = element(0x20, 0xE, b"UI", b"1.2.3")
    assert dicom.series_of(written(tmp_path / "a", EXPLICIT, series)) == "1.2.3"
    assert dicom.series_of(written(tmp_path / "a", BIG, series)) is None
    assert dicom.series_of(written(tmp_path / "a", EXPLICIT, element(0x20, 0xE, b"UI", b"\xff\xfe"))) is None
    assert dicom.series_of(tmp_path / "nowhere") is None
    whole = written(tmp_path / "a", EXPLICIT, nested(False, True), series).read_bytes()
    for count in range(len(whole)):
        (tmp_path / "b").write_bytes(whole[:count])
        assert dicom.series_of(tmp_path / "b") is None
    rng = np.random.default_rng(0)
    for _ in range(300):
        (tmp_path / "b").write_bytes(bytes(128) + b"DICM" + rng.bytes(300))
        dicom.series_of(tmp_path / "b")


def test_a_folder_of_one_series_is_a_slide(shared_data: Path, tmp_path: Path) -> None:
    for name in ("b.dcm", "IM0001", "c.dcm"):
        shutil.copyfile(shared_data / "slides" / "sm_image.dcm", tmp_path / name)
    (tmp_path / "notes.txt").write_text("none")
    assert dicom.file_of(tmp_path, "s").name == "IM0001"
    (tmp_path / "b.dcm").unlink()
    (tmp_path / "c.dcm").unlink()
    with open_slide(tmp_path, "s") as folder, open_slide(shared_data / "slides" / "sm_image.dcm", "s") as file:
        np.testing.assert_array_equal(folder.region((0, 0), 0, (50, 50)), file.region((0, 0), 0, (50, 50)))
    shutil.copyfile(shared_data / "slides" / "multiframe_camelyon_challenge_image.dcm", tmp_path / "x.dcm")
    with pytest.raises(
        SlideError, match=r"slide s: .* holds 2 DICOM series.*IM0001, x\.dcm\); give a file of the one that is meant"
    ):
        open_slide(tmp_path, "s")


def test_a_folder_without_dicom_is_none(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"slide s: .* is a folder without DICOM files; give the slide's file"):
        open_slide(tmp_path, "s")
