"""The spool: what goes in comes out in the order of the keys, wherever it waited."""

from pathlib import Path

import numpy as np
import pytest

from acinus.patches import shard
from acinus.patches.shard import Spool


@pytest.mark.parametrize("room", [0, 1000, 10**9])
def test_bytes_come_back_from_memory_and_from_the_file(room: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shard, "IN_MEMORY", room)
    rng = np.random.default_rng(3)
    given = {f"{'ba'[n % 2]}/{n}_0": rng.bytes(int(rng.integers(0, 300))) for n in range(50)}
    with Spool(tmp_path) as spool:
        for number, (key, data) in enumerate(given.items()):
            spool.add(key, "xy"[number % 3 == 0], data)
            if number == 20:  # reading between two writes disturbs neither
                assert [spool.data(entry) for entry in spool.entries()] == [
                    given[key] for key in sorted(list(given)[:21])
                ]
        assert [(entry.key, spool.data(entry)) for entry in spool.entries()] == sorted(given.items())
        assert spool.slides() == ("a", "b")
        assert spool.classes() == {"x": 33, "y": 17}
    assert list(tmp_path.iterdir()) == []
