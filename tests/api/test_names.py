"""`import acinus` offers the API, costs nothing until it is used, and no stage depends on it."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import acinus
from acinus import api
from acinus.code import STAGES, package

HEAVY = ("numpy", "pandas", "torch", "shapely", "openslide", "pydantic", "acinus.api.slide", "acinus.errors")
SOURCE = Path(acinus.__file__).parent


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_every_name_is_there_and_listed() -> None:
    for name in api.__all__:
        assert getattr(acinus, name) == getattr(api, name)
    assert set(api.__all__) == {*api._PLACES, "__version__"}
    assert set(api.__all__) <= set(dir(acinus))
    everything: dict[str, object] = {}
    exec("from acinus import *", everything)
    assert set(api.__all__) <= set(everything)
    assert all(getattr(acinus, name).__doc__ for name in api._PLACES)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((SOURCE / "api" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == api._PLACES


def test_no_name_is_that_of_a_module_which_would_hide_it() -> None:
    modules = {path.stem for path in SOURCE.iterdir()}
    assert modules & {"tissue", "annotations", "records"} == {"tissue", "annotations", "records"}
    assert modules & set(api.__all__) == set()


def test_a_name_that_is_not_offered_is_told_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"module 'acinus' has no attribute 'open_slid'; it offers .*open_slide"):
        _ = acinus.open_slid
    assert not hasattr(acinus, "__wrapped__")


@pytest.mark.parametrize("code", ["import acinus", "import acinus\ndir(acinus)\nacinus.__all__"])
def test_import_loads_nothing(code: str) -> None:
    modules = loaded_by(code)
    assert "acinus" in modules
    assert modules & set(HEAVY) == set()


def test_modules_of_the_package_are_found_without_the_api() -> None:
    """`from acinus import records` asks the package for a name first, and so the API's list."""
    modules = loaded_by("from acinus import records, slides")
    assert {"acinus.records", "acinus.slides", "acinus.api"} <= modules
    assert {name for name in modules if name.startswith("acinus.api.")} == set()


def test_no_stage_s_digest_has_the_api_and_another_name_there_changes_none() -> None:
    for stage in package().stages():
        modules = package().facts(f"{STAGES}.{stage}")["modules"]
        assert "acinus" in modules
        assert [name for name in modules if name.startswith("acinus.api")] == [], stage
    assert not any(f'"{name}"' in (SOURCE / "__init__.py").read_text() for name in api._PLACES)


def signature(function: Any) -> str:
    """The parameters of a function as a reader types them."""
    parameters = list(inspect.signature(function).parameters.values())
    bare = [p.replace(annotation=p.empty) for p in parameters if p.name != "self"]
    return str(inspect.Signature(bare)).replace(" = ", "=")


def test_the_page_names_everything_with_the_parameters_it_has() -> None:
    page = (SOURCE.parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    kinds = {
        "slide": acinus.Slide,
        "tissue": acinus.Tissue,
        "store": acinus.PatchStore,
        "model": acinus.Model,
        "prediction": acinus.Prediction,
        "map": acinus.ProbabilityMap,
        "run": acinus.Run,
    }
    named = {name: set[str]() for name in kinds}
    for thing, name, parameters in re.findall(r"`(\w+)\.(\w+)(\([^`]*\))?`", page):
        if thing in kinds:
            named[thing].add(name)
            if parameters:
                assert parameters == signature(getattr(kinds[thing], name)), (thing, name)
    for thing, kind in kinds.items():
        public = {name for name in vars(kind) if not name.startswith("_")}
        hidden = {
            "of_file",
            "shares",
            "width",
            "height",
            "slide_mpp",
            "pixels",
        }  # of use to the API itself, or told of another
        assert public - hidden <= named[thing], thing
    for name in api._PLACES:
        if inspect.isfunction(getattr(acinus, name)):
            assert f"`{name}{signature(getattr(acinus, name))}`" in page, name
    for name in re.findall(r"acinus\.(\w+)\(", page):
        assert name in api.__all__, name
