"""The command line: every stage is a command, and what a person can mend is one line and exit 1."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from acinus import cli
from acinus.cli import main
from acinus.errors import AcinusError

ROOT = Path(__file__).resolve().parents[1]
STAGES = ["code", *yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project in the current folder; MLflow is down there."""
    (tmp_path / "recipes").mkdir()
    settings = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"tracking": {"uri": "http://127.0.0.1:9"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    for name in ("camelyon", "demo-camelyon"):
        (tmp_path / "recipes" / f"{name}.yaml").write_text((ROOT / "recipes" / f"{name}.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # the camelyon recipe looks for its slides there
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def error_line(done: Result) -> str:
    """The one error line of a command that failed; beside it only the warning of the tracking that is down."""
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit)  # and no traceback
    lines = [one for one in done.stderr.splitlines() if not one.startswith("warning: tracking.uri")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


def test_help_lists_every_command_once_in_groups_and_the_stages_in_the_way_of_the_data(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run("--help")
    assert done.exit_code == 0
    groups = dict(
        re.findall(r"^(\w+).*:\n((?:  \S.*\n)+)", done.output.partition("Show this message")[2], re.MULTILINE)
    )
    assert list(groups) == ["Start", "Run", "Look", "Models", "Maintain"]
    listed = [line.split()[0] for lines in groups.values() for line in lines.splitlines()]
    assert sorted(listed) == sorted(main.commands)
    assert [name for name in listed if name in STAGES and name != "code"] == STAGES[1:]


def test_help_is_readable_at_80_columns(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("--help").output.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines[1:] if line.endswith("...")] == []  # nothing is cut off


@pytest.mark.parametrize("name", list(main.commands))
def test_every_command_says_what_it_does(name: str) -> None:
    done = run(name, "--help")
    assert done.exit_code == 0
    assert main.commands[name].get_short_help_str()


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom acinus.cli import main\nmain(['--help'], standalone_mode=False)\n"
        "print('loaded', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    loaded = set(done[-1].split()[1:])
    assert "click" in loaded
    heavy = {"torch", "mlflow", "pandas", "great_expectations", "numpy", "lightning", "matplotlib", "pydantic", "timm"}
    assert not loaded & heavy


def test_the_package_version_is_said() -> None:
    done = run("--version")
    assert done.exit_code == 0
    assert "0.1.0" in done.output


@pytest.mark.parametrize("stage", list(cli.RECIPE_STAGES))
def test_an_unknown_recipe_is_one_line_that_lists_the_known_ones(project: Path, stage: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, f"acinus.stages.{stage}", SimpleNamespace(run=None))  # its libraries: seconds
    line = error_line(run(stage, "--recipe", "nope"))
    assert line == f"{project / 'recipes' / 'nope.yaml'}: no such file; files there: camelyon, demo-camelyon"


def test_a_subprocess_prints_exactly_one_line_and_no_traceback(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from acinus.cli import main; main()", "sample", "--recipe", "../x"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: recipe '../x': a recipe's name has letters, digits, _ and - only\n"


def test_an_unknown_parameter_stops_the_stage(project: Path) -> None:
    path = project / "recipes" / "demo-camelyon.yaml"
    path.write_text(path.read_text().replace("  froc: true", "  frok: true"))
    line = error_line(run("sample", "--recipe", "demo-camelyon"))
    assert line == f"{path}: quantify.frok = True: unknown key; allowed here: froc, threshold"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inventory", "--recipe", "demo-camelyon"], "data/demo/camelyon"),
        (["inventory", "--recipe", "camelyon"], "CAMELYON16: no such folder; set cohort.root"),
        (["watch", "--recipe", "demo-camelyon"], "take it out of raw_cohorts"),
        (["watch", "--recipe", "camelyon"], "CAMELYON16"),
        (["ingest", "--recipe", "demo-camelyon"], "inventory.json: not found; run the stage that writes it"),
        (["index", "--recipe", "demo-camelyon"], "manifest.parquet: not found; run the stage that writes it"),
        (["sample", "--recipe", "demo-camelyon"], "index.parquet: not found; run the stage that writes it"),
        (["validate", "--recipe", "demo-camelyon"], "manifest.parquet: not found; run the stage that writes it"),
        (["extract", "--recipe", "demo-camelyon"], "validation.json: not found; run the stage that writes it"),
        (["train", "--recipe", "demo-camelyon"], "manifest.parquet: not found; run the stage that writes it"),
        (["infer", "--recipe", "demo-camelyon"], "manifest.parquet: not found; run the stage that writes it"),
        (["quantify", "--recipe", "demo-camelyon"], "manifest.parquet: not found; run the stage that writes it"),
        (["report", "--recipe", "demo-camelyon"], "no operating point here; run the calibrate stage"),
        (["summary"], "demo-slides.json: not found"),
        (["results"], "demo-slides.json: not found"),
        (["verify", "--recipe", "demo-camelyon"], "patches"),
        (["verify", "--recipe", "../../etc"], "letters, digits, _ and - only"),
        (["show", "--recipe", "../../etc"], "letters, digits, _ and - only"),
        (["show", "--recipe", "demo-camelyon"], "manifest.parquet: not found; run the stage that writes it"),
        (["demo", "--family", "mouse"], "there: slides, camelyon, panda, rgb_mask, pannuke"),
    ],
    ids=lambda one: "-".join(one[:1] + one[2:]) if isinstance(one, list) else "",
)
def test_a_stage_without_its_input_says_so_in_one_line(project: Path, arguments: list[str], said: str) -> None:
    assert said in error_line(run(*arguments))
    assert not list(project.rglob("*.part"))


@pytest.mark.parametrize("arguments", [["results"], ["setup"], ["reproduce"], ["summary"]])
def test_outside_a_project_every_command_says_so(tmp_path: Path, monkeypatch, arguments: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no params.yaml here or above" in error_line(run(*arguments))


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch) -> None:
    @click.command("broken")
    def broken() -> None:
        raise ZeroDivisionError

    @click.command("mendable")
    def mendable() -> None:
        raise AcinusError("what, why; how")

    for command in (broken, mendable):
        monkeypatch.setitem(main.commands, command.name, command)
    assert isinstance(run("broken").exception, ZeroDivisionError)
    assert error_line(run("mendable")) == "what, why; how"


def test_ctrl_c_is_one_line_and_exit_130(monkeypatch) -> None:
    @click.command("stopped")
    def stopped() -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(main.commands, "stopped", stopped)
    done = run("stopped")
    assert done.exit_code == 130
    assert done.stderr == "stopped; the same command goes on from what is finished\n"


def test_a_missing_option_is_a_usage_error() -> None:
    done = run("sample")
    assert done.exit_code == 2
    assert "Missing option '--recipe'" in done.stderr
