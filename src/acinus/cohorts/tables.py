"""The small tables that people write beside their slides, however their spreadsheet saved them.

Every CSV of a cohort is read here: commas, semicolons or tabs, quoted or not, with or without a byte order mark.
"""

import csv
import io
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Sequence
from pathlib import Path

from acinus.errors import AcinusError

MAX_BYTES = 100_000_000
"""No table of slides is larger."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
Row = tuple[int, list[str]]
"""Number of the line (from 1) on which a row ends, and its fields, stripped."""

_SPREADSHEET = "sep="  # Excel's own first line, which says the separator and is no row
_REMEDY = "save it with one separator (comma, semicolon or tab) and texts that hold it in quotes"


def read_text(path: Path) -> str:
    """Return a small text file: UTF-8, with or without a byte order mark, or UTF-16 with one (Excel's Unicode text)."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise AcinusError(
                f"{path.name}: {path.stat().st_size} bytes, more than the {MAX_BYTES} of a table of slides"
            )
        data = path.read_bytes()
        return data.decode("utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise AcinusError(f"{path.name}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise AcinusError(f"{path.name}: cannot be read ({error.strerror}); check the file") from error


def csv_rows(text: str, name: str) -> list[Row]:
    """Return every row of a CSV text that is not empty.

    The separator is the one of SEPARATORS that divides the first row; where several do, the only one that gives
    every row the same number of fields; a comma where none does.

    Raises:
        AcinusError: text that is no CSV, or whose separator cannot be told.
    """
    first, _, rest = text.partition("\n")
    stated = first.rstrip("\r")
    if stated.lower().startswith(_SPREADSHEET) and stated[len(_SPREADSHEET) :] in SEPARATORS:
        return [(number + 1, cells) for number, cells in _rows(rest, stated[-1], name)]
    widths = {separator: _widths(text, separator, name) for separator in SEPARATORS}
    dividing = [separator for separator, fields in widths.items() if fields and fields[0] > 1]
    even = [separator for separator in dividing if len(set(widths[separator])) == 1]
    if len(dividing) > 1 and len(even) != 1:
        seen = " and ".join(SEPARATORS[separator] for separator in dividing)
        raise AcinusError(
            f"{name}: row 1: has {seen}, and it cannot be told which of them separates its fields; {_REMEDY}"
        )
    return list(_rows(text, (even or dividing or [","])[0], name))


def keyed_rows(
    text: str, name: str, needed: Sequence[str], optional: Sequence[str] | None = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (file and row for a message, column -> field) of every row below the header, columns in any order.

    optional: columns that may stand beside the needed ones; None: any may.

    Raises:
        AcinusError: missing or unknown columns, one that stands twice, a row of another length, text that is no CSV.
    """
    (_, header), *rows = csv_rows(text, name) or [(1, [])]
    strangers = set() if optional is None else set(header) - {*needed, *optional}
    if not set(needed) <= set(header) or strangers or len(set(header)) != len(header):
        others = ", each once" if optional is None else f" and, if wanted, {', '.join(optional)}" if optional else ""
        raise AcinusError(
            f"{name}: row 1: columns are {', '.join(header) or 'none'}; expected {', '.join(needed)}{others}"
        )
    for number, cells in rows:
        where = f"{name}: row {number}"
        if len(cells) != len(header):
            raise AcinusError(f"{where}: {len(cells)} fields; expected {len(header)} as in the header")
        yield where, dict(zip(header, cells, strict=True))


def _widths(text: str, separator: str, name: str) -> list[int]:
    """Return the number of fields of each row; 0 for the first that is no CSV of this separator, and no further."""
    widths = []
    try:
        for _, cells in _rows(text, separator, name):
            widths.append(len(cells))
    except AcinusError:
        widths.append(0)
    return widths


def _rows(text: str, separator: str, name: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise AcinusError(f"{name}: row {reader.line_num}: not CSV ({error}); correct the row") from error
