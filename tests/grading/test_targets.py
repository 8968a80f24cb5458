"""What tables say of slides: read by kind, and everything odd in them named."""

from typing import Any

import pytest

from acinus import params
from acinus.errors import AcinusError
from acinus.grading.targets import Target, read_target
from acinus.labels.near import near_duplicates


def read(texts: dict[str, str], kind: str | None = "binary", column: str = "label", **settings: Any) -> Target:
    """slide_id (p1a: slide a of patient p1) -> text."""
    events = settings.pop("events", {})
    labels = {slide: {column: text} for slide, text in texts.items()}
    for slide, event in events.items():
        labels.setdefault(slide, {})["event"] = event
    rows = [{"slide_id": slide, "patient": slide[:-1], "isup": None, "slide_label": None} for slide in texts]
    grade = params.Grade(**{"target": column, "kind": kind, **settings})
    return read_target(grade, rows, labels)


def values(target: Target) -> dict[str, float | None]:
    return {slide: known.value for slide, known in target.truth.items()}


def test_classes_are_numbered_in_the_order_given_or_sorted() -> None:
    texts = {"p1a": "pos", "p2a": "neg", "p3a": "", "p4a": "NA"}
    target = read(texts, classes=["neg", "pos"])
    assert values(target) == {"p1a": 1, "p2a": 0, "p3a": None, "p4a": None}
    assert target.notes == ("2 slides without label: predicted, not learned from (p3a, p4a)",)
    by_text = read({"p1a": "wild", "p2a": "mutant"})
    assert by_text.classes == ("mutant", "wild")
    assert "positive is 'wild'" in by_text.notes[0]
    by_number = read({f"p{n}a": str(n) for n in (9, 10, 11)}, kind="classes")
    assert by_number.classes == ("9", "10", "11")


def test_the_manifests_own_targets() -> None:
    known = ((0, 0, "normal"), (5, 5, "tumor"), (9, None, None))
    rows = [{"slide_id": f"s{n}", "patient": f"p{n}", "isup": isup, "slide_label": label} for n, isup, label in known]
    isup = read_target(params.Grade(target="isup"), rows, {})
    assert (isup.kind, isup.classes[5], values(isup)) == ("ordinal", "ISUP 5", {"s0": 0, "s5": 5, "s9": None})
    tumor = read_target(params.Grade(target="tumor"), rows, {})
    assert (tumor.kind, tumor.classes, values(tumor)) == ("binary", ("normal", "tumor"), {"s0": 0, "s5": 1, "s9": None})


def test_numbers() -> None:
    target = read({"p1a": "1.5", "p2a": "-2", "p3a": ""}, kind="regression")
    assert values(target) == {"p1a": 1.5, "p2a": -2, "p3a": None}
    with pytest.raises(AcinusError, match=r"label: 2 texts are no finite number \(p1a: '1,5', p2a: 'inf'\)"):
        read({"p1a": "1,5", "p2a": "inf", "p3a": "3"}, kind="regression")
    with pytest.raises(AcinusError, match="1_000"):
        read({"p1a": "1_000", "p2a": "2"}, kind="regression")


def test_survival() -> None:
    texts, events = {"p1a": "10", "p2a": "20.5", "p3a": "30", "p4a": ""}, {"p1a": "1", "p2a": "0", "p4a": "1"}
    target = read(texts, kind="survival", event="event", events=events)
    assert (target.truth["p1a"].value, target.truth["p1a"].event, target.truth["p2a"].event) == (10.0, 1, 0)
    assert values(target)["p3a"] is None
    assert "2 slides have only one of label and event (p3a, p4a)" in target.notes
    with pytest.raises(AcinusError, match=r"2 times are not above 0 \(p1a: 0, p2a: -3\)"):
        read({"p1a": "0", "p2a": "-3", "p3a": "1"}, kind="survival", event="event", events=events)
    with pytest.raises(AcinusError, match=r"event: 1 texts are neither 1 nor 0 \(p2a: 'dead'\)"):
        read(texts, kind="survival", event="event", events={**events, "p2a": "dead"})
    with pytest.raises(AcinusError, match="0 for all 2 slides; without an event"):
        read({"p1a": "1", "p2a": "2"}, kind="survival", event="event", events={"p1a": "0", "p2a": "0"})
    with pytest.raises(AcinusError, match=r"patient p1 has 10 with event 1 \(p1a\) and 20 with event 1 \(p1b\)"):
        read({"p1a": "10", "p1b": "20"}, kind="survival", event="event", events={"p1a": "1", "p1b": "1"})


