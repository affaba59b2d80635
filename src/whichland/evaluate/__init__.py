"""Judging: scores with intervals, and the report. The package itself is callable."""

from whichland.callable_package import make_callable

make_callable(__name__, "whichland.evaluate.report")
