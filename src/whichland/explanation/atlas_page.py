"""The atlas as pages: a field guide for each country and an index, every picture inside its file.

Patches are cut from the photo itself and not from what the model saw of it, so they are as sharp as the photo.
"""

import base64
import json
from dataclasses import asdict
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageDraw

import whichland
from whichland.explanation.atlas import Atlas, Chapter, Clue
from whichland.explanation.patches import Patch
from whichland.images.decode import load
from whichland.images.preprocess import Preprocess
from whichland.templates import templates_beside
from whichland.whole_file import whole_file

PATCH_PX = 128
PHOTO_PX = 420  # width of a photo that shows where a patch stands
SHOWN, SHOWN_UNCONFIRMED = 12, 6
SHORT_SIDE = 480  # of the photo that patches are cut from
QUALITY = 80


def write_atlas(atlas: Atlas, folder: Path) -> Path:
    """Write index.html, a page a label, and atlas.json; return the index."""
    environment = templates_beside(__file__)
    space = atlas.bundle.space
    environment.globals.update(space=space, version=whichland.__version__, atlas=atlas)
    environment.filters["factor"] = factor
    page = environment.get_template("atlas_country.html.j2")
    texts, previews = {}, {}
    for chapter in atlas.chapters:
        pictures = _Pictures(atlas.bundle.preprocess)
        clues = [_shown(clue, pictures) for clue in chapter.clues]
        text = page.render(chapter=chapter, clues=clues, credits=pictures.credits)
        texts[f"{space.file_name(chapter.country)}.html"] = text
        previews[chapter.country] = [clue["patches"][0] for clue in clues if clue["clue"].confirmed][:4]
    texts["atlas.json"] = json.dumps(numbers(atlas), indent=2)
    texts["index.html"] = environment.get_template("atlas_index.html.j2").render(previews=previews)
    for name, text in texts.items():
        with whole_file(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return folder / "index.html"


def numbers(atlas: Atlas) -> dict[str, Any]:
    """What the atlas found, without the pictures: countries, clues with their shifts, and the settings."""
    countries = [_chapter_numbers(chapter) for chapter in atlas.chapters]
    return {"bundle": atlas.bundle.folder.name, "config": asdict(atlas.config), "countries": countries}


def _chapter_numbers(chapter: Chapter) -> dict[str, Any]:
    clues = [
        {"confirmed": one.confirmed, "patches": len(one.patches), "photos": one.photos}
        | {"shift": asdict(one.shift) if one.shift else None}
        for one in chapter.clues
    ]
    counts = {"photos": chapter.photos, "right": chapter.right, "looked_at": chapter.looked_at}
    return {"country": chapter.country, **counts, "clues": clues}


def factor(log_odds: float) -> str:
    """A shift of log odds as a factor of the probabilities, for reading."""
    value = exp(log_odds)
    return f"×{value:.2f}" if value < 10 else f"×{value:.1f}" if value < 100 else f"×{value:.0f}"


def _shown(clue: Clue, pictures: "_Pictures") -> dict[str, Any]:
    patches = clue.shown[: SHOWN if clue.confirmed else SHOWN_UNCONFIRMED]
    found: dict[str, Any] = {"clue": clue, "patches": [pictures.patch(patch) for patch in patches]}
    if clue.confirmed:
        found["photo"] = pictures.photo(max(patches, key=lambda patch: patch.gain))
    return found


class _Pictures:
    """Pictures of one page as addresses that hold them; remembers whom they must name."""

    def __init__(self, preprocess: Preprocess) -> None:
        self.preprocess = preprocess
        self.credits: list[str] = []

    def patch(self, patch: Patch) -> dict[str, Any]:
        """A patch as it stands in the photo, with the number of its credit."""
        photo, box = self._open(patch)
        return self._inline(patch, photo.resize((PATCH_PX, PATCH_PX), Image.Resampling.BICUBIC, box=box))

    def photo(self, patch: Patch) -> dict[str, Any]:
        """The whole photo, with a frame around the patch."""
        photo, box = self._open(patch)
        width = min(PHOTO_PX, photo.width)
        scale = width / photo.width
        small = photo.resize((width, max(1, round(photo.height * scale))))
        draw = ImageDraw.Draw(small)
        left, top, right, bottom = (side * scale for side in box)
        for inset, colour in ((0, "black"), (1, "white"), (2, "white"), (3, "black")):
            draw.rectangle((left - 3 + inset, top - 3 + inset, right + 2 - inset, bottom + 2 - inset), outline=colour)
        return self._inline(patch, small)

    def _open(self, patch: Patch) -> tuple[Image.Image, tuple[float, float, float, float]]:
        """The photo, and the patch's place in its pixels: left, top, right, bottom."""
        photo = Image.fromarray(load(patch.photo.uri, short_side=SHORT_SIDE))
        left, top, right, bottom = self.preprocess.crop_box(photo.height, photo.width)
        down, across = (bottom - top) / self.preprocess.size[0], (right - left) / self.preprocess.size[1]
        place = patch.place
        x, y = left + place.left * across, top + place.top * down
        end_x, end_y = x + place.side * across, y + place.side * down
        return photo, (max(x, 0), max(y, 0), min(end_x, photo.width), min(end_y, photo.height))

    def _inline(self, patch: Patch, picture: Image.Image) -> dict[str, Any]:
        """A picture for the page, with the number of its credit line at the end; None when nobody need be named."""
        credit = patch.photo.credit
        if credit and credit not in self.credits:
            self.credits.append(credit)
        data = base64.b64encode(simplejpeg.encode_jpeg(np.asarray(picture), QUALITY, colorspace="RGB")).decode()
        found = {"src": f"data:image/jpeg;base64,{data}", "width": picture.width, "height": picture.height}
        return found | {"credit": self.credits.index(credit) + 1 if credit else None}
