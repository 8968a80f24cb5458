"""The name of a patch inside a store, and how it is read back. Keys come from outside: nothing unsafe passes."""

import re

from acinus.errors import AcinusError
from acinus.records import is_safe_id

_PLACE = re.compile(r"(-?[0-9]{1,10})_(-?[0-9]{1,10})\Z")


def patch_key(slide_id: str, x0: int, y0: int) -> str:
    """Return `<slide_id>/<x0>_<y0>`, the key of the patch whose top-left corner is level-0 px (x0, y0)."""
    key = f"{slide_id}/{int(x0)}_{int(y0)}"
    parse_key(key)
    return key


def parse_key(key: str) -> tuple[str, int, int]:
    """Return (slide_id, x0, y0) of a key.

    Raises:
        AcinusError: not a key, or a slide id that is not safe as a file name.
    """
    slide_id, _, place = key.partition("/")
    match = _PLACE.match(place)
    if match is None or not is_safe_id(slide_id):
        raise AcinusError(f"patch key {key!r}: expected <slide_id>/<x0>_<y0> with a slide_id safe as a file name")
    return slide_id, int(match[1]), int(match[2])


def file_stem(key: str) -> str:
    """Return `<slide_id>_<x0>_<y0>`, the key as a file name without suffix; different keys give different stems."""
    slide_id, x0, y0 = parse_key(key)
    return f"{slide_id}_{x0}_{y0}"
