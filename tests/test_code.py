"""The digest by which stages and resumable work know that their code is still the same."""

import ast
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from acinus import code
from acinus.code import Package, code_digest, running_versions, tree_digest
from acinus.errors import AcinusError
from acinus.stages import code as stage

SRC = Path(__file__).resolve().parents[1] / "src" / "acinus"
SOURCE = '''"""A module."""
import a.b as c
from d import (e, f)

LIMIT = 0.5  # of the width
"""Said of it."""

@c.decorated(1, *e, **f)
class Shape(c.Base, metaclass=f):
    """A class."""
    size: int = 3

    async def grow(self, by=None, /, *more: int, times=1e-3, **rest) -> "Shape":
        """A function."""
        if (n := len(more)) > 1 and not rest:
            return {**rest, "n": n, None: [x async for x in by if x]}
        return f"{n!r:>{times}.{n}} {{n}} é" f"{by=}" + u"ü" + repr(b"\\xff")

def choose(value):
    match value:
        case [1, *others] | {"k": others, **left}:
            return lambda *a, k=-1: (a, k, others)
        case Shape(size=2) | None:
            pass
    try:
        yield 1_000, 1j, ...
    except* ValueError as error:
        raise KeyError from error
    with open("x") as first, open("y"):
        del first[1:2, ...]
'''
"""Of much of what Python 3.11 knows."""


