"""Templates to HTML: escaped, strict, with the one script and its hash for the page's content security policy."""

import base64
import hashlib
from functools import lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from acinus.pages import wording


def render(template: str, scripted: bool = False, **context: Any) -> str:
    """Return a page. scripted: with script.js in it, which the page's policy then allows by its hash and no other."""
    script = (files("acinus.pages") / "templates" / "script.js").read_text(encoding="utf-8") if scripted else ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # the file is ours, and a script element is read as it stands: nothing from outside goes into it
    marked = {"script": Markup(script), "script_hash": Markup(f"sha256-{digest}")}  # noqa: S704
    return _environment().get_template(template).render(**marked, **context)


def href(path: str) -> str:
    """Return a path as a URL relative to the page: nothing in it can make it another address."""
    return quote(path.lstrip("/"), safe="/")


def fine(value: float) -> str:
    """Return an amount that may be very small, to three digits: 12.3, 0.000108, never 0.00 for something."""
    return f"{value:.3g}" if value == 0 or abs(value) >= 1e-4 else f"{value:.8f}".rstrip("0")


BIDI = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\N{REPLACEMENT CHARACTER}")
"""Characters that turn the direction of what follows: in a name of others they would turn our sentences round."""


def _plain(value: object) -> object:
    return value.translate(BIDI) if type(value) is str else value


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("acinus.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
    )
    environment.filters |= {"href": href, "number": wording.text, "fine": fine}
    environment.globals |= {name: getattr(wording, name) for name in ("UNDEFINED", "SPLIT_RULES", "FILES", "SEEN")}
    return environment
