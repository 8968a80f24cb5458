"""Acinus: from a folder of whole-slide images to results that can be defended.

`import acinus` offers the names of `acinus.api` for notebooks and scripts; each loads when it is first asked for.
The names stand there and not here: this module is part of every stage's digest, so another name would rerun all.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acinus.api import *  # noqa: F403
else:
    import importlib

    def __getattr__(name):
        """Return a name of the API. Every `from acinus import <module>` asks here first: only its list loads then."""
        return importlib.import_module("acinus.api").offered(name)

    def __dir__():
        """Return what is here and what the API offers."""
        return sorted({*globals(), *importlib.import_module("acinus.api").__all__})
