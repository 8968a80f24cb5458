"""Which weights a training starts from: the ones that the recipe names, and no others. And with which settings."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from acinus.errors import AcinusError, RecipeError
from acinus.files import sha256
from acinus.learning.baseline import learn_colours
from acinus.learning.colour import (
    fit_colours,
    mean_colours,
    optical_density,
    patch_features,
    pixel_features,
    stain_summary,
)
from acinus.learning.job import model_spec, patch_keys
from acinus.params import Project, load_project, load_recipe
from acinus.paths import Paths
from acinus.stage import Stage
from acinus.stages import train

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


class Patches:
    """A store of drawn patches (or masks) that notes what is read of it."""

    def __init__(self, keys: list[str], *shape: int) -> None:
        rng = np.random.default_rng(3)
        self.held = {key: rng.integers(0, 2 if len(shape) == 2 else 256, shape, dtype=np.uint8) for key in keys}
        self.seen: list[str] = []

    def read(self, key: str) -> np.ndarray:
        return next(patch for _, patch in self.visit([key]))

    def visit(self, keys: list[str]) -> Iterator[tuple[int, np.ndarray]]:
        for key in sorted(keys, reverse=True):  # in another order than asked for
            self.seen.append(key)
            yield keys.index(key), self.held[key]


def sampled(labels: list[int]) -> pd.DataFrame:
    columns = {"slide_id": ["b", "a", "b", "a", "c"], "x0": [0, 0, 8, 8, 0], "y0": 0, "downsample": 2.0}
    return pd.DataFrame({**columns, "label": labels, "split": ["train"] * 4 + ["val"]})


def test_colours_of_training_patches_are_learned_in_one_reading_of_each(tmp_path: Path) -> None:
    sample = sampled([0, 1, 1, 0, 1])
    store = Patches(keys := patch_keys(sample), 8, 8, 3)
    model, stain = learn_colours(sample, (store, None), 2, 4.0, stage(tmp_path).seed)
    assert sorted(store.seen) == sorted(keys[:4]), "each training patch once, no other"
    features = np.stack([patch_features(store.held[key]) for key in keys[:4]])
    assert model == fit_colours(features, np.array([0, 1, 1, 0]))
    of_a, of_b = ([store.held[keys[at]] for at in places] for places in ((1, 3), (0, 2)))
    assert stain == stain_summary([optical_density(of_a), optical_density(of_b)])


def test_colours_of_a_segmentation_are_learned_in_one_reading_too(tmp_path: Path) -> None:
    sample = sampled([1, 1, 1, 1, 1])
    store, masks = Patches(keys := patch_keys(sample), 8, 8, 3), Patches(keys, 8, 8)
    named = stage(tmp_path)
    model, stain = learn_colours(sample, (store, masks), 2, 4.0, named.seed)
    assert sorted(store.seen) == sorted(masks.seen) == sorted(keys[:4])
    drawn = []
    for key in keys[:4]:
        colours, labels = mean_colours(store.held[key][None], masks.held[key][None], 2)
        order = np.sort(np.random.default_rng(named.seed("colour", key)).permutation(16))
        drawn.append((colours[order], labels[order]))
    colours, labels = map(np.concatenate, zip(*drawn, strict=True))
    assert model == fit_colours(pixel_features(colours), labels, 2, seed=named.seed("colour"))
    assert stain["n"] == 2
