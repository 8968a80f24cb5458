"""Writes a store of made-up patches; run as a program by the store tests, since bytes must not depend on the process.

usage: store_writing.py FOLDER LEDGER BACKEND CODEC,CODEC... [SHARD PATCH]
writes FOLDER/<codec> each; at that patch of that shard, waits to be killed.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from acinus.patches.keys import patch_key
from acinus.patches.store import StoreFormat
from acinus.patches.writer import StoreWriter

PX = 16
SHARDS = {"normal_001": ["normal_001"], "shard-00007": ["tumor_001", "tumor_002"], "tumor_003": ["tumor_003"]}


def pixels(slide_id: str, number: int) -> np.ndarray:
    """One patch: noise over a tint, the same in every process."""
    rng = np.random.default_rng([number, *slide_id.encode()])
    image: np.ndarray = rng.integers(0, 60, (PX, PX, 3), dtype=np.uint8) + rng.integers(0, 190, 3, dtype=np.uint8)
    return image


def patches(shard: str, count: int = 12) -> Iterator[tuple[str, str, np.ndarray]]:
    """The patches of a shard, not in the order of their keys."""
    for slide_id in SHARDS[shard]:
        for number in range(count):
            label = "tumor" if slide_id.startswith("tumor") and number % 3 == 0 else "normal"
            yield patch_key(slide_id, PX * (number % 5), PX * (number // 5)), label, pixels(slide_id, number)


def write(folder: Path, ledger: Path, form: StoreFormat, stop_at: tuple[str, int] | None = None) -> list[str]:
    """Write what is not finished, then store.json; return the shards that were written."""
    writer, infos, written = StoreWriter(folder, ledger, form), [], []
    for name in SHARDS:
        note = writer.finished(name, "made-up 1")
        if note is not None:
            infos.append(note.shard)
        else:
            source = patches(name) if stop_at is None or stop_at[0] != name else _waiting(name, stop_at[1])
            infos.append(writer.write_shard(name, "made-up 1", source))
            written.append(name)
    writer.finish(infos)
    return written


def _waiting(shard: str, stop_at: int) -> Iterator[tuple[str, str, np.ndarray]]:
    for number, patch in enumerate(patches(shard)):
        if number == stop_at:
            print("waiting", flush=True)
            time.sleep(60)
        yield patch


if __name__ == "__main__":
    folder, ledger, backend, codecs, *stop = sys.argv[1:]
    for codec in codecs.split(","):
        form = StoreFormat(backend, codec, 90, PX)  # type: ignore[arg-type]
        write(Path(folder, codec), Path(ledger, codec), form, (stop[0], int(stop[1])) if stop else None)
