"""Running the file of a plug-in that is used, and giving out what it decorates."""

import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from acinus.errors import AcinusError, brief
from acinus.plugins import MARKED, Kind, finding
from acinus.plugins.finding import Plugin, Source

FAULTS = (
    *(ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError, LookupError, RuntimeError),
    *(OSError, ArithmeticError, AssertionError, SystemExit),
)
"""What running a file may raise for which its text is to blame."""

_ran: dict[Path, tuple[bytes, ModuleType]] = {}
"""File -> its text and module, as it ran in this process."""


class Loaded(NamedTuple):
    """A plug-in that is at hand: what is decorated, and all that its decorator was given besides the name."""

    plugin: Plugin
    function: Any
    options: Mapping[str, Any]


def get(plugin: Plugin) -> Loaded:
    """Return what a plug-in decorates; its file runs where it has not in this process, or was another text then.

    Raises:
        AcinusError: it cannot be run, in one line with file and line number.
    """
    marked = vars(_module(plugin.source)).get(MARKED, {}).get((plugin.kind, plugin.name))
    if marked is None:
        raise AcinusError(
            f"{plugin.place}: the file ran, but not its @plugins.{plugin.kind}({plugin.name!r}) of acinus; see which "
            "other thing the file calls so"
        )
    return Loaded(plugin, *marked)


def named(kind: Kind, name: str) -> Loaded | None:
    """Return the plug-in of a kind and name, ready to be used; None where there is none."""
    plugin = finding.found(kind).get(name)
    return get(plugin) if plugin else None


def prepare(root: Path | None, files: Sequence[Path]) -> None:
    """Make a further process ready for jobs that a process with these plug-ins gives it."""
    finding.use(root)
    for source in finding.sources():
        if source.path in files:
            _module(source)


def ran() -> tuple[Path, ...]:
    """Return the files that ran in this process, of what is in use."""
    return tuple(source.path for source in finding.sources() if source.path in _ran)


def _module(source: Source) -> ModuleType:
    content = source.path.read_bytes()
    if source.path in _ran and _ran[source.path][0] == content:
        return _ran[source.path][1]
    try:
        module = source.entry.load() if source.entry else _run(source.path)
    except FAULTS as error:
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(source.path)
        ]
        line = lines[-1] if lines else 1
        kind = type(error).__name__
        raise AcinusError(f"{source.shown}:{line}: cannot be run ({kind}: {brief(error)}); mend the file") from error
    if not isinstance(module, ModuleType):  # an entry point "module:attribute"
        module = sys.modules[source.entry.module] if source.entry else module
    _ran[source.path] = content, module
    return module


class _Text(SourceFileLoader):
    """Runs a file's text as it is: bytecode kept of another one may be of the same second and size."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _run(path: Path) -> ModuleType:
    """Run a project's file as a module of its own, by a name by which jobs find it in further processes."""
    loader = _Text(f"acinus_plugin_{path.stem}", str(path))
    module = ModuleType(loader.name)
    module.__file__ = str(path)
    with ExitStack() as undo:
        sys.modules[loader.name] = module
        undo.callback(sys.modules.pop, loader.name)
        loader.exec_module(module)
        undo.pop_all()
    return module
