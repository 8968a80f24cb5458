"""One contract for every backend of the patch store; each backend's class inherits it."""

import importlib.util
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from acinus import params
from acinus.errors import AcinusError, WriteError
from acinus.patches import store as store_module
from acinus.patches.codec import CODECS, JPEG_CODECS, decode, encode
from acinus.patches.shard import StoreDamageError
from acinus.patches.store import BACKENDS, StoreFormat, open_store
from acinus.patches.writer import StoreWriter, plan_shards

PROGRAM = Path(__file__).with_name("store_writing.py")
_spec = importlib.util.spec_from_file_location("store_writing", PROGRAM)
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)
PX = made.PX

ALL = sorted((key, label, image.tobytes()) for shard in made.SHARDS for key, label, image in made.patches(shard))
IMAGES = {key: np.frombuffer(data, np.uint8).reshape(PX, PX, 3) for key, _, data in ALL}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def run(*arguments: object) -> None:
    subprocess.run([sys.executable, PROGRAM, *map(str, arguments)], check=True, timeout=60)


def read_all(store: object, keys: list[str]) -> bytes:
    return b"".join(store.read(key).tobytes() for key in keys)


def _in_child(store: object, queue: object) -> None:
    queue.put(read_all(store, sorted(IMAGES)))


class StoreContract:
    """What every backend promises."""

    backend: str
    codec = "png"  # one that every backend can keep and that is exact

    @pytest.fixture
    def form(self) -> StoreFormat:
        return StoreFormat(self.backend, self.codec, 90, PX)

    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Path:
        return tmp_path / "ledger"

    @pytest.fixture
    def folder(self, tmp_path: Path, ledger: Path, form: StoreFormat) -> Path:
        made.write(tmp_path / "store", ledger, form)
        return tmp_path / "store"

    def shard_file(self, folder: Path, shard: str) -> Path:
        return folder / "shards" / f"{shard}{BACKENDS[self.backend].suffix}"

    def codecs(self) -> list[str]:
        return [name for name, codec in CODECS.items() if codec.suffix or not BACKENDS[self.backend].image_files]

    # -- what goes in comes out

    def test_pixels_are_those_of_the_codec_in_every_backend(self, tmp_path: Path):
        for codec in self.codecs():
            made.write(tmp_path / codec, tmp_path / "ledger" / codec, StoreFormat(self.backend, codec, 90, PX))
            store = open_store(tmp_path / codec)
            assert store.keys() == sorted(IMAGES)
            for key, image in IMAGES.items():
                read = store.read(key)
                assert read.dtype == np.uint8
                assert np.array_equal(read, decode(encode(image, codec, 90), codec))
                assert np.array_equal(read, image) or codec in JPEG_CODECS
            store.verify()
            store.close()

    def test_store_json_says_what_is_there(self, folder: Path):
        index = json.loads((folder / "store.json").read_text())
        assert (index["version"], index["backend"], index["codec"], index["patch_px"]) == (1, self.backend, "png", PX)
        assert index["jpeg_quality"] is None
        assert index["count"] == len(ALL) == 48
        assert index["classes"] == {"normal": 36, "tumor": 12}  # 12 + 3 x 8 and 3 x 4
        assert [shard["name"] for shard in index["shards"]] == sorted(made.SHARDS)
        assert [shard["slides"] for shard in index["shards"]] == [made.SHARDS[name] for name in sorted(made.SHARDS)]

    def test_unknown_and_malformed_keys_are_refused(self, folder: Path):
        store = open_store(folder)
        for key in ("tumor_001/9999_0", "tumor_999/0_0"):
            with pytest.raises(AcinusError, match=f"no patch {key}"):
                store.read(key)
        with pytest.raises(AcinusError, match="expected <slide_id>"):
            store.read("../../etc/passwd")

    def test_many_at_once_are_each_as_read_alone_in_the_order_asked(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(store_module, "MAX_OPEN", 1)
        store = open_store(folder)
        keys = sorted(IMAGES, key=lambda key: key[::-1])  # back and forth between shards
        keys += keys[:5]
        found = store.read_many(keys)
        assert (found.shape, found.dtype) == ((len(keys), PX, PX, 3), np.uint8)
        assert found.tobytes() == b"".join(IMAGES[key].tobytes() for key in keys)
        found[:] = 0  # the caller's own memory, not the store's
        assert np.array_equal(store.read_many(keys[:1])[0], IMAGES[keys[0]])
        assert store.read_many([]).shape == (0, PX, PX, 3)
        visited = list(store.visit(keys))
        assert sorted(at for at, _ in visited) == list(range(len(keys)))
        assert all(np.array_equal(image, IMAGES[keys[at]]) for at, image in visited)
        shards = [
            next(name for name, slides in made.SHARDS.items() if keys[at].split("/")[0] in slides) for at, _ in visited
        ]
        assert shards == sorted(shards)  # each shard once

    def test_one_unknown_or_malformed_key_among_many_is_refused_by_name(self, folder: Path):
        store, known = open_store(folder), sorted(IMAGES)[:3]
        for key in ("tumor_001/9999_0", "tumor_999/0_0", "shard-00007/0_0"):
            with pytest.raises(AcinusError, match=f"no patch {key}"):
                store.read_many([*known, key])
        for key in ("tumor_001/0_0/../1_1", "tumor_001/0_0\0", "tumor_001/", "tumor_001", ""):
            with pytest.raises(AcinusError, match="expected <slide_id>"):
                store.read_many([*known, key])
        assert np.array_equal(store.read(known[0]), IMAGES[known[0]])

    def test_an_empty_store_and_an_empty_shard_are_valid(self, tmp_path: Path, form: StoreFormat):
        writer = StoreWriter(tmp_path / "store", tmp_path / "ledger", form)
        writer.finish([])
        assert open_store(tmp_path / "store").keys() == []
        writer.finish([writer.write_shard("empty", "1", [])])
        store = open_store(tmp_path / "store")
        store.verify()
        assert store.keys() == []

    # -- the same bytes

    def test_bytes_do_not_depend_on_process_or_order(self, tmp_path: Path):
        for name in ("one", "two"):
            run(tmp_path / name, tmp_path / "ledger" / name, self.backend, ",".join(self.codecs()))
        for codec in self.codecs():
            here = StoreWriter(
                tmp_path / "three" / codec, tmp_path / "third" / codec, StoreFormat(self.backend, codec, 90, PX)
            )
            turned = [here.write_shard(name, "x", reversed(list(made.patches(name)))) for name in reversed(made.SHARDS)]
            here.finish(turned)
            one, two, three = (tree(tmp_path / name / codec) for name in ("one", "two", "three"))
            assert one == two == three
            assert one

    def test_files_have_no_holes_and_little_waste(self, tmp_path: Path):
        px, count = 64, 60
        writer = StoreWriter(tmp_path / "s", tmp_path / "l", StoreFormat(self.backend, "png", 90, px))
        rng = np.random.default_rng(0)
        noise = [rng.integers(0, 256, (px, px, 3), dtype=np.uint8) for _ in range(count)]
        writer.write_shard("a", "1", ((f"a/{i}_0", "normal", image) for i, image in enumerate(noise)))
        payload = sum(len(encode(image, "png", 90)) for image in noise)
        files = [path.stat() for path in (tmp_path / "s").rglob("*") if path.is_file()]
        page = 4096  # of LMDB, which keeps a value in whole pages
        assert sum(one.st_size for one in files) < payload + count * 1.1 * page + 16 * page
        assert all(one.st_blocks * 512 >= one.st_size for one in files)

    # -- whole or absent

    def test_a_shard_that_fails_leaves_nothing(self, tmp_path: Path, form: StoreFormat):
        def failing() -> Iterator[tuple[str, str, np.ndarray]]:
            yield from list(made.patches("tumor_003"))[:5]
            raise AcinusError("slide tumor_003: damaged")

        writer = StoreWriter(tmp_path / "store", tmp_path / "ledger", form)
        with pytest.raises(AcinusError, match="damaged"):
            writer.write_shard("tumor_003", "1", failing())
        assert tree(tmp_path) == {}
        assert writer.finished("tumor_003", "1") is None

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
    def test_a_killed_writer_goes_on_at_the_next_shard(self, tmp_path: Path, form: StoreFormat, folder: Path):
        store, ledger = tmp_path / "killed" / self.codec, tmp_path / "killed-ledger" / self.codec
        second = list(made.SHARDS)[1]
        places = [str(store.parent), str(ledger.parent)]
        command = [sys.executable, str(PROGRAM), *places, self.backend, self.codec, second, "9"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"waiting\n"
            process.send_signal(signal.SIGKILL)
        final = [path for path in tree(store) if ".part/" not in path]
        assert final
        assert not [path for path in final if second in path]
        with pytest.raises(AcinusError, match="no finished patch store"):
            open_store(store)
        assert made.write(store, ledger, form) == list(made.SHARDS)[1:]
        assert tree(store) == tree(folder)
        assert sorted(store.rglob(".*")) == []

    def test_a_finished_store_is_not_written_again(self, folder: Path, ledger: Path, form: StoreFormat):
        before = {path: path.stat().st_mtime_ns for path in (folder / "shards").iterdir()}
        assert made.write(folder, ledger, form) == []
        assert before == {path: path.stat().st_mtime_ns for path in (folder / "shards").iterdir()}

    def test_a_shard_of_other_rows_is_replaced_and_what_is_not_planned_goes(
        self, folder: Path, ledger: Path, form: StoreFormat
    ):
        writer = StoreWriter(folder, ledger, form)
        assert writer.finished("normal_001", "made-up 2") is None
        info = writer.write_shard("normal_001", "made-up 2", list(made.patches("normal_001"))[:2])
        with pytest.raises(AcinusError, match="no finished patch store"):
            open_store(folder)
        writer.finish([info])
        store = open_store(folder)
        store.verify()
        assert store.keys() == ["normal_001/0_0", "normal_001/16_0"]
        assert not [path for path in [*tree(folder), *tree(ledger)] if "tumor" in path or "shard-" in path]
        assert writer.finished("normal_001", "made-up 1") is None
        note = writer.finished("normal_001", "made-up 2")
        assert note is not None
        assert note.shard == info

    def test_a_damaged_shard_is_written_again(self, folder: Path, ledger: Path, form: StoreFormat):
        whole = tree(folder)
        path = self.shard_file(folder, "tumor_003")
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
        assert made.write(folder, ledger, form) == ["tumor_003"]
        assert tree(folder) == whole

    def test_another_backend_takes_the_folder_over(self, folder: Path, ledger: Path):
        other = "hdf5" if self.backend != "hdf5" else "lmdb"
        made.write(folder, ledger, StoreFormat(other, "png", 90, PX))
        fresh = folder.with_name("fresh")
        made.write(fresh, folder.with_name("fresh-ledger"), StoreFormat(other, "png", 90, PX))
        assert tree(folder) == tree(fresh)
        assert sorted(path.name for path in folder.iterdir()) == ["shards", "store.json"]

    # -- damage is found and named

    def test_damage_is_named_and_the_rest_is_not(self, folder: Path):
        flipped, cut, gone = (self.shard_file(folder, shard) for shard in made.SHARDS)
        data = bytearray(flipped.read_bytes())
        data[len(data) // 2] ^= 1
        flipped.write_bytes(data)
        open_store(folder)  # opening is cheap: it is verify that reads all
        with pytest.raises(StoreDamageError, match=r"shard normal_001: .* has other bytes") as caught:
            open_store(folder).verify()
        assert "tumor_003" not in str(caught.value)
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
        gone.unlink()
        with pytest.raises(StoreDamageError) as caught:
            open_store(folder).verify()
        message = str(caught.value)
        assert "\n" not in message
        for words in (
            "shard normal_001: ",
            "shard shard-00007: ",
            "bytes, expected",
            f"{gone.name} is missing",
            "dvc repro",
        ):
            assert words in message

    def test_reading_from_a_cut_shard_is_an_error_not_a_crash(self, folder: Path):
        path = self.shard_file(folder, "tumor_003")
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(StoreDamageError, match="shard tumor_003"):
            open_store(folder).read("tumor_003/0_0")

    def test_a_file_of_another_kind_and_the_same_size_is_refused(self, folder: Path):
        path = self.shard_file(folder, "tumor_003")
        path.write_bytes(b"\0" * path.stat().st_size)
        with pytest.raises(StoreDamageError, match="shard tumor_003"):
            open_store(folder).read("tumor_003/0_0")

    # -- reading from many processes, many shards, many stores

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not list open files in /proc")
    def test_few_shards_are_open_at_a_time(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(store_module, "MAX_OPEN", 1)
        store = open_store(folder)
        keys = sorted(IMAGES, key=lambda key: key[::-1])  # back and forth between shards
        assert read_all(store, keys) == b"".join(IMAGES[key].tobytes() for key in keys)
        links = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
        assert len([link for link in links if link.is_relative_to(folder)]) <= 1

    def test_two_stores_over_one_folder_read_side_by_side(self, folder: Path):
        first, second = open_store(folder), open_store(folder)
        assert read_all(first, sorted(IMAGES)) == read_all(second, sorted(IMAGES))
        first.close()
        assert np.array_equal(second.read("tumor_003/0_0"), IMAGES["tumor_003/0_0"])
        assert np.array_equal(first.read("tumor_003/0_0"), IMAGES["tumor_003/0_0"])  # opens again

    def test_a_store_travels_by_pickle_without_open_files(self, folder: Path):
        store = open_store(folder)
        store.read("tumor_003/0_0")
        data = pickle.dumps(store)
        assert len(data) < 4000
        assert np.array_equal(pickle.loads(data).read("tumor_003/0_0"), IMAGES["tumor_003/0_0"])

    @pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
    def test_a_forked_child_reads_while_the_parent_has_shards_open(self, folder: Path):
        context = multiprocessing.get_context("fork")
        store = open_store(folder)
        expected = read_all(store, sorted(IMAGES))
        queue = context.Queue()
        child = context.Process(target=_in_child, args=(store, queue))
        child.start()
        got = queue.get(timeout=60)
        child.join(60)
        assert child.exitcode == 0
        assert got == expected == read_all(store, sorted(IMAGES))

    def test_a_spawned_process_reads_a_store_it_was_sent(self, folder: Path):
        script = (
            "import pickle, sys\n"
            "store = pickle.load(sys.stdin.buffer)\n"
            "for key in store.keys(): sys.stdout.buffer.write(store.read(key).tobytes())\n"
        )
        store = open_store(folder)
        expected = read_all(store, sorted(IMAGES))
        child = subprocess.run(
            [sys.executable, "-c", script], input=pickle.dumps(store), capture_output=True, timeout=60
        )
        assert child.returncode == 0, child.stderr.decode()
        assert child.stdout == expected

    # -- what may not go in

    def test_a_patch_of_another_size_or_type_is_refused_by_key(self, tmp_path: Path, form: StoreFormat):
        writer = StoreWriter(tmp_path / "s", tmp_path / "l", form)
        for image in (np.zeros((PX, PX + 1, 3), np.uint8), np.zeros((PX, PX, 3), np.int16)):
            with pytest.raises(AcinusError, match="patch a/0_0"):
                writer.write_shard("a", "1", [("a/0_0", "normal", image)])

    def test_keys_names_and_classes_from_outside_cannot_leave_the_folder(self, tmp_path: Path, form: StoreFormat):
        writer = StoreWriter(tmp_path / "s", tmp_path / "l", form)
        image = np.zeros((PX, PX, 3), np.uint8)
        for name, key, label in (
            ("../a", "a/0_0", "n"),
            ("a", "../a/0_0", "n"),
            ("a", "a/0_0", "../n"),
            ("a", "a/0_0", ""),
        ):
            with pytest.raises(AcinusError):
                writer.write_shard(name, "1", [(key, label, image)])
        assert tree(tmp_path) == {}

    def test_a_key_twice_is_refused(self, tmp_path: Path, form: StoreFormat):
        patch = ("a/0_0", "normal", np.zeros((PX, PX, 3), np.uint8))
        with pytest.raises(AcinusError, match="a/0_0 comes twice"):
            StoreWriter(tmp_path / "s", tmp_path / "l", form).write_shard("a", "1", [patch, patch])

    def test_a_slide_in_two_shards_is_refused(self, tmp_path: Path, form: StoreFormat):
        writer = StoreWriter(tmp_path / "s", tmp_path / "l", form)
        image = np.zeros((PX, PX, 3), np.uint8)
        halves = [writer.write_shard(name, "1", [(f"a/{x}_0", "normal", image)]) for name, x in (("p", 0), ("q", 16))]
        with pytest.raises(AcinusError, match="slide a is in shards p and q"):
            writer.finish(halves)

    def test_a_path_that_cannot_be_written_is_one_clear_line(self, tmp_path: Path, form: StoreFormat):
        (tmp_path / "file").write_text("")
        writer = StoreWriter(tmp_path / "file" / "store", tmp_path / "l", form)
        with pytest.raises(AcinusError, match="cannot write here"):
            writer.write_shard("a", "1", [])


class TestLmdb(StoreContract):
    """LMDB files."""

    backend = "lmdb"

    def test_a_shard_longer_than_a_transaction_is_whole_and_the_same_twice(self, tmp_path: Path):
        image = np.zeros((1, 1, 3), np.uint8)
        for name in ("one", "two"):
            writer = StoreWriter(tmp_path / name, tmp_path / "l" / name, StoreFormat("lmdb", "raw", 90, 1))
            writer.finish([writer.write_shard("a", "1", ((f"a/{i}_0", "normal", image) for i in range(2500)))])
        assert len(open_store(tmp_path / "one").keys()) == 2500
        assert tree(tmp_path / "one") == tree(tmp_path / "two")

    def test_reading_leaves_no_lock_file(self, folder: Path):
        before = sorted(tree(folder))
        read_all(open_store(folder), sorted(IMAGES))
        assert sorted(tree(folder)) == before


class TestHdf5(StoreContract):
    """HDF5 files."""

    backend = "hdf5"


class TestFiles(StoreContract):
    """Image files."""

    backend = "files"

    def test_raw_is_refused_with_what_to_choose(self):
        with pytest.raises(AcinusError, match=r"extract.codec = 'raw' .* jpeg, png"):
            StoreFormat("files", "raw", 90, PX)

    def test_image_folder_layout(self, folder: Path):
        """A plain walk as ImageFolder does it: classes are the sorted first folders, samples all files below."""
        images = folder / "images"
        assert sorted(path.name for path in images.iterdir()) == ["normal", "tumor"]
        found = sorted((path.stem, path.relative_to(images).parts[0]) for path in images.rglob("*.png"))
        assert found == sorted((key.replace("/", "_"), label) for key, label, _ in ALL)

    def test_torchvision_reads_the_same_pixels(self, folder: Path):
        script = (
            "import sys, numpy as np\n"
            "from acinus.learning import torchvision_hook\n"
            "torchvision_hook.install()\n"
            "from torchvision.datasets import ImageFolder\n"
            "data = ImageFolder(sys.argv[1])\n"
            "print(data.classes, len(data), [data.targets.count(i) for i in (0, 1)],\n"
            "      int(sum(np.asarray(image).sum(dtype='int64') for image, _ in data)))\n"
        )
        if importlib.util.find_spec("acinus.learning.torchvision_hook") is None:
            pytest.skip("acinus.learning.torchvision_hook, which makes torchvision importable, is absent")
        result = subprocess.run(
            [sys.executable, "-c", script, folder / "images"], capture_output=True, text=True, timeout=120
        )
        assert result.returncode == 0, result.stderr
        total = sum(int(image.sum(dtype="int64")) for image in IMAGES.values())
        assert result.stdout.strip() == f"['normal', 'tumor'] 48 [36, 12] {total}"

    @pytest.mark.parametrize("harm", ["flip", "cut", "remove", "add"])
    def test_every_image_is_verified(self, folder: Path, ledger: Path, form: StoreFormat, harm: str):
        path = folder / "images" / "tumor" / "tumor_003" / "tumor_003_0_0.png"
        data = bytearray(path.read_bytes())
        if harm == "flip":
            data[len(data) // 2] ^= 1
        changed = {"flip": data, "cut": data[:-9], "remove": b"", "add": data}[harm]
        path.write_bytes(changed)
        if harm == "remove":
            path.unlink()
        if harm == "add":
            path.with_name("tumor_003_7_7.png").write_bytes(data)
        with pytest.raises(StoreDamageError, match=r"shard tumor_003: tumor_003_._.\.png") as caught:
            open_store(folder).verify()
        assert "shard-00007" not in str(caught.value)
        assert made.write(folder, ledger, form) == ["tumor_003"]
        open_store(folder).verify()

    def test_what_a_killed_writer_left_between_two_renames_is_cleaned(
        self, tmp_path: Path, folder: Path, form: StoreFormat
    ):
        killed = tmp_path / "killed"
        for left in ("tumor/tumor_003", "normal/gone_001", "normal/.tumor_003.x1.part", "old/a"):
            path = killed / "images" / left
            path.mkdir(parents=True)
            (path / "tumor_003_9_9.png").write_bytes(b"left")
        made.write(killed, tmp_path / "killed-ledger", form)
        assert tree(killed) == tree(folder)
        assert sorted(path.name for path in (killed / "images").iterdir()) == ["normal", "tumor"]

    def test_a_class_that_a_shard_no_longer_has_leaves_no_images(self, folder: Path, ledger: Path, form: StoreFormat):
        writer = StoreWriter(folder, ledger, form)
        normals = [(key, "normal", image) for key, _, image in made.patches("tumor_003")]
        writer.finish([writer.write_shard("tumor_003", "2", normals)])
        assert {path.parts[-3] for path in folder.rglob("*.png")} == {"normal"}
        assert sorted(path.name for path in (folder / "images").iterdir()) == ["normal"]


def test_the_recipe_offers_the_backends_there_are():
    assert set(get_args(params.Extract.model_fields["backend"].annotation)) == set(BACKENDS)
    assert {kind.backend for kind in StoreContract.__subclasses__()} == set(BACKENDS)


def test_hdf5_begins_no_shard_that_the_disk_has_no_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """libhdf5 ends with a segmentation fault when a disk fills up under it."""
    usage = SimpleNamespace(free=2**20 + 100)
    monkeypatch.setattr("acinus.patches.hdf5_store.shutil.disk_usage", lambda folder: usage)
    form = StoreFormat("hdf5", "raw", 90, PX)
    with pytest.raises(WriteError, match=r"normal_001\.h5: needs \d+ bytes, \d+ are free; free space"):
        made.write(tmp_path / "store", tmp_path / "ledger", form)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    usage.free = 2**30
    assert made.write(tmp_path / "store", tmp_path / "ledger", form) == list(made.SHARDS)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(AcinusError, match="no finished patch store"):
            open_store(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "store version 2, this program reads 1"),
        ({"version": None}, "store version None"),
        ({"codec": "gif"}, "codec"),
        ({"shards": [{"name": "x"}]}, "shards.0"),
        ({"shards": [{"name": "../x", "count": 0, "bytes": 0, "sha256": "", "slides": [], "classes": {}}]}, "not safe"),
    ],
)
def test_a_store_json_of_another_kind_is_refused(tmp_path: Path, change: dict[str, object], words: str):
    StoreWriter(tmp_path, tmp_path / "l", StoreFormat("lmdb", "png", 90, PX)).finish([])
    path = tmp_path / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AcinusError, match=words) as caught:
        open_store(tmp_path)
    assert "\n" not in str(caught.value)


def test_small_cohorts_have_a_shard_per_slide_and_large_ones_a_bounded_number():
    few = [f"s{i}" for i in range(5)]
    assert plan_shards(reversed(few), 5) == {name: [name] for name in few}
    many = [f"slide_{i}" for i in range(2000)]
    plan = plan_shards(many, 64)
    assert len(plan) <= 64
    assert sorted(slide for slides in plan.values() for slide in slides) == sorted(many)
    assert max(map(len, plan.values())) < 3 * 2000 / 64
    assert plan["shard-00000"] == sorted(plan["shard-00000"])
    more = plan_shards([*many, "new"], 64)  # one slide more changes one shard
    assert sum(more.get(name) != slides for name, slides in plan.items()) <= 1
