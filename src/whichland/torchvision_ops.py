"""Make `import torchvision` work beside a torch build that its compiled operators were not made for.

PyPI's torchvision for Linux links CUDA. Beside a CPU build of torch its operators cannot load, and the import
fails with "operator torchvision::nms does not exist". timm imports torchvision, so nothing would work. We use
none of those operators; declaring those that torchvision looks up while being imported is enough.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

OPS = ("nms", "qnms")  # what torchvision looks up while it is being imported
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_missing_ops() -> None:
    """Declare the operators unless torchvision's compiled operators load. Harmless when repeated."""
    import torch

    spec = find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations or hasattr(torch.ops.torchvision, "nms"):
        return
    compiled = next(Path(spec.submodule_search_locations[0]).glob("_C*"), None)
    try:
        if compiled is not None:
            torch.ops.load_library(str(compiled))
    except OSError:
        compiled = None
    if compiled is None:
        for name in OPS:
            torch.library.define(f"torchvision::{name}", SCHEMA)


class _BeforeTorchvision:
    """An import hook that finds nothing itself: it declares the operators when torchvision is looked for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)
            declare_missing_ops()
        return None


def hook() -> None:
    """Declare the operators when, and only when, torchvision is first imported."""
    if "torchvision" not in sys.modules:
        sys.meta_path.insert(0, _BeforeTorchvision())
