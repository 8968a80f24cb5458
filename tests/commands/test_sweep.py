"""Sweeps over a tiny DVC project of its own: one table, one experiment each, and everything put back."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import yaml

from acinus.commands import sweep
from acinus.errors import AcinusError
from acinus.params import load_recipe

ROOT = Path(__file__).resolve().parents[2]
TRAIN = """
import json, pathlib, sys, time, yaml
train = yaml.safe_load(pathlib.Path(f"recipes/{sys.argv[1]}.yaml").read_text())["train"]
if train["lr"] == 13:
    sys.exit("no luck")
if train["lr"] == 60:
    pathlib.Path("../started").touch()
    try:
        time.sleep(60)
    finally:
        time.sleep(1)  # an interrupted training takes its time
pathlib.Path("models").mkdir(exist_ok=True)
pathlib.Path(f"models/{sys.argv[1]}.json").write_text(json.dumps(train))
"""
CODE = """
import pathlib, time
pathlib.Path("train.json").write_text(str(time.time_ns()))  # as if the code had been edited before each run
"""
REPORT = """
import json, pathlib, sys
train = json.loads(pathlib.Path(f"models/{sys.argv[1]}.json").read_text())
weights, terms = train["loss"]["class_weights"], train["loss"]["terms"]
figures = {"lr": train["lr"], "terms": sum(terms.values()), "dropout": train.get("dropout"),
           "weights": sum(weights) if isinstance(weights, list) else None}
pathlib.Path(f"reports/{sys.argv[1]}").mkdir(parents=True, exist_ok=True)
pathlib.Path(f"reports/{sys.argv[1]}/metrics.json").write_text(json.dumps(figures))
"""
DVC = {
    "stages": {
        "train": {
            "matrix": {"recipe": ["mine", "other"]},
            "cmd": "python train.py ${item.recipe}",
            "deps": ["code/train.json", "train.py"],
            "params": [{"recipes/${item.recipe}.yaml": ["train"]}],
            "outs": ["models/${item.recipe}.json"],
        },
        "report": {
            "matrix": {"recipe": ["mine", "other"]},
            "cmd": "python report.py ${item.recipe}",
            "deps": ["report.py", "models/${item.recipe}.json"],
            "metrics": ["reports/${item.recipe}/metrics.json"],
        },
    }
}
DVC_OF_CODE = {
    "stages": {
        "code": {
            "cmd": "python ../code.py",
            "always_changed": True,
            "outs": [{"train.json": {"persist": True}}],
        }
    }
}
KINDS = {
    "recipe": "mine",
    "metrics": ["lr", "weights", "terms", "dropout"],
    "variants": {
        "as-is": {},
        "list": {"train.loss.class_weights": [0.25, 1.0], "train.lr": 1e-05},
        "mapping": {"train.loss.terms": {"focal": 3.0}, "train.dropout": 0.25, "train.weights": "none"},
    },
}
FAILS = {"recipe": "mine", "metrics": ["lr"], "variants": {"good": {"train.lr": 0.5}, "bad": {"train.lr": 13}}}
WAITS = {"recipe": "mine", "metrics": ["lr"], "variants": {"long": {"train.lr": 60}}}


def call(root: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def write(root: Path, name: str, content: object) -> None:
    (root / "sweeps").mkdir(exist_ok=True)
    (root / "sweeps" / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def experiments(root: Path) -> list[str]:
    return call(root, "dvc", "exp", "list", "--name-only").split()


@pytest.fixture(autouse=True, scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands of this environment, and nothing of an outer DVC or git."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [one for one in os.environ if one.startswith(("DVC_", "GIT_"))]:
            patch.delenv(name)
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        yield


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, bytes]]:
    """A project with one unsaved change, its sweep's table, and its files before the sweep."""
    root = tmp_path_factory.mktemp("sweep") / "project"
    (root / "recipes").mkdir(parents=True)
    for name in ("mine", "other"):
        shutil.copy(ROOT / "recipes" / "demo-camelyon.yaml", root / "recipes" / f"{name}.yaml")
    (root / "train.py").write_text(TRAIN)
    (root / "report.py").write_text(REPORT)
    (root / "code.py").write_text(CODE)
    (root / "dvc.yaml").write_text(yaml.safe_dump(DVC, sort_keys=False))
    (root / "code").mkdir()
    (root / "code" / "dvc.yaml").write_text(yaml.safe_dump(DVC_OF_CODE, sort_keys=False))
    (root / ".gitignore").write_text("/code/*.json\n/models\n/reports\n")
    write(root, "kinds", KINDS)
    call(root, "git", "init", "--quiet", "--initial-branch", "main")
    call(root, "git", "config", "user.name", "a test")
    call(root, "git", "config", "user.email", "test@localhost")
    call(root, "dvc", "init", "--quiet")
    call(root, "dvc", "repro", "--quiet", "report@mine")
    call(root, "git", "add", "--all")
    call(root, "git", "commit", "--quiet", "--message", "state")
    with (root / "recipes" / "mine.yaml").open("a") as recipe:
        recipe.write("# a comment that is not committed\n")
    (root / "models" / "other.json").write_text("made by hand")
    before = state(root)
    return root, sweep.run(root, "kinds", None), before


