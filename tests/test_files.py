"""Whole files or none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from acinus.errors import AcinusError
from acinus.files import atomic_path, file_lock, read_json, sha256, try_lock, write_json, write_text


class InterruptedWritingError(RuntimeError):
    """What stands for any failure while writing."""


def interrupt(path: Path) -> None:
    with atomic_path(path) as part:
        part.write_text("half")
        raise InterruptedWritingError


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InterruptedWritingError):
        interrupt(tmp_path / "table.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_what_stood_there(tmp_path: Path) -> None:
    (tmp_path / "table.parquet").write_text("old")
    with pytest.raises(InterruptedWritingError):
        interrupt(tmp_path / "table.parquet")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"table.parquet": "old"}


def test_the_final_name_appears_at_the_end_only_and_the_suffix_is_kept(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "er" / "map.tif"
    with atomic_path(final) as part:
        assert part.suffix == ".tif"
        part.write_text("whole")
        assert not final.exists()
    assert final.read_text() == "whole"
    assert [path.name for path in final.parent.iterdir()] == ["map.tif"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "store"
    (target / "deep").mkdir(parents=True)
    (target / "deep" / "old").write_text("old")

    def fill(*, fail: bool) -> None:
        with atomic_path(target) as part:
            part.mkdir()
            (part / "new").write_text("new")
            if fail:
                raise InterruptedWritingError

    with pytest.raises(InterruptedWritingError):
        fill(fail=True)
    assert [str(p.relative_to(target)) for p in sorted(target.rglob("*"))] == ["deep", "deep/old"]
    fill(fail=False)
    assert [str(p.relative_to(target)) for p in target.rglob("*")] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_file_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "out"
    (target / "deep").mkdir(parents=True)
    write_text(target, "file")
    assert target.read_text() == "file"


@pytest.mark.parametrize("below", ["a regular file", "no file system for us"])
def test_a_place_that_cannot_be_written_is_one_line(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" if below == "a regular file" else Path("/proc")
    with pytest.raises(AcinusError) as caught:
        write_text(folder / "reports" / "x.json", "text")
    text = str(caught.value)
    assert text.startswith(f"{folder / 'reports'}: cannot write here (")
    assert text.endswith("make the folder writable or change the path")
    assert "\n" not in text


def test_an_input_that_fails_inside_the_block_is_not_called_an_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out"):
        (tmp_path / "missing input").read_bytes()


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(AcinusError, match=r"x\.json: cannot be written \(.*\); free space"):  # noqa: SIM117
        with atomic_path(tmp_path / "x.json"):
            full.write_text("no room")
    assert list(tmp_path.iterdir()) == []


def test_json_is_sorted_and_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"b": None, "a": [1, 0.1, "é"]})
    assert path.read_text(encoding="utf-8") == '{\n  "a": [\n    1,\n    0.1,\n    "é"\n  ],\n  "b": null\n}\n'
    assert read_json(path) == json.loads(path.read_text())
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"auc": float("nan")})
    assert read_json(path)["b"] is None  # the old file stands


def test_json_that_is_missing_or_damaged_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match=r"none\.json: not found; run the stage"):
        read_json(tmp_path / "none.json")
    for content in (b"", b'{"a": ', b"\xff\xfe"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(AcinusError, match=r"bad\.json: not valid JSON .* run its stage again"):
            read_json(tmp_path / "bad.json")


def test_sha256_is_that_of_the_standard(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_lock_is_held_once_and_goes_with_its_process_killed_or_not(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = "import sys, time; from pathlib import Path; from acinus.files import try_lock\n"
    code += "held = try_lock(Path(sys.argv[1])); print(held is not None, flush=True); time.sleep(100)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert try_lock(path) is None
    finally:
        holder.kill()
        holder.communicate()
    lock = try_lock(path)
    assert lock is not None
    assert try_lock(path) is None  # neither does the same process hold it twice
    lock.release()
    with file_lock(path):
        assert path.exists()
