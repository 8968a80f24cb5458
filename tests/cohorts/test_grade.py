"""Gleason to ISUP, and the tables that state them: read strictly, contradictions found."""

import pytest

from acinus.cohorts.grade import Graded, isup_of, parse_doubtful, parse_grades
from acinus.errors import AcinusError

PROVIDERS = ("karolinska", "radboud")
HEAD = "image_id,data_provider,isup_grade,gleason_score\n"


def test_isup_of_every_gleason_score() -> None:
    """The grade groups as the ISUP consensus words them: 6 is 1, 3+4 is 2, 4+3 is 3, 8 is 4, 9 and 10 are 5."""
    assert isup_of("3+4") == 2
    assert isup_of("4+3") == 3
    for primary in (3, 4, 5):
        for secondary in (3, 4, 5):
            total = primary + secondary
            if total != 7:
                assert isup_of(f"{primary}+{secondary}") == {6: 1, 8: 4, 9: 5, 10: 5}[total]
    assert [isup_of(text) for text in ("negative", "0+0", " Negative ", "4 + 4")] == [0, 0, 0, 4]


@pytest.mark.parametrize("text", ["", "7", "2+3", "3+6", "0+3", "3+", "3-4", "unknown"])
def test_what_is_no_gleason_score_is_refused(text: str) -> None:
    with pytest.raises(AcinusError, match=r"is no Gleason score; expected one of negative, 0\+0, 3\+3"):
        isup_of(text)


def test_columns_in_any_order_and_others_beside_them() -> None:
    text = "\ufefffold,gleason_score,image_id,isup_grade,data_provider\n4,3+4,x1,2,radboud\n\n0,negative,x2,0,radboud\n"
    assert parse_grades(text.removeprefix("\ufeff"), "train.csv", PROVIDERS) == {
        "x1": Graded("x1", "radboud", 2, "3+4"),
        "x2": Graded("x2", "radboud", 0, "negative"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "row 1: columns are none; expected image_id, data_provider, isup_grade, gleason_score"),
        ("image_id,data_provider,isup_grade\n", "row 1: columns are image_id, data_provider, isup_grade; expected"),
        (HEAD.replace("\n", ",image_id\n"), "row 1: columns are .*, each once"),
        (HEAD + "a,stanford,0,0+0\n", "row 2: image_id a: data_provider 'stanford'; expected karolinska, radboud"),
        (
            HEAD + "a,radboud,0,0+0\nb,radboud,6,5+5\n",
            "row 3: image_id b: isup_grade '6'; expected a whole number from 0 to 5",
        ),
        (HEAD + "a,radboud,-1,0+0\n", "row 2: image_id a: isup_grade '-1'"),
        (HEAD + "a,radboud,1.0,3+3\n", r"row 2: image_id a: isup_grade '1\.0'"),
        (HEAD + "a,radboud,1,\n", "row 2: image_id a: gleason_score '' is no Gleason score"),
        (HEAD + "a,radboud,0,0+0\nA,radboud,0,0+0\n", "row 3: image_id 'A' stands twice"),
        (HEAD + "../a,radboud,0,0+0\n", r"row 2: image_id '\.\./a' is not safe as a file name"),
        (HEAD + "a" * 201 + ",radboud,0,0+0\n", "row 2: image_id 'a{201}' is too long; .* to at most 200 characters$"),
        (HEAD + "a,radboud,0\n", "row 2: 3 fields; expected 4"),
        (HEAD + '"a,radboud,0,0+0\n', r"row \d: not CSV"),
    ],
)
def test_a_wrong_train_csv_is_one_line_with_the_row(text: str, message: str) -> None:
    with pytest.raises(AcinusError, match=r"^train\.csv: " + message) as caught:
        parse_grades(text, "train.csv", PROVIDERS)
    assert "\n" not in str(caught.value)


def test_doubtful_lists() -> None:
    text = "image_id,reason\na,marks\nb,blank\na,No Mask\na,marks\nc,\nd\n"
    assert parse_doubtful(text, "s.csv") == {
        "a": "marks, No Mask",
        "b": "blank",
        "c": "listed in s.csv",
        "d": "listed in s.csv",
    }
    assert parse_doubtful("image_id\na\n", "s.csv") == {"a": "listed in s.csv"}
    assert parse_doubtful("image_id,seen_by,reason\na,me,pen\n", "s.csv") == {"a": "pen"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "row 1: the first column is not there; expected image_id"),
        ("a,marks\n", "row 1: the first column is a; expected image_id"),
        ("image_id,reason\na,pen, or dirt\n", "row 2: expected an image_id and 2 fields at most"),
        ("image_id,reason\n,pen\n", "row 2: expected an image_id"),
    ],
)
def test_a_wrong_doubtful_list_is_one_line_with_the_row(text: str, message: str) -> None:
    with pytest.raises(AcinusError, match=r"^s\.csv: " + message):
        parse_doubtful(text, "s.csv")
