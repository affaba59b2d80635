"""Heat maps as the service sends them: a picture and numbers for every view of a photo."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from whichland.explanation.explain import ViewMap
from whichland.explanation.overlay import Map, heat_colours

ROWS = 32  # of the map that is sent as numbers, at most


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Where the evidence for an answer lies."""

    method: str
    country: str
    against: str | None
    views: tuple[ViewMap, ...]

    @property
    def evidence(self) -> bool:
        """Whether any was found."""
        return any(one.map.any() for one in self.views)

    def views_json(self, *, numbers: bool) -> list[dict[str, Any]]:
        """Every view as `schema.HeatView` describes it, with the map's numbers where they are asked for."""
        return [_view_json(one, numbers) for one in self.views]


def _view_json(one: ViewMap, numbers: bool) -> dict[str, Any]:
    laid = one.laid()
    found: dict[str, Any] = {"box": one.view.box, "heading": one.view.heading, "fov": one.view.fov}
    return found | {"png": _png(laid)} | ({"map": _rows(laid)} if numbers else {})


def _png(map_HW: Map) -> str:
    """The heat as a PNG with transparency, in base64: the hotter the less of the photo shows through."""
    picture_HWC = np.dstack([heat_colours(map_HW), 255 * map_HW]).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture_HWC).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _rows(map_HW: Map) -> list[list[float]]:
    """The map as numbers, reduced to at most `ROWS` each way."""
    height, width = map_HW.shape
    scale = min(1, ROWS / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(map_HW).resize(size, Image.Resampling.BOX))
    return [[round(float(value), 3) for value in row] for row in small]
