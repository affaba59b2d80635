"""Serving: a bundle over HTTP. The package itself is callable: whichland.serve(bundle, settings)."""

from whichland.callable_package import make_callable

make_callable(__name__, "whichland.serve.server")