def test_the_digest_of_a_tree_is_the_same_for_every_python() -> None:
    assert tree_digest(SOURCE) == "b47609c241166fb2899c83901530fc6b"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# of the width", "# of the height"),
        ("  # of the width", ""),
        ('"""A module."""', '"""Another sentence."""'),
        ('"""Said of it."""\n', ""),
        ('"""A class."""', '"""A class,\n\n    at length.\n    """'),
        ('        """A function."""\n', ""),
        ("LIMIT", "\n\n\nLIMIT"),
        ("(e, f)", "(\n    e,\n    f,\n)"),
        ("0.5", "5e-1"),
        ('open("x")', "open('x')"),
        ('"Shape"', "('Sha'  'pe')"),
    ],
)
def test_what_python_does_not_run_changes_no_digest(old: str, new: str) -> None:
    assert SOURCE.count(old) >= 1
    assert tree_digest(SOURCE.replace(old, new, 1)) == tree_digest(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.25"),
        ("size: int = 3", "size: int = 3.0"),
        ("1e-3", "1e-4"),
        ("times=1e-3", "times=None"),
        ("by=None", "by=0"),
        ("> 1", ">= 1"),
        ("b as c", "c as b"),
        (", None: [", ", '': ["),
        ("!r:", "!s:"),
        ("{{n}} é", "{{n}} e"),
        ('"n": n', '"n": ""'),
        ("*others] |", "*others, 2] |"),
        ("k=-1", "k=+1"),
        ("1_000", "True"),
        ("except*", "except"),
        ("x async for", "x for"),
        ("            pass", "            return"),
    ],
)
def test_what_python_runs_changes_the_digest(old: str, new: str) -> None:
    assert SOURCE.count(old) == 1
    assert tree_digest(SOURCE.replace(old, new)) != tree_digest(SOURCE)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A package whose stage imports one module as they are imported anywhere."""
    texts = {
        "__init__.py": "",
        "top.py": "from __future__ import annotations\nimport numpy as np\nfrom own.room import wall\n",
        "room/__init__.py": "from own.room.roof import SLOPE\n",
        "room/roof.py": "import json\nSLOPE = 30\n",
        "room/wall.py": "def paint():\n    import torch.nn\n    import own.late\n",
        "room/pages/base.html": "<p>",
        "room/unused.py": "",
        "late.py": "if TYPE_CHECKING:\n    import own.typing\nelse:\n    import own.other\n",
        "typing.py": "",
        "other.py": "import own_more.draw\n",
        "../own_more/__init__.py": "",
        "../own_more/draw.py": "",
        "../another/__init__.py": "",
    }
    for name, text in texts.items():
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "own"


def test_facts_are_of_all_that_an_import_can_load(small: Path) -> None:
    facts = Package(small).facts("own.top")
    modules = {"own", "own.top", "own.room", "own.room.roof", "own.room.wall", "own.late", "own.other"}
    assert facts["modules"].keys() == modules | {"own_more", "own_more.draw"}
    assert facts["modules"]["own.room.roof"] == tree_digest("import json\nSLOPE = 30")
    assert facts["files"].keys() == {"own/room/pages/base.html"}
    assert facts["libraries"].keys() == {"numpy", "torch"}
    assert "+" not in facts["libraries"]["torch"]


@pytest.mark.parametrize(
    ("name", "text", "same"),
    [
        ("room/roof.py", "import json\nSLOPE = 30  # steep\n", True),
        ("room/roof.py", "import json\nSLOPE = 31\n", False),
        ("room/pages/base.html", "<b>", False),
        ("room/pages/.base.html.swp", "", True),
        ("room/unused.py", "X = 1", True),
        ("room/wall.py", "", False),
        ("../another/__init__.py", "X = 1", True),
    ],
)
def test_a_digest_is_of_the_texts_as_they_are_now(small: Path, name: str, text: str, same: bool) -> None:
    """Also where digests of the older texts are remembered."""
    before = Package(small).digest("own.top")
    assert Package(small).digest("own.top") == before
    (small / name).write_text(text)
    assert (Package(small).digest("own.top") == before) is same


@pytest.mark.parametrize("damage", ["", "[]", "null", '{"own.top": 1}', '{"own.top": ["a", "b", "c", "d"]}', "\xff{"])
def test_a_damaged_memory_of_digests_is_read_over(small: Path, damage: str) -> None:
    before = Package(small).digest("own.top")
    (memory,) = (small / "__pycache__").glob("digests.*.json")
    memory.write_bytes(damage.encode("latin-1"))
    assert Package(small).digest("own.top") == before
    assert Package(small).digest("own.top") == before


def test_another_version_of_a_library_changes_what_imports_it_only(small: Path, monkeypatch) -> None:
    before = [Package(small).digest(name) for name in ("own.top", "own.room.roof")]
    monkeypatch.setattr(code, "installed", lambda name: "0.1+cpu" if name == "torch" else code.version(name))
    top, roof = (Package(small).digest(name) for name in ("own.top", "own.room.roof"))
    assert top != before[0]
    assert roof == before[1]
    monkeypatch.setattr(code, "installed", lambda name: "0.1+cu130" if name == "torch" else code.version(name))
    assert Package(small).digest("own.top") == top


def test_a_module_that_cannot_be_parsed_is_one_line(small: Path) -> None:
    (small / "late.py").write_text("def (\n")
    with pytest.raises(AcinusError, match=r"late\.py: Python cannot parse this module .*line 1.*; mend it"):
        Package(small).facts("own.top")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this package and of what lies beside it. A test that changes it puts it back."""
    folder = tmp_path_factory.mktemp("copy") / "src"
    shutil.copytree(SRC.parent, folder, ignore=shutil.ignore_patterns("*.pyc", "*.egg-info"))
    return folder / "acinus"


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    """The digest of every stage."""
    return stages_of(SRC)


def stages_of(folder: Path) -> dict[str, str]:
    package = Package(folder)
    return {name: package.digest(f"acinus.stages.{name}") for name in package.stages()}


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    """Change a file for as long as the block lasts."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    yield
    path.write_text(text)


def test_no_comment_docstring_or_layout_of_any_module_changes_a_stage(before: dict[str, str], tmp_path: Path) -> None:
    """Every module as Python itself writes its tree, with a sentence more; the tree's own tests are above."""
    for path in SRC.parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                node.body[0] = ast.Expr(ast.Constant("Another sentence."))
        target = tmp_path / path.relative_to(SRC.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f'# anew\n\n{ast.unparse(tree)}\n"""The end."""\n')
    shutil.copytree(SRC / "pages" / "templates", tmp_path / "acinus" / "pages" / "templates")
    assert stages_of(tmp_path / "acinus") == before


