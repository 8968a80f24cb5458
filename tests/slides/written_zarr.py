"""OME-Zarr folders written by hand, chunk by chunk, without zarr."""

import gzip
import json
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

rng = np.random.default_rng(8)
PICTURE = np.kron(rng.integers(90, 230, (10, 12, 3)), np.ones((32, 32, 1)))[:301, :367].astype(np.uint8)
PICTURE += rng.integers(0, 20, PICTURE.shape, dtype=np.uint8)
LEVELS = [PICTURE, PICTURE[::2, ::2], PICTURE[::4, ::4]]
UM = "micrometer"


def axes_of(axes: str, unit: str | None = UM) -> list[dict[str, str]]:
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    return [one | ({"unit": unit} if unit and one["type"] == "space" else {}) for one in named]


def multiscales(axes: str, version: str, mpp: float = 0.25, unit: str | None = UM, levels: int = 3) -> list[Any]:
    scales = [[mpp * 2**level if axis in "xy" else 1.0 for axis in axes] for level in range(levels)]
    datasets = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for level, scale in enumerate(scales)
    ]
    return [{"version": version, "axes": axes_of(axes, unit), "datasets": datasets}]


def laid_out(picture: np.ndarray, axes: str) -> np.ndarray:
    """The picture (y, x, c) with its axes as they are named, t and z of one plane."""
    inner = picture.transpose(["yxc".index(axis) for axis in axes if axis in "yxc"])
    return inner.reshape([1 if axis in "tz" else picture.shape["yxc".index(axis)] for axis in axes])


def store_chunks(folder: Path, array: np.ndarray, chunks: tuple[int, ...], key: Any, encode: Any) -> None:
    """Write an array's chunks, those at the end filled up, as files."""
    for numbers in product(*(range(-(-size // part)) for size, part in zip(array.shape, chunks, strict=True))):
        piece = array[tuple(slice(n * part, (n + 1) * part) for n, part in zip(numbers, chunks, strict=True))]
        whole = np.zeros(chunks, array.dtype)
        whole[tuple(slice(size) for size in piece.shape)] = piece
        file = folder / key(numbers)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(whole.tobytes()))


def as_zarr2(
    path: Path, levels: list[np.ndarray] = LEVELS, axes: str = "tczyx", chunk: int = 64, together: int = 1, **told: Any
) -> Path:
    """Write NGFF 0.4 by hand, compressed with zlib. together: channels in a chunk."""
    folder = path / told.pop("inner", "")
    for number, picture in enumerate(levels):
        array = laid_out(picture, axes)
        sizes = {"t": 1, "z": 1, "c": together, "y": chunk, "x": chunk}
        chunks = tuple(sizes[axis] for axis in axes)
        place = folder / str(number)
        store_chunks(place, array, chunks, lambda numbers: "/".join(map(str, numbers)), zlib.compress)
        facts = {"zarr_format": 2, "shape": array.shape, "chunks": chunks, "dtype": array.dtype.str, "fill_value": 0}
        facts |= {"compressor": {"id": "zlib", "level": 1}, "filters": None, "order": "C", "dimension_separator": "/"}
        (place / ".zarray").write_text(json.dumps(facts))
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    image = multiscales(axes, "0.4", levels=len(levels), **told)
    (folder / ".zattrs").write_text(json.dumps({"multiscales": image}))
    return path


def as_zarr3(path: Path, levels: list[np.ndarray] = LEVELS, axes: str = "cyx", chunk: int = 64, **told: Any) -> Path:
    """Write NGFF 0.5 by hand, compressed with gzip."""
    for number, picture in enumerate(levels):
        array = laid_out(picture, axes)
        chunks = tuple({"t": 1, "z": 1, "c": array.shape[axes.index("c")]}.get(axis, chunk) for axis in axes)
        place = path / str(number)
        store_chunks(place, array, chunks, lambda numbers: "/".join(["c", *map(str, numbers)]), gzip.compress)
        facts = {"zarr_format": 3, "node_type": "array", "shape": array.shape, "data_type": "uint8", "fill_value": 0}
        facts |= {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}}}
        facts |= {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}}
        facts |= {"codecs": [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 1}}]}
        (place / "zarr.json").write_text(json.dumps(facts | {"attributes": {}}))
    ome = {"version": "0.5", "multiscales": multiscales(axes, "0.5", levels=len(levels), **told)}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    (path / "zarr.json").write_text(json.dumps(group))
    return path
