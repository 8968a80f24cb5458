"""What `dvc repro` and `dvc exp run` rerun, and what they leave alone."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import yaml

DATA_STAGES = ("inventory", "ingest", "index", "sample", "validate", "extract")
LEARNED_STAGES = ("tune", "train", "calibrate", "infer", "quantify", "embed", "grade", "report")


def skipped(output: str) -> set[str]:
    return set(re.findall(r"^Stage '([^']+)' didn't change, skipping", output, re.MULTILINE))


def of(project: Any, *stages: str) -> set[str]:
    return {f"{stage}@{project.recipe}" for stage in stages}


def test_a_second_repro_runs_nothing(tiny_project: Any) -> None:
    before = tiny_project.outs()
    output = tiny_project.run("dvc", "repro")
    everything = of(tiny_project, *DATA_STAGES, *LEARNED_STAGES) | {"demo@camelyon", "summary"}
    assert skipped(output) == everything == set(tiny_project.lock())
    assert tiny_project.ran(output) == {"code"}
    assert tiny_project.outs() == before


def test_a_run_leaves_git_clean(tiny_project: Any) -> None:
    assert tiny_project.run("git", "status", "--porcelain") == "", "an output is neither ignored nor committed"
    committed = set(tiny_project.run("git", "ls-files").split())
    assert {"dvc.lock", "reports/metrics.json", "reports/machine.json"} <= committed
    assert not [name for name in committed if name.endswith((".parquet", ".tif", ".safetensors", ".lmdb"))]


def test_another_learning_rate_reruns_the_training_and_what_follows(experiment: tuple[Any, str]) -> None:
    project, output = experiment
    assert project.ran(output) == of(project, *LEARNED_STAGES) | {"code", "summary"}
    assert skipped(output) == of(project, *DATA_STAGES) | {"demo@camelyon"}


def test_the_experiment_changes_learned_outputs_only(experiment: tuple[Any, str], tiny_project: Any) -> None:
    project, _ = experiment
    before, after = tiny_project.outs(), project.outs()
    changed = {path for path in before if before[path] != after[path]}
    recipe = project.recipe
    assert {f"models/{recipe}", f"data/{recipe}/maps", f"reports/{recipe}/metrics.json"} <= changed
    learned = ("maps", "masks", "regions", "calibration.json", ".parquet")
    assert not [path for path in changed if path.startswith("data/") and not path.endswith(learned)]
    assert not {f"data/{recipe}/{name}.parquet" for name in ("manifest", "index", "sample")} & changed


def test_dvc_shows_both_learning_rates_and_their_figures(experiment: tuple[Any, str]) -> None:
    project, _ = experiment
    table = list(csv.DictReader(io.StringIO(project.run("dvc", "exp", "show", "--csv"))))
    rows = {row["Experiment"]: row for row in table if row["Experiment"]}
    base = next(row for row in table if row["typ"] == "baseline" and row["rev"] != "workspace")
    (rate,) = [name for name in base if name.endswith("train.lr")]
    assert (float(base[rate]), float(rows["slower"][rate])) == (0.003, 0.001)
    assert base["patch_auc"] != rows["slower"]["patch_auc"]


def test_metrics_diff_equals_the_files(experiment: tuple[Any, str], tiny_project: Any) -> None:
    project, _ = experiment
    name = f"reports/{project.recipe}/metrics.json"
    old, new = (json.loads((one.root / name).read_text()) for one in (tiny_project, project))
    shown = json.loads(project.run("dvc", "metrics", "diff", "--json"))[name]
    assert shown
    for figure, values in shown.items():
        assert (values["old"], values["new"]) == (old[figure], new[figure])
    assert set(shown) == {figure for figure in old if old[figure] != new[figure]}


def test_a_new_recipe_concerns_its_own_stages_and_the_summary(tiny_project: Any, tmp_path: Any) -> None:
    """By `dvc status`: `dvc repro --dry` stops at the first stage whose input a dry run has not made."""
    project = tiny_project.copy(tmp_path / "project")
    recipes = project.root / "recipes"
    (recipes / "another.yaml").write_text((recipes / f"{project.recipe}.yaml").read_text())
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace(f"- {project.recipe}\n", f"- {project.recipe}\n- another\n"))
    status = project.changed()
    own = {f"{stage}@another" for stage in (*DATA_STAGES, *LEARNED_STAGES)}
    assert set(status) == own | {"summary"}
    assert status["summary"] == [{"changed deps": {"params.yaml": {"recipes": "modified"}}}]


def test_a_recipe_of_another_family_concerns_its_own_stages_its_cohort_and_the_summary(
    tiny_project: Any, tmp_path: Path
) -> None:
    project = tiny_project.copy(tmp_path / "project")
    path = project.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["recipes"].append("demo-pannuke")
    params["demo"] |= {"families": ["camelyon", "pannuke"], "pannuke": {"tiles_per_fold": 4}}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    own = {f"{stage}@demo-pannuke" for stage in (*DATA_STAGES, *LEARNED_STAGES)}
    assert set(project.changed()) == own | {"demo@pannuke", "summary"}


def test_a_recipe_taken_out_of_the_run_list_concerns_the_summary_only(tiny_project: Any, tmp_path: Path) -> None:
    """As if two recipes had run: everything of the other one stands in dvc.lock."""
    project = tiny_project.copy(tmp_path / "project")
    path = project.root / "dvc.lock"
    lock = yaml.safe_load(path.read_text().replace(f"@{project.recipe}", "@another"))
    lock["stages"] |= project.lock()
    lock["stages"]["summary"]["params"]["params.yaml"]["recipes"] = [project.recipe, "another"]
    path.write_text(yaml.safe_dump(lock, sort_keys=False))
    assert project.changed() == {"summary": [{"changed deps": {"params.yaml": {"recipes": "modified"}}}]}


def test_verify_names_the_shard_with_a_flipped_byte(tiny_project: Any, tmp_path: Any) -> None:
    project = tiny_project.copy(tmp_path / "project")
    assert "every shard as its checksum says" in project.run("acinus", "verify", "--recipe", project.recipe)
    shards = sorted((project.root / "data" / project.recipe / "patches" / "shards").iterdir())
    damaged = shards[len(shards) // 2]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.chmod(0o644)
    damaged.write_bytes(data)
    message = project.fails("acinus", "verify", "--recipe", project.recipe)
    assert message.startswith("error: ")
    assert len(message.splitlines()) == 1
    assert damaged.stem in message
    assert not [shard.stem for shard in shards if shard != damaged and shard.stem in message]
