"""Studies: grids of runs, and what can be said from them. The package itself is callable."""

from whichland.callable_package import make_callable

make_callable(__name__, "whichland.study.study")
