"""Let torchvision be imported beside a torch build that its compiled operators do not fit.

On a machine without a GPU pip finds a CPU build of torch and PyPI's torchvision, which is built
for CUDA. Its C++ library then does not load, and `import torchvision` (so timm and lightning) dies
with "operator torchvision::nms does not exist": `torchvision._meta_registrations` attaches shape
functions to `nms` and `qnms`, which nobody has declared. Declaring the two schemas is enough for
every network in pure torch; calling the operators themselves still raises. Nothing happens where
torchvision's library loads.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any

_TARGET = "torchvision._meta_registrations"
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# A torch.library.Library takes its declarations back when it is collected, so it lives here.
_declared: list[Any] = []


class _Finder(MetaPathFinder):
    """Notices when the one module is about to load, declares the schemas, and steps aside."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Return nothing: the ordinary finders load the module, this one only prepares for it."""
        if fullname == _TARGET:
            _declare_where_missing()


def _declare_where_missing() -> None:
    """Declare nms and qnms unless torchvision's own library has done so."""
    extension = sys.modules.get("torchvision.extension")  # torchvision loads it just before the target
    if extension is None or extension._has_ops() or _declared:
        return
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)


def install() -> None:
    """Install the hook once; call it before the first import of torchvision, timm or lightning."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
