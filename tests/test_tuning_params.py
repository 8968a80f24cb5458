"""tune.space and changed settings: what a recipe's page allows, and what it refuses in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from acinus.errors import RecipeError
from acinus.params import Choices, Range, check_recipe, value_of, with_values

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def document(name: str = "demo-biopsy") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    return loaded


def recipe(**tune: Any) -> Any:
    found = document()
    found["train"]["loss"]["class_weights"] = [0.5, 0.7, 0.7, 0.9, 0.9, 0.9]
    found["tune"] |= tune
    return check_recipe("page", found)


def test_changed_settings_change_what_they_name_and_nothing_else() -> None:
    plain = recipe()
    changed = with_values(plain, {"lr": 0.02, "loss.class_weights.1": 0.25, "loss.terms.cross_entropy": 3})
    assert changed.train.lr == 0.02
    assert changed.train.loss.class_weights == [0.5, 0.25, 0.7, 0.9, 0.9, 0.9]
    assert changed.train.loss.terms["cross_entropy"] == 3
    assert plain.train.loss.class_weights == [0.5, 0.7, 0.7, 0.9, 0.9, 0.9]
    back = with_values(
        changed, {key: value_of(plain, key) for key in ("lr", "loss.class_weights.1", "loss.terms.cross_entropy")}
    )
    assert back == plain
    assert with_values(plain, {}) is plain


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"lr": {"choices": ["a", 1]}}, "tune.space.lr: train.lr = 'a': Input should be a valid number"),
        ({"lrate": {"low": 0.1, "high": 0.2}}, "train.lrate: 'lrate' is not there; known: model, encoder"),
        ({"loss.class_weights.6": {"low": 0.1, "high": 0.2}}, "'6' is not there; known: 0 to 5"),
        ({"loss": {"choices": [1, 2]}}, "train.loss is a section"),
        ({"lr": {"low": -1.0, "high": 0.2}}, "train.lr = -1.0"),
        ({"optimizer": {"choices": ["adam", "lion"]}}, "train.optimizer = 'lion'"),
        ({"batch_size": {"low": 2, "high": 8}}, "Input should be a valid integer; write whole: true for integers"),
    ],
)
def test_a_space_that_train_does_not_allow_is_refused(space: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=r"^page: ") as caught:
        recipe(space=space)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"lr": {"low": 0.2, "high": 0.1}}, "must be below high"),
        ({"lr": {"low": 0.0, "high": 0.1, "log": True}}, "must be above 0"),
        ({"batch_size": {"low": 2.5, "high": 8, "whole": True}}, "must be whole numbers"),
        ({"optimizer": {"choices": ["adam"]}}, "at least 2"),
        ({"lr": {"low": 0.1, "hig": 0.2}}, "unknown key"),
    ],
)
def test_a_space_that_is_none_is_refused(space: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=r"page: tune\.space") as caught:
        recipe(space=space)
    assert says in str(caught.value)


def test_spaces_of_every_kind_are_read() -> None:
    found = recipe(
        trials=3,
        objective="miou",
        space={
            "lr": {"low": 1e-4, "high": 1e-2, "log": True},
            "batch_size": {"low": 2, "high": 8, "whole": True},
            "optimizer": {"choices": ["adam", "sgd"]},
        },
    ).tune.space
    assert found["lr"] == Range(low=1e-4, high=1e-2, log=True)
    assert found["batch_size"] == Range(low=2, high=8, whole=True)
    assert found["optimizer"] == Choices(choices=["adam", "sgd"])


@pytest.mark.parametrize(
    ("section", "values", "says"),
    [
        ("tune", {"trials": 2, "space": {}}, "needs an objective and a space"),
        ("tune", {"objective": "patch_auc"}, "allowed for task segmentation: mdice, miou"),
        ("grade", {"target": "tumor"}, "add train, val"),
        ("grade", {"target": "isup"}, "infer.splits"),
        ("calibrate", {"objective": "froc"}, "needs quantify.froc = true"),
    ],
)
def test_sections_that_do_not_fit_together_are_refused(section: str, values: dict[str, Any], says: str) -> None:
    found = document()
    found[section] |= values
    with pytest.raises(RecipeError) as caught:
        check_recipe("page", found)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_isup_needs_the_family_that_has_it() -> None:
    found = document("demo-camelyon")
    found["infer"]["splits"] = ["train", "val", "test"]
    found["grade"]["target"] = "isup"
    with pytest.raises(RecipeError, match="family camelyon has no ISUP grades"):
        check_recipe("page", found)
