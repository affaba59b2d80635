"""The page of a review: a person confirms, corrects or drops each photo by keyboard, and saves a file of decisions.

One HTML file that needs no other and no network. Pictures in it are drawn anew from pixels, so that nothing a camera
wrote into a photo (EXIF) is in the page.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

import whichland
from whichland.evaluation.figures import inline_image
from whichland.evaluation.review import LISTS, Review
from whichland.images.decode import ImageError, load
from whichland.manifest import credit
from whichland.model.label_sources import countries
from whichland.model.labels import LabelSpace
from whichland.progress import track
from whichland.templates import templates_beside
from whichland.whole_file import whole_file

PICTURE = 640  # pixels of a picture's longer side
GUESSES = 3  # other countries that a key puts in place


def write_page(found: Review, out: Path, each: int) -> int:
    """Write the page with the first `each` photos of each list; return how many photos are on it."""
    shown = list(track(found.shown(each), description="drawing photos"))
    space = countries()
    items = [_item(found, space, name, row) for name, row in shown]
    names = hashlib.sha256("\n".join(item["id"] for item in items).encode()).hexdigest()[:16]
    text = (
        templates_beside(__file__)
        .get_template("review.html.j2")
        .render(
            data={
                "key": f"whichland-review-{names}",
                "items": items,
                "lists": list(LISTS.items()),
                "countries": {code: space.name(code) for code in space.codes},
            },
            photos=found.rows.height,
            suspected=int(found.suspected.sum()),
            agree=found.agree,
            version=whichland.__version__,
        )
    )
    with whole_file(out) as partial:
        partial.write_text(text, encoding="utf-8")
    return len(items)


def _item(found: Review, space: LabelSpace, name: str, row: int) -> dict[str, Any]:
    """What the page says of one photo."""
    photo, probs_K = found.rows.row(row, named=True), np.nan_to_num(found.probabilities[row])
    label = photo["country"]
    likeliest = [found.codes[at] for at in np.argsort(-probs_K, kind="stable") if probs_K[at] > 0]
    guesses = [code for code in likeliest if code != label][:GUESSES]
    shares = {found.codes[at]: round(float(probs_K[at]), 3) for at in np.flatnonzero(probs_K > 0)}
    picture, trouble = _picture(photo["uri"])
    return {
        "id": photo["image_id"],
        "list": name,
        "label": label,
        "name": space.name(label),
        "share": shares.get(label, 0.0),
        "judged": bool(shares),
        "guesses": [{"code": code, "name": space.name(code), "share": shares[code]} for code in guesses],
        "distance": round(float(found.distances[row]), 3),
        "picture": picture,
        "trouble": trouble,
        "credit": credit(photo),
    }


def _picture(uri: str) -> tuple[str, str]:
    """A photo as an address that holds it, and why there is none."""
    try:
        return inline_image(load(uri, short_side=PICTURE // 2), PICTURE)[0], ""
    except ImageError as error:
        return "", str(error)
