"""What sections and their fields mean, for people: the texts that stand below fields in this room."""

import ast
import inspect
import re
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Union, get_args, get_origin

from acinus.params.base import Section


@cache
def meanings(model: type[Section], but: type[Section] = Section) -> Mapping[str, str]:
    """Return field -> the text below it on one line, of a model and of what it inherits.

    Sections are left out that are explained by their own text. but: a model whose fields are left out, if inherited.

    Raises:
        ValueError: a field that no text explains.
    """
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not issubclass(kind, Section) or kind is Section or (kind is but and model is not kind):
            continue
        body = _definition(kind).body
        for field, text in zip(body, [*body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            name = field.target.id
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[name] = re.sub(r"\s+", " ", str(text.value.value)).strip()
            elif name not in found and not section_of(model, name):  # a narrower type keeps the text
                raise ValueError(f"{kind.__name__}.{name}: write below the field what it means")
    return found


def contract(model: type[Section]) -> str:
    """Return the text of a section itself, on one line."""
    return re.sub(r"\s+", " ", ast.get_docstring(_definition(model)) or "")


def section_of(model: type[Section], name: str) -> type[Section] | None:
    """Return the model of a field that is a section, or one or null, else None."""
    kind = model.model_fields[name].annotation
    kinds = [one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, Section)]
    return kinds[0] if kinds and get_origin(kind) in (None, UnionType, Union) else None


def _definition(model: type[Section]) -> ast.ClassDef:
    (definition,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)
    return definition
