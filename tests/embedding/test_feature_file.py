"""The file of features: read by readers written after CLAM's and TRIDENT's code, and every way in which it is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from acinus.embedding.feature_file import (
    About,
    Patches,
    check_features,
    magnification,
    read_features,
    read_patches_of,
    write_features,
)
from acinus.errors import AcinusError, SlideError

ABOUT = About("k" * 32, "some/encoder")


def patches(count: int = 6, **changes: Any) -> Patches:
    number = np.arange(count)
    fixed = {"slide_id": "s", "width": 4000, "height": 3000, "mpp": 0.25, "downsample": 2.0, "patch_px": 224}
    places = {"x0": (number % 3) * 448, "y0": (number // 3) * 448, "stride_px": 224}
    return Patches(**{**fixed, **places, **changes})


def drawn(count: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, width)).astype(np.float32)


def written(path: Path, values: np.ndarray | None = None, dtype: str = "float32", **changes: Any) -> Path:
    values = drawn() if values is None else values
    write_features(path, patches(len(values), **changes), iter(np.array_split(values, 3)), ABOUT, dtype)
    return path


def clam_bag(path: Path) -> tuple[torch.Tensor, np.ndarray]:
    """CLAM, dataset_modules/dataset_generic.py, Generic_MIL_Dataset with use_h5."""
    with h5py.File(path, "r") as file:
        features, coords = file["features"][:], file["coords"][:]
    return torch.from_numpy(features), coords


def trident_batch(path: Path) -> dict[str, Any]:
    """TRIDENT, wsi_objects/WSI.py: what extract_slide_features hands to a slide encoder, and IO.read_coords."""
    with h5py.File(path, "r") as file:
        coords, features, attributes = file["coords"][:], file["features"][:], dict(file["coords"].attrs)
    if None in [attributes.get(name) for name in ("patch_size", "level0_magnification", "target_magnification")]:
        raise KeyError("Missing attributes in coords_attrs.")
    return {
        "features": torch.from_numpy(features).float().unsqueeze(0),
        "coords": torch.from_numpy(coords).unsqueeze(0),
        "attributes": attributes,
        "patch_size_src": round(
            attributes["patch_size"] * attributes["level0_magnification"] / attributes["target_magnification"]
        ),
    }


def test_clam_and_trident_read_it(tmp_path: Path) -> None:
    values = drawn()
    path = written(tmp_path / "s.h5", values)
    features, coords = clam_bag(path)
    assert (features.numpy() == values).all()
    assert coords.tolist() == [[0, 0], [448, 0], [896, 0], [0, 448], [448, 448], [896, 448]]
    batch = trident_batch(path)
    assert batch["features"].shape == (1, 6, 8)
    assert batch["coords"].dtype == torch.int64
    assert batch["patch_size_src"] == 448
    wanted = {"patch_size": 224, "patch_size_level0": 448, "overlap": 0, "name": "s", "level0_magnification": 40}
    wanted |= {"target_magnification": 20.0, "level0_width": 4000, "level0_height": 3000}
    assert {name: batch["attributes"][name] for name in wanted} == wanted


@pytest.mark.parametrize(("mpp", "power"), [(0.23, 40), (0.25, 40), (0.5, 20), (0.97, 10), (0.12, 80), (5.0, 1)])
def test_magnifications_are_those_of_trident(mpp: float, power: int) -> None:
    assert magnification(mpp) == power


def test_what_was_written_is_read(tmp_path: Path) -> None:
    prob, top = np.linspace(0, 1, 6), np.arange(6) % 2 == 0
    path = written(tmp_path / "s.h5", prob=prob, top=top, mpp=None, stride_px=112)
    found = read_features(path, ABOUT.key, 8)
    assert (found.features == drawn()).all()
    assert found.features.dtype == np.float32
    assert found.patches.mpp is None
    assert (found.patches.prob == prob).all()
    assert (found.patches.top == top).all()
    assert (found.patches.downsample, found.patches.patch_px, found.patches.stride_px) == (2.0, 224, 112)
    assert check_features(path, ABOUT.key) == (6, 8)
    assert (len(read_patches_of(path)[0]), read_patches_of(path)[1]) == (6, 8)
    half = read_features(written(tmp_path / "half.h5", dtype="float16"))
    assert (half.features == drawn().astype(np.float16)).all()
    assert half.features.dtype == np.float32


def test_the_same_features_give_the_same_bytes(tmp_path: Path) -> None:
    many = np.random.default_rng(2).normal(size=(3000, 300)).astype(np.float32)
    x0 = np.arange(3000)
    one, other = (written(tmp_path / f"{name}.h5", many, x0=x0, y0=0 * x0).read_bytes() for name in "ab")
    assert one == other
    assert (read_features(tmp_path / "a.h5").features == many).all()


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    values = drawn()
    values[3, 2] = np.nan
    with pytest.raises(SlideError, match="slide s: a feature is no finite number as float32; write embed"):
        written(tmp_path / "s.h5", values)
    with pytest.raises(SlideError, match=r"as float16; write embed\.dtype: float32"):
        written(tmp_path / "s.h5", drawn() * 1e6, "float16")
    with pytest.raises(ValueError, match="4 features of 6 patches"):
        write_features(tmp_path / "s.h5", patches(), iter([drawn()[:4]]), ABOUT)
    assert not list(tmp_path.iterdir())


def test_another_encoder_grid_or_width_is_refused_by_key(tmp_path: Path) -> None:
    path = written(tmp_path / "s.h5")
    with pytest.raises(AcinusError, match="features of another encoder, grid, resolution or slide"):
        read_features(path, "j" * 32)
    with pytest.raises(AcinusError, match="features of 8 numbers, the encoder gives 1024"):
        read_features(path, width=1024)


def spoilt(name: str) -> Callable[[Path], None]:
    """Return what spoils a file in the way of that name."""

    def torn(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-200])

    def flipped(path: Path) -> None:
        data, place = bytearray(path.read_bytes()), path.read_bytes().index(drawn()[2].tobytes())
        data[place + 5] ^= 1
        path.write_bytes(data)

    def text(path: Path) -> None:
        path.write_text("no HDF5")

    def edit(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
        def edited(path: Path) -> None:
            with h5py.File(path, "r+") as file:
                change(file)

        return edited

    def nan(file: h5py.File) -> None:
        file["features"][4, 1] = np.nan

    def outside(file: h5py.File) -> None:
        file["coords"][5] = (4000, 0)

    def fewer(file: h5py.File) -> None:
        values = file["coords"][:5]
        attributes = dict(file["coords"].attrs)
        del file["coords"]
        file["coords"] = values
        file["coords"].attrs.update(attributes)

    def replaced(file: h5py.File, value: Any) -> None:
        del file["features"]
        file["features"] = value

    def bomb(file: h5py.File) -> None:
        del file["features"]
        file.create_dataset("features", (6, 60_000_000), "f4", chunks=(1, 1024))

    ways: dict[str, Callable[[Path], None]] = {
        "torn": torn,
        "flipped": flipped,
        "text": text,
        "gone": Path.unlink,
        "nan": edit(nan),
        "outside": edit(outside),
        "fewer": edit(fewer),
        "elsewhere": edit(lambda file: replaced(file, h5py.ExternalLink("/etc/passwd", "features"))),
        "texts": edit(lambda file: replaced(file, np.array([[b"a"]] * 6))),
        "flat": edit(lambda file: replaced(file, np.zeros(6, dtype=np.float32))),
        "bomb": edit(bomb),
        "other": edit(lambda file: file["coords"].attrs.__delitem__("level0_width")),
        "version": edit(lambda file: file.attrs.__setitem__("acinus_format", 2)),
    }
    return ways[name]


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("torn", "damaged, or no HDF5 file"),
        ("flipped", "damaged, or no HDF5 file"),
        ("text", "damaged, or no HDF5 file"),
        ("gone", "not found; run the stage embed"),
        ("nan", "slide s: the features of patch 4 are no finite numbers"),
        ("outside", r"slide s: the patch at \(4000, 0\) level-0 px lies outside 4000 x 3000"),
        ("fewer", r"\(6, 8\) features of 5 patches"),
        ("elsewhere", "has no dataset features"),
        ("texts", "features is |S1"),
        ("flat", r"features is float32 \(6,\), expected 2 axes"),
        ("bomb", r"features of \(6, 60000000\) in a file of"),
        ("other", "not written by the stage embed of this version"),
        ("version", "not written by the stage embed of this version"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, way: str, words: str) -> None:
    path = written(tmp_path / "s.h5")
    spoilt(way)(path)
    for read in (read_features, check_features):
        with pytest.raises(AcinusError, match=words) as caught:
            read(path)
        assert "\n" not in str(caught.value)
