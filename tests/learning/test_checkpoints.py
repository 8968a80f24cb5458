"""Checkpoints on a disk that is full: one line, and the last whole one stays."""

from pathlib import Path

import pytest
import torch

from acinus.errors import WriteError
from acinus.learning import checkpoints
from acinus.learning.checkpoints import LAST, EpochRecord, Snapshot, save


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = Snapshot({"weight": torch.zeros(3)}, {}, {}, {}, (EpochRecord(1, 0.5, 0.5, 0.5, 0.5, 1e-3),))
    save(tmp_path, snapshot, every=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert LAST in before

    def full(state: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(checkpoints.torch, "save", full)
    with pytest.raises(WriteError, match=r"last\.ckpt: cannot be written \(\[enforce fail .*\); free space"):
        save(tmp_path, snapshot, every=1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
