"""Splits: groups stay whole, classes are stratified, splits.csv is read strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acinus.cohorts.splits import Listed, Member, assign, parse_groups, parse_splits
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


def test_the_draw_without_a_test_fraction_is_the_one_of_the_first_release() -> None:
    """Recorded before test sets could be drawn: no seed may put a published cohort's slides elsewhere."""
    members = [
        Member(f"{label}_{number:03d}", f"{label}_{number:03d}", label, None)
        for label, count in (("tumor", 9), ("normal", 12), ("unknown", 6))
        for number in range(count)
    ]
    members += [Member("p_1", "p", "normal", None), Member("p_2", "p", "tumor", None)]
    val = sorted(slide_id for slide_id, split in assign(members, 0.3, 20261121).items() if split == "val")
    assert val == [
        *("normal_000", "normal_004", "normal_005", "normal_006"),
        *("tumor_002", "tumor_005", "tumor_007"),
        *("unknown_001", "unknown_003"),
    ]


@pytest.mark.parametrize(
    ("groups", "test_fraction", "val_fraction", "expected"),
    [
        (6, 1 / 3, 0.2, (3, 1, 2)),  # (train, val, test)
        (3, 0.01, 0.01, (1, 1, 1)),
        (3, 0.99, 0.99, (1, 1, 1)),
        (2, 0.5, 0.2, (1, 1, 0)),
        (1, 0.5, 0.5, (1, 0, 0)),
        (100, 0.2, 0.25, (60, 20, 20)),
        (10, 0.0, 0.2, (8, 2, 0)),
    ],
)
def test_test_is_drawn_before_val(
    groups: int, test_fraction: float, val_fraction: float, expected: tuple[int, int, int]
) -> None:
    members = [Member(f"s{n}", f"s{n}", "isup3", None) for n in range(groups)]
    drawn = list(assign(members, val_fraction, 5, test_fraction).values())
    assert tuple(drawn.count(split) for split in ("train", "val", "test")) == expected


def test_slides_of_unknown_class_need_give_nothing_to_test() -> None:
    members = [Member(f"s{n}", f"s{n}", "unknown", None) for n in range(4)]
    assert set(assign(members, 0.1, 1, 0.1).values()) == {"train"}


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", "unknown"]), st.sampled_from(["", "k", "r"]))),
    st.floats(0.0, 0.9),
    st.floats(0.01, 0.99),
)
def test_groups_stay_whole_in_three_ways_too(slides: list[tuple[int, str, str]], test: float, val: float) -> None:
    members = [Member(f"s{n}", f"g{group}", label, None, kind) for n, (group, label, kind) in enumerate(slides)]
    drawn = assign(members, val, 3, test)
    assert drawn == assign(members[::-1], val, 3, test)
    of_group: dict[str, set[str]] = {}
    for one in members:
        of_group.setdefault(one.group, set()).add(drawn[one.slide_id])
    assert all(len(found) == 1 for found in of_group.values())
    assert not members or "train" in drawn.values()


def test_the_test_set_does_not_depend_on_the_validation_share() -> None:
    members = cohort(20, 20)
    tests = [{k for k, split in assign(members, val, 1, 0.3).items() if split == "test"} for val in (0.1, 0.5)]
    assert tests[0] == tests[1]
    assert len(tests[0]) == 12


def test_both_kinds_within_a_stratum_are_spread_evenly() -> None:
    members = [
        Member(f"{kind}{isup}{n}", f"{kind}{isup}{n}", f"isup{isup}", None, kind)
        for isup in range(6)
        for kind, count in (("k", 30), ("r", 10))
        for n in range(count)
    ]
    for seed in range(5):
        drawn = assign(members, 0.25, seed, 0.2)
        for isup in range(6):
            for split, total in (("test", 8), ("val", 8), ("train", 24)):
                here = [one.within for one in members if one.label == f"isup{isup}" and drawn[one.slide_id] == split]
                assert len(here) == total
                assert abs(here.count("r") - total / 4) <= 1


def test_a_group_is_drawn_with_the_worst_of_its_grades() -> None:
    members = [Member("a1", "a", "isup1", None), Member("a2", "a", "isup5", None)]
    members += [Member(name, name, "isup5", None) for name in "bc"]  # with a: three groups of isup5, none of isup1
    drawn = assign(members, 0.2, 1, 0.2)
    assert {drawn["a1"], drawn["b"], drawn["c"]} == {"train", "val", "test"}
    assert drawn["a1"] == drawn["a2"]


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


def test_groups_csv() -> None:
    text = "patient,slide_id\np1,tumor_001\np1,normal_001\n"
    assert parse_groups(text, "groups.csv", KNOWN) == {"tumor_001": "p1", "normal_001": "p1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slide_id\n", r"row 1: columns are slide_id; expected slide_id, patient$"),
        ("slide_id,patient,split\n", r"row 1: columns are slide_id, patient, split; expected slide_id, patient$"),
        ("slide_id,patient\nx,p1\n", r"row 2: slide_id 'x' is no slide"),
        ("slide_id,patient\ntumor_001,p1\ntumor_001,p1\n", r"row 3: slide_id 'tumor_001' stands twice"),
        ("slide_id,patient\ntumor_001,\n", r"row 2: patient is empty"),
    ],
)
def test_a_wrong_groups_csv_is_one_line_with_the_row(text: str, message: str) -> None:
    with pytest.raises(AcinusError, match=r"^groups\.csv: " + message):
        parse_groups(text, "groups.csv", KNOWN)
