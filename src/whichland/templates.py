"""How every page is made from its template: each text escaped, each unknown name an error."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


@cache
def templates_beside(module: str) -> Environment:
    """The templates that lie beside a module, given its `__file__`."""
    return Environment(
        loader=FileSystemLoader(Path(module).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