def test_a_column_that_is_not_there_or_says_nothing() -> None:
    rows = [{"slide_id": "s", "patient": "p", "isup": None, "slide_label": None}]
    with pytest.raises(AcinusError, match=r"grade.target = 'her2': no such column of labels; .*has: ER, PR"):
        read_target(params.Grade(target="her2", kind="binary"), rows, {"s": {"ER": "1", "PR": "0"}})
    with pytest.raises(AcinusError, match="the cohort's table has: none at all"):
        read_target(params.Grade(target="her2", kind="binary"), rows, {})
    assert read({"p1a": "x", "p2a": "y"}, column="LABEL", target="label").name == "label"  # whatever the case
    with pytest.raises(AcinusError, match="'x' for all 2 labelled slides; there is nothing to learn"):
        read({"p1a": "x", "p2a": "x", "p3a": ""}, kind="classes")
    with pytest.raises(AcinusError, match="says nothing of any slide"):
        read({"p1a": "", "p2a": "NA"}, kind="regression")


def test_a_slip_of_the_pen_is_named() -> None:
    many = {f"p{n}a": ("benign", "malignant")[n % 2] for n in range(20)}
    for slip in ("Benign", "benign ", "benigm", "bening", "bengn"):
        with pytest.raises(AcinusError, match=rf"label: '{slip}' \(1 slides\) is nearly 'benign' \(10 slides\)"):
            read({**many, "q1a": slip})
    with pytest.raises(AcinusError, match=r"label: '1\.0' \(1 slides\) is nearly '1' \(2 slides\)"):
        read({"p1a": "0", "p2a": "1", "p3a": "1", "p4a": "1.0", "p5a": "2"}, kind="ordinal")
    with pytest.raises(AcinusError, match=r"'benigm' \(1 slides\) is none of grade.classes.*is 'benign' meant\?"):
        read({**many, "q1a": "benigm"}, classes=["benign", "malignant"])
    with pytest.raises(AcinusError, match=r"grade.kind = binary: label has 3 classes: .*other \(1\)"):
        read({**many, "q1a": "other"})
    both = read({**many, "q1a": "benigm"}, kind="classes", classes=["benign", "malignant", "benigm"])
    assert both.truth["q1a"].value == 2


def test_free_text_is_no_class() -> None:
    with pytest.raises(AcinusError, match="label has 65 different texts, at most 64 can be classes"):
        read({f"p{n}a": f"text {n}" for n in range(65)}, kind="classes")
    with pytest.raises(AcinusError, match=r"label: slide p2a has a text of 10000 characters, which is no class"):
        read({"p1a": "x", "p2a": "y" * 10_000})


def test_names_that_differ_on_purpose_are_two_names() -> None:
    for one, other in (("grade 1", "grade 2"), ("MSI", "MSS"), ("I", "II"), ("pT1", "pT2"), ("luminal A", "basal")):
        assert not near_duplicates(one, other)
    assert near_duplicates("Luminal  A", "luminal a")


def test_an_order_cannot_be_guessed() -> None:
    with pytest.raises(AcinusError, match=r"grade.classes: missing; label is ordinal .*: high, low, moderate"):
        read({"p1a": "low", "p2a": "moderate", "p3a": "high"}, kind="ordinal")
    assert read({"p1a": "3", "p2a": "1", "p3a": "2"}, kind="ordinal").classes == ("1", "2", "3")


def test_two_labels_of_one_patient_are_told() -> None:
    notes = read({"p1a": "x", "p1b": "y", "p2a": "x"}).notes
    assert notes[-1].startswith("1 patient with slides of several labels, as p1: x (p1a) and y (p1b)")