LOOKS_AT_TISSUE = {"index", "calibrate", "infer", "quantify", "embed", "grade", "report"}


@pytest.mark.parametrize(
    ("name", "old", "new", "stages"),
    [
        ("tissue/saturation.py", "SATURATION_CAP = 0.4", "SATURATION_CAP = 0.41", LOOKS_AT_TISSUE),
        ("patches/sample.py", "\nfrom", "\nUNUSED = 1\nfrom", {"sample"}),
        ("pages/templates/base.html.j2", "<body", "<body ", {"report", "summary"}),
        ("learning/losses.py", "losses.mean()", "5 * losses.mean()", {"tune", "train"}),
        ("cohorts/panda.py", "\nfrom", "\nUNUSED = 1\nfrom", {"ingest"}),
        ("../acinus_demo/panda.py", "\nfrom", "\nUNUSED = 1\nfrom", {"demo"}),
        ("cli.py", "\nimport", "\nUNUSED = 1\nimport", set()),
    ],
)
def test_a_changed_line_changes_the_stages_that_import_it(copy: Path, before, name, old, new, stages) -> None:
    with edited(copy / name, old, new):
        now = stages_of(copy)
    assert {stage for stage in now if now[stage] != before[stage]} == stages
    assert now.keys() == before.keys() >= stages


@pytest.mark.parametrize(
    ("name", "old", "new", "others"),
    [
        (
            "learning/losses.py",
            "losses.mean()",
            "5 * losses.mean()",
            {"acinus.learning.members", "acinus.search.trials"},
        ),
        ("learning/losses.py", "losses.mean()", "losses.mean()  # of all", set()),
        ("search/study.py", "\nimport", "\nUNUSED = 1\nimport", {"acinus.search.trials"}),
        ("patches/reading.py", "\nfrom", "\nUNUSED = 1\nfrom", {"acinus.patches.extract"}),
        ("maps/blend.py", "\nimport", "\nUNUSED = 1\nimport", set()),
    ],
)
def test_what_outlives_a_killed_stage_counts_while_its_own_code_is_the_same(copy, name, old, new, others) -> None:
    """The keys of checkpoints, of studies and of shards."""
    keys = ("acinus.learning.members", "acinus.search.trials", "acinus.patches.extract")
    with edited(copy / name, old, new):
        now = {key: Package(copy).digest(key) for key in keys}
    assert {key for key in keys if now[key] != code_digest(key)} == others


def test_a_process_knows_its_code_its_python_and_its_libraries() -> None:
    versions = running_versions()
    assert len(versions["acinus's code"]) == 12
    assert versions["Python"].startswith("3.")
    assert versions.keys() >= set(code.NUMBERS) >= {"torch", "numpy", "openslide-bin", "optuna", "timm"}


def test_the_stage_writes_only_what_changed(tmp_path: Path, monkeypatch, capsys) -> None:
    stage.run(tmp_path)
    files = sorted((tmp_path / "code").iterdir())
    assert [path.stem for path in files] == sorted(code.package().stages())
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}
    capsys.readouterr()
    stage.run(tmp_path)
    assert capsys.readouterr().out == "code: as it was\n"
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files} == before
    monkeypatch.setattr(code, "installed", lambda name: "0.1" if name == "optuna" else code.version(name))
    (tmp_path / "code" / "gone.json").write_text("{}")
    (tmp_path / "code" / "dvc.yaml").write_text("stages: {}")
    stage.run(tmp_path)
    assert capsys.readouterr().out == "code: other code or libraries of calibrate, grade, tune\n"
    now = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted((tmp_path / "code").glob("*.json"))}
    assert {path.stem for path in before if before[path] != now[path]} == {"calibrate", "grade", "tune"}
    assert now.keys() == before.keys()
    assert (tmp_path / "code" / "dvc.yaml").read_text() == "stages: {}", "it lies among what the stage writes"
