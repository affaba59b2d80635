"""Let `whichland.train(...)` be a call although `whichland.train` is also a package.

Importing a subpackage binds its name in the parent, and would hide a function of the same name there. The
packages whose main verb is their own name make themselves callable instead.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def make_callable(package: str, module: str) -> None:
    """Make `package` call the function of its own last name in `module`, imported when called."""
    verb = package.rpartition(".")[2]

    class CallablePackage(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return getattr(import_module(module), verb)(*args, **kwargs)

    sys.modules[package].__class__ = CallablePackage
