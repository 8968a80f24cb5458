"""YAML as recipes need it, read as DVC reads it (YAML 1.2: 1e-4 is a number): nothing twice, nothing shared.

What the pipeline itself writes (dvc.lock, an operating point) is read and written by PyYAML, which has a parser in C.
"""

from collections.abc import Callable, MutableMapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from acinus.errors import RecipeError

MERGE = "<<"


class _Composer(Composer):
    """Refuses an anchor: what it hides stands elsewhere in the file."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if event.anchor is not None:
            raise ComposerError(
                None, None, "anchors and aliases are not allowed; write the value out", event.start_mark
            )
        return super().compose_node(parent, index)


class _Constructor(SafeConstructor):
    """Refuses a key that is a collection, or that merges one."""

    def flatten_mapping(self, node: MappingNode) -> None:
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.value == MERGE:
                raise ConstructorError(None, None, "a key must be one plain word", key.start_mark)


class _Writer(RoundTripRepresenter):
    """Writes null as the recipes do."""


_Writer.add_representer(type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null"))


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        RecipeError: no such file (the ones there are named), not UTF-8, not YAML, a key twice, an anchor,
            or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        files = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
        raise RecipeError(f"{path}: no such file; files there: {files}") from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); expected a readable file") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer, yaml.Constructor = _Composer, _Constructor
    try:
        data = yaml.load(text)
    except (YAMLError, ValueError, RecursionError) as error:  # a 13th month, a number of 5000 digits, [[[[...
        raise RecipeError(f"{path}: not valid YAML: {_words(error)}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path}: expected a mapping of sections, found {type(data).__name__}")
    return data


def rewritten(path: Path, change: Callable[[MutableMapping[str, Any]], None]) -> str:
    """Return a file's text after `change` to its mapping; its comments, quotes and order stay.

    The file is one that `read_mapping` takes.
    """
    yaml, written = YAML(), StringIO()
    yaml.Representer = _Writer
    yaml.preserve_quotes, yaml.width = True, 2**20
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(path.read_text(encoding="utf-8"))
    change(document)
    yaml.dump(document, written)
    return written.getvalue()


def _words(error: Exception) -> str:
    """Return what is wrong and where, without the library's own page about it."""
    if isinstance(error, MarkedYAMLError) and error.problem and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {' '.join(error.problem.split())}"
    return " ".join(str(error).split())
