"""Splits: groups stay whole, classes are stratified, splits.csv is read strictly."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acinus.cohorts.splits import Listed, Member, assign, parse_splits
from acinus.errors import AcinusError

KNOWN = {"tumor_001", "normal_001", "patient_017_node_2"}


def cohort(tumor: int, normal: int, per_group: int = 1) -> list[Member]:
    return [
        Member(f"{label}_{number:03d}_{part}", f"{label}_{number:03d}", label, None)
        for label, count in (("tumor", tumor), ("normal", normal))
        for number in range(count)
        for part in range(per_group)
    ]


@pytest.mark.parametrize(
    ("tumor", "normal", "fraction", "val_tumor", "val_normal"),
    [
        (10, 20, 0.2, 2, 4),
        (2, 2, 0.01, 1, 1),
        (2, 2, 0.99, 1, 1),
        (1, 5, 0.2, 0, 1),
        (6, 4, 0.25, 2, 1),
        (0, 3, 0.5, 0, 2),
    ],
)
def test_each_class_gives_its_share(tumor: int, normal: int, fraction: float, val_tumor: int, val_normal: int) -> None:
    drawn = assign(cohort(tumor, normal), fraction, seed=1)
    val = [slide_id for slide_id, split in drawn.items() if split == "val"]
    assert sum(one.startswith("tumor") for one in val) == val_tumor
    assert sum(one.startswith("normal") for one in val) == val_normal
    assert set(drawn.values()) <= {"train", "val"}


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 4), st.floats(0.01, 0.99), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_no_group_is_ever_divided(tumor: int, normal: int, per_group: int, fraction: float, seed: int) -> None:
    members = cohort(tumor, normal, per_group)
    drawn = assign(members, fraction, seed)
    assert set(drawn) == {one.slide_id for one in members}
    for one in members:
        assert drawn[one.slide_id] == drawn[f"{one.group}_0"]


def test_a_patient_with_any_tumour_is_a_tumour_patient() -> None:
    members = [Member(f"s{n}", f"p{n // 2}", "tumor" if n % 2 else "normal", None) for n in range(8)]
    drawn = assign(members, 0.25, seed=3)  # four tumour groups, no normal one: one of four
    assert sorted(drawn.values()).count("val") == 2


def test_the_draw_depends_on_the_seed_and_not_on_the_order() -> None:
    members = cohort(20, 20)
    assert assign(members, 0.3, 1) == assign(members[::-1], 0.3, 1)
    assert len({tuple(sorted(assign(members, 0.3, seed).items())) for seed in range(10)}) > 5


def test_one_slide_more_moves_at_most_one_other_of_its_class() -> None:
    members = cohort(20, 20)
    before = assign(members[1:], 0.3, 1)
    after = assign(members, 0.3, 1)
    assert sum(before[slide_id] != after[slide_id] for slide_id in before) <= 1


def test_decided_slides_keep_their_split() -> None:
    members = [*cohort(4, 4), Member("test_001", "test_001", "tumor", "test"), Member("x", "x", "normal", "val")]
    drawn = assign(members, 0.25, 1)
    assert (drawn["test_001"], drawn["x"]) == ("test", "val")
    assert sum(split == "val" for split in drawn.values()) == 3  # one of four of each class, and x


@pytest.mark.parametrize("other", ["train", None])
def test_a_patient_torn_apart_is_refused(other: str | None) -> None:
    members = [Member("a", "p1", "tumor", "test"), Member("b", "p1", "tumor", other)]
    with pytest.raises(AcinusError, match=r"patient p1: slide a is in test, slide b in (train|no split yet); list all"):
        assign(members, 0.2, 1)


def test_slides_of_unknown_class_may_all_train() -> None:
    assert assign([Member("a", "a", "unknown", None), Member("b", "b", "unknown", None)], 0.1, 1) == {
        "a": "train",
        "b": "train",
    }


def test_splits_csv_in_any_column_order_with_provider_and_byte_order_mark() -> None:
    text = "split,slide_id,patient,provider\r\ntest, tumor_001 ,p1,radboud\r\n\r\nval,normal_001,p2,\r\n"
    assert parse_splits(text, "splits.csv", KNOWN) == {
        "tumor_001": Listed("test", "p1", "radboud"),
        "normal_001": Listed("val", "p2", None),
    }


HEAD = "slide_id,split,patient\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"row 1: columns are none; expected slide_id, split, patient"),
        ("slide_id,split\ntumor_001,test\n", r"row 1: columns are slide_id, split; expected"),
        ("slide_id,split,patient,age\n", r"row 1: columns are slide_id, split, patient, age"),
        ("slide_id,split,patient,split\n", r"row 1: columns are"),
        (HEAD + "tumor_001,test,p1\nnormal_001,training,p2\n", r"row 3: split 'training'; expected train, val, test"),
        (HEAD + "../x,test,p1\n", r"row 2: slide_id '\.\./x' is no slide of this cohort"),
        (HEAD + "tumor_001,test,p1\ntumor_001,val,p1\n", r"row 3: slide_id 'tumor_001' stands twice"),
        (HEAD + "tumor_001,test,\n", r"row 2: patient is empty"),
        (HEAD + "tumor_001,test\n", r"row 2: 2 fields; expected 3"),
        (HEAD + '"tumor_001,test,p1\n', r"row \d: not CSV"),
    ],
)
def test_a_wrong_splits_csv_is_one_line_with_the_row(text: str, message: str) -> None:
    with pytest.raises(AcinusError, match=r"^splits\.csv: " + message) as caught:
        parse_splits(text, "splits.csv", KNOWN)
    assert "\n" not in str(caught.value)
