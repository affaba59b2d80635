"""A heat map for one photo, by torch's gradients where there is torch, else by covering parts of it."""

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from whichland.errors import UserError
from whichland.explanation.occlusion import occlusion
from whichland.explanation.overlay import Map, heat_colours
from whichland.images.preprocess import Pixels
from whichland.model.model import Model

if TYPE_CHECKING:
    from whichland.model.bundle import Bundle

OCCLUSION, GRADCAM = "occlusion", "gradcam"
ROWS = 32  # of the map that is sent as numbers, at most


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Where the evidence for an answer lies."""

    method: str
    country: str
    against: str | None
    box: tuple[float, float, float, float]  # left, top, right, bottom of what the model saw, in parts of the photo
    map: Map  # over the box, H×W in [0, 1]; zero everywhere where no evidence was found

    def png(self) -> str:
        """The heat as a PNG with transparency, in base64: the hotter the less of the photo shows through."""
        picture_HWC = np.dstack([heat_colours(self.map), 255 * self.map]).round().astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(picture_HWC).save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()

    def rows(self) -> list[list[float]]:
        """The map as numbers, reduced to at most `ROWS` each way."""
        height, width = self.map.shape
        scale = min(1, ROWS / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(Image.fromarray(self.map).resize(size, Image.Resampling.BOX))
        return [[round(float(value), 3) for value in row] for row in small]


def methods(bundle: "Bundle | None") -> tuple[str, ...]:
    """The ways to explain that there are, the usual one first."""
    if bundle is None:
        return (OCCLUSION,)
    from whichland.explanation.methods import METHODS

    return (*METHODS, OCCLUSION)


def explain_crop(
    runner: Model,
    bundle: "Bundle | None",
    crop_HWC: Pixels,
    *,
    size: tuple[int, int],
    country: str,
    against: str | None = None,
    method: str | None = None,
) -> Heat:
    """Explain one crop of a photo of that size (width, height). Raises UserError for what there is not."""
    labels, known = runner.labels, methods(bundle)
    for code in (country, against):
        if code is not None and code not in labels:
            raise UserError(f"{code!r} is no country of this model")
    if country == against:
        raise UserError(f"{country} cannot be told from itself; name another country to compare with")
    chosen = method or known[0]
    if chosen not in known:
        raise UserError(f"no method {chosen!r} to explain by; there are {', '.join(known)}")
    target = labels.index(country) if against is None else (labels.index(country), labels.index(against))
    if chosen == OCCLUSION:
        map_HW, _ = occlusion(runner.run, crop_HWC, target)
    else:
        assert bundle is not None  # or the method would not be known
        map_HW = _by_torch(bundle, crop_HWC, target, chosen)
    width, height = size
    left, top, right, bottom = runner.preprocess.crop_box(height, width)
    return Heat(
        method=chosen,
        country=country,
        against=against,
        box=(left / width, top / height, right / width, bottom / height),
        map=map_HW,
    )


def _by_torch(bundle: "Bundle", crop_HWC: Pixels, target: int | tuple[int, int], method: str) -> Map:
    import torch

    from whichland.explanation.methods import find_method

    x_BCHW = torch.from_numpy(bundle.preprocess.normalise(crop_HWC[None]))
    map_HW: Map = find_method(method).maps_and_logits(bundle.model, x_BCHW, target)[0][0].numpy()
    return map_HW
