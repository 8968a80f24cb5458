"""Keywords of a plug-in's decorator, read and checked without running the file."""

import ast
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from acinus.errors import AcinusError
from acinus.plugins import Kind, MetricWords

_WORDS = get_type_hints(MetricWords)
_TASKS = ("patch_classification", "segmentation")
CHOICES: dict[Kind, dict[str, tuple[Any, ...]]] = {
    "network": {"task": _TASKS},
    "augmentation": {"moves": (False, True)},
    "metric": {name: get_args(hint) for name, hint in _WORDS.items() if get_origin(hint) is Literal},
}
"""Kind -> keyword -> the values that it may have."""
LISTS: dict[Kind, tuple[str, ...]] = {
    "annotation_reader": ("suffixes",),
    "metric": tuple(name for name, hint in _WORDS.items() if get_origin(hint) is tuple),
}
"""Kind -> keywords that are tuples of texts."""
_SUFFIX = re.compile(r"\.[^/\\A-Z]+\Z")


def literals(kind: Kind, call: ast.Call, where: str) -> dict[str, Any]:
    """Return the keywords whose values are written out.

    Raises:
        AcinusError: a value that cannot be, or is needed and not written out. One line, with `where`.
    """
    values: dict[str, Any] = {}
    for keyword in call.keywords:
        try:
            values[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError):
            if keyword.arg == "suffixes" or keyword.arg in CHOICES.get(kind, {}):
                raise AcinusError(
                    f"{where}: {keyword.arg} = {ast.unparse(keyword.value)}: write its value out, since Acinus reads "
                    "it without running the file"
                ) from None
    _check(kind, values, where)
    return values


def _check(kind: Kind, values: Mapping[str, Any], where: str) -> None:
    for name, allowed in CHOICES.get(kind, {}).items():
        if name in values and values[name] not in allowed:
            raise AcinusError(f"{where}: {name} = {values[name]!r}; expected one of {', '.join(map(repr, allowed))}")
    for name in LISTS.get(kind, ()):
        if name in values and not _is_texts(values[name]):
            raise AcinusError(
                f'{where}: {name} = {values[name]!r}; expected a tuple of texts, as ("a",) with its comma'
            )
    strangers = [task for task in values.get("tasks", ()) if task not in _TASKS]
    if strangers:
        raise AcinusError(f"{where}: tasks = {values['tasks']!r}; there are {', '.join(_TASKS)}")
    suffixes = values.get("suffixes")
    if kind == "annotation_reader" and (not suffixes or not all(map(_SUFFIX.match, suffixes))):
        raise AcinusError(
            f"{where}: suffixes = {suffixes!r}; expected those of the files that it reads, each with its dot and in "
            'lower case: suffixes=(".outlines.csv",)'
        )


def _is_texts(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(one, str) for one in value)
