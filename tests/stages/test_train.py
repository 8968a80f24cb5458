"""Which weights a training starts from: the ones that the recipe names, and no others. And with which settings."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from acinus.errors import AcinusError, RecipeError
from acinus.files import sha256
from acinus.params import Project, load_project, load_recipe
from acinus.paths import Paths
from acinus.stage import Stage
from acinus.stages import train
from acinus.training import model_spec

ROOT = Path(__file__).resolve().parents[2]


def stage(root: Path, **settings: object) -> Stage:
    recipe = load_recipe(ROOT, "demo-camelyon")
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=settings)})
    project: Project = load_project(ROOT)
    found(root, "{}")
    log = SimpleNamespace(run_id=None, parent_id=None, share_params=SHARED.update)
    return Stage("train", root, project, log, "demo-camelyon", recipe, Paths(root, "x"))


SHARED: dict[str, str] = {}


def found(root: Path, settings: str) -> None:
    """Write what a search left."""
    best = Paths(root, "x").tune / "best.yaml"
    best.parent.mkdir(parents=True, exist_ok=True)
    best.write_text(f"objective: patch_auc\ntrials: 2\nvalue: 0.9\nsettings: {settings}\n")


def weights(named: Stage) -> str:
    return model_spec(train._training(named)).weights


def test_a_weights_file_must_be_the_one_whose_checksum_the_recipe_names(tmp_path: Path) -> None:
    """DVC tracks the recipe, not the file: an exchanged file would go unnoticed."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"first")
    named = stage(tmp_path, weights="w.safetensors", weights_sha256=sha256(path))
    assert weights(named) == str(path)  # of the project, whatever the current folder is
    path.write_bytes(b"other")
    with pytest.raises(RecipeError, match=rf"train.weights_sha256 = .*: the file has {sha256(path)}"):
        weights(named)
    path.unlink()
    with pytest.raises(RecipeError, match="no such file"):
        weights(named)
    assert weights(replace(named, recipe=stage(tmp_path, weights="none").recipe)) == "none"


def test_the_settings_of_a_search_take_the_place_of_the_recipes_and_are_shared(tmp_path: Path) -> None:
    named = stage(tmp_path)
    assert train._training(named).train == named.recipe.train
    found(tmp_path, "{lr: 0.25, loss.focal_gamma: 1.5}")
    SHARED.clear()
    settings = train._training(named).train
    assert (settings.lr, settings.loss.focal_gamma) == (0.25, 1.5)
    assert settings.model_copy(update={"lr": named.recipe.train.lr, "loss": named.recipe.train.loss}) == (
        named.recipe.train
    )
    assert SHARED == {"tuned.train.lr": "0.25", "tuned.train.loss.focal_gamma": "1.5"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [("{lr: -1.0}", "train.lr = -1.0"), ("{speed: 1}", "'speed' is not there"), ("3", "settings = 3")],
)
def test_settings_that_train_does_not_allow_are_refused_in_one_line(tmp_path: Path, settings: str, said: str) -> None:
    named = stage(tmp_path)
    found(tmp_path, settings)
    with pytest.raises(RecipeError) as caught:
        train._training(named)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("wanted", "said"), [(512.0, ""), (512.5, "slide b: map downsample 512.5 is larger than a w")])
def test_a_map_that_windows_cannot_make_is_refused_before_the_training(
    tmp_path: Path, wanted: float, said: str
) -> None:
    """Of another level than 0 only the slides tell: here patches of 128 px, 4 to 4.1 level-0 px each."""
    named = stage(tmp_path)
    infer = named.recipe.infer.model_copy(update={"map_downsample": wanted})
    named = replace(named, recipe=named.recipe.model_copy(update={"infer": infer}))
    sample = pd.DataFrame({"slide_id": ["a", "a", "b"], "downsample": [4.1, 4.1, 4.0]})
    if not said:
        train._check_map(named, sample)
        return
    with pytest.raises(AcinusError, match=rf"^{said}.*lower infer.map_downsample to at most 512$"):
        train._check_map(named, sample)


def test_a_segmentation_does_not_say_that_no_patch_was_scored(tmp_path: Path) -> None:
    training = train._training(stage(tmp_path))
    assert train._tested(training, 7) == "7 test patches scored"
    assert (
        train._tested(replace(training, task="segmentation"), 0)
        == "a segmentation is scored on the maps of whole slides"
    )


def test_without_a_search_s_file_the_stage_to_run_is_named(tmp_path: Path) -> None:
    named = stage(tmp_path)
    (named.paths.tune / "best.yaml").unlink()
    with pytest.raises(AcinusError, match="run the tune stage"):
        train._training(named)
