"""YAML as recipes need it: nothing given twice, nothing shared, numbers as people write them."""

import re
from pathlib import Path
from typing import Any

import yaml

from acinus.errors import RecipeError


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (YAML silently keeps the last) and any alias."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed; write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be one plain word", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-4 for text; people and dvc (`-S train.lr=1e-5`) mean the number
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        RecipeError: no such file (the ones there are named), not UTF-8, not YAML, a key twice, an alias,
            or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise RecipeError(f"{path}: no such file; files there: {known}") from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); expected a readable file") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    try:
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader, made stricter)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a 13th month, a number of 5000 digits, [[[[...
        raise RecipeError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path}: expected a mapping of sections, found {type(data).__name__}")
    return data
