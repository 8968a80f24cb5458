"""The architecture as tests: layers, one importer of mlflow, and every module a stage imports among its deps."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
STAGES = sorted(p.stem for p in (SRC / "acinus" / "stages").glob("*.py") if p.stem != "__init__")
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# lowest first; a room imports rooms of a lower rank only (and itself)
RANKS = [
    {"errors", "seeds", "paths", "machine", "lineage", "dvc_process", "code"},
    {"checkout", "files", "cluster", "strict_yaml", "threads"},
    {"parallel"},
    {"params", "stopping"},
    {"records"},
    {"slides", "scoring", "stage", "tracking"},
    {"cohorts", "patches", "learning", "mapping", "metrics", "validation"},
    {"reporting", "grading", "training", "whole_slide", "preflight"},
    {"execution", "drawing", "pyfunc_model", "trials", "members"},
    {"stages", "results", "reproduce", "show", "sweep", "predict", "compare"},
    {"cli"},
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


def closure(module: str) -> set[str]:
    """Every project module that importing `module` can load."""
    seen: set[str] = set()
    todo = {module, *(".".join(module.split(".")[:k]) for k in range(1, module.count(".") + 1))}
    while todo:
        one = todo.pop()
        seen.add(one)
        todo |= project_imports(one) - seen
    return seen


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


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

    assert {m.rpartition(".")[0] for m in importers("mlflow") - {"acinus.pyfunc_model"}} == {"acinus.tracking"}
    assert importers("lightning") == {"acinus.learning.fit"}
    assert importers("great_expectations") == {"acinus.validation.verdict"}


def test_stage_module_command_and_dvc_stage_are_the_same_names() -> None:
    from acinus.cli import main

    assert set(STAGES) == set(DVC)
    for stage in STAGES:
        assert stage in main.commands
        assert DVC[stage]["cmd"].split()[:2] == ["acinus", stage]


@pytest.mark.parametrize("stage", sorted(set(STAGES) - {"watch"}))  # watch runs always: it needs no deps
def test_deps_cover_every_module_that_the_stage_imports(stage: str) -> None:
    deps = [ROOT / dep for dep in DVC[stage]["deps"] if dep.startswith("src/")]
    needed = [MODULES[name] for name in closure(f"acinus.stages.{stage}")]
    missing = [p for p in needed if not any(p == dep or dep in p.parents for dep in deps)]
    assert not missing, "\n".join(f"      - {p.relative_to(ROOT)}" for p in sorted(missing))
    unused = [dep for dep in deps if not any(p == dep or dep in p.parents for p in needed)]
    assert not unused, f"deps that {stage} does not import: {unused}"


@pytest.mark.parametrize("stage", sorted(set(STAGES) - {"watch"}))
def test_params_of_dvc_are_those_that_the_stage_reads(stage: str) -> None:
    tree = ast.parse(MODULES[f"acinus.stages.{stage}"].read_text())
    read = {"recipe": set(), "project": set()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            match = re.match(r"stage\.(recipe|project)\.(\w+)", ast.unparse(node))
            if match:
                read[match[1]].add(match[2].rstrip("_"))
            elif re.fullmatch(r"stage\.seed", ast.unparse(node)):
                read["project"].add("seed")
            elif re.fullmatch(r"stage\.cohort_root", ast.unparse(node)):
                read["recipe"].add("cohort")
    tracked: dict[str, set[str]] = {"recipe": set(), "project": set()}
    for entry in DVC[stage].get("params", []):
        if isinstance(entry, dict):
            tracked["recipe"] |= {key.split(".")[0] for keys in entry.values() for key in keys}
        else:
            tracked["project"].add(entry.split(".")[0])
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
    for model in vars(params).values():
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__.startswith("acinus.params"):
            for field in model.model_fields:
                assert re.search(rf"\b{field}\b", text), f"{model.__name__}.{field} is read nowhere"
