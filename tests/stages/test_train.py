"""Which weights a training starts from: the ones that the recipe names, and no others."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from acinus.errors import RecipeError
from acinus.files import sha256
from acinus.params import Project, load_project, load_recipe
from acinus.paths import Paths
from acinus.stage import Stage
from acinus.stages import train

ROOT = Path(__file__).resolve().parents[2]


def stage(root: Path, **settings: object) -> Stage:
    recipe = load_recipe(ROOT, "demo-camelyon")
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=settings)})
    project: Project = load_project(ROOT)
    return Stage("train", root, project, SimpleNamespace(run_id=None), "demo-camelyon", recipe, Paths(root, "x"))


def test_a_weights_file_must_be_the_one_whose_checksum_the_recipe_names(tmp_path: Path) -> None:
    """DVC tracks the recipe, not the file: an exchanged file would go unnoticed."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"first")
    named = stage(tmp_path, weights="w.safetensors", weights_sha256=sha256(path))
    assert train._weights(named) == str(path)  # of the project, whatever the current folder is
    path.write_bytes(b"other")
    with pytest.raises(RecipeError, match=rf"train.weights_sha256 = .*: the file has {sha256(path)}"):
        train._weights(named)
    path.unlink()
    with pytest.raises(RecipeError, match="no such file"):
        train._weights(named)
    assert train._weights(replace(named, recipe=stage(tmp_path, weights="none").recipe)) == "none"
