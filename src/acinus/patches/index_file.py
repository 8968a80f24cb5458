"""index.parquet written slide by slide and read in part: of a whole cohort's rows, memory holds few as objects."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from acinus.errors import TableError
from acinus.files import atomic_path
from acinus.records import INDEX

ROW_GROUP = 1024 * 1024
"""Rows of one row group: what pyarrow takes for a table written whole, so that both ways give the same bytes."""


def slide_rows(slide_id: str, split: str, columns: Mapping[str, np.ndarray | float], shares: np.ndarray) -> pa.Table:
    """Return one slide's rows of records.INDEX as an Arrow table: 100 bytes a row, where Python's objects take 400.

    columns: the others of INDEX, an array (n,) or one number for all rows. shares: float64 (classes, n).
    Rows come by y0, then x0.

    Raises:
        TableError: rows out of that order or twice, or a fraction that is no number.
    """
    x0, y0 = np.asarray(columns["x0"]), np.asarray(columns["y0"])
    later = (y0[1:] > y0[:-1]) | ((y0[1:] == y0[:-1]) & (x0[1:] > x0[:-1]))
    if not later.all():
        row = int(np.argmin(later)) + 1
        raise TableError(f"table index: slide {slide_id}: row {row} is not below or right of the row before it")
    count = x0.size
    fractions = np.ascontiguousarray(shares.T)
    if not all(np.isfinite(values).all() for values in (fractions, columns["tissue_fraction"])):
        raise TableError(f"table index: slide {slide_id}: a fraction is no number, where one is needed")
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(len(shares))
    arrays = {
        "slide_id": pa.repeat(pa.scalar(slide_id), count),
        "split": pa.repeat(pa.scalar(split), count),
        "class_fractions": pa.ListArray.from_arrays(offsets, fractions.ravel()),
    }
    for name, value in columns.items():
        kind = INDEX.schema.field(name).type
        arrays[name] = pa.array(np.broadcast_to(value, count).copy(), type=kind)
    return pa.table([arrays[name].cast(INDEX.schema.field(name).type) for name in INDEX.schema.names], INDEX.schema)


def write_index(slides: Iterable[pa.Table], path: Path) -> None:
    """Write the slides' rows, ordered by slide_id, as records.write does with all of them: the same bytes.

    Raises:
        TableError: a slide that comes twice, or after one of a later name.
    """
    with atomic_path(path) as part, pq.ParquetWriter(part, INDEX.schema, compression="zstd") as writer:
        for group in _row_groups(slides):
            writer.write_table(group, row_group_size=ROW_GROUP)


def _row_groups(slides: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows in tables of ROW_GROUP rows, the last of what is left; one empty table where there are none."""
    tables: list[pa.Table] = []
    count, written, before = 0, False, ""
    for slide in slides:
        if slide.num_rows:
            slide_id = slide["slide_id"][0].as_py()
            if not slide_id > before:
                raise TableError(f"table index: slide {slide_id} comes after {before}; slide_id must ascend, each once")
            before = slide_id
        while slide.num_rows:
            tables.append(slide.slice(0, ROW_GROUP - count))
            slide = slide.slice(tables[-1].num_rows)
            count += tables[-1].num_rows
            if count == ROW_GROUP:
                yield _joined(tables)
                tables, count, written = [], 0, True
    if tables or not written:
        yield _joined(tables or [INDEX.schema.empty_table()])


def _joined(tables: list[pa.Table]) -> pa.Table:
    """Return tables as one with whole columns: where chunks meet, the writer would begin another page."""
    return pa.concat_tables(tables).combine_chunks()


def rows_at(path: Path, rows: np.ndarray) -> pd.DataFrame:
    """Return records.INDEX rows of a written index by their numbers, int64 (n,), ascending."""
    with pq.ParquetFile(path) as file:
        parts, first = [INDEX.schema.empty_table()], 0
        for group in range(file.num_row_groups):
            after = first + file.metadata.row_group(group).num_rows
            in_group = rows[np.searchsorted(rows, first) : np.searchsorted(rows, after)]
            if in_group.size:
                parts.append(file.read_row_group(group).take(in_group - first))
            first = after
    return pa.concat_tables(parts).to_pandas()


def class_fractions(path: Path, classes: int) -> np.ndarray:
    """Return that column of a written index as float64 (rows, classes).

    Raises:
        TableError: a row without its fractions, with more or fewer of them, or with one that is no number.
    """
    column = pq.read_table(path, columns=["class_fractions"])["class_fractions"]
    values = np.concatenate([np.empty(0), *(chunk.flatten().to_numpy(False) for chunk in column.chunks)])
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if lengths not in ([], [classes]) or not np.isfinite(values.astype(np.float64)).all():
        raise TableError(f"{path}: class_fractions is not {classes} numbers in every row; run index again (dvc repro)")
    return values.astype(np.float64).reshape(-1, classes)
