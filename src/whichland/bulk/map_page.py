"""A page of answers: the pins on a map, a count by country, and the photos with their guesses.

One file without scripts and without any outside address. A pin is one of a bundle's places, so even a million
photos have a few thousand pins; of the photos the first `LISTED` are listed. That keeps the page below 10 MB.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from whichland.bulk.rows import LISTED, Rows, guesses
from whichland.geo.distance import Points
from whichland.geo.land import border_lines, outlines
from whichland.templates import templates_beside

if TYPE_CHECKING:
    import polars as pl

NAMED = 3  # guesses of each
ROOM = 6.0  # degrees around the outermost pins
LEAST = 36.0  # degrees that a map shows at least, from west to east
MANY = 300  # pins; more than that are drawn smaller
TOLERANCE = 0.35  # degrees, of a map of the world
FAR = 120.0  # degrees across a map from which on a tenth of a degree cannot be seen


@dataclass(frozen=True, kw_only=True)
class MapBox:
    """The part of the world that is drawn: degrees scaled so that a square kilometre in the middle is square."""

    west: float
    north: float
    width: float  # of the drawing, in degrees of latitude
    height: float
    stretch: float  # of a degree of longitude

    def place(self, points: Points) -> Points:
        """Points in degrees to the drawing, N×2: to the right and down."""
        lat, lon = points.T
        placed: Points = np.stack([(lon - self.west) * self.stretch, self.north - lat], axis=1)
        return placed


def box_around(points: Points) -> MapBox:
    """A map with all points on it, twice as wide as high, and never smaller than a country's neighbours."""
    lat, lon = points.T if len(points) else (np.array([-56.0, 80.0]), np.array([-180.0, 180.0]))
    south, north, west, east = lat.min() - ROOM, lat.max() + ROOM, lon.min() - ROOM, lon.max() + ROOM
    stretch = max(0.3, math.cos(math.radians((south + north) / 2)))
    width = max(east - west, LEAST, 2 * (north - south) / stretch)
    width = min(width, 360.0)
    west = min(max((west + east - width) / 2, -180.0), 180.0 - width)
    height = max(width * stretch / 2, north - south)
    north = min((south + north + height) / 2, 86.0)
    return MapBox(west=west, north=north, width=width * stretch, height=height, stretch=stretch)


def map_page(frame: "pl.DataFrame", rows: Rows, *, title: str) -> str:
    """The page as HTML, of a table of answers with pins."""
    import polars as pl

    answered = frame.filter(pl.col("error").is_null())
    spots = (
        answered.group_by("pin_lat", "pin_lon")
        .agg(pl.len().alias("photos"), pl.col(rows.label).mode().sort().first())
        .sort("photos", "pin_lat", "pin_lon", descending=[True, False, False])
    )
    points = spots.select("pin_lat", "pin_lon").to_numpy().astype(float)
    box = box_around(points)
    tolerance, unit = TOLERANCE * box.width / 360, min(1.0, MANY / max(spots.height, 1)) ** 0.3 * box.width / 360
    pins = [
        {
            "place": place,
            "radius": min(8.0, 1.2 + 0.6 * math.sqrt(row["photos"])) * unit,
            "photos": row["photos"],
            "name": rows.space.name(row[rows.label]),
        }
        for row, place in zip(spots.iter_rows(named=True), box.place(points).tolist(), strict=True)
    ]
    labels = (
        answered.group_by(pl.col(rows.label).alias("code"))
        .agg(pl.len().alias("photos"), pl.col("probability").mean())
        .sort("photos", "code", descending=[True, False])
    )
    return (
        templates_beside(__file__)
        .get_template("map.html.j2")
        .render(
            title=title,
            photos=frame.height,
            unreadable=frame.height - answered.height,
            box=box,
            land=_path(outlines(tolerance), box, "Z"),
            borders=_path(border_lines(tolerance), box),
            pins=pins,
            labels=[{**row, "name": rows.space.name(row["code"])} for row in labels.iter_rows(named=True)],
            noun=rows.label,
            nouns=rows.space.nouns,
            listed=[_listed(row, rows) for row in frame.head(LISTED).iter_rows(named=True)],
            set_percent=rows.config.sets,
            exif=rows.config.check_exif,
        )
    )


def _path(lines: Sequence[Points], box: MapBox, end: str = "") -> str:
    """Those of some lines that reach into the box, as the path of an SVG."""
    digits = 1 if box.width > FAR else 2
    parts = []
    for line in lines:
        placed = box.place(line)
        if ((placed.max(axis=0) > 0) & (placed.min(axis=0) < (box.width, box.height))).all():
            parts.append("M" + "L".join(f"{x:.{digits}f} {y:.{digits}f}" for x, y in placed) + end)
    return "".join(parts)


def _listed(row: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """What the page says of one photo: its row, with the names of its guesses and its set."""
    folder, slash, name = row["path"].rpartition("/")
    named = [(rows.space.name(code), share) for code, share in guesses(row, rows)[:NAMED]]
    labels = row[rows.set_column] if rows.set_column else None
    return {**row, "folder": folder + slash, "name": name, "guesses": named, "set": labels}
