"""Let plain `import torchvision` and `import timm` work in .venv where only torch is a CPU build.

PyPI's torchvision for Linux is compiled against CUDA; beside a CPU build of torch its compiled operators do not
load, and importing it fails on the missing operator `nms`. `whichland.torchvision_ops` declares that operator;
this script, run once at set-up, makes the virtual environment do so whenever torchvision is imported.
"""

import importlib.metadata
import sysconfig
from pathlib import Path

if "+cpu" in importlib.metadata.version("torch") and "+cpu" not in importlib.metadata.version("torchvision"):
    site_packages = Path(sysconfig.get_paths()["purelib"])
    (site_packages / "whichland_torchvision.pth").write_text(
        "import whichland.torchvision_ops; whichland.torchvision_ops.hook()\n"
    )
