"""Which plug-ins there are, told from the texts of their files: nothing of theirs runs, and no library loads.

A project's are `plugins/*.py`. An installed package's are the modules that its entry points of GROUP name.
"""

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from acinus.errors import AcinusError
from acinus.plugins import Kind, keywords

GROUP, FOLDER = "acinus.plugins", "plugins"
KINDS: tuple[Kind, ...] = get_args(Kind)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")
TAKES: dict[Kind, tuple[str, ...]] = {
    "loss": ("logits", "labels", "weights", "settings"),
    "network": ("classes",),
    "encoder": (),
    "augmentation": ("pixels", "rng"),
    "metric": ("case",),
    "annotation_reader": ("path", "frame"),
    "cohort_family": ("order",),
}
"""What a function of a kind is called with, in this order; their names are free."""
PIXEL_LOSS = {"sums": ("batch",), "value": ("sums", "settings")}
"""Methods of a class that is a loss."""
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Source:
    """A file of plug-ins. shown: how messages and digests name it. entry: of an installed package."""

    path: Path
    shown: str
    entry: EntryPoint | None = None


@dataclass(frozen=True)
class Plugin:
    """A plug-in as its file says: its line, whether it is a class, and keywords of the decorator that are literals."""

    kind: Kind
    name: str
    source: Source
    line: int
    is_class: bool
    options: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.source.shown}:{self.line}"


class _Use:
    """What this process uses: a project's plug-ins, and what was found when they were first asked for."""

    root: Path | None = None
    plugins: list[Plugin] | None = None


def use(root: Path | None) -> None:
    """Make the plug-ins of the project at `root` those of this process, beside those of installed packages.

    Their files are looked at anew.
    """
    _Use.root, _Use.plugins = root, None


def project() -> Path | None:
    """Return the project whose plug-ins are in use."""
    return _Use.root


def sources() -> list[Source]:
    """Return the files that may hold plug-ins, the project's by name and then those of packages."""
    folder = _Use.root / FOLDER if _Use.root else None
    own = sorted(folder.glob("*.py")) if folder and folder.is_dir() else []
    return [*(Source(path, f"{FOLDER}/{path.name}") for path in own), *_installed(tuple(sys.path))]


def everything() -> list[Plugin]:
    """Return all plug-ins, file by file.

    Raises:
        AcinusError: a file that cannot be parsed, registers nothing, says a name or takes arguments in a way that
            Acinus cannot use, or two of a kind and name. One line, with file and line number.
    """
    if _Use.plugins is not None:
        return _Use.plugins
    plugins = [plugin for source in sources() for plugin in _of_file(source)]
    first: dict[tuple[str, str], Plugin] = {}
    for plugin in plugins:
        other = first.setdefault((plugin.kind, plugin.name), plugin)
        if other is not plugin:
            raise AcinusError(
                f"{plugin.place}: {plugin.kind} {plugin.name!r} is in {other.place} too; give one another name"
            )
    _Use.plugins = plugins
    return plugins


def found(kind: Kind) -> dict[str, Plugin]:
    """Return name -> plug-in of a kind. AcinusError: see `everything`."""
    return {plugin.name: plugin for plugin in everything() if plugin.kind == kind}


def with_builtin(kind: Kind, builtin: Iterable[str], where: str) -> dict[str, Plugin]:
    """Return `found`; refuse a name that Acinus has itself, in its file `where`. AcinusError: both places."""
    plugins, own = found(kind), set(builtin)
    for plugin in plugins.values():
        if plugin.name in own:
            raise AcinusError(
                f"{plugin.place}: {kind} {plugin.name!r} is one of Acinus's own ({where}); give it another name"
            )
    return plugins


def known(kind: Kind, builtin: Iterable[str]) -> str:
    """Return in words which names there are: Acinus's own and those of plug-ins."""
    own, added = ", ".join(builtin), ", ".join(found(kind)) or "none"
    return f"allowed are {own}; plug-ins: {added}" if own else f"plug-ins there are: {added}"


def _of_file(source: Source) -> tuple[Plugin, ...]:
    try:
        content = source.path.read_bytes()
    except OSError as error:
        raise AcinusError(
            f"{source.shown}: cannot be read ({error.strerror}); make it readable or remove it"
        ) from error
    return _parsed(source, content)


@lru_cache(maxsize=256)
def _parsed(source: Source, content: bytes) -> tuple[Plugin, ...]:
    try:
        tree = ast.parse(content)
    except SyntaxError as error:
        raise AcinusError(f"{source.shown}:{error.lineno}: Python cannot parse this ({error.msg}); mend it") from error
    except ValueError as error:  # a null byte
        raise AcinusError(f"{source.shown}:1: Python cannot parse this ({error}); mend it") from error
    plugins = tuple(_plugins(source, tree))
    if not plugins:
        raise AcinusError(
            f"{source.shown}:1: registers nothing; decorate a function with one of "
            f"{', '.join(f'@plugins.{kind}' for kind in KINDS)}, or move the file elsewhere"
        )
    return plugins


def _plugins(source: Source, tree: ast.Module) -> Iterator[Plugin]:
    names = _Names(tree)
    for node in ast.walk(tree):
        above: ast.expr | None = None
        for mark in getattr(node, "decorator_list", ()):
            asked = names.kind(mark)
            if asked:
                assert isinstance(node, Function)
                yield _plugin(source, tree, node, mark, asked)
                if above is not None and not names.kind(above):
                    raise AcinusError(
                        f"{source.shown}:{node.lineno}: @{ast.unparse(above)} stands above @{ast.unparse(mark)} and "
                        "would not count; put it below"
                    )
            above = mark


