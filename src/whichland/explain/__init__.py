"""Explaining: what the model looks at. The package itself is callable."""

from whichland.callable_package import make_callable

make_callable(__name__, "whichland.explain.explanation")
