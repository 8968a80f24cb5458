"""Whole tiles on their way into a shard: the slide's own bytes, read from where they lie, or a refusal."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import tifffile

from acinus.errors import AcinusError
from acinus.patches import shard
from acinus.patches.shard import Span, Spool
from acinus.patches.store import StoreFormat, open_store
from acinus.patches.writer import StoreWriter
from acinus.slides.jpeg_tiles import JpegTiles, tiles_of
from acinus.slides.slide import Slide

HEAD = b"\xff\xd8tables"
Change = Callable[[Path], object]


def slide_file(path: Path, count: int = 6, seed: int = 1) -> tuple[dict[str, Span], dict[str, bytes]]:
    """Write `count` runs of noise that end with an end marker; return their spans and, joined by hand, their bytes."""
    rng, spans, expected, data = np.random.default_rng(seed), {}, {}, b"some header"
    for number in range(count):
        body = rng.bytes(int(rng.integers(20, 300))) + b"\xff\xd9"
        key, head = f"{path.stem}/{number}_0", HEAD if number % 3 else b""
        spans[key], expected[key] = Span(head, path, len(data), len(body)), head + body
        data += body
    path.write_bytes(data)
    return spans, expected


def open_files(path: Path) -> int:
    """How many of this process's open files are this one."""
    return sum(link.resolve() == path.resolve() for link in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("room", [0, len(HEAD), 10**9])
def test_spans_and_bytes_come_back_in_the_order_of_their_keys(room: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shard, "IN_MEMORY", room)  # without room for a head, spans are bytes like any others
    given: dict[str, bytes] = {}
    with Spool(tmp_path) as spool:
        for seed, name in enumerate("ba"):
            spans, expected = slide_file(tmp_path / f"{name}.tif", seed=seed)
            for key, span in spans.items():
                spool.add(key, "x", span)
                spool.add(f"{key}1", "y", key.encode())
                given |= {key: expected[key], f"{key}1": key.encode()}
            assert [spool.data(entry) for entry in spool.entries()] == [given[key] for key in sorted(given)]
        assert [(one.key, one.size) for one in spool.entries()] == [(key, len(given[key])) for key in sorted(given)]
        assert spool.slides() == ("a", "b")
        assert spool.classes() == {"x": 12, "y": 12}


def test_spans_leave_nothing_in_the_spool_s_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shard, "IN_MEMORY", len(HEAD))
    spans, expected = slide_file(tmp_path / "s.tif")
    with Spool(tmp_path) as spool:
        for key, span in spans.items():
            spool.add(key, "x", span)
        assert [spool.data(entry) for entry in spool.entries()] == [expected[key] for key in sorted(expected)]
        spool._file.flush()
        assert os.fstat(spool._file.fileno()).st_size == 0


