"""What a stage read, by the digests that DVC knows when it runs; and the commit."""

import subprocess
from pathlib import Path

import pytest

from acinus.project.lineage import WRITTEN, Input, dependencies, git_commit, outputs, stage_inputs

DVC_YAML = """
stages:
  inventory:
    deps:
      - data/demo
      - data/raw
      - code/inventory.json
  index:
    deps:
      - data/${item.recipe}/manifest.parquet
      - src/acinus/slides
      - recipes/${item.recipe}.yaml
      - params.yaml
  extract:
    deps:
      - data/${item.recipe}/sample.parquet
      - reports/${item.recipe}/validation.json
"""

LOCK = """
schema: '2.0'
stages:
  demo@camelyon:
    outs:
    - path: data/demo/camelyon
      md5: 11aa.dir
  demo@panda:
    outs:
    - path: data/demo/panda
      md5: 22bb.dir
  ingest@mine:
    outs:
    - path: data/mine/manifest.parquet
      md5: 33cc
  ingest@other:
    outs:
    - path: data/other/manifest.parquet
      md5: 44dd
  index@mine:
    deps:
    - path: data/mine/manifest.parquet
      md5: 00ff
  inventory@mine:
    deps:
    - path: data/demo
      md5: ee00.dir
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "dvc.lock").write_text(LOCK)
    return tmp_path


def test_data_dependencies_have_the_digest_of_the_output_not_of_the_last_reading(root: Path) -> None:
    """Regression: the stage's own entry in dvc.lock still has the md5 of what its last execution read."""
    assert stage_inputs(root, "index", "mine") == [Input("data/mine/manifest.parquet", "33cc")]
    assert stage_inputs(root, "index", "other") == [Input("data/other/manifest.parquet", "44dd")]


def test_a_folder_of_several_outputs_is_named_by_them(root: Path) -> None:
    assert stage_inputs(root, "inventory", "mine") == [
        Input("data/demo/camelyon", "11aa.dir"),
        Input("data/demo/panda", "22bb.dir"),
        Input("data/raw", None),
    ]


def test_what_dvc_does_not_know_yet_has_no_digest(root: Path) -> None:
    wanted = [Input("data/mine/sample.parquet", None), Input("reports/mine/validation.json", None)]
    assert stage_inputs(root, "extract", "mine") == wanted
    (root / "dvc.lock").unlink()
    assert stage_inputs(root, "extract", "mine") == wanted
    assert stage_inputs(root, "index", "mine") == [Input("data/mine/manifest.parquet", None)]


def test_an_unknown_stage_and_a_missing_dvc_yaml_read_nothing(root: Path) -> None:
    assert stage_inputs(root, "nobody", "mine") == []
    (root / "dvc.yaml").unlink()
    assert stage_inputs(root, "index", "mine") == []


def test_dependencies_are_all_with_the_recipe_put_in(root: Path) -> None:
    assert dependencies(root, "index", "mine") == [
        "data/mine/manifest.parquet",
        "src/acinus/slides",
        "recipes/mine.yaml",
        "params.yaml",
    ]


def test_outputs_are_outs_and_metrics_in_either_form(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text(
        "stages: {a: {outs: ['data/${item.recipe}/x', {'data/${item.recipe}/y': {persist: true}}],"
        " metrics: ['reports/${item.recipe}.json']}, demo: {outs: ['data/demo/${item.family}']}}"
    )
    assert outputs(tmp_path, "a", "mine") == ["data/mine/x", "data/mine/y", "reports/mine.json"]
    assert outputs(tmp_path, "demo", None) == ["data/demo/*"]
    assert outputs(tmp_path, "nobody", "mine") == []


def git(root: Path, *arguments: str) -> str:
    options = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *options, *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


def test_the_commit_is_whole_and_says_when_tracked_files_differ(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    git(tmp_path, "tag", "v1")  # a tag must not stand for the commit
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert git_commit(tmp_path) == commit
    (tmp_path / "untracked").write_text("2")
    assert git_commit(tmp_path) == commit
    (tmp_path / "a").write_text("changed")
    assert git_commit(tmp_path) == f"{commit}-dirty"


def test_what_the_pipeline_writes_does_not_make_a_clean_clone_dirty(tmp_path: Path) -> None:
    names = ("a", *WRITTEN)
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", *names)
    git(tmp_path, "commit", "--quiet", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    for name in WRITTEN:
        (tmp_path / name).write_text("made anew")
    assert git_commit(tmp_path) == git_commit(tmp_path / "reports") == commit
    (tmp_path / "a").write_text("changed")
    assert git_commit(tmp_path) == git_commit(tmp_path / "reports") == f"{commit}-dirty"


def test_outside_git_and_before_the_first_commit_the_commit_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit(tmp_path) == "unknown"
    git(tmp_path, "init", "--quiet")
    assert git_commit(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))  # no git at all
    assert git_commit(tmp_path) == "unknown"
