"""A store's patches by number and key are those that were written, with the sample's labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import acinus
from acinus import records
from acinus.patches.keys import parse_key
from acinus.patches.store import StoreFormat
from tests.patches import store_writing

WRITTEN = {key: (label, image) for shard in store_writing.SHARDS for key, label, image in store_writing.patches(shard)}
CLASSES = ("normal", "tumor")


def row(key: str, label: str) -> dict[str, Any]:
    slide_id, x0, y0 = parse_key(key)
    fractions = [1.0, 0.0] if label == "normal" else [0.0, 1.0]
    return {
        "slide_id": slide_id,
        "x0": x0,
        "y0": y0,
        "downsample": 1.0,
        "patch_px": store_writing.PX,
        "tissue_fraction": 1.0,
        "tumour_fraction": fractions[1],
        "class_fractions": fractions,
        "label": CLASSES.index(label),
        "split": "train",
    }


@pytest.fixture(params=["lmdb", "hdf5", "files"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    form = StoreFormat(request.param, "png", 0, store_writing.PX)
    store_writing.write(tmp_path / "patches", tmp_path / "ledger", form)
    return tmp_path / "patches"


def test_patches_by_number_by_key_and_one_after_the_other(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with acinus.open_store(folder) as store:
        assert len(store) == len(WRITTEN)
        assert list(store.keys) == sorted(WRITTEN)
        assert (store.patch_px, store.codec) == (store_writing.PX, "png")
        assert store.classes == {name: sum(label == name for label, _ in WRITTEN.values()) for name in CLASSES}
        assert np.array_equal(store[-1].image, WRITTEN[store.keys[-1]][1])
        assert store["tumor_001/16_0"].slide_id == "tumor_001"
        for number, patch in enumerate(store):
            assert patch.key == store.keys[number]
            assert patch.label is None  # no sample.parquet beside it
            assert np.array_equal(patch.image, WRITTEN[patch.key][1])
        keys = store.keys[5:1:-1]
        assert np.array_equal(store.images(keys), np.stack([WRITTEN[key][1] for key in keys]))
        with pytest.raises(IndexError):
            store[len(store)]
        with pytest.raises(acinus.AcinusError, match="no masks; only the store of a segmentation"):
            store.mask(0)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_labels_are_those_of_the_sample_beside_it(folder: Path) -> None:
    rows = [row(key, label) for key, (label, _) in WRITTEN.items()]
    records.write(records.SAMPLE, records.frame(records.SAMPLE, rows), folder.parent / "sample.parquet")
    labels = {patch.key: patch.label for patch in acinus.open_store(folder)}
    assert labels == {key: CLASSES.index(label) for key, (label, _) in WRITTEN.items()}
    records.write(records.SAMPLE, records.frame(records.SAMPLE, rows[1:]), folder.parent / "sample.parquet")
    with pytest.raises(acinus.AcinusError, match=r"is not in sample.parquet beside it; run extract"):
        acinus.open_store(folder)[rows[0]["slide_id"] + "/0_0"]


def test_what_is_no_store_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(acinus.AcinusError, match=r"no finished patch store .* run extract"):
        acinus.open_store(tmp_path)
