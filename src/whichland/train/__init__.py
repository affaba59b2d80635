"""Training: from a manifest and settings to a bundle. The package itself is callable."""

from whichland.callable_package import make_callable

make_callable(__name__, "whichland.train.run")
