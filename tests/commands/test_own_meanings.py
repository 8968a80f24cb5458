"""What texts of a table mean: all of a text counts, and where anything else may be meant nothing is said."""

import pytest

from acinus.cohorts.slides_table import join, parse
from acinus.commands.own_labels import labels_of
from acinus.commands.own_meanings import LabelColumn, is_patient, label_columns


def columns(text: str) -> list[LabelColumn]:
    """The columns of a slides.csv of a.svs, b.svs, ... that may say what slides are."""
    table = parse(text, "slides.csv")
    return label_columns(table, join(table, [f"{name}.svs" for name in "abcdefgh"]))


def test_a_column_of_tumour_and_normal_in_anyones_words_is_told() -> None:
    rows = "slide,patient_id,age,er,sample,kind\na,P1,41,pos,Primary Tumor,luminal\n"
    rows += "b,P1,52,neg,Solid Tissue Normal,basal\n"
    rows += "c,P2,63,pos,unknown,basal\nd,P3,70,neg,Metastatic,basal\n"
    meanings = {
        "Metastatic": "tumor",
        "Primary Tumor": "tumor",
        "Solid Tissue Normal": "normal",
        "unknown": "unknown",
    }
    assert [(one.name, one.values) for one in columns(rows)] == [
        ("sample", meanings),
        ("er", {}),  # the state of a receptor says nothing of tumour
        ("kind", {}),
    ]


@pytest.mark.parametrize(
    ("meaning", "texts"),
    [
        (
            "normal",
            "normal;Normal tissue;benign;healthy;negative for malignancy;no tumour;tumor-free;Tumour_free;non-tumour;"
            "Tumor absent;nonmalignant;noncancerous;free of tumour;no evidence of malignancy",
        ),
        (
            "tumor",
            "tumour;cancer;carcinoma;adenocarcinoma;malignant;metastasis;invasive ductal carcinoma;lymphoma;melanoma;"
            "Invasive ductal carcinoma, NOS;carcinoma, not otherwise specified",
        ),
        ("unknown", "unknown;N/A;?"),
        (
            None,
            "non-small cell carcinoma;small cell carcinoma;non-Hodgkin lymphoma;no special type carcinoma;abnormal;"
            "non-invasive carcinoma;not normal;normal-like carcinoma;tumor negative;cancer: no;adjacent to tumour;"
            "peritumoral;negative for lymphoma;no carcinoma in situ;normal adjacent to tumor;suspicious for carcinoma;"
            "no longer normal;carcinoma excluded;carcinoma?;without carcinoma;benign tumour;metastasis-free;"
            "yes;no;1;0;positive;negative;present;absent;-;+;none",
        ),
    ],
)
def test_a_text_means_something_only_where_all_of_it_does(meaning: str | None, texts: str) -> None:
    for text in texts.split(";"):
        (one,) = columns(f'slide,diagnosis\na,"{text}"\nb,tumor\nc,normal\n')
        assert one.values.get(text) == meaning, text
        assert bool(one.values) == (meaning is not None)
        assert (repr(text) in one.why) == (meaning is None)


@pytest.mark.parametrize(
    ("title", "asks"),
    [
        *((title, True) for title in ("tumor", "Tumour", "Tumor present", "is_tumor", "isTumor", "has cancer")),
        *((title, True) for title in ("malignant", "Malignancy", "cancer_status", "carcinoma")),
        *((title, False) for title in ("tumor_free", "cancer_free", "tumor_negative", "non_tumor", "no tumour")),
        *((title, False) for title in ("family_history_cancer", "tumor_left", "tumor_percent", "diagnosis")),
        *((title, False) for title in ("metastasis", "peritumoral", "tumor_type", "adjacent_tumor")),
    ],
)
def test_yes_and_no_mean_something_only_below_a_title_that_asks_for_tumour(title: str, asks: bool) -> None:
    for yes, no in (("yes", "no"), ("1", "0"), ("TRUE", "FALSE"), ("positive", "negative"), ("present", "absent")):
        (one,) = columns(f"slide,{title}\na,{yes}\nb,{no}\n")
        assert one.values == ({yes: "tumor", no: "normal"} if asks else {})


@pytest.mark.parametrize("title", ["family_history", "previous diagnosis", "Clinical suspicion", "model_prediction"])
def test_a_column_about_something_else_is_no_label(title: str) -> None:
    assert columns(f"slide,{title}\na,cancer\nb,normal\n")[0].values == {}


def test_columns_that_contradict_each_other_and_those_that_say_one_thing_are_left_open() -> None:
    one, two = columns("slide,biopsy,resection\na,benign,cancer\nb,cancer,cancer\nc,benign,benign\n")
    assert one.values == two.values == {}
    assert "another column says otherwise of a slide" in one.told
    (weight,) = columns("slide,weight\na,normal\nb,normal\n")
    assert (weight.values, weight.why) == ({}, "all it says is normal")


def test_meanings_are_said_and_what_was_not_understood_too() -> None:
    known = columns("slide,diagnosis\na,benign\nb,cancer\nc,cancer\n")
    notes = labels_of((), (), (), known, {}).notes
    assert notes["cohort.label.column"] == "By its texts: diagnosis ('benign' 1 = normal, 'cancer' 2 = tumor)."
    labels = labels_of((), (), (), columns("slide,diagnosis\na,benign\nb,cancer\nc,cancre\n"), {})
    assert labels.cohort["label"] is None
    assert "diagnosis ('benign' 1, 'cancer' 1, 'cancre' 1; not understood: 'cancre')" in labels.notes["cohort.label"]


@pytest.mark.parametrize(
    ("titles", "says"),
    [
        ("patient;Patient ID;patient_id;PatientID;Patientennummer;Pat-ID;Patient Nr.;MRN;Case ID;Fallnummer", True),
        ("patience;pathology;age;fall;patient age;slide;case type;mouse strain", False),
    ],
)
def test_whose_slide_it_is_stands_below_many_titles(titles: str, says: bool) -> None:
    for title in titles.split(";"):
        assert is_patient(title) == says, title
