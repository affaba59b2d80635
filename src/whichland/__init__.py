"""Name the country of a street-level photo; train, judge and explain the model that does.

Public names are imported on first use, so `import whichland` stays light; `__init__.pyi` lists them.
"""

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Libraries underneath report their use to their makers by default. They read these before they do, in this process
# and in every one that it starts; OpenVINO's has no such variable, see model/engines.py.
for _variable, _off in (
    ("ORT_DISABLE_TELEMETRY", "1"),
    ("RAY_USAGE_STATS_ENABLED", "0"),
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
):
    os.environ[_variable] = _off

with open(f"{__file__}i", encoding="utf-8") as _stub:
    _HOMES = {words[3]: words[1] for words in map(str.split, _stub) if words[:1] == ["from"]}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'whichland' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
