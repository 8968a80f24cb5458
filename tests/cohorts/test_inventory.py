"""The inventory: quick, deterministic, blind to mtime, awake to content."""

import os
import time
from pathlib import Path

import pytest

from acinus.cohorts import inventory as module
from acinus.cohorts.inventory import Entry, fingerprints, inventory, read_inventory, write_inventory
from acinus.errors import AcinusError

BIG = module.WHOLE_BYTES + 500_000


def write(root: Path, path: str, data: bytes = b"x") -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)
    return root / path


def test_every_regular_file_sorted_but_hidden_and_temporary_ones(tmp_path: Path) -> None:
    for path in (
        "b/2.tif",
        "a.tif",
        "b/1.xml",
        ".DS_Store",
        ".git/x",
        "b/.hidden",
        "c.tif.part",
        "d.tmp",
        "e~",
        "~$f.csv",
    ):
        write(tmp_path, path)
    assert [(one.path, one.size) for one in inventory(tmp_path, None)] == [("a.tif", 1), ("b/1.xml", 1), ("b/2.tif", 1)]


def test_touching_changes_nothing_and_the_file_has_the_same_bytes(tmp_path: Path) -> None:
    root, memory = tmp_path / "root", tmp_path / "memory.json"
    slide = write(root, "a.tif", os.urandom(BIG))
    write_inventory(inventory(root, memory), tmp_path / "1.json")
    os.utime(slide, (1, 1))
    write_inventory(inventory(root, memory), tmp_path / "2.json")
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