def state(root: Path) -> dict[str, bytes]:
    """What a sweep must put back."""
    patterns = ("recipes/*", "models/*", "reports/*/metrics.json", "code/*", "*.*")
    files = sorted(path for pattern in patterns for path in root.glob(pattern) if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_every_variant_is_a_row_with_its_own_figures(swept) -> None:
    root, text, _ = swept
    table = pd.read_csv(root / "reports" / "sweeps" / "kinds.csv")
    lr = load_recipe(ROOT, "demo-camelyon").train.lr
    expected = pd.DataFrame(
        {  # a list replaces a word, a mapping another one, a key the recipe left to its default is added
            "variant": ["as-is", "list", "mapping"],
            "lr": [lr, 1e-05, lr],
            "weights": [None, 1.25, None],
            "terms": [1.0, 1.0, 3.0],
            "dropout": [None, None, 0.25],
        }
    )
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
    assert [line.split() for line in text.splitlines()] == [
        ["variant", "lr", "weights", "terms", "dropout"],
        ["as-is", "0.0003", "-", "1.0000", "-"],
        ["list", "0.0000", "1.2500", "1.0000", "-"],
        ["mapping", "0.0003", "-", "3.0000", "0.2500"],
    ]


def test_every_variant_is_an_experiment_that_dvc_compares(swept) -> None:
    root, _, _ = swept
    assert sorted(experiments(root)) == ["kinds-as-is", "kinds-list", "kinds-mapping"]
    kept = yaml.safe_load(call(root, "git", "show", f"{_ref(root, 'kinds-mapping')}:recipes/mine.yaml"))
    assert (kept["train"]["loss"]["terms"], kept["train"]["dropout"]) == ({"focal": 3.0}, 0.25)


def _ref(root: Path, name: str) -> str:
    references = call(root, "git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (found,) = [one for one in references if one.endswith(f"/{name}")]
    return found


def test_the_workspace_is_as_it_was_with_what_is_not_committed_and_what_dvc_does_not_know(swept) -> None:
    root, _, before = swept
    assert state(root) == before
    assert before["models/other.json"] == b"made by hand"  # a plain `dvc checkout --force` would delete it
    assert call(root, "git", "status", "--short") == " M recipes/mine.yaml\n"
    assert call(root, "git", "symbolic-ref", "HEAD") == "refs/heads/main\n"
    assert call(root, "dvc", "status", "report@mine", "train@mine").strip().endswith("up to date.")


def test_a_failing_variant_is_named_older_experiments_are_replaced_and_all_is_put_back(swept, capfd) -> None:
    root, _, before = swept
    write(root, "kinds", FAILS | {"variants": {"as-is": {"train.lr": 0.5}, "bad": {"train.lr": 13}}})
    old = call(root, "git", "rev-parse", _ref(root, "kinds-as-is"))
    try:
        with pytest.raises(AcinusError, match=r"^dvc exp run --name kinds-bad report@mine ended with \d+; .* above$"):
            sweep.run(root, "kinds", None)
    finally:
        write(root, "kinds", KINDS)
    assert "no luck" in capfd.readouterr().err
    assert state(root) == before
    assert call(root, "git", "rev-parse", _ref(root, "kinds-as-is")) != old
    assert "kinds-bad" not in experiments(root)


def test_ctrl_c_puts_back_what_was_there_and_gits_head(swept) -> None:
    root, _, before = swept
    write(root, "waits", WAITS)
    code = "import sys, pathlib; from acinus.commands import sweep; sweep.run(pathlib.Path(sys.argv[1]), 'waits', None)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(root)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    with process:
        try:
            while not (root.parent / "started").exists():
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everything in front
            printed = process.communicate(timeout=50)[0]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    (root / "sweeps" / "waits.yaml").unlink()
    assert process.returncode != 0, printed
    assert state(root) == before
    assert call(root, "git", "symbolic-ref", "HEAD") == "refs/heads/main\n"
    assert call(root, "git", "status", "--short") == " M recipes/mine.yaml\n"


def test_without_a_lock_there_is_none_afterwards_and_another_recipe_has_names_of_its_own(swept, tmp_path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(swept[0], root, symlinks=True)
    (root / "dvc.lock").unlink()
    write(root, "kinds", KINDS | {"variants": {"fast": {"train.lr": 0.5}}, "metrics": ["lr"]})
    assert sweep.run(root, "kinds", "other").split() == ["variant", "lr", "fast", "0.5000"]
    assert not (root / "dvc.lock").exists()
    assert (root / "reports" / "sweeps" / "kinds-other.csv").read_text() == "variant,lr\nfast,0.5\n"
    assert "kinds-other-fast" in experiments(root)
    original = (ROOT / "recipes" / "demo-camelyon.yaml").read_bytes()
    assert (root / "recipes" / "other.yaml").read_bytes() == original


def test_a_metric_that_no_report_has_stops_the_sweep_at_its_first_variant(swept) -> None:
    root, _, before = swept
    write(root, "odd", KINDS | {"metrics": ["lr", "miuo"], "variants": {"as-is": {}}})
    with pytest.raises(
        AcinusError, match=r"metrics\.json: has no miuo; metrics of a sweep may be dropout, lr, terms, w"
    ):
        sweep.run(root, "odd", None)
    (root / "sweeps" / "odd.yaml").unlink()
    assert state(root) == before


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A folder with a recipe and no DVC: whatever is refused here is refused before any run."""
    (tmp_path / "recipes").mkdir()
    shutil.copy(ROOT / "recipes" / "demo-camelyon.yaml", tmp_path / "recipes" / "mine.yaml")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train.lrr": 1.0}, "sweeps/s.yaml: variants.v: mine.yaml: train.lrr = 1.0: unknown key; allowed here: "),
        (
            {"train.lr": "fast"},
            "sweeps/s.yaml: variants.v: mine.yaml: train.lr = 'fast': Input should be a valid number",
        ),
        ({"train.lr.first": 1}, "sweeps/s.yaml: variants.v.train.lr.first: lr is no section of "),
        ({"train.loss.class_weights": [1.0]}, "train.loss.class_weights = [1.0]: 1 numbers for 2 classes"),
        ({"family": "glas"}, "mine.yaml: family = 'glas'; allowed are camelyon"),
    ],
)
def test_a_variant_that_the_recipe_refuses_is_said_before_any_run(plain: Path, changes: dict, said: str) -> None:
    write(plain, "s", {"recipe": "mine", "metrics": ["lr"], "variants": {"fine": {}, "v": changes}})
    with pytest.raises(AcinusError) as caught:
        sweep.run(plain, "s", None)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"metrics": []}, "metrics = []: List should have at least 1 item"),
        ({"variants": {}}, "variants: Dictionary should have at least 1 item"),
        ({"variants": {"a b": {}}}, "variants: key 'a b': String should match pattern"),
        ({"variants": {"a..b": {}}}, "variants: key 'a..b': String should match pattern"),
        ({"variants": {"a": 0.1}}, "variants.a = 0.1: Input should be a valid dictionary"),
        ({"recipes": "x"}, "recipes = 'x': unknown key; allowed here: metrics, recipe, variants"),
    ],
)
def test_a_sweep_is_read_as_strictly_as_a_recipe(plain: Path, content: dict, said: str) -> None:
    write(plain, "s", KINDS | content)
    with pytest.raises(AcinusError) as caught:
        sweep.run(plain, "s", None)
    assert f"sweeps/s.yaml: {said}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_sweep_lists_the_known_ones_and_no_path_is_taken(plain: Path) -> None:
    with pytest.raises(AcinusError, match=r"no sweeps/x\.yaml; known: none$"):
        sweep.run(plain, "x", None)
    write(plain, "b", KINDS)
    write(plain, "a", KINDS)
    for name in ("x", "../recipes/mine"):
        with pytest.raises(AcinusError, match=r"known: a, b$"):
            sweep.run(plain, name, None)


def test_a_variant_changes_the_lines_of_its_keys_and_leaves_the_comments(plain: Path) -> None:
    path = plain / "recipes" / "mine.yaml"
    path.write_text("# mine\n" + path.read_text().replace("  lr: 0.0003", "  # found by hand\n  lr: 0.0003 # Adam's"))
    before = path.read_text()
    changes = {"train.lr": 1e-05, "train.dropout": 0.25, "train.loss.class_weights": [0.25, 1.0], "tune.trials": 0}
    text = sweep._changed(plain, "s", "mine", "v", changes)
    assert text is not None
    assert path.read_text() == before
    added = set(text.splitlines()) - set(before.splitlines())
    removed = set(before.splitlines()) - set(text.splitlines())
    assert ["lr:", "1e-05", "#", "Adam's"] in [line.split() for line in added]
    assert {line.split(":")[0].strip() for line in removed} <= {"lr", "dropout", "class_weights"}
    assert [line.partition("#")[2] for line in text.splitlines() if "#" in line] == [
        line.partition("#")[2] for line in before.splitlines() if "#" in line
    ]
    path.write_text(text)
    train = load_recipe(plain, "mine").train
    assert (train.lr, train.dropout, train.loss.class_weights) == (1e-05, 0.25, [0.25, 1.0])


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_of_the_project_changes_its_recipe_and_the_published_one_in_ways_they_allow(path: Path) -> None:
    read = sweep.load_sweep(ROOT, path.stem)
    for recipe in (read.recipe, read.recipe.removeprefix("demo-")):
        texts = [sweep._changed(ROOT, path.stem, recipe, one, changes) for one, changes in read.variants.items()]
        assert len(set(texts)) == len(read.variants)  # no two alike; None is the recipe as it is
