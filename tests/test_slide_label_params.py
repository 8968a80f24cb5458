"""Recipes of task slide_labels: which sections stay empty, and what does not fit together."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from acinus import params
from acinus.errors import RecipeError

ROOT = Path(__file__).resolve().parents[1]
EMPTY: dict[str, Any] = {name: {} for name in ("sample", "extract", "tune", "train", "calibrate", "quantify")}


def document(**sections: Any) -> dict[str, Any]:
    """The smallest such recipe, with sections changed."""
    return {
        "title": "t",
        "family": "slides",
        "task": "slide_labels",
        "cohort": {"root": "slides", "folds": {"k": 3}},
        "index": {"mpp": 0.5, "patch_px": 224, "stride_px": 224, "min_tissue_fraction": 0.5, "tissue": {}},
        "validate": {},
        "embed": {"encoder": "resnet18"},
        "grade": {"target": "subtype", "kind": "classes"},
        "report": {},
        "infer": {"stride_px": None, "map_downsample": None},
        **EMPTY,
        **sections,
    }


def refusal(**sections: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        params.check_recipe("r.yaml", document(**sections))
    return str(caught.value)


def test_sections_of_patches_are_empty_null_or_absent() -> None:
    whole = params.check_recipe("r.yaml", document())
    assert (whole.task, whole.cohort.folds) == ("slide_labels", params.Folds(k=3))
    bare = {key: value for key, value in document().items() if key not in {*EMPTY, "infer"}}
    assert params.check_recipe("r.yaml", bare) == whole
    said = refusal(train={"lr": 0.001})
    assert said == (
        "r.yaml: train.lr = 0.001: task slide_labels trains nothing on patches and makes no map; write null, or leave "
        "the section empty"
    )


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"grade": {}}, "grade.target = none: task slide_labels learns a column of the table; name it"),
        ({"grade": {"target": "age"}}, "grade.kind: missing; say what the column holds: binary, classes, ordinal"),
        ({"embed": {}}, "embed.encoder = model: task slide_labels trains no network on patches; name an encoder"),
        ({"embed": {"encoder": "resnet18", "patches": "suspicious"}}, "embed.patches = suspicious: task slide_labels"),
        ({"grade": {"target": "t", "kind": "survival"}}, "grade.event = None: grade.kind = survival needs it"),
        ({"grade": {"target": "t", "kind": "classes", "event": "e"}}, "grade.event = 'e': grade.kind = survival needs"),
        ({"grade": {"target": "t", "kind": "regression", "classes": ["a", "b"]}}, "kind regression has no classes"),
        ({"grade": {"target": "t", "kind": "binary", "classes": ["a", "b", "c"]}}, "kind binary has two, the negative"),
        ({"grade": {"target": "t", "kind": "classes", "classes": ["a", "a"]}}, "must be different texts"),
        ({"grade": {"target": "isup"}}, "grade.target = isup: family slides has no ISUP grades"),
        (
            {"cohort": {"root": "s", "folds": {"k": 1}}},
            "cohort.folds.k = 1: Input should be greater than or equal to 2",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_with_key_value_and_remedy(sections: dict[str, Any], said: str) -> None:
    text = refusal(**sections)
    assert said in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        ("grade", {"target": "subtype"}, "grade.target = 'subtype': beside maps none, isup or tumor is learned"),
        ("grade", {"aggregator": "clam"}, "grade.aggregator = 'clam': is for task slide_labels; leave it out"),
        ("embed", {"patches": "all"}, "embed.patches = all: is for task slide_labels; write suspicious"),
        ("cohort", {"folds": {"k": 5}}, "cohort.folds: is for task slide_labels; write null"),
    ],
)
def test_settings_of_slide_labels_are_refused_beside_patches(section: str, changes: dict[str, Any], said: str) -> None:
    whole = yaml.safe_load((ROOT / "recipes" / "demo-panda.yaml").read_text())
    with pytest.raises(RecipeError) as caught:
        params.check_recipe("r.yaml", whole | {section: whole[section] | changes})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("grade", "fault"),
    [
        ({"trials": 3}, "a search needs trials and a space"),
        ({"trials": 3, "space": {"loss": {"choices": ["ordinal", "cross_entropy"]}}}, "grade.space.loss: not searched"),
        ({"trials": 3, "space": {"dropout": {"low": 0.1, "high": 1.5}}}, "grade.space.dropout = 1.5: "),
        ({"trials": 3, "space": {"lr": {"low": 0.1, "high": 1.5}}, "aggregator": "mean"}, "has nothing to search"),
        ({"kind": "regression", "aggregator": "clam"}, "its loss is of classes"),
    ],
)
def test_what_aggregator_and_search_do_not_allow(grade: dict[str, Any], fault: str) -> None:
    assert fault in refusal(grade={"target": "subtype", "kind": "classes", **grade})


def test_a_key_that_moved_to_embed_says_so() -> None:
    whole = yaml.safe_load((ROOT / "recipes" / "demo-panda.yaml").read_text())
    with pytest.raises(
        RecipeError, match=r"^r.yaml: grade.encoder = 'model': unknown key; encoder is a key of section em"
    ):
        params.check_recipe("r.yaml", whole | {"grade": whole["grade"] | {"encoder": "model"}})
