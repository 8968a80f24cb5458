"""Time and memory of files with many outlines."""

import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from acinus.annotations.frame import Frame
from acinus.annotations.reading import read_annotations

EDGE0 = 80_000


def cells(count: int) -> Iterator[str]:
    """Cells of 20 corners as features."""
    random = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for number in range(count):
        ring = np.round(random.uniform(100, EDGE0 - 100, 2) + random.uniform(5, 40) * circle, 2).tolist()
        geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        properties = {"objectType": "cell", "classification": {"name": f"class {number % 3}"}}
        yield json.dumps({"type": "Feature", "id": str(number), "geometry": geometry, "properties": properties})


def write(path: Path, count: int) -> Path:
    path.write_text('{"type": "FeatureCollection", "features": [' + ",\n".join(cells(count)) + "]}")
    return path


def seconds(path: Path, count: int) -> float:
    """Read a file; the CPU's time that it took."""
    start = time.process_time()
    assert len(read_annotations(path, Frame(EDGE0, EDGE0)).outlines) == count
    return time.process_time() - start


@pytest.mark.parametrize("count", [2_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_time_grows_with_the_number_of_outlines(tmp_path: Path, count: int) -> None:
    """With 200,000 of them too: four times as many take about four times as long (16 times, were it quadratic)."""
    few, many = write(tmp_path / "few.geojson", count), write(tmp_path / "many.geojson", 4 * count)
    seconds(few, count)  # warm
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    least = min(seconds(few, count) for _ in range(2))
    assert seconds(many, 4 * count) < 9 * least
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 5 * many.stat().st_size + 2**26
