"""What notebooks and scripts use, as `import acinus` offers it: slides, tissue, annotations, patches, models, runs.

Nothing of it is part of the pipeline, and nothing heavy loads before a name is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acinus.api.annotation import read_annotations
    from acinus.api.model import Model, Prediction, load_model
    from acinus.api.probability import ProbabilityMap
    from acinus.api.run import Run, open_run
    from acinus.api.slide import Level, Slide, open_slide
    from acinus.api.store import Patch, PatchStore, open_store
    from acinus.api.tissue import Tissue, find_tissue, patch_grid
    from acinus.api.wording import AcinusWarning
    from acinus.errors import AcinusError

    __version__: str

_PLACES = {
    "AcinusError": "acinus.errors",
    "AcinusWarning": "acinus.api.wording",
    "Level": "acinus.api.slide",
    "Model": "acinus.api.model",
    "Patch": "acinus.api.store",
    "PatchStore": "acinus.api.store",
    "Prediction": "acinus.api.model",
    "ProbabilityMap": "acinus.api.probability",
    "Run": "acinus.api.run",
    "Slide": "acinus.api.slide",
    "Tissue": "acinus.api.tissue",
    "find_tissue": "acinus.api.tissue",
    "load_model": "acinus.api.model",
    "open_run": "acinus.api.run",
    "open_slide": "acinus.api.slide",
    "open_store": "acinus.api.store",
    "patch_grid": "acinus.api.tissue",
    "read_annotations": "acinus.api.annotation",
}
"""Name -> the module it is in. No name may be that of a module of acinus, which would hide it."""

__all__ = [
    "AcinusError",
    "AcinusWarning",
    "Level",
    "Model",
    "Patch",
    "PatchStore",
    "Prediction",
    "ProbabilityMap",
    "Run",
    "Slide",
    "Tissue",
    "__version__",
    "find_tissue",
    "load_model",
    "open_run",
    "open_slide",
    "open_store",
    "patch_grid",
    "read_annotations",
]


def offered(name: str) -> Any:
    """Return what `acinus.<name>` is.

    Raises:
        AttributeError: a name that is not offered.
    """
    if name == "__all__":
        return __all__
    if name == "__version__":
        from importlib.metadata import version

        return version("acinus")
    if name not in _PLACES:
        raise AttributeError(f"module 'acinus' has no attribute {name!r}; it offers {', '.join(_PLACES)}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __getattr__(name: str) -> Any:
    return offered(name)
