"""Tell the country of a street-level photo; train, judge and explain the model that does.

Public names are imported on first use, so `import whichland` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "UserError": "whichland.errors",
}
__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from whichland.errors import UserError as UserError


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'whichland' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
