"""The tables of docs/recipes.md, written from the models in src/acinus/params and the text below their fields.

`python -m tools.recipe_keys` writes them anew; tests/test_docs.py holds that the page is current.
"""

import inspect
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo

from acinus import params
from acinus.params.base import Section
from acinus.params.meanings import meanings

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "recipes.md"
BEGIN, END = "<!-- keys: python -m tools.recipe_keys -->\n", "\n<!-- /keys -->"
LONGEST = 40
"""Characters of a value that a cell shows."""
MOST = 4
"""So many different values of the demo recipes stand in a cell."""
FILLED_IN = {
    "family": (", ".join(f"`{name}`" for name in params.RECIPES), "must be given"),
    "positive": ("list of text", "all classes but the first"),
}
"""What is allowed and by default, of keys for which the field itself does not tell."""


def page(text: str) -> str:
    """Return the page with its tables written anew between the two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n\n".join(_tables()) + END + after


def _tables() -> Iterator[str]:
    project = params.load_project(ROOT)
    recipes = [params.load_recipe(ROOT, name) for name in project.recipes]
    yield _table("cohort.folds", params.Folds, [], level=3)
    families = [(type(one.cohort), one) for one in recipes]
    yield _table("The recipe itself", params.Recipe, recipes, level=2)
    yield _table("cohort", params.Cohort, [one.cohort for one in recipes], level=2)
    for family, model in _cohorts().items():
        shown = [one.cohort for kind, one in families if kind is model]
        yield _table(f"cohort of family {family}", model, shown, level=3)
        for name, field in model.model_fields.items():
            for inner in get_args(field.annotation):
                if isinstance(inner, type) and issubclass(inner, Section):
                    yield _table(f"cohort.{name}", inner, [], level=3)
    for name, field in params.Recipe.model_fields.items():
        if name != "cohort" and _section(field):
            yield from _sections(field.alias or name, field, [getattr(one, name) for one in recipes])
    yield "## params.yaml\n\nWhat is global. The column *here* is what the file says in this repository."
    yield _table("The file itself", params.Project, [project], level=3, column="here")
    for name, field in params.Project.model_fields.items():
        if _section(field):
            yield from _sections(name, field, [getattr(project, name)], level=3, column="here")


def _cohorts() -> dict[str, type[Section]]:
    return {name: model.model_fields["cohort"].annotation for name, model in params.RECIPES.items()}  # type: ignore[misc]


def _sections(
    key: str, field: FieldInfo, values: Sequence[Any], level: int = 2, column: str = "in the demos"
) -> Iterator[str]:
    """Yield the table of a section, then those of the sections within it."""
    model = _section(field)
    assert model is not None
    yield _table(key, model, values, level, column)
    for name, inner in model.model_fields.items():
        if _section(inner):
            yield from _sections(f"{key}.{name}", inner, [getattr(one, name) for one in values], 3, column)
    if model is params.Tune:
        yield _table("tune.space, a range", params.Range, [], level=3)
        yield _table("tune.space, choices", params.Choices, [], level=3)


def _section(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _table(
    title: str, model: type[Section], values: Sequence[Any], level: int = 2, column: str = "in the demos"
) -> str:
    """Return heading, contract and table of one section; values: what each demo recipe says there."""
    texts, hints = meanings(model, but=params.Cohort), get_type_hints(model, include_extras=True)
    head = ["key", "allowed", "default", *([column] if values else []), "meaning"]
    rows = [head, ["---"] * len(head)]
    for name, field in model.model_fields.items():
        if name not in texts:
            continue
        said = [_shown([getattr(one, name) for one in values])] if values else []
        choices = FILLED_IN.get(name, (allowed(hints[name]), _default(field)))
        rows.append([f"`{field.alias or name}`", *choices, *said, texts[name]])
    lines = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    return f"{'#' * level} {title}\n\n{inspect.cleandoc(model.__doc__ or '')}\n\n{lines}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    return "" if _section(field) else f"`{_written(field.default)}`"


def _shown(values: Sequence[Any]) -> str:
    """Return what the demo recipes say: each value once, or that there are too many to show."""
    if any(isinstance(one, Section) for one in values):
        return ""
    texts = list(dict.fromkeys(_written(one) for one in values))
    if len(texts) > MOST or any(len(text) > LONGEST for text in texts):
        return "see the file"
    return ", ".join(f"`{text}`" for text in texts)


def _written(value: Any) -> str:
    """Return a value as YAML has it, on one line."""
    if isinstance(value, dict):
        value = {key: one.model_dump() if isinstance(one, Section) else one for key, one in value.items()}
    if isinstance(value, float):
        value = round(value, 6)
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def allowed(hint: Any, bounds: Sequence[Any] = ()) -> str:
    """Return in words what a type and its bounds allow."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        own = [mark for one in arguments[1:] for mark in (one.metadata if isinstance(one, FieldInfo) else [])]
        return allowed(arguments[0], [*bounds, *own])
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin in (Union, types.UnionType):
        kinds = [allowed(one) for one in arguments if one is not type(None)]
        return " or ".join(dict.fromkeys(kinds)) + ("; or `null`" if type(None) in arguments else "")
    if origin is list:
        least = next((mark.min_length for mark in bounds if isinstance(mark, MinLen)), 0)
        most = next((mark.max_length for mark in bounds if isinstance(mark, MaxLen)), None)
        length = "" if not least else f"; {least} of them" if most == least else f"; {least} or more"
        return f"list of {allowed(arguments[0])}{length}"
    if origin is dict:
        return f"mapping of {allowed(arguments[0])} to {allowed(arguments[1])}"
    return _plain(hint, bounds)


def _plain(kind: type, bounds: Sequence[Any]) -> str:
    if issubclass(kind, Section):
        return "section" if kind not in (params.Range, params.Choices) else kind.__name__.lower()
    if kind is bool:
        return "`true`, `false`"
    if kind not in (int, float):
        return "text"
    words = "whole number" if kind is int else "number"
    low = next((f"{mark.ge:,g} or more" for mark in bounds if isinstance(mark, Ge)), None)
    low = next((f"above {mark.gt:,g}" for mark in bounds if isinstance(mark, Gt)), low)
    high = next((f"at most {mark.le:,g}" for mark in bounds if isinstance(mark, Le)), None)
    high = next((f"below {mark.lt:,g}" for mark in bounds if isinstance(mark, Lt)), high)
    if low and high and low.endswith("or more") and high.startswith("at most"):
        return f"{words}, {low.removesuffix(' or more')} to {high.removeprefix('at most ')}"
    return ", ".join([words, *filter(None, [low, high])])


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}\n")
