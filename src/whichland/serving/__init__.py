"""Serving: a bundle over HTTP."""
