"""index.parquet written slide by slide: the bytes of the table written whole; what is read in part is part of it."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from acinus import records
from acinus.errors import TableError
from acinus.patches import index_file
from acinus.patches.index_file import class_fractions, rows_at, slide_rows, write_index

COUNTS = (0, 7, 1, 0, 30, 12, 5)
"""Rows of the slides; with groups of 10 rows some slides are cut and some groups hold several."""


def columns(count: int, seed: int = 0) -> dict[str, np.ndarray | float]:
    rng = np.random.default_rng(seed)
    place = np.arange(count)
    return {
        "x0": place % 4 * 128 - 85,
        "y0": place // 4 * 128 - 85,
        "downsample": 2.0,
        "patch_px": 299,
        "tissue_fraction": rng.random(count),
        "tumour_fraction": rng.random(count),
        "label": rng.integers(-1, 2, count),
    }


def shares(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet((1, 1, 1), count).T[:2]


def by_hand(counts: tuple[int, ...]) -> pd.DataFrame:
    """The same rows as plain Python objects in one table."""
    frames = [
        pd.DataFrame(
            {"slide_id": f"s{n:03d}", "split": "train", "class_fractions": shares(count, n).T.tolist()}
            | columns(count, n)
        )
        for n, count in enumerate(counts)
    ]
    return pd.concat([one for one in frames if len(one)] or [records.frame(records.INDEX, [])], ignore_index=True)


def rows(count: int, n: int):
    return slide_rows(f"s{n:03d}", "train", columns(count, n), shares(count, n))


@pytest.mark.parametrize("counts", [COUNTS, (0, 0), (), (20,), (3, 7, 10)], ids=str)
@pytest.mark.parametrize("group", [10, 1024 * 1024])
def test_the_bytes_are_those_of_the_table_written_whole(tmp_path, monkeypatch, counts, group) -> None:
    monkeypatch.setattr(index_file, "ROW_GROUP", group)
    write_index((rows(count, n) for n, count in enumerate(counts)), tmp_path / "parts.parquet")
    whole = records.check(records.INDEX, by_hand(counts))
    arrow = index_file.pa.Table.from_pandas(whole, schema=records.INDEX.schema, preserve_index=False)
    pq.write_table(
        arrow.replace_schema_metadata(None), tmp_path / "whole.parquet", compression="zstd", row_group_size=group
    )
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert len(records.read(records.INDEX, tmp_path / "parts.parquet")) == sum(counts)


def test_the_row_group_is_the_one_that_records_write_takes(tmp_path) -> None:
    """Two slides across the border of a real row group."""
    counts = (600_000, 600_000)
    parts = [slide_rows(f"s{n:03d}", "val", columns(count), np.ones((2, count)) / 2) for n, count in enumerate(counts)]
    write_index(parts, tmp_path / "parts.parquet")
    whole = index_file.pa.concat_tables(parts).combine_chunks()
    pq.write_table(whole, tmp_path / "whole.parquet", compression="zstd")
    assert pq.ParquetFile(tmp_path / "parts.parquet").num_row_groups == 2
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.parametrize("order", [(1, 0), (0, 0)])
def test_slides_out_of_order_or_twice_are_refused_and_nothing_is_written(tmp_path, order) -> None:
    with pytest.raises(TableError, match=r"slide s000 comes after s00[01]; slide_id must ascend, each once"):
        write_index((rows(3, n) for n in order), tmp_path / "index.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x0", np.array([0, 0, 5]), "row 1 is not below or right of the row before it"),
        ("x0", np.array([0, 9, 5]), "row 2 is not below or right"),
        ("tissue_fraction", np.array([0.0, np.nan, 1.0]), "a fraction is no number"),
    ],
)
def test_rows_that_no_table_may_have_are_refused(name, value, message) -> None:
    good = columns(3) | {"x0": np.array([0, 1, 2]), "y0": np.zeros(3, dtype=np.int64)}
    assert slide_rows("a", "train", good, shares(3)).num_rows == 3
    with pytest.raises(TableError, match=f"table index: slide a: {message}"):
        slide_rows("a", "train", good | {name: value}, shares(3))
    missing = shares(3)
    missing[1, 2] = np.nan
    with pytest.raises(TableError, match="a fraction is no number"):
        slide_rows("a", "train", good, missing)


@pytest.mark.parametrize("group", [10, 1024 * 1024])
@pytest.mark.parametrize("chosen", [(), (0,), (9, 10), (0, 7, 8, 37, 38, 54), tuple(range(55))], ids=len)
def test_rows_read_by_their_numbers_are_those_of_the_whole(tmp_path, monkeypatch, group, chosen) -> None:
    monkeypatch.setattr(index_file, "ROW_GROUP", group)
    path = tmp_path / "index.parquet"
    write_index((rows(count, n) for n, count in enumerate(COUNTS)), path)
    found = records.check(records.SAMPLE, rows_at(path, np.array(chosen, dtype=np.int64)))
    whole = records.read(records.INDEX, path)
    assert len(whole) == 55
    pd.testing.assert_frame_equal(found, whole.iloc[list(chosen)].reset_index(drop=True))
    light = records.read(records.INDEX, path, without=records.FRACTIONS)
    pd.testing.assert_frame_equal(light, whole.drop(columns="class_fractions"))


@pytest.mark.parametrize("group", [10, 1024 * 1024])
@pytest.mark.parametrize("counts", [COUNTS, (0, 0)], ids=str)
def test_class_fractions_are_read_as_one_array(tmp_path, monkeypatch, group, counts) -> None:
    monkeypatch.setattr(index_file, "ROW_GROUP", group)
    path = tmp_path / "index.parquet"
    write_index((rows(count, n) for n, count in enumerate(counts)), path)
    expected = list(records.read(records.INDEX, path)["class_fractions"])
    found = class_fractions(path, 2)
    assert (found.dtype, found.shape) == (np.float64, (sum(counts), 2))
    assert found.tolist() == [list(one) for one in expected]


@pytest.mark.parametrize("damage", [[0.5], [0.5, 0.25, 0.25], [0.5, None], [0.5, float("nan")], None])
def test_fractions_of_other_classes_or_none_are_refused(tmp_path, damage) -> None:
    path = tmp_path / "index.parquet"
    fractions = [[0.5, 0.5], damage]
    pq.write_table(index_file.pa.table({"class_fractions": fractions}), path)
    with pytest.raises(TableError, match=r"index.parquet: class_fractions is not 2 numbers in every row; run index"):
        class_fractions(path, 2)
