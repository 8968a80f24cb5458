"""Tables between stages: the same rows give the same bytes; what breaks the contract is said with its column."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus import records
from acinus.errors import TableError

TABLES = [records.MANIFEST, records.INDEX, records.SAMPLE, records.SCORES, records.QUANTITIES]

SCORE = {"slide_id": "a", "x0": 0, "y0": 0, "label": 1, "probs": 0.25, "preds": 0, "colour_probs": 0.5}


def scores(*changes: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame([SCORE | change for change in changes])


def test_rows_in_any_order_give_the_same_bytes_sorted_by_key(tmp_path: Path) -> None:
    rows = [{"slide_id": "b"}, {"slide_id": "a", "y0": 5}, {"slide_id": "a", "y0": 2, "x0": 9}, {"y0": 2, "x0": 3}]
    written = []
    for number, order in enumerate((rows, rows[::-1])):
        path = tmp_path / f"{number}.parquet"
        records.write(records.SCORES, scores(*order), path)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    back = pq.read_table(tmp_path / "0.parquet").to_pylist()  # read by another hand
    assert [(row["slide_id"], row["y0"], row["x0"]) for row in back] == [
        ("a", 2, 3),
        ("a", 2, 9),
        ("a", 5, 0),
        ("b", 0, 0),
    ]


rows = st.fixed_dictionaries(
    {
        "x0": st.integers(-(2**40), 2**40),
        "y0": st.integers(-(2**40), 2**40),
        "label": st.sampled_from([-1, 0, 1]),
        "probs": st.floats(allow_nan=False, allow_infinity=False),
        "slide_id": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    }
)


@given(st.lists(rows, max_size=6, unique_by=lambda row: (row["slide_id"], row["y0"], row["x0"])))
def test_what_is_written_is_read_and_written_again_byte_for_byte(tmp_path_factory, made: list[dict]) -> None:
    folder = tmp_path_factory.mktemp("tables")
    data = records.frame(records.SCORES, [SCORE | row for row in made])
    records.write(records.SCORES, data, folder / "one.parquet")
    back = records.read(records.SCORES, folder / "one.parquet")
    pd.testing.assert_frame_equal(back, data)
    records.write(records.SCORES, back, folder / "two.parquet")
    assert (folder / "one.parquet").read_bytes() == (folder / "two.parquet").read_bytes()


@pytest.mark.parametrize("table", TABLES, ids=lambda one: one.name)
def test_an_empty_table_is_valid_and_keeps_its_types(table: records.Table, tmp_path: Path) -> None:
    records.write(table, records.frame(table, []), tmp_path / "empty.parquet")
    assert len(records.read(table, tmp_path / "empty.parquet")) == 0
    found = pq.read_schema(tmp_path / "empty.parquet")
    assert found.equals(table.schema)
    assert not found.metadata  # pandas would write its version there


@pytest.mark.parametrize("table", TABLES, ids=lambda one: one.name)
def test_keys_and_nullable_columns_are_columns_and_no_key_is_nullable(table: records.Table) -> None:
    names = set(table.schema.names)
    assert set(table.key) <= names - table.nullable
    assert table.nullable <= names


def test_nullable_columns_stay_null_of_their_type(tmp_path: Path) -> None:
    row = dict.fromkeys(records.QUANTITIES.schema.names) | {
        "slide_id": "a",
        "tumour_px": 1,
        "tissue_px": 2,
        "map_downsample": 8.0,
        "class_px": [1, 1],
        "num_regions": 0,
    }
    records.write(records.QUANTITIES, records.frame(records.QUANTITIES, [row]), tmp_path / "q.parquet")
    (back,) = pq.read_table(tmp_path / "q.parquet").to_pylist()
    assert back == row


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"slide_id": None}, "column slide_id is empty in row 1"),
        ({"x0": None}, "column x0 is empty in row 1"),
        ({"probs": float("nan")}, "column probs is empty in row 1"),
        ({"x0": "far"}, "column x0 is not int64"),
        ({"x0": 1.5}, "column x0 is not int64"),  # astype(int) would make 1 of it
        ({"x0": 2**70}, "column x0 is not int64"),
        ({"probs": "high"}, "column probs is not double"),
        ({"slide_id": "a", "y0": 0}, "slide_id, y0, x0 = \\['a', 0, 0\\] stands twice"),
    ],
)
def test_a_bad_value_is_refused_with_table_and_column(change: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=f"table patch_scores: .*{said}") as caught:
        records.write(records.SCORES, scores({}, {"slide_id": "b"} | change), tmp_path / "x.parquet")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("value", "said"), [(None, "is empty in row 0"), ("False", "is not bool"), (7, "is not bool")])
def test_truth_values_are_not_guessed(value: object, said: str) -> None:
    """Regression: `astype(bool)` made True of a missing value and of the text "False"."""
    row = dict.fromkeys(records.MANIFEST.schema.names, "x") | {"mpp_x": 1.0, "mpp_y": 1.0, "width": 1, "height": 1}
    row |= {"isup": 3, "derived": True}
    assert records.frame(records.MANIFEST, [row | {"exhaustive": False}])["exhaustive"].tolist() == [False]
    with pytest.raises(TableError, match=f"table manifest: column exhaustive {said}"):
        records.frame(records.MANIFEST, [row | {"exhaustive": value}])


PATCH = {
    "slide_id": "a",
    "x0": 0,
    "y0": 0,
    "downsample": 1.0,
    "patch_px": 64,
    "tissue_fraction": 1.0,
    "tumour_fraction": 0.25,
    "class_fractions": [0.75, 0.25],
    "label": 0,
    "split": "test",
}
QUANTITY = {
    "slide_id": "a",
    "tumour_px": 1,
    "tissue_px": 4,
    "map_downsample": 8.0,
    "class_px": [3, 1],
    "num_regions": 1,
}


def quantities(**change: object) -> pd.DataFrame:
    row = dict.fromkeys(records.QUANTITIES.schema.names) | QUANTITY | change
    return records.frame(records.QUANTITIES, [row])


lists = st.lists(st.floats(allow_nan=False), min_size=1, max_size=5)


@given(st.lists(st.one_of(lists, lists.map(tuple), lists.map(np.array)), min_size=1, max_size=4))
def test_lists_are_written_and_read_byte_for_byte(tmp_path_factory, made: list) -> None:
    folder = tmp_path_factory.mktemp("lists")
    data = records.frame(records.INDEX, [PATCH | {"x0": x, "class_fractions": one} for x, one in enumerate(made)])
    records.write(records.INDEX, data, folder / "one.parquet")
    back = records.read(records.INDEX, folder / "one.parquet")
    pd.testing.assert_frame_equal(back, data)
    records.write(records.INDEX, back, folder / "two.parquet")
    assert (folder / "one.parquet").read_bytes() == (folder / "two.parquet").read_bytes()
    plain = pq.read_table(folder / "one.parquet").to_pydict()["class_fractions"]  # read by another hand
    assert plain == [[float(value) for value in one] for one in made]


def test_lists_of_whole_numbers_are_whole_to_the_last_and_their_nulls_stay(tmp_path: Path) -> None:
    big = 2**62 + 1  # no float holds it
    written = records.write(records.QUANTITIES, quantities(class_px=[big, 0]), tmp_path / "q.parquet")
    back = records.read(records.QUANTITIES, tmp_path / "q.parquet")
    pd.testing.assert_frame_equal(back, written)
    (row,) = records.rows(back)
    assert row["class_px"] == (big, 0)
    assert row["confusion"] is None
    assert row["burden_pred"] is None
    for null in (None, pd.NA, float("nan")):
        (row,) = records.rows(quantities(confusion=null, confusion_colour=np.array([1, 2, 3, 4], np.uint32)))
        assert (row["confusion"], row["confusion_colour"]) == (None, (1, 2, 3, 4))


@pytest.mark.parametrize(
    "value",
    [
        [1.0, 2.0],
        [1, 2.5],
        [True, False],
        ["1", "2"],
        [1, None],
        [[1, 2], [3, 4]],
        [[1], [2, 3]],
        [2**63],
        np.array([1, 2**63], np.uint64),
        "12",
        12,
        {0: 1},
        np.arange(300.0),
    ],
    ids=str,
)
def test_what_is_no_list_of_whole_numbers_is_refused_in_one_line(value: object) -> None:
    with pytest.raises(
        TableError, match="table quantities: column class_px is no list of whole numbers in row 0: "
    ) as no:
        quantities(class_px=value)
    assert "\n" not in str(no.value)
    assert len(str(no.value)) < 200


@pytest.mark.parametrize("value", [[0.5, None], [0.5, float("nan")], ["a"], [True], [[0.5]], "0.5", 0.5])
def test_what_is_no_list_of_numbers_is_refused(value: object) -> None:
    good = records.frame(records.SAMPLE, [PATCH | {"class_fractions": [1, 0]}])["class_fractions"].tolist()
    assert good == [(1.0, 0.0)]  # whole numbers are numbers
    with pytest.raises(TableError, match="table sample: column class_fractions is no list of numbers in row 0"):
        records.frame(records.SAMPLE, [PATCH | {"class_fractions": value}])


@pytest.mark.parametrize("null", [None, pd.NA, float("nan")], ids=str)
def test_a_list_that_must_be_there_is_named_where_it_is_not(null: object) -> None:
    rows = [PATCH | {"slide_id": "b"}, PATCH | {"class_fractions": null}]
    with pytest.raises(TableError, match="table index: column class_fractions is empty in row 1"):
        records.frame(records.INDEX, rows)


def test_lists_go_with_their_rows_when_the_rows_are_sorted() -> None:
    rows = [PATCH | {"x0": x, "class_fractions": [float(x)]} for x in (3, 1, 2)]
    data = records.frame(records.INDEX, rows)
    assert data["class_fractions"].tolist() == [(1.0,), (2.0,), (3.0,)]


def test_grade_gleason_and_tissue_type_may_be_null_and_findings_may_not() -> None:
    row = dict.fromkeys(records.MANIFEST.schema.names, "x") | {"mpp_x": None, "mpp_y": None, "width": 1, "height": 1}
    row |= {"exhaustive": True, "derived": False, "isup": 5, "findings": ""}
    empty = {"isup": None, "gleason": None, "tissue_type": None, "mpp_source": None}
    first, second = records.rows(records.frame(records.MANIFEST, [row, row | empty | {"slide_id": "y"}]))
    assert (first["isup"], first["gleason"], first["tissue_type"]) == (5, "x", "x")
    assert {name: second[name] for name in empty} == empty
    for name in ("findings", "split_rule", "derived"):
        with pytest.raises(TableError, match=f"table manifest: column {name} is empty in row 0"):
            records.frame(records.MANIFEST, [row | {name: None}])


def test_missing_and_unknown_columns_are_named() -> None:
    data = scores({}).drop(columns=["preds"]).assign(score=1.0)
    with pytest.raises(TableError, match=r"missing columns \['preds'\], unknown columns \['score'\]"):
        records.check(records.SCORES, data)


@pytest.mark.parametrize("content", [b"", b"slide_id,x0\n", b"PAR1 but then nothing PAR1"])
def test_a_file_that_is_no_parquet_names_itself_and_the_remedy(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "index.parquet"
    path.write_bytes(content)
    with pytest.raises(TableError, match=r"index\.parquet: not a Parquet table .* run its stage again"):
        records.read(records.INDEX, path)


def test_a_missing_table_and_one_of_another_stage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"none\.parquet: not found; run the stage"):
        records.read(records.INDEX, tmp_path / "none.parquet")
    pq.write_table(pa.table({"slide_id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(TableError, match="table index: missing columns"):
        records.read(records.INDEX, tmp_path / "other.parquet")


@pytest.mark.parametrize("name", ["tumor_001", "a", "9", "patient_017_node_2", "B-1.x"])
def test_plain_ids_are_safe(name: str) -> None:
    assert records.is_safe_id(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "a..b", "a b", "a\n", "ä", "-x", "a" * 201, "a\0"]
)
def test_ids_that_could_leave_their_folder_are_not(name: str) -> None:
    assert not records.is_safe_id(name)
