"""The description of a Zarr array (version 2 or 3) as far as a slide may have it: 8 bits, known codecs, bounded sizes.

Source: https://zarr-specs.readthedocs.io. The text is an outsider's. Of it only what is known here reaches `zarr`: by a
codec's name it runs that codec, and one of numcodecs' is pickle.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acinus.slides.pages import MAX_TILE_PX

FILES = {2: ".zarray", 3: "zarr.json"}
"""Version of Zarr -> name of the file that describes an array."""
MAX_JSON_BYTES = 2**24
"""Longest metadata file that is read; those of slides have some kB."""
_LARGEST = 2**24  # px along an edge: no slide has as many
_MOST_IN_SHARD = 2**20  # chunks
_CODECS = {2: frozenset({"blosc", "bz2", "gzip", "lz4", "zlib", "zstd"})}
_CODECS[3] = frozenset({"blosc", "bytes", "crc32c", "gzip", "transpose", "zstd"})
_KEYS = {"name": "default", "configuration": {"separator": "/"}}  # of chunks, where Zarr 3 does not say
_TYPE = re.compile(r"[<>|]?([a-z]+?)(\d*)\Z")


class NoSlideError(ValueError):
    """Sound metadata of something that is no slide of 8-bit RGB."""


@dataclass(frozen=True)
class Stored:
    """How an array is stored. All sizes are in the order of its axes.

    file_sizes: of what one chunk file holds; piece_sizes: of what is decoded alone, smaller than it in a shard.
    metadata: the description for `zarr`.
    """

    shape: tuple[int, ...]
    file_sizes: tuple[int, ...]
    piece_sizes: tuple[int, ...]
    metadata: dict[str, Any]


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON object of at most MAX_JSON_BYTES.

    Raises:
        ValueError, OSError: it is none, or cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is no file")
    with path.open("rb") as stream:
        data = stream.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise ValueError(f"{path.name} has more than {MAX_JSON_BYTES} bytes")
    try:
        return as_object(json.loads(data), path.name)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is no JSON object ({' '.join(str(error).split())[:80]})") from error


def as_object(value: object, what: str) -> dict[str, Any]:
    """Return a JSON object, or raise what else it is."""
    if isinstance(value, dict):
        return value
    raise ValueError(f"{what}: {str(value)[:40]!r}; expected an object")


def as_list(value: object, what: str) -> list[Any]:
    """Return a JSON list that is not empty, or raise what else it is."""
    if isinstance(value, list) and value:
        return value
    raise ValueError(f"{what}: {str(value)[:40]!r}; expected a list")


def stored(told: dict[str, Any], version: int, axes: str) -> Stored:
    """Return how an array is stored. told: its description; axes: a letter each, of t, c, z, y, x.

    Raises:
        NoSlideError: sound, but no 8-bit RGB in one plane, or not decoded here.
        ValueError: damaged.
    """
    shape = _sizes(told.get("shape"), len(axes))
    planes = math.prod(size for size, axis in zip(shape, axes, strict=True) if axis in "tz")
    channels = shape[axes.index("c")] if "c" in axes else 1
    if why := _unfit(str(told.get("data_type" if version == 3 else "dtype")), channels, planes):
        raise NoSlideError(why)
    array = (_zarr3 if version == 3 else _zarr2)(told, shape)
    values = math.prod(array.piece_sizes)
    if values > 4 * MAX_TILE_PX:
        raise NoSlideError(f"chunks of {values} values, more than {4 * MAX_TILE_PX}; save it in smaller chunks")
    return array


def _unfit(kind: str, channels: int, planes: int) -> str:
    """Return why an array is no slide, or ""."""
    found = _TYPE.match(kind)
    bits = 0 if found is None else int(found[2] or 0) * (8 if len(found[1]) == 1 else 1)
    if bits > 8:
        return f"{bits} bits per sample; only 8 are read"
    if found is None or found[1] not in ("u", "uint") or bits != 8:
        return f"samples of type {kind[:20]}; expected RGB of 8 bits"
    if channels not in (3, 4):
        return f"{channels} channel{'s' if channels > 1 else ''} per px: grey or fluorescence; only RGB is read"
    return f"{planes} focal planes or times; write one of them to a file" if planes > 1 else ""


def _zarr2(told: dict[str, Any], shape: tuple[int, ...]) -> Stored:
    chunks, compressor = _sizes(told.get("chunks"), len(shape)), told.get("compressor")
    if told.get("filters"):
        raise NoSlideError("its chunks went through filters; save it without them")
    if compressor is not None:
        _check_codec(as_object(compressor, "compressor").get("id"), 2)
    kept = {key: told[key] for key in ("order", "dimension_separator") if key in told}
    metadata = {"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": "|u1", "fill_value": _fill(told)}
    metadata |= {"order": "C", "compressor": compressor, "filters": None, "attributes": {}} | kept
    return Stored(shape, chunks, chunks, metadata)


def _zarr3(told: dict[str, Any], shape: tuple[int, ...]) -> Stored:
    grid = as_object(told.get("chunk_grid"), "chunk_grid")
    if grid.get("name") != "regular" or told.get("storage_transformers"):
        raise NoSlideError("its chunks lie on no regular grid, or in a storage of another kind")
    chunks = _sizes(as_object(grid.get("configuration"), "chunk_grid").get("chunk_shape"), len(shape))
    codecs, pieces = as_list(told.get("codecs"), "codecs"), chunks
    first = as_object(codecs[0], "codecs")
    if first.get("name") == "sharding_indexed" and len(codecs) == 1:
        inner = as_object(first.get("configuration"), "sharding_indexed")
        pieces = _sizes(inner.get("chunk_shape"), len(shape))
        _check_codecs(as_list(inner.get("codecs"), "codecs") + as_list(inner.get("index_codecs"), "index_codecs"))
        if math.prod(-(-whole // part) for whole, part in zip(chunks, pieces, strict=True)) > _MOST_IN_SHARD:
            raise NoSlideError(f"shards of more than {_MOST_IN_SHARD} chunks")
    else:
        _check_codecs(codecs)
    metadata = {"zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "uint8", "chunk_grid": grid}
    metadata |= {"codecs": codecs, "chunk_key_encoding": told.get("chunk_key_encoding", _KEYS)}
    return Stored(shape, chunks, pieces, metadata | {"fill_value": _fill(told), "attributes": {}})


def _check_codecs(codecs: list[Any]) -> None:
    for codec in codecs:
        _check_codec(as_object(codec, "codecs").get("name"), 3)


def _check_codec(name: object, version: int) -> None:
    if not isinstance(name, str) or name not in _CODECS[version]:
        known = ", ".join(sorted(_CODECS[version] - {"bytes", "crc32c", "transpose"}))
        raise NoSlideError(f"codec {str(name)[:40]!r} is not read; save it with one of {known}")


def _fill(told: dict[str, Any]) -> int:
    """Return the value of px whose chunk is not stored."""
    value = told.get("fill_value")
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= 255:
        raise ValueError(f"fill_value {str(value)[:20]}; expected 0 to 255")
    return value


def _sizes(value: object, count: int) -> tuple[int, ...]:
    """Return `count` whole numbers of px, above 0."""
    sizes = value if isinstance(value, list) else []
    if len(sizes) != count or not all(type(size) is int and 0 < size < _LARGEST for size in sizes):
        raise ValueError(f"sizes {str(value)[:60]}; expected {count} whole numbers, one per axis")
    return tuple(sizes)
