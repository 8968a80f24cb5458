"""The features of one slide's patches as HDF5, in the layout that CLAM's and TRIDENT's readers take.

`features` (n, d) float32 or float16 beside `coords` (n, 2) int64, corners in level-0 px, with TRIDENT's attributes; of
patches that a map chose also `prob` and `top`. Rows lie by y0, then x0. Every dataset carries HDF5's own checksums
(fletcher32), which every reader checks. A file says in `acinus_key` what it was made from.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from acinus.embedding.hdf5 import REMEDY, dataset, opened
from acinus.errors import AcinusError, SlideError, WriteError, brief
from acinus.files import atomic_path

FORMAT = 1
SUFFIX = ".h5"
CHUNK_BYTES = 1 << 18
BLOCK_BYTES = 1 << 26
"""So much of a file is checked at a time."""
MAX_WIDTH = 65_536
MAGNIFICATIONS = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5))
"""um per px below which a slide counts as scanned at so many times, as TRIDENT takes it."""


@dataclass(frozen=True, eq=False)
class Patches:
    """Where the patches of a slide lie, row by row.

    width, height: the slide, level-0 px. mpp: um per level-0 px, None where unknown. x0, y0: int64 (n,), corners in
    level-0 px. downsample: level-0 px per patch px. prob, top: float64 and bool (n,) where a map chose the patches (see
    `bags.Bag`), else None.
    """

    slide_id: str
    width: int
    height: int
    mpp: float | None
    x0: np.ndarray
    y0: np.ndarray
    downsample: float
    patch_px: int
    stride_px: int
    prob: np.ndarray | None = None
    top: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.x0.size)

    @property
    def edge0(self) -> float:
        """Edge of a patch, level-0 px."""
        return self.patch_px * self.downsample


@dataclass(frozen=True, eq=False)
class SlideFeatures:
    """Patches and their features, float32 (n, d)."""

    patches: Patches
    features: np.ndarray


@dataclass(frozen=True)
class About:
    """What a file was made by. key: what all of it depends on (`reuse`). encoder: its name. identity: of the encoder
    (`EncoderSpec.identity`), "" where another program made the features. tool: the program.
    """

    key: str
    encoder: str
    identity: str = ""
    tool: str = "acinus"


def write_features(
    path: Path, patches: Patches, batches: Iterator[np.ndarray], about: About, dtype: str = "float32"
) -> int:
    """Write the features as they come, float (m, d) each, whole or not at all; return their width d.

    The same features give the same bytes. Memory does not grow with the number of patches.

    Raises:
        SlideError: a feature that is no finite number (as `dtype`).
        WriteError: the disk is full.
        ValueError: another number of features than of patches.
    """
    first = next(batches)
    width, count = first.shape[1], len(patches)
    item = np.dtype(dtype).itemsize
    with atomic_path(path) as part:
        needed, free = count * (width * item + 32) + (1 << 20), shutil.disk_usage(part.parent).free
        if free < needed:  # libhdf5 does not survive a disk that fills up under it
            raise WriteError(f"{path}: needs {needed} bytes, {free} are free; free space")
        with h5py.File(part, "w") as file:
            rows = max(1, min(count, CHUNK_BYTES // (width * item)))
            features = _create(file, "features", (count, width), dtype, (rows, width))
            start = 0
            for batch in chain([first], batches):
                features[start : start + len(batch)] = _finite(batch, dtype, patches.slide_id)
                start += len(batch)
            if start != count:
                raise ValueError(f"{start} features of {count} patches")
            _write_patches(file, patches, about)
    return width


def read_about(path: Path) -> About:
    """Return what a file was made by. AcinusError: the file is missing or damaged."""
    with opened(path) as file:
        texts = {name: _text(file, name) for name in ("acinus_key", "encoder", "encoder_identity", "tool")}
        return About(*texts.values())


def read_patches_of(path: Path) -> tuple[Patches, int]:
    """Return where the patches of a file lie, and the width of their features, without reading these.

    Raises:
        AcinusError: see `read_features`.
    """
    with opened(path) as file:
        patches = _read_patches(file, path)
        return patches, int(dataset(file, path, "features", 2, "f").shape[1])


def read_features(path: Path, key: str | None = None, width: int | None = None) -> SlideFeatures:
    """Return what a file holds; features as float32.

    key: the file's `acinus_key` has to be this. width: so wide have the features to be.

    Raises:
        AcinusError: the file is missing, damaged or of another layout; patches outside the slide, features that are no
            finite numbers (named by slide); another key or width.
    """
    with opened(path) as file:
        patches, features = _checked(file, path, key, width)
        blocks = [values.astype(np.float32, copy=False) for values in _blocks(features, path, patches.slide_id)]
        return SlideFeatures(patches, np.concatenate(blocks))


def check_features(path: Path, key: str | None = None, width: int | None = None) -> tuple[int, int]:
    """Return the number of patches and the width of a file after all checks of `read_features`, in little memory."""
    with opened(path) as file:
        patches, features = _checked(file, path, key, width)
        for _ in _blocks(features, path, patches.slide_id):
            pass
        return len(patches), int(features.shape[1])


def _create(file: h5py.File, name: str, shape: tuple[int, ...], dtype: str, chunks: tuple[int, ...]) -> Any:
    # track_times=False: else HDF5 stores the time of writing and no two files are alike
    return file.create_dataset(name, shape, dtype, chunks=chunks, fletcher32=True, track_times=False)


def _finite(batch: np.ndarray, dtype: str, slide_id: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        values = batch.astype(dtype, copy=False)
    if not np.isfinite(values).all():
        hint = "write embed.dtype: float32" if np.isfinite(batch).all() else "write embed.precision: 32-true"
        raise SlideError(f"slide {slide_id}: a feature is no finite number as {dtype}; {hint}, or take other weights")
    return values


def _write_patches(file: h5py.File, patches: Patches, about: About) -> None:
    count = len(patches)
    rows = min(count, CHUNK_BYTES // 16)
    coords = _create(file, "coords", (count, 2), "int64", (rows, 2))
    coords[:] = np.stack([patches.x0, patches.y0], axis=1)
    for name, values, dtype in (("prob", patches.prob, "float64"), ("top", patches.top, "bool")):
        if values is not None:
            _create(file, name, (count,), dtype, (rows,))[:] = values
    attributes: dict[str, Any] = {
        "patch_size": patches.patch_px,
        "patch_size_level0": round(patches.edge0),
        "overlap": max(0, patches.patch_px - patches.stride_px),
        "level0_width": patches.width,
        "level0_height": patches.height,
        "name": patches.slide_id,
        "level0_per_patch_px": patches.downsample,
        "stride": patches.stride_px,
    }
    if patches.mpp is not None:
        power = magnification(patches.mpp)
        attributes |= {"level0_mpp": patches.mpp, "target_mpp": patches.mpp * patches.downsample}
        attributes |= {"level0_magnification": power, "target_magnification": power / patches.downsample}
    for name, value in attributes.items():
        coords.attrs[name] = value
    file["features"].attrs["name"] = patches.slide_id
    for name, value in {"acinus_format": FORMAT, "acinus_key": about.key}.items():
        file.attrs[name] = value
    for name, text in {"encoder": about.encoder, "encoder_identity": about.identity, "tool": about.tool}.items():
        file.attrs[name] = text


def magnification(mpp: float) -> int:
    """Return the magnification that a slide of `mpp` um per px is called by."""
    return next((power for below, power in MAGNIFICATIONS if mpp < below), 1)


def _checked(file: h5py.File, path: Path, key: str | None, width: int | None) -> tuple[Patches, Any]:
    patches, features = _read_patches(file, path), dataset(file, path, "features", 2, "f")
    if len(patches) != len(features) or not len(patches) or not 1 <= features.shape[1] <= MAX_WIDTH:
        raise AcinusError(f"{path}: {features.shape} features of {len(patches)} patches; {REMEDY}")
    if width is not None and features.shape[1] != width:
        raise AcinusError(
            f"{path}: features of {features.shape[1]} numbers, the encoder gives {width}; run the stage embed again"
        )
    if key is not None and file.attrs.get("acinus_key") != key:
        raise AcinusError(
            f"{path}: features of another encoder, grid, resolution or slide (key {_text(file, 'acinus_key')}, "
            f"expected {key}); run the stage embed again"
        )
    return patches, features


def _read_patches(file: h5py.File, path: Path) -> Patches:
    coords = dataset(file, path, "coords", 2, "iu")
    attrs = coords.attrs
    try:
        if int(file.attrs["acinus_format"]) != FORMAT or coords.shape[1] != 2:
            raise KeyError("acinus_format")
        values = coords[()].astype(np.int64)
        patches = Patches(
            slide_id=str(attrs["name"]),
            width=int(attrs["level0_width"]),
            height=int(attrs["level0_height"]),
            mpp=float(attrs["level0_mpp"]) if "level0_mpp" in attrs else None,
            x0=values[:, 0],
            y0=values[:, 1],
            downsample=float(attrs["level0_per_patch_px"]),
            patch_px=int(attrs["patch_size"]),
            stride_px=int(attrs["stride"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AcinusError(
            f"{path}: not written by the stage embed of this version (it lacks {brief(error)}); run it again, or read "
            "others' files by acinus embed --import"
        ) from error
    if "prob" in file:
        beside = (dataset(file, path, name, 1, kinds)[()] for name, kinds in (("prob", "f"), ("top", "b")))
        prob, top = beside
        if not len(prob) == len(top) == len(patches):
            raise AcinusError(f"{path}: {len(prob)} probabilities of {len(patches)} patches; {REMEDY}")
        patches = replace(patches, prob=prob, top=top)
    _check_inside(patches, path)
    return patches


def _check_inside(patches: Patches, path: Path) -> None:
    """Refuse a patch of which nothing is on the slide."""
    edge0 = patches.edge0
    if not (np.isfinite(edge0) and edge0 >= 1):
        raise AcinusError(f"{path}: patches of {edge0:g} level-0 px; {REMEDY}")
    beyond = (patches.x0 >= patches.width) | (patches.y0 >= patches.height)
    beyond |= (patches.x0 + edge0 <= 0) | (patches.y0 + edge0 <= 0)
    if beyond.any():
        row = int(beyond.argmax())
        raise AcinusError(
            f"{path}: slide {patches.slide_id}: the patch at ({patches.x0[row]}, {patches.y0[row]}) level-0 px lies "
            f"outside {patches.width} x {patches.height}; {REMEDY}"
        )


def _blocks(features: Any, path: Path, slide_id: str) -> Iterator[np.ndarray]:
    """Yield the features in blocks, each held against its checksums and finite."""
    count, width = features.shape
    rows = max(1, BLOCK_BYTES // (4 * width))
    for start in range(0, count, rows):
        values = features[start : start + rows]
        if not np.isfinite(values).all():
            row = start + int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise AcinusError(f"{path}: slide {slide_id}: the features of patch {row} are no finite numbers; {REMEDY}")
        yield values


def _text(file: h5py.File, name: str) -> str:
    return str(file.attrs.get(name, ""))[:200]
