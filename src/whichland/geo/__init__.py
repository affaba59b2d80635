"""Countries by name and by place. The borders are loaded on first use, so that names alone stay light."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "border_km": "whichland.geo.borders",
    "country_of": "whichland.geo.borders",
    "haversine_km": "whichland.geo.distance",
}
__all__ = list(_HOMES)

if TYPE_CHECKING:
    from whichland.geo.borders import border_km as border_km
    from whichland.geo.borders import country_of as country_of
    from whichland.geo.distance import haversine_km as haversine_km


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'whichland.geo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
