"""Let plain `import torchvision`, and so `import timm`, work in .venv where only torch is a CPU build.

PyPI's torchvision for Linux is compiled against CUDA. Beside a CPU build of torch its operators do not load, and the
import fails with "operator torchvision::nms does not exist". We use none of those operators; declaring the ones that
torchvision looks up while it is imported is enough. Run once at set-up, this file copies itself into the virtual
environment as `whichland_torchvision`, with a .pth file that calls `hook` whenever Python starts.
"""

import sys

OPS = ("nms", "qnms")  # what torchvision looks up while it is being imported
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_missing_ops() -> None:
    """Declare the operators unless torchvision's compiled operators load."""
    from importlib.util import find_spec
    from pathlib import Path

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

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torchvision" and self in sys.meta_path:
            sys.meta_path.remove(self)
            declare_missing_ops()


def hook() -> None:
    """Declare the operators when, and only when, torchvision is first imported."""
    if "torchvision" not in sys.modules:
        sys.meta_path.insert(0, _BeforeTorchvision())


def install() -> None:
    """Copy this file into the environment of this interpreter, where its torch is a CPU build alone."""
    import importlib.metadata
    import shutil
    import sysconfig
    from pathlib import Path

    if "+cpu" in importlib.metadata.version("torch") and "+cpu" not in importlib.metadata.version("torchvision"):
        site_packages = Path(sysconfig.get_paths()["purelib"])
        shutil.copyfile(__file__, site_packages / "whichland_torchvision.py")
        pth = "import whichland_torchvision; whichland_torchvision.hook()\n"
        (site_packages / "whichland_torchvision.pth").write_text(pth)


if __name__ == "__main__":
    install()
