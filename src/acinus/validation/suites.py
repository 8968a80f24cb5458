"""The expectations: which rule, over which table and column, and what a person does when it is broken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from acinus.params import Sample, Validate
from acinus.params.base import SPLITS
from acinus.records import IGNORE, LABEL_KINDS, NORMAL, TUMOR

_UNLABELLED = (
    "slides of which nothing is known teach nothing and are in no figure: add their annotations or reference.csv, list "
    "them under cohort.exclude, or raise validate.max_unlabelled"
)


@dataclass(frozen=True)
class Rule:
    """One Great Expectations expectation: its class name, its arguments, and the remedy shown with the rows.

    An argument `row_condition` {column, among} restricts the rule to the rows whose column is among the values.
    """

    expectation: str
    kwargs: dict[str, Any]
    remedy: str


@dataclass(frozen=True)
class Suite:
    """The rules over one table and the columns that name a row of it."""

    table: str
    row_names: tuple[str, ...]
    rules: tuple[Rule, ...]


def _within(column: str, remedy: str, low: float | None = None, high: float | None = None, **condition: Any) -> Rule:
    bounds = {"column": column, "min_value": low, "max_value": high}
    return Rule("ExpectColumnValuesToBeBetween", bounds | condition, remedy)


def _among(column: str, values: list[Any], remedy: str) -> Rule:
    return Rule("ExpectColumnValuesToBeInSet", {"column": column, "value_set": values}, remedy)


def manifest_suite(split_by: str) -> Suite:
    """Return the rules over the usable slides; one that splits by slide, or shares patients, allows two splits."""
    rules: tuple[Rule, ...] = (
        Rule("ExpectTableRowCountToBeBetween", {"min_value": 1}, "no usable slide: check cohort.root and the reasons"),
        Rule("ExpectColumnValuesToBeUnique", {"column": "slide_id"}, "rename one of the slides"),
        _among("id_safe", [True], "rename the slide: letters, digits, '.', '_' and '-' only, no '..'"),
        _among("image_readable", [True], "make the image file readable, or run again after it is back"),
        _within("mpp_x", "set cohort.mpp for slides with a wrong resolution tag", 0.05, 20.0),
        _within("mpp_y", "set cohort.mpp for slides with a wrong resolution tag", 0.05, 20.0),
        _among("split", list(SPLITS), "correct splits.csv"),
        _among("slide_label", ["normal", "tumor"], "correct reference.csv"),
        _among(
            "not_tolerated",
            [""],
            "docs/cohorts.md says what each finding means; mend it, exclude the slide or name it in validate.tolerate",
        ),
        _within("isup", "an ISUP grade is 0 to 5: correct the cohort's table", 0, 5),
        _among("label_kind", list(LABEL_KINDS), "report this: ingest wrote an unknown kind"),
        _among("same_content_as", [""], "the same image twice: list one of the two under cohort.exclude"),
    )
    if split_by == "patient":
        remedy = "put all slides of a patient in one split (splits.csv), or say why not in cohort.allow_shared_patients"
        rules = (*rules, _within("patient_splits", remedy, 1, 1))
    return Suite("manifest", ("slide_id", "split", "patient"), rules)


def patch_suite(table: str, labels: list[int]) -> Suite:
    """Return the rules over a table of patches; `labels` are the class indices it may hold."""
    row_names = ("slide_id", "x0", "y0")
    rules = (
        Rule("ExpectTableRowCountToBeBetween", {"min_value": 1}, "no patch: lower index.min_tissue_fraction"),
        Rule("ExpectColumnValuesToNotBeNull", {"column": "slide_id"}, "run ingest again"),
        Rule("ExpectCompoundColumnsToBeUnique", {"column_list": list(row_names)}, "report this: a patch stands twice"),
        _within("tissue_fraction", "report this: a share outside [0, 1]", 0.0, 1.0),
        _within("tumour_fraction", "report this: a share outside [0, 1]", 0.0, 1.0),
        _among("label", labels, "labels outside the declared set: check index.tumor_min_fraction and the label source"),
        _among("inside_slide", [True], "a patch outside its slide: run index again after ingest"),
        _among("in_split_of_slide", [True], "a patch in another split than its slide: run index again after ingest"),
    )
    return Suite(table, row_names, rules)


def split_suite(sample: Sample, settings: Validate, task: str, classes: Sequence[str] = ()) -> Suite:
    """Return the rules over the splits: each has slides and patches, balanced splits the balance asked for.

    A classifier needs all classes in every split; a segmentation has its classes within each patch. classes: those of
    a classifier of more than two.
    """
    asked, slack = sample.normal_per_tumor, settings.balance_tolerance
    balanced = {"column": "split", "among": list(sample.balance)}
    rules = [
        _within("slides", "no slide in this split: change cohort.val_fraction or splits.csv", 1),
        _within("unlabelled_share", _UNLABELLED, 0.0, settings.max_unlabelled),
        _within("patches", "no patch in this split: lower index.min_tissue_fraction or change splits.csv", 1),
    ]
    if classes:
        remedy = (
            "no patch of class {} in this split: every class is needed; change splits.csv or index.min_class_fraction"
        )
        rules += [_within(f"patches.{name}", remedy.format(name), 1) for name in classes]
        if sample.balance:
            remedy = "the class balance is not as asked: raise sample.max_class_ratio"
            most = sample.max_class_ratio * (1 + slack)
            rules.append(_within("largest_per_rarest", remedy, 1, most, row_condition=balanced))
        return Suite("splits", ("split",), tuple(rules))
    if task == "patch_classification":
        rules += [
            _within("normal", "no normal patch in this split: both classes are needed; change splits.csv", 1),
            _within("tumor", "no tumour patch in this split: both classes are needed; change splits.csv", 1),
        ]
    if sample.balance and task != "patch_classification":
        remedy = "no patch with a positive class: take the split off sample.balance"
        rules.append(_within("tumor", remedy, 1, row_condition=balanced))
    if sample.balance:
        remedy = "the class balance is not as asked: change sample.normal_per_tumor or the caps per slide"
        low, high = asked * (1 - slack), asked * (1 + slack)
        rules.append(_within("normal_per_tumor", remedy, low, high, row_condition=balanced))
    return Suite("splits", ("split",), tuple(rules))


def slide_label_suites(split_by: str, folds: bool) -> tuple[Suite, ...]:
    """Return every suite of a recipe that learns from labels of whole slides.

    folds: of cross-validation (cohort.folds), which need slides in the training split alone.
    """
    needed = {"column": "split", "among": ["train"] if folds else list(SPLITS)}
    remedy = (
        "no slide in this split: change cohort.val_fraction, cohort.test_fraction or splits.csv, or set cohort.folds"
    )
    splits = Suite("splits", ("split",), (_within("slides", remedy, 1, row_condition=needed),))
    return manifest_suite(split_by), patch_suite("index", [IGNORE, NORMAL, TUMOR]), splits


def all_suites(
    sample: Sample, settings: Validate, split_by: str, task: str, classes: Sequence[str] = ()
) -> tuple[Suite, ...]:
    """Return every suite of a recipe, in the way of the data; split_by: patient or slide (cohort.split_by).

    classes: those of the patches' labels, where there are more than tumour and normal.
    """
    labels = list(range(len(classes))) or [NORMAL, TUMOR]
    return (
        manifest_suite(split_by),
        patch_suite("index", [IGNORE, *labels]),
        patch_suite("sample", labels),
        split_suite(sample, settings, task, classes),
    )
