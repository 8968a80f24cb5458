"""The architecture as tests: layers, one importer of mlflow, every stage tied to its code and its parameters."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from acinus.code import ALWAYS_RUN, LIBRARIES, package

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
STAGES = sorted(p.stem for p in (SRC / "acinus" / "stages").glob("*.py") if p.stem != "__init__")
DVC = {
    name: stage
    for file in ("code/dvc.yaml", "dvc.yaml")
    for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}

# lowest first; a room imports rooms of a lower rank only (and itself)
RANKS = [
    {"errors", "seeds", "paths", "threads"},
    {"plugins"},
    {"files", "params", "scoring"},
    {"annotations", "code", "records", "slides", "templates", "acinus_demo"},
    {"cluster", "project", "labels", "metrics", "plugin_code"},
    {"parallel", "tissue", "charts", "cohorts", "validation"},
    {"stage", "patches", "pages"},
    {"learning"},
    {"encoders"},
    {"tracking", "preflight", "search", "maps", "unused"},
    {"execution", "regions"},
    {"embedding"},
    {"calibration", "grading", "drawing", "commands"},
    {"stages", "predict", "cli_group"},
    {"api", "cli"},
]
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def imports(module: str) -> frozenset[str]:
    """Dotted names that a module imports anywhere in its text, but for type checking only."""
    tree = ast.parse(MODULES[module].read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            base = node.module or ""
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(names)


def project_imports(module: str) -> set[str]:
    """Project modules imported by `module`, with the packages they lie in."""
    direct = {name for name in imports(module) if name in MODULES}
    return {".".join(name.split(".")[:k]) for name in direct for k in range(1, name.count(".") + 2)}


def room(module: str) -> str:
    package, _, rest = module.partition(".")
    return package if package != "acinus" else rest.partition(".")[0]


@pytest.mark.parametrize("module", [name for name in MODULES if "." in name])
def test_imports_run_downwards_only(module: str) -> None:
    for imported in project_imports(module):
        if "." in imported and room(imported) != room(module):
            assert RANK[room(imported)] < RANK[room(module)], f"{module} imports {imported}"


def test_every_room_has_a_rank() -> None:
    assert {room(name) for name in MODULES if "." in name} == set(RANK)


def test_mlflow_and_lightning_have_one_importer() -> None:
    def importers(library: str) -> set[str]:
        return {m for m in MODULES if any(name.split(".")[0] == library for name in imports(m))}

    assert {m.rpartition(".")[0] for m in importers("mlflow")} == {"acinus.tracking"}
    assert importers("lightning") == {"acinus.learning.fit"}
    assert importers("great_expectations") == {"acinus.validation.verdict"}


def test_stage_module_command_and_dvc_stage_are_the_same_names() -> None:
    from acinus.cli import main

    assert set(STAGES) == set(DVC)
    for stage in STAGES:
        assert stage in main.commands
        assert DVC[stage]["cmd"].split()[:2] == ["acinus", stage]


def test_every_stage_depends_on_the_digest_of_its_code_and_on_no_source_file() -> None:
    assert set(package().stages()) == set(STAGES) - set(ALWAYS_RUN)
    assert DVC["code"]["outs"] == [{f"{stage}.json": {"persist": True}} for stage in package().stages()]
    for stage, definition in DVC.items():
        if stage in ALWAYS_RUN:
            assert definition["always_changed"]
            assert "deps" not in definition
        else:
            assert definition["deps"][0] == f"code/{stage}.json"
        assert not [dep for dep in definition.get("deps", []) if dep.startswith("src/")]


def test_imports_stand_in_the_text_where_digests_look_for_them() -> None:
    """A name that is put together when the program runs is seen by no digest.

    Only what starts stages may do so, and what offers the API: no stage may depend on either (tests/api/test_names.py).
    """
    for name, path in MODULES.items():
        text = path.read_text()
        assert "__doc__" not in text, f"{name}: a docstring is no part of a digest"
        if name not in {"acinus", "acinus.api", "acinus.execution"}:
            assert not re.search(r"\bimport_module\b|\b__import__\b|^def __getattr__", text, re.MULTILINE), name


def test_every_library_has_its_version_in_digests_or_has_no_part_in_numbers() -> None:
    without_numbers = {
        "filelock",
        "huggingface_hub",
        "ruamel",
        "click",
        "defusedxml",
        "distributed",
        "dvc",
        "jinja2",
        "markupsafe",
        "matplotlib",
        "mlflow",
        "psutil",
    }
    without_numbers |= {"pydantic", "rich", "sqlalchemy", "threadpoolctl", "yaml"}
    optional = {"openvino", "zarr"}  # see code.LIBRARIES
    imported = {name.split(".")[0] for module in MODULES for name in imports(module)}
    assert (
        imported - sys.stdlib_module_names - {"acinus", "acinus_demo"} == LIBRARIES.keys() | without_numbers | optional
    )


PROPERTIES = {"positive_indices": {"classes", "positive"}, "many_labels": {"classes", "task"}}
"""What a recipe makes of its keys."""


@pytest.mark.parametrize("stage", sorted(set(STAGES) - {"watch"}))
def test_params_of_dvc_are_those_that_the_stage_reads(stage: str) -> None:
    tree = ast.parse(MODULES[f"acinus.stages.{stage}"].read_text())
    read = {"recipe": set(), "project": set()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            match = re.match(r"stage\.(recipe|project)\.(\w+)", ast.unparse(node))
            if match and match[2] in PROPERTIES:
                read["recipe"] |= PROPERTIES[match[2]]
            elif match:
                read[match[1]].add(match[2].rstrip("_"))
            elif re.fullmatch(r"stage\.seed", ast.unparse(node)):
                read["project"].add("seed")
            elif re.fullmatch(r"stage\.cohort_root", ast.unparse(node)):
                read["recipe"].add("cohort")
    tracked: dict[str, set[str]] = {"recipe": set(), "project": set()}
    for entry in DVC[stage].get("params", []):
        files = entry if isinstance(entry, dict) else {"params.yaml": [entry]}
        for file, keys in files.items():
            tracked["project" if file == "params.yaml" else "recipe"] |= {key.split(".")[0] for key in keys}
    assert read["recipe"] == tracked["recipe"]
    assert read["project"] == tracked["project"]


def test_no_pickle_is_loaded_and_nothing_catches_everything() -> None:
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                assert caught not in {"Exception", "BaseException", "everything"}, f"{name}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "np.load"}:
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert keywords.get("weights_only") == "True" or keywords.get("allow_pickle") == "False"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
                assert node.attr == "UnpicklingError", f"{name}:{node.lineno}"


def test_every_parameter_is_read_somewhere() -> None:
    from pydantic import BaseModel

    from acinus import params

    text = (
        "\n".join(p.read_text() for n, p in MODULES.items() if not n.startswith("acinus.params"))
        + (ROOT / "dvc.yaml").read_text()
    )
    cohorts = [recipe.model_fields["cohort"].annotation for recipe in params.RECIPES.values()]
    for model in [*vars(params).values(), *cohorts]:
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__.startswith("acinus.params"):
            for field in model.model_fields:
                assert re.search(rf"\b{field}\b", text), f"{model.__name__}.{field} is read nowhere"