def _plugin(source: Source, tree: ast.Module, node: Function, mark: ast.expr, asked: str) -> Plugin:
    where = f"{source.shown}:{node.lineno}"
    kind = next((kind for kind in KINDS if kind == asked), None)
    if kind is None:
        raise AcinusError(f"{where}: {asked} is no kind of plug-in; there are {', '.join(KINDS)}")
    call = mark if isinstance(mark, ast.Call) else None
    name = call.args[0].value if call and call.args and isinstance(call.args[0], ast.Constant) else None
    if call is None or not isinstance(name, str) or not NAME.match(name):
        raise AcinusError(
            f'{where}: expected @plugins.{kind}("name"), with the name written out there: letters, digits, _ and -'
        )
    if node not in tree.body:
        raise AcinusError(f"{where}: {kind} {name!r} is not at the top level of its file; move it there")
    _check_arguments(kind, name, node, where)
    return Plugin(kind, name, source, node.lineno, isinstance(node, ast.ClassDef), keywords.literals(kind, call, where))


class _Names:
    """What stands for acinus.plugins in a file, and for names of it."""

    def __init__(self, tree: ast.Module) -> None:
        self._modules: set[str] = set()
        self._functions: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and not node.level:
                for alias in node.names:
                    used = alias.asname or alias.name
                    if node.module == "acinus" and alias.name == "plugins":
                        self._modules.add(used)
                    elif node.module == "acinus.plugins":
                        self._functions[used] = alias.name
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name == "acinus" or (alias.name.startswith("acinus.") and not alias.asname):
                        self._modules.add(f"{alias.asname or 'acinus'}.plugins")
                    elif alias.name == "acinus.plugins":
                        self._modules.add(str(alias.asname))

    def kind(self, mark: ast.expr) -> str:
        """Return the name of acinus.plugins that a decorator is, whether there is such a kind or not; else nothing."""
        written = ast.unparse(mark.func if isinstance(mark, ast.Call) else mark)
        module, _, last = written.rpartition(".")
        return last if module in self._modules else self._functions.get(written, "")


def _check_arguments(kind: Kind, name: str, node: Function, where: str) -> None:
    """Refuse what cannot be called as Acinus calls it."""
    if isinstance(node, ast.AsyncFunctionDef):
        raise AcinusError(f"{where}: {kind} {name!r} is async; write a plain function")
    if isinstance(node, ast.FunctionDef):
        _check_call(kind, name, node, TAKES[kind], where)
        return
    methods = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
    if kind == "loss":
        for method, takes in PIXEL_LOSS.items():
            if method not in methods:
                raise AcinusError(f"{where}: loss {name!r} is a class without a static method {method}; add it")
            if [ast.unparse(mark) for mark in methods[method].decorator_list] != ["staticmethod"]:
                raise AcinusError(f"{where}: {method} of loss {name!r} is no static method; decorate it @staticmethod")
            _check_call(kind, f"{name}.{method}", methods[method], takes, where)
    elif kind not in {"network", "encoder"}:
        raise AcinusError(f"{where}: {kind} {name!r} is a class; write a function of {', '.join(TAKES[kind])}")
    elif "__init__" in methods:
        _check_call(kind, name, methods["__init__"], ("self", *TAKES[kind]), where)


def _check_call(kind: Kind, name: str, node: ast.FunctionDef, takes: tuple[str, ...], where: str) -> None:
    given = node.args
    positional = [one.arg for one in (*given.posonlyargs, *given.args)]
    needed = len(positional) - len(given.defaults)
    keywords = [one.arg for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value is None]
    if keywords or needed > len(takes) or (len(positional) < len(takes) and given.vararg is None):
        raise AcinusError(
            f"{where}: {kind} {name!r} takes ({', '.join([*positional, *keywords])}); it is called with "
            f"({', '.join(takes)})"
        )


@cache
def _installed(path: tuple[str, ...]) -> tuple[Source, ...]:
    """Return the files that installed packages name; `path` is Python's."""
    if not any(_names_group(folder) for folder in path):
        return ()
    entries = sorted(entry_points(group=GROUP), key=lambda entry: (entry.module, entry.name))
    return tuple(_source(entry) for entry in dict.fromkeys(entries))


def _names_group(folder: str) -> bool:
    """Return whether a package below a folder of Python's path says GROUP: a tenth of the time of entry_points."""
    try:
        names = [name for name in os.listdir(folder or ".") if name.endswith(".dist-info")]  # noqa: PTH208 (faster)
    except OSError:
        return False
    for name in names:
        try:
            if f"[{GROUP}]".encode() in (Path(folder or ".") / name / "entry_points.txt").read_bytes():
                return True
        except OSError:
            continue
    return False


def _source(entry: EntryPoint) -> Source:
    """Return the file of the module that an entry point names, without importing it."""
    top, *rest = entry.module.split(".")
    spec = find_spec(top)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    files = [folder.joinpath(*rest[:-1], f"{rest[-1]}.py") if rest else folder / "__init__.py" for folder in folders]
    files += [folder.joinpath(*rest, "__init__.py") for folder in folders]
    files += [Path(spec.origin)] if spec and spec.origin and not rest else []
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        package = entry.dist.name if entry.dist else entry.name
        raise AcinusError(f"package {package}: its entry point of {GROUP} names {entry.module}, which is no module")
    return Source(path, entry.module, entry)
