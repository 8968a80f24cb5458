"""Plug-ins that cannot be used: one line each, with file and line number; and what their code makes run again."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from acinus.errors import AcinusError
from acinus.metrics.registry import use_plugins
from acinus.plugin_code import COHORT_STAGES, LOOKED_UP_IN, digest, stage_facts
from acinus.plugins import finding, loading
from acinus.stages import code
from tests.plugins.pages import FILES, project

REPOSITORY = Path(__file__).resolve().parents[2]
PIPELINE = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
HEAD = "from acinus import plugins\n\n\n"


def head(text: str) -> str:
    return HEAD + text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "plugins/own.py:1: registers nothing; decorate a function with one of @plugins.loss, "),
        ("def f(:\n", "plugins/own.py:1: Python cannot parse this (invalid syntax"),
        (
            head("\n@plugins.loss('a')\ndef f(x):\n    pass\n"),
            "plugins/own.py:6: loss 'a' takes (x); it is called with (l",
        ),
        (
            head("@plugins.network('a')\ndef f():\n    pass\n"),
            "plugins/own.py:5: network 'a' takes (); it is called with ",
        ),
        (
            head("@plugins.metric('a')\ndef f(case, *, by):\n    pass\n"),
            "plugins/own.py:5: metric 'a' takes (case, by); it",
        ),
        (
            head("@plugins.metric('a')\nclass A:\n    pass\n"),
            "plugins/own.py:5: metric 'a' is a class; write a function",
        ),
        (
            head("@plugins.loss('a')\nclass A:\n    pass\n"),
            "plugins/own.py:5: loss 'a' is a class without a static method",
        ),
        (
            head("@plugins.loss\ndef f(a, b, c, d):\n    pass\n"),
            'plugins/own.py:5: expected @plugins.loss("name"), with',
        ),
        (
            head("N = 'a'\n@plugins.loss(N)\ndef f(a, b, c, d):\n    pass\n"),
            'plugins/own.py:6: expected @plugins.loss("na',
        ),
        (
            head("@plugins.loss('a b')\ndef f(a, b, c, d):\n    pass\n"),
            'plugins/own.py:5: expected @plugins.loss("name")',
        ),
        (
            head("def g():\n    @plugins.encoder('a')\n    def f():\n        pass\n"),
            "plugins/own.py:6: encoder 'a' is not a",
        ),
        (
            head("@plugins.loss('a')\nasync def f(a, b, c, d):\n    pass\n"),
            "plugins/own.py:5: loss 'a' is async; write",
        ),
        (
            head("S = ('.x',)\n@plugins.annotation_reader('a', suffixes=S)\ndef f(a, b):\n    pass\n"),
            "plugins/own.py:6: suffixes = S: write its value out",
        ),
        (
            head("@plugins.encoder('a')\ndef f():\n    pass\n\n\n@plugins.encoder('a')\ndef g():\n    pass\n"),
            "plugins/own.py:10: encoder 'a' is in plugins/own.py:5 too; give one another name",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    project(tmp_path, own=text)
    with pytest.raises(AcinusError) as caught:
        finding.everything()
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "importing",
    [
        "import acinus.plugins\n\n\n@acinus.plugins.encoder('a')",
        "import acinus.plugins as of\n\n\n@of.encoder('a')",
        "import acinus as of\n\n\n@of.plugins.encoder('a')",
        "from acinus import plugins as of\n\n\n@of.encoder('a')",
        "from acinus.plugins import encoder\n\n\n@encoder('a')",
        "from acinus.plugins import encoder as e\n\n\n@e('a')",
    ],
)
def test_a_decorator_may_be_imported_in_any_way(tmp_path: Path, importing: str) -> None:
    project(tmp_path, own=f"{importing}\ndef f(depth=5, **more):\n    return depth\n")
    plugin = loading.named("encoder", "a")
    assert plugin is not None
    assert plugin.function() == 5


def test_a_file_that_does_not_run_is_one_line_with_its_place(tmp_path: Path) -> None:
    text = "import no_such_library\n\nfrom acinus import plugins\n\n\n@plugins.encoder('a')\ndef f():\n    pass\n"
    project(tmp_path, own=text)
    assert list(finding.found("encoder")) == ["a"]  # it has not run yet
    with pytest.raises(
        AcinusError, match=r"^plugins/own.py:1: cannot be run \(ModuleNotFoundError: No module named 'no"
    ):
        loading.named("encoder", "a")


def test_another_text_of_a_file_runs_anew(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        project(tmp_path, own=head(f"@plugins.encoder('a')\ndef f():\n    return {number}\n"))
        plugin = loading.named("encoder", "a")
        assert plugin is not None
        assert plugin.function() == number
    assert not (tmp_path / "plugins" / "__pycache__").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "loss('focal')\ndef f(a, b, c, d)",
            "loss 'focal' is one of Acinus's own (learning/losses.py); give it another",
        ),
        (
            "metric('miou')\ndef f(case)",
            "metric 'miou' is one of Acinus's own (metrics/registry.py); give it another name",
        ),
        (
            "annotation_reader('qupath', suffixes=('.x',))\ndef f(a, b)",
            "annotation_reader 'qupath' is one of Acinus's own",
        ),
        (
            "cohort_family('panda', recipe=1)\ndef f(order)",
            "cohort_family 'panda' is one of Acinus's own (params/cohorts",
        ),
        ("metric('a', lable='x')\ndef f(case)", "metric 'a': "),
    ],
)
def test_names_of_acinus_are_refused_before_any_stage_runs(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "params.yaml").touch()
    project(tmp_path, own=head(f"@plugins.{text}:\n    pass\n"))
    with pytest.raises(AcinusError) as caught:
        code.run(tmp_path)
    assert str(caught.value).startswith(f"plugins/own.py:5: {said}")


def test_a_network_with_a_name_of_timm_is_refused(tmp_path: Path) -> None:
    from acinus.learning.models import build_model
    from acinus.learning.weights import ModelSpec

    project(tmp_path, own=head("@plugins.network('resnet18')\ndef f(classes):\n    pass\n"))
    with pytest.raises(AcinusError, match=r"plugins/own.py:5: network 'resnet18' is one of timm's own \(.*timm"):
        build_model(ModelSpec(task="patch_classification", name="resnet18", classes=2))


def test_a_familys_recipe_may_not_change_the_keys_of_all_families(tmp_path: Path) -> None:
    from acinus.params import recipe_of

    project(
        tmp_path,
        paired=FILES["paired.py"].replace(
            "    cohort: PairedCohort\n", "    cohort: PairedCohort\n    title: str = ''\n"
        ),
    )
    with pytest.raises(
        AcinusError, match=r"plugins/paired.py:\d+: the recipe of family 'paired' has fields of its own \(title"
    ):
        recipe_of("paired")
    assert recipe_of("pairs") is None


# ---------------------------------------------------------------- what runs again


def stages(root: Path) -> dict[str, Any]:
    finding.use(root)
    return {stage: stage_facts(stage) for stage in PIPELINE if stage != "watch"}


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {stage for stage in before if before[stage] != after[stage]}


LEARNING = {"tune", "train"}
NETWORK = LEARNING | {"calibrate", "infer", "embed", "grade"}
USES = {
    "losses.py": (LEARNING, "Q = 0.7", "Q = 0.8"),
    "overlap.py": (LEARNING, ".cosh()", ".cosh().cosh()"),
    "networks.py": (NETWORK, "stride=4", "stride=2"),
    "encoders.py": (NETWORK, "(8, 16", "(8, 12"),
    "changes.py": (LEARNING, "EDGE_PX = 8", "EDGE_PX = 9"),
    "counts.py": ({"report", "summary"}, "known.max()", "known.min()"),
    "readers.py": ({"ingest"}, "start=2", "start=1"),
    "paired.py": (set(COHORT_STAGES), "needed=True", "needed=False"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_constant_changes_the_stages_that_use_it_and_a_comment_none(tmp_path: Path, name: str) -> None:
    uses, old, new = USES[name]
    without = stages(tmp_path)
    (tmp_path / "recipes").mkdir()
    names = "generalised_cross_entropy log_cosh_dice two_layers five_steps grey_square paired"
    (tmp_path / "recipes" / "own.yaml").write_text("\n".join(f"- {name}" for name in names.split()))
    before = stages(project(tmp_path, name))
    assert changed(without, before) == uses
    commented = FILES[name].replace('"""', '"""Other words. ', 1) + "\n\n# a remark\n"
    assert changed(before, stages(project(tmp_path, **{Path(name).stem: commented}))) == set()
    assert old in FILES[name]
    assert changed(before, stages(project(tmp_path, **{Path(name).stem: FILES[name].replace(old, new)}))) == uses


def test_a_plugin_that_no_recipe_names_changes_no_stage(tmp_path: Path) -> None:
    without = stages(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "own.yaml").write_text("train: {model: two_layers_more, encoder: my-five_steps}\n")
    assert changed(without, stages(project(tmp_path, "losses.py", "networks.py", "encoders.py", "paired.py"))) == set()


def test_libraries_of_a_plugin_are_told_in_the_versions_installed(tmp_path: Path) -> None:
    from importlib.metadata import version

    project(tmp_path, counts="import json\nimport click\nimport attr\n" + FILES["counts.py"])
    facts = stage_facts("report")
    assert facts["libraries"]["click"] == version("click")
    assert facts["libraries"]["attrs"] == version("attrs")  # of another name than its import
    assert "json" not in facts["libraries"]


def test_families_count_for_the_stages_that_read_a_cohort() -> None:
    def keys(stage: str) -> set[str]:
        listed = [entry for entry in PIPELINE[stage].get("params", ()) if isinstance(entry, dict)]
        return {key for entry in listed for name, keys in entry.items() if name != "params.yaml" for key in keys}

    assert {stage for stage in PIPELINE if "cohort" in keys(stage)} == set(COHORT_STAGES)
    assert set(LOOKED_UP_IN) | {"cohort_family"} == set(finding.KINDS)


def test_a_training_is_another_with_other_code_of_its_plugins_alone(tmp_path: Path) -> None:
    project(tmp_path, "losses.py", "networks.py")
    named: Any = [("network", "resnet18"), ("loss", "generalised_cross_entropy"), ("encoder", None)]
    assert digest([("network", "resnet18"), ("encoder", None)]) == ""
    before = digest(named)
    project(tmp_path, networks=FILES["networks.py"].replace("stride=4", "stride=2"))
    assert digest(named) == before != ""
    project(tmp_path, losses=FILES["losses.py"].replace("0.7", "0.8"))
    assert digest(named) != before


# ---------------------------------------------------------------- packages, and what costs nothing

PACKAGE = """
[acinus.plugins]
own = a_package.with_plugins
"""


def test_an_installed_package_brings_plugins(tmp_path: Path) -> None:
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "__init__.py").write_text("raise RuntimeError('nothing runs before it is used')\n")
    (tmp_path / "a_package" / "with_plugins.py").write_text(FILES["counts.py"])
    (tmp_path / "a_package-1.2.dist-info").mkdir()
    (tmp_path / "a_package-1.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: a-package\nVersion: 1.2\n"
    )
    (tmp_path / "a_package-1.2.dist-info" / "entry_points.txt").write_text(PACKAGE)
    text = (
        "import sys; from acinus.plugins import finding; from acinus.plugin_code import stage_facts\n"
        "print([(p.name, p.place) for p in finding.everything()], stage_facts('report')['plugins'].keys(),\n"
        "      stage_facts('report')['libraries']['a-package'], 'plugins' in stage_facts('train'),\n"
        "      'a_package' in sys.modules)\n"
        "from acinus.metrics.registry import METRICS, use_plugins\n"
        "import pathlib; pathlib.Path(sys.argv[1], 'a_package', '__init__.py').write_text('')\n"
        "use_plugins(); print('largest_burden_error' in METRICS)\n"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY / 'src'}", "PATH": ""}
    command = [sys.executable, "-c", text, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.split("\n")[:2] == [
        "[('largest_burden_error', 'a_package.with_plugins:17')] dict_keys(['a_package.with_plugins']) 1.2 False False",
        "True",
    ], done.stderr


def test_without_plugins_nothing_is_looked_for_in_packages_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding._installed.cache_clear()
    monkeypatch.setattr(finding, "entry_points", lambda **asked: pytest.fail("no package of this path says the group"))
    finding.use(tmp_path)
    assert finding.everything() == []
    use_plugins()
    finding._installed.cache_clear()


def test_the_stage_code_says_which_stages_have_other_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "params.yaml").touch()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "own.yaml").write_text("loss: {terms: {generalised_cross_entropy: 1.0}}\n")
    said = []
    for old, new in (("", ""), ('"""Return', '"""So return'), ("Q = 0.7", "Q = 0.6")):
        project(tmp_path, losses=FILES["losses.py"].replace(old, new))
        code.run(tmp_path)
        said.append(capsys.readouterr().out)
    assert said[1:] == ["code: as it was\n", "code: other code or libraries of train, tune\n"]
