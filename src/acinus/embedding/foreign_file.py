"""Feature files of TRIDENT, CLAM and STAMP, read as what they say of themselves.

TRIDENT (`save_h5` in trident/IO.py) and CLAM (extract_features_fp.py): `features` (n, d) and `coords` (n, 2), corners
in level-0 px; TRIDENT's coords have attributes, CLAM's none. STAMP (stamp/preprocessing): `feats` and `coords` in um,
with `tile_size_um` and `tile_size_px` (older: `tile_size` with `unit` = um) as attributes of the file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from acinus.embedding.hdf5 import dataset, opened
from acinus.errors import AcinusError, brief


@dataclass(frozen=True, eq=False)
class ForeignFeatures:
    """Features as another program wrote them; open as long as the context is.

    features: dataset (n, d) of float16, float32 or float64. coords: float64 (n, 2), x and y of the corners, level-0 px
    or, where `in_um`, um. edge: of a patch, in the same unit; patch_px: its edge in px, as it was cut for the encoder;
    None where the file does not say it.
    """

    tool: str
    features: Any
    coords: np.ndarray
    in_um: bool
    edge: float | None
    patch_px: int | None


@contextmanager
def foreign_features(path: Path) -> Iterator[ForeignFeatures]:
    """Give what a feature file of TRIDENT, CLAM or STAMP holds.

    Raises:
        AcinusError: damaged, of no known layout, or as many features as coordinates are not there.
    """
    with opened(path) as file:
        try:
            found = _stamp(file, path) if "feats" in file else _trident_or_clam(file, path)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise AcinusError(f"{path}: attributes of no known layout ({brief(error)}); make it anew") from error
        count = len(found.features)
        if found.coords.shape != (count, 2) or not count or not found.features.shape[1]:
            raise AcinusError(
                f"{path}: {found.features.shape} features and {found.coords.shape} coordinates; expected as many, two "
                "numbers each; make it anew"
            )
        if not np.isfinite(found.coords).all():
            raise AcinusError(f"{path}: coordinates that are no finite numbers; make it anew")
        yield found


def _trident_or_clam(file: h5py.File, path: Path) -> ForeignFeatures:
    features, coords = dataset(file, path, "features", 2, "f"), dataset(file, path, "coords", 2, "iuf")
    attrs, edge = coords.attrs, None
    if "patch_size_level0" in attrs:
        edge = float(attrs["patch_size_level0"])
    elif "level0_magnification" in attrs:  # of TRIDENT's first versions
        edge = float(attrs["patch_size"]) * float(attrs["level0_magnification"]) / float(attrs["target_magnification"])
    patch_px = int(attrs["patch_size"]) if edge is not None else None
    return ForeignFeatures(
        tool="CLAM" if edge is None else "TRIDENT",
        features=features,
        coords=coords[()].astype(np.float64),
        in_um=False,
        edge=edge,
        patch_px=patch_px,
    )


def _stamp(file: h5py.File, path: Path) -> ForeignFeatures:
    attrs = file.attrs
    edge = attrs.get("tile_size_um") or (attrs.get("tile_size") if attrs.get("unit") == "um" else None)
    if edge is None:
        raise AcinusError(f"{path}: STAMP's file without tile_size_um; extract it anew by STAMP 2")
    return ForeignFeatures(
        tool="STAMP",
        features=dataset(file, path, "feats", 2, "f"),
        coords=dataset(file, path, "coords", 2, "iuf")[()].astype(np.float64),
        in_um=True,
        edge=float(edge),
        patch_px=int(attrs["tile_size_px"]) if "tile_size_px" in attrs else None,
    )
