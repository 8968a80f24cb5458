"""A file of settings in which every key says what it does: the texts of the models in acinus.params."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from acinus.params import Section
from acinus.params.meanings import contract, meanings, section_of

WIDTH = 120


def commented(document: Mapping[str, Any], model: type[Section], head: str, notes: Mapping[str, str]) -> str:
    """Return `document` as YAML with the meaning of each key beside it, or above it where that is too long.

    model: what reads the document. head: the lines that begin the file. notes: dotted key -> what is to be said of
    this value before the key's meaning. A mapping of mappings, or with notes on its own keys, has a line for
    each entry.
    """
    lines = [f"# {line}" for line in head.splitlines()]
    return "\n".join([*lines, *_section(document, model, notes, "", "")]) + "\n"


def _section(
    document: Mapping[str, Any], model: type[Section], notes: Mapping[str, str], above: str, indent: str
) -> Iterator[str]:
    fields = {field.alias or name: (name, field) for name, field in model.model_fields.items()}
    texts = meanings(model)
    for key, value in document.items():
        name, field = fields[key]
        inner, place = section_of(model, name), f"{above}{key}"
        if inner is not None and isinstance(value, dict) and value:
            if not indent:
                yield ""
            yield from _line(f"{indent}{key}:", _plain(contract(inner)), indent)
            yield from _section(value, inner, notes, f"{place}.", f"{indent}  ")
            continue
        about = contract(inner) if inner is not None and place not in notes else texts.get(name, "")
        comment = " ".join(filter(None, [notes.get(place), _plain(about), _choices(field)]))
        if isinstance(value, dict) and _has_lines(value, place, notes):
            yield from _line(f"{indent}{key}:", comment, indent)
            for part, one in value.items():
                text = f"{indent}  {_flow(part, '')}: {_flow(one, f'{indent}    ')}"
                yield from _line(text, notes.get(f"{place}.{part}", ""), f"{indent}  ")
        else:
            yield from _line(f"{indent}{key}: {_flow(value, f'{indent}  ')}", comment, indent)


def _has_lines(value: Mapping[Any, Any], place: str, notes: Mapping[str, str]) -> bool:
    """Return whether each entry of a mapping stands on a line of its own."""
    return any(f"{place}.{key}" in notes or isinstance(one, dict) for key, one in value.items())


def _line(text: str, comment: str, indent: str) -> Iterator[str]:
    """Yield a key's line with its comment, which goes above where both are too long for one line."""
    beside = f"{text} # {comment}" if comment else text
    if "\n" not in text and len(beside) <= WIDTH:
        yield beside
        return
    yield from textwrap.wrap(
        comment, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
    )
    yield text


def _flow(value: Any, indent: str) -> str:
    """Return a value as YAML on one line, or on several where it is long."""
    yaml, written = YAML(typ="safe", pure=True), StringIO()
    yaml.default_flow_style, yaml.width = True, WIDTH - 40
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    if isinstance(value, str):
        yaml.width = 2**20  # a long text stays one
    yaml.dump(value, written)
    return written.getvalue().removesuffix("\n").removesuffix("\n...").replace("\n", f"\n{indent}")


def _plain(text: str) -> str:
    """Return a text without the marks of a page."""
    return re.sub(r"\[([^]]+)]\([^)]+\)", r"\1", text).replace("`", "")


def _choices(field: FieldInfo) -> str:
    """Return which words a key may hold, where it may hold few."""
    kinds = [field.annotation, *get_args(field.annotation)]
    words = [str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    return f"One of: {', '.join(words)}." if len(words) > 1 and get_origin(field.annotation) is not dict else ""