def test_heads_that_all_differ_do_not_fill_the_memory(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shard, "IN_MEMORY", 100)
    span = slide_file(tmp_path / "s.tif")[0]["s/5_0"]
    body = (tmp_path / "s.tif").read_bytes()[span.offset :]
    with Spool(tmp_path) as spool:
        for number in range(10):
            spool.add(f"s/{number}_0", "x", Span(bytes([number]) * 30, span.path, span.offset, span.count))
        assert [spool.data(entry) for entry in spool.entries()] == [bytes([number]) * 30 + body for number in range(10)]
        assert len(spool._origins) == 3


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
@pytest.mark.parametrize("fails", [False, True])
def test_slides_are_open_one_at_a_time_and_closed_in_the_end(fails: bool, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.tif" for name in "abc"]
    try:
        with Spool(tmp_path) as spool:
            for path in paths:
                for key, span in slide_file(path)[0].items():
                    spool.add(key, "x", span)
            assert sum(map(open_files, paths)) == 0
            for entry in spool.entries():
                spool.data(entry)
                assert sum(map(open_files, paths)) == 1
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert sum(map(open_files, paths)) == 0


def keep_time(path: Path, data: bytes) -> None:
    """Write other bytes into the file behind the back of its time."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, Change] = {
    "gone": lambda path: path.unlink(),
    "shorter": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "written again": lambda path: os.utime(path, (1, 1)),
    "other bytes": lambda path: keep_time(path, bytes(path.stat().st_size)),
}


@pytest.mark.parametrize(
    ("change", "opened"),
    [("gone", False), *((change, opened) for change in CHANGES if change != "gone" for opened in (False, True))],
)
def test_a_slide_that_changed_is_named(change: str, opened: bool, tmp_path: Path) -> None:
    spans, _ = slide_file(tmp_path / "s.tif")
    with Spool(tmp_path) as spool:
        for key, span in spans.items():
            spool.add(key, "x", span)
        first, *_, last = spool.entries()
        if opened:
            spool.data(first)
        CHANGES[change](tmp_path / "s.tif")
        with pytest.raises(AcinusError, match=r"^patch s/5_0: s\.tif: the slide changed while it was read; run"):
            spool.data(last)


def test_a_slide_that_is_gone_before_its_first_span(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool, pytest.raises(AcinusError, match=r"patch s/0_0: s\.tif: the slide changed"):
        spool.add("s/0_0", "x", Span(b"", tmp_path / "s.tif", 0, 4))


def test_fewer_bytes_than_there_should_be(tmp_path: Path) -> None:
    span = slide_file(tmp_path / "s.tif")[0]["s/5_0"]
    with Spool(tmp_path) as spool:
        spool.add("s/5_0", "x", Span(span.head, span.path, span.offset, span.count + 1))
        with pytest.raises(AcinusError, match=r"patch s/5_0: s\.tif: the slide changed"):
            spool.data(spool.entries()[0])


@pytest.mark.parametrize("backend", ["lmdb", "hdf5", "files"])
def test_a_store_of_spans_is_that_of_their_bytes(backend: str, tmp_path: Path) -> None:
    spans, expected = slide_file(tmp_path / "s.tif", 40)
    form = StoreFormat(backend, "source", 90, 64)  # type: ignore[arg-type]
    infos = []
    for name, patches in (("spans", spans), ("bytes", expected)):
        writer = StoreWriter(tmp_path / name, tmp_path / f"{name}-ledger", form)
        labelled = ((key, "ab"[number % 2], one) for number, (key, one) in enumerate(patches.items()))
        infos.append(writer.write_shard("s", "made-up", labelled))
        writer.finish(infos[-1:])
    assert infos[0] == infos[1]
    files = {path.relative_to(tmp_path / "bytes"): path for path in (tmp_path / "bytes").rglob("*") if path.is_file()}
    assert len(files) > 1
    for name, path in files.items():
        assert (tmp_path / "spans" / name).read_bytes() == path.read_bytes()
    open_store(tmp_path / "spans").verify()


@pytest.mark.parametrize("backend", ["lmdb", "hdf5", "files"])
def test_nothing_is_left_of_a_shard_whose_slide_changed(backend: str, tmp_path: Path) -> None:
    spans, _ = slide_file(tmp_path / "s.tif")
    writer = StoreWriter(tmp_path / "store", tmp_path / "ledger", StoreFormat(backend, "source", 90, 64))  # type: ignore[arg-type]

    def patches():
        for key, span in spans.items():
            yield key, "x", span
        (tmp_path / "s.tif").write_bytes(b"another slide")

    with pytest.raises(AcinusError, match="the slide changed while it was read"):
        writer.write_shard("s", "made-up", patches())
    assert [path for folder in ("store", "ledger") for path in (tmp_path / folder).rglob("*") if path.is_file()] == []


COMMENTS = {
    "none": b"",
    "a start of scan": b"\xff\xfe\x00\x0c\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03",
    "one at its end": b"\xff\xfe\x00\x04\xff\xda",
}
PADDING = b"\0\0\0"


def row_of_tiles(path: Path, tiles: list[bytes], photometric: str) -> Path:
    """A row of tiles of 64 px as they are given, b"" for a hole."""
    tifffile.imwrite(
        path, iter(tiles), shape=(64, 64 * len(tiles), 3), dtype=np.uint8, tile=(64, 64), photometric=photometric,
        compression="jpeg", compressionargs={"outcolorspace": photometric}, metadata=None,
    )  # fmt: skip
    return path


def lying(tiles: JpegTiles, path: Path, number: int) -> bytes:
    """The bytes of a tile, from the file and what `place` says of it."""
    head, offset, count = tiles.place(number)
    return head + path.read_bytes()[offset : offset + count]


@pytest.mark.parametrize("comment", list(COMMENTS))
@pytest.mark.parametrize("photometric", ["ycbcr", "rgb"])
def test_a_tile_lies_where_the_slide_says(photometric: str, comment: str, tmp_path: Path, picture) -> None:
    """An rgb slide's tiles say YCbCr: their headers are written anew."""
    jpegs = [bytes(simplejpeg.encode_jpeg(picture(64, 64, seed), 85, "RGB", "444")) for seed in range(3)]
    given = [one[:2] + COMMENTS[comment] + one[2:] for one in jpegs]
    path = row_of_tiles(tmp_path / "s.tif", [given[0], b"", given[1] + PADDING, given[2]], photometric)
    with Slide(path, "s") as slide:
        tiles = tiles_of(slide, 0)
        assert tiles is not None
        assert tiles.place(1) == (b"", 0, 0)
        for number, data in zip((0, 2, 3), given, strict=True):
            found = lying(tiles, path, number)
            assert found == tiles.data(number).rstrip(b"\0")
            assert (found == data) == (photometric == "ycbcr")
            assert simplejpeg.decode_jpeg(found, "GRAY").shape == (64, 64, 1)
        if comment == "none":  # what spans of one slide have in common is one object
            assert tiles.place(0)[0] is tiles.place(3)[0]


def test_headers_that_differ_are_not_taken_for_each_other(tmp_path: Path, picture) -> None:
    given = [bytes(simplejpeg.encode_jpeg(picture(64, 64), quality, "RGB", "444")) for quality in (60, 90, 60, 75)]
    path = row_of_tiles(tmp_path / "s.tif", given, "rgb")
    with Slide(path, "s") as slide:
        tiles = tiles_of(slide, 0)
        assert tiles is not None
        for number, data in enumerate(given):
            assert lying(tiles, path, number) == tiles.data(number)
            tables = data[data.find(b"\xff\xdb") : data.find(b"\xff\xc0")]  # of quantisation
            assert lying(tiles, path, number).count(tables) == 1
