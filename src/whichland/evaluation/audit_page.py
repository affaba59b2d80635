"""An audit as one HTML file: what the template needs, worked out; the template only lays it out."""

from typing import Any

import numpy as np
from markupsafe import Markup

import whichland
from whichland.charts import track
from whichland.evaluation import figures
from whichland.evaluation.audit_checks import Audit, Check
from whichland.evaluation.audit_rim import AREAS
from whichland.images.preprocess import Pixels
from whichland.templates import templates_beside

SHOWN = 4  # countries with their mean photo under one check


def render(found: Audit) -> str:
    """Fill the template; every text is escaped, every picture stands inside the file."""
    environment = templates_beside(__file__)
    environment.filters["percent"] = lambda share, digits=0: f"{share:.{digits}%}"
    environment.filters["points"] = lambda share: f"{share * 100:+.0f}".replace("-", "−")
    environment.globals["label_name"] = found.space.name
    # the interval on a line from `low` (0 or -1) to 1
    environment.globals["track"] = lambda score, tick, low: Markup(track(score, [(tick, False)], low=low))
    return environment.get_template("audit.html.j2").render(
        found=found, version=whichland.__version__, checks=[_shown(found, check) for check in found.checks]
    )


def _shown(found: Audit, check: Check) -> dict[str, Any]:
    """A check, its effects as a table of countries and kinds (the largest first), and its mean pictures."""
    kinds = list(dict.fromkeys(effect.what for effect in check.effects if effect.country))
    cells = {(effect.country, effect.what): effect for effect in check.effects if effect.country}
    rows = [(country, [cells.get((country, kind)) for kind in kinds]) for country in sorted({c for c, _ in cells})]
    rows.sort(key=lambda row: -max(cell.value for cell in row[1] if cell))
    return {"check": check, "kinds": kinds, "rows": rows, "pictures": _pictures(found, check)}


def _pictures(found: Audit, check: Check) -> list[tuple[str, list[tuple[str, int, int]]]]:
    """Where an area gives a country away: the mean of its photos and of their edges, beside those of all.

    A mean keeps sharp what stands at one place in every photo, and a blur is where edges are missing.
    """
    if not check.alarm or check.name not in AREAS or not check.countries:
        return []
    shown = [(code, found.space.name(code)) for code in check.countries[:SHOWN]]
    return [
        (caption, [figures.inline_image(_framed(picture, check.name), 320) for picture in found.pictures[code]])
        for code, caption in [*shown, ("", f"all {found.space.nouns}")]
    ]


def _framed(picture_HWC: Pixels, area: str) -> Pixels:
    """Draw the outline of an area into a picture, light on dark."""
    inside = AREAS[area].at(*picture_HWC.shape[:2])
    padded = np.pad(inside, 1, "edge")  # the picture's own rim is no outline
    around = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    framed = picture_HWC.copy()
    framed[inside & ~around] = (255, 210, 60)
    return framed
