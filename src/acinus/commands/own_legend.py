"""A table that says what colours or values of masks are, of whatever columns: class;red;green;blue or value,name."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from acinus.cohorts.tables import csv_rows, read_text
from acinus.errors import AcinusError
from acinus.slides.open import below

_CHANNELS = (re.compile(r"r(ed)?\Z"), re.compile(r"g(reen)?\Z"), re.compile(r"b(lue)?\Z"))
_COLOUR = re.compile(r"(colou?r|rgb|hex)([ _-](code|hex|rgb))?\Z")
_VALUE = re.compile(r"((pixel|mask|class|grey|gray|label)[ _-]?)?(value|index|id|code)\Z")
_NAME = re.compile(r"(class|name|label|tissue|structure|meaning|description|category)([ _-]?name)?\Z")


def legend(root: Path, tables: Iterable[str]) -> tuple[dict[str, str], str]:
    """Return colour (#rrggbb) or value of masks -> its name, of the first table that says so, and the table's path.

    Both are empty where none of them (paths below the root) does.
    """
    for path in tables:
        if not path.lower().endswith((".csv", ".tsv")):
            continue
        try:
            rows = [cells for _, cells in csv_rows(read_text(below(root, path)), path)]
        except AcinusError:  # which whoever reads the tables of slides says
            continue
        names = _names(rows[0], rows[1:]) if rows else {}
        if names:
            return names, path
    return {}, ""


def _names(header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return key -> name of a table's rows; nothing where one of them is no such row."""
    titles = [title.casefold() for title in header]
    name = _place(titles, _NAME)
    channels = [_place(titles, one) for one in _CHANNELS]
    colour, value = _place(titles, _COLOUR), _place(titles, _VALUE)
    if name is None or (None in channels and colour is None and value is None):
        return {}
    found: dict[str, str] = {}
    for cells in rows:
        if len(cells) != len(header) or not cells[name]:
            return {}
        if None not in channels:
            key = _hex([cells[place] for place in channels if place is not None])
        elif colour is not None:
            text = cells[colour].strip("#()[]")
            is_hex = re.fullmatch(r"[0-9a-fA-F]{6}", text) is not None
            key = f"#{text.lower()}" if is_hex else _hex(re.findall(r"\d+", text))
        else:
            key = cells[value] if value is not None and cells[value].isdecimal() else None
        if key is None:
            return {}
        found[key] = cells[name]
    return found


def _place(titles: Sequence[str], pattern: re.Pattern[str]) -> int | None:
    return next((place for place, title in enumerate(titles) if pattern.match(title)), None)


def _hex(channels: Sequence[str]) -> str | None:
    """Return #rrggbb of three numbers of 0 to 255, None of other texts."""
    numbers = [int(text) if text.isdecimal() else 256 for text in channels]
    return "#{:02x}{:02x}{:02x}".format(*numbers) if len(numbers) == 3 and max(numbers) < 256 else None