@pytest.mark.parametrize(
    "place",
    [0, 65_535, 65_536, BIG // 2 - 2000, BIG - 65_536 - 1, BIG - 65_536, BIG - 1],
    ids=lambda place: f"byte {place}",
)
def test_replaced_content_of_the_same_size_is_seen_where_blocks_are_sampled(tmp_path: Path, place: int) -> None:
    """Head, tail and the first and last inner blocks; between the blocks one changed byte is not seen."""
    slide = write(tmp_path, "a.tif", bytes(BIG))
    before = inventory(tmp_path, None)
    data = bytearray(BIG)
    data[place] = 1
    slide.write_bytes(data)
    inner = [65_536 + (BIG - 2 * 65_536 - 4_096) * k // 15 for k in range(16)]
    seen = place < 65_536 or place >= BIG - 65_536 or any(start <= place < start + 4_096 for start in inner)
    assert (inventory(tmp_path, None) != before) == seen


def test_a_file_that_was_rewritten_is_seen(tmp_path: Path) -> None:
    slide = write(tmp_path, "a.tif", os.urandom(BIG))
    memory = tmp_path.parent / "memory.json"
    before = inventory(tmp_path, memory)
    slide.write_bytes(os.urandom(BIG))
    os.utime(slide, (5, 5))
    after = inventory(tmp_path, memory)
    assert (after[0].path, after[0].size) == (before[0].path, before[0].size)
    assert after[0].fingerprint != before[0].fingerprint


@pytest.mark.parametrize(("name", "size"), [("a.tif", 1000), ("a.tif", module.WHOLE_BYTES), ("a.xml", 3 * BIG)])
def test_small_files_and_annotations_are_read_whole(tmp_path: Path, name: str, size: int) -> None:
    data = bytearray(os.urandom(size))
    file = write(tmp_path, name, bytes(data))
    before = inventory(tmp_path, None)
    data[size * 2 // 3] ^= 1
    file.write_bytes(data)
    assert inventory(tmp_path, None) != before


def test_a_second_look_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, memory = tmp_path / "root", tmp_path / "memory.json"
    for number in range(5):
        write(root, f"{number}.tif", os.urandom(100))
    first = inventory(root, memory)
    monkeypatch.setattr(module, "fingerprint", lambda path, size: pytest.fail(f"{path} was opened"))
    assert inventory(root, memory) == first


@pytest.mark.parametrize(
    "damage", ["", "not json", "[]", '{"format": 1, "root": "elsewhere", "files": {}}', '{"format": 0}']
)
def test_a_damaged_memory_is_forgotten(tmp_path: Path, damage: str) -> None:
    root, memory = tmp_path / "root", tmp_path / "memory.json"
    write(root, "a.tif")
    first = inventory(root, memory)
    memory.write_text(damage)
    assert inventory(root, memory) == first


def test_a_memory_of_another_root_is_not_believed(tmp_path: Path) -> None:
    for root, data in (("one", b"1"), ("two", b"2")):
        os.utime(write(tmp_path / root, "a.tif", data), (9, 9))
    memory = tmp_path / "memory.json"
    assert inventory(tmp_path / "one", memory) != inventory(tmp_path / "two", memory)


def test_linked_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    root, disk = tmp_path / "root", tmp_path / "disk"
    write(disk, "slides/a.tif")
    write(root, "b.tif")
    (root / "linked").symlink_to(disk)
    (root / "twice").symlink_to(disk / "slides")
    (disk / "loop").symlink_to(root)
    (root / "c.tif").symlink_to(disk / "slides" / "a.tif")
    assert [one.path for one in inventory(root, None)] == ["b.tif", "c.tif", "linked/slides/a.tif"]


def test_a_link_to_nothing_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to(tmp_path / "gone.tif")
    (tmp_path / "self.tif").symlink_to(tmp_path / "self.tif")
    assert inventory(tmp_path, None) == [Entry("a.tif", 0, module.MISSING), Entry("self.tif", 0, module.MISSING)]


def test_a_root_that_is_not_there_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(AcinusError, match=r"gone: no such folder; set cohort\.root"):
        inventory(tmp_path / "gone", None)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.tif")).touch()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    with pytest.raises(AcinusError, match="is not UTF-8; rename the file"):
        inventory(tmp_path, None)


def test_the_written_inventory_reads_back(tmp_path: Path) -> None:
    write(tmp_path / "root", "a/ü.tif", b"abc")
    entries = inventory(tmp_path / "root", None)
    write_inventory(entries, tmp_path / "i.json")
    assert read_inventory(tmp_path / "i.json") == entries
    assert fingerprints(entries) == {"a/ü.tif": entries[0].fingerprint}
    (tmp_path / "i.json").write_text('{"files": [{"path": 1}]}')
    with pytest.raises(AcinusError, match="not an inventory"):
        read_inventory(tmp_path / "i.json")


def unopened(path: Path, size: int) -> str:
    raise AssertionError(f"{path} was opened: a second look costs one stat per file")


def test_ten_thousand_slides_take_seconds_and_a_second_look_opens_none(tmp_path: Path, monkeypatch) -> None:
    root, memory = tmp_path / "root", tmp_path / "memory.json"
    for folder in range(10):
        (root / str(folder)).mkdir(parents=True)
        for number in range(1000):
            with (root / str(folder) / f"{number}.tif").open("wb") as stream:
                stream.truncate(2_000_000_000 + number)
    start = time.perf_counter()
    first = inventory(root, memory)
    assert time.perf_counter() - start < 60  # 20 TB by their size: seconds on a quiet machine, hours if read whole
    assert len(first) == 10_000
    monkeypatch.setattr(module, "fingerprint", unopened)
    assert inventory(root, memory) == first


def test_an_ome_zarr_is_one_entry_that_knows_all_its_files(tmp_path: Path) -> None:
    root, memory = tmp_path / "root", tmp_path / "memory.json"
    for name in (".zattrs", ".zgroup", "0/.zarray", *(f"0/0/0/0/{y}/{x}" for y in range(9) for x in range(9))):
        write(root, f"x/a.ome.zarr/{name}", name.encode())
    write(root, "x/a.ome.zarr/.DS_Store")
    (before,) = inventory(root, memory)
    assert (before.path, before.size) == ("x/a.ome.zarr", 7 + 7 + 9 + 81 * 11)
    for change, seen in (
        (lambda: os.utime(root / "x/a.ome.zarr/0/0/0/0/1/1", (1, 1)), False),
        (lambda: write(root, "x/a.ome.zarr/.DS_Store", b"other"), False),
        (lambda: write(root, "x/a.ome.zarr/.zattrs", b".zATTrs"), True),
        (lambda: write(root, "x/a.ome.zarr/0/0/0/0/0/0", b"0/0/0/0/0/O"), True),
        (lambda: write(root, "x/a.ome.zarr/0/0/0/0/4/7", b"longer than before"), True),
        (lambda: (root / "x/a.ome.zarr/0/0/0/0/8/3").unlink(), True),
        (lambda: write(root, "x/a.ome.zarr/0/0/0/0/9/0"), True),
    ):
        change()
        (after,) = inventory(root, memory)
        assert after == inventory(root, None)[0]
        assert (after.fingerprint != before.fingerprint) == seen
        before = after
    (root / "x" / "a.ome.zarr").rename(root / "a.zarr")
    assert inventory(root, None)[0].fingerprint == before.fingerprint
