"""One reader for every table of a cohort: separators, quotes, and what cannot be told."""

import pytest

from acinus.cohorts.grade import parse_doubtful, parse_grades
from acinus.cohorts.splits import parse_groups, parse_splits
from acinus.cohorts.tables import csv_rows
from acinus.errors import AcinusError


def fields(text: str) -> list[list[str]]:
    return [cells for _, cells in csv_rows(text, "x.csv")]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_each_separator_gives_the_same_rows(separator: str) -> None:
    text = "a,b,c\r\n\r\n 1 ,,3\r\n".replace(",", separator)
    assert list(csv_rows(text, "x.csv")) == [(1, ["a", "b", "c"]), (3, ["1", "", "3"])]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('"a";"b;c"\n', [["a", "b;c"]]),
        ("a,x; y,b\nc,z,d\n", [["a", "x; y", "b"], ["c", "z", "d"]]),  # only commas give every row as many fields
        ("a;1,5;b\nc;2;d\n", [["a", "1,5", "b"], ["c", "2", "d"]]),
        ("only one\nfield a row\n", [["only one"], ["field a row"]]),
        ("sep=\t\na\tb\n", [["a", "b"]]),
        ("", []),
    ],
)
def test_the_separator_is_told_from_the_rows(text: str, rows: list[list[str]]) -> None:
    assert fields(text) == rows


def test_the_line_number_is_the_files_own_behind_excels_first_line() -> None:
    assert list(csv_rows("sep=;\r\na;b\r\n", "x.csv")) == [(2, ["a", "b"])]


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(AcinusError, match=r"^x\.csv: row 1: has commas and semicolons, and it cannot be told"):
        fields("a,b;c,d\ne,f;g,h;i,j\n")


def test_a_damaged_row_is_named_whatever_the_separator() -> None:
    with pytest.raises(AcinusError, match=r"^x\.csv: row 3: not CSV"):
        fields('a;b\nc;d\ne;"f"g\n')


@pytest.mark.parametrize("separator", [";", "\t"])
def test_every_table_of_a_cohort_goes_through_it(separator: str) -> None:
    def saved(text: str) -> str:
        return text.replace(",", separator)

    assert parse_splits(saved("slide_id,split,patient\na,val,p\n"), "splits.csv", {"a"})["a"].split == "val"
    assert parse_groups(saved("slide_id,patient\na,p\n"), "groups.csv", {"a"}) == {"a": "p"}
    grades = saved("image_id,data_provider,isup_grade,gleason_score\na,radboud,1,3+3\n")
    assert parse_grades(grades, "train.csv", ("radboud",))["a"].isup == 1
    assert parse_doubtful(saved("image_id,reason\na,marks\n"), "doubtful.csv") == {"a": "marks"}
