"""Where to look: from `bbox=…`, `polygon=…`, `country=…`, `ids=…` or `sequence=…` to boxes and lists of ids.

Mapillary's search wants boxes of less than 0.01 square degrees and gives at most 2,000 images without further
pages. Boxes are (west, south, east, north) in degrees, rounded to 1e-7 (1 cm), so that the quarters of a box have
exactly its edges.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.geo.countries import find_country
from whichland.sources.mapillary.records import is_id

Box = tuple[float, float, float, float]
Floats = NDArray[np.float64]

KINDS = ("bbox", "polygon", "country", "ids", "sequence")
CENSUS_SIDE = 0.09  # degrees; 0.0081 square degrees
SAMPLE_SIDE = 0.05
SMALLEST_SIDE = 0.0005  # about 50 m; a box that fails at this size is reported and left
_NOT_GEOJSON = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError),
    shapely.errors.ShapelyError,
)
DRAWS = 4096  # points of a sample drawn at once
BARREN_DRAWS = 20  # so many times `DRAWS` points without a new box: all boxes are known


class Origin(NamedTuple):
    """An origin taken apart."""

    kind: str
    values: tuple[str, ...]
    quota: int | None = None


@dataclass(frozen=True, kw_only=True)
class Area:
    """A part of the world to search: all of it, or with a quota, boxes drawn from it."""

    name: str
    bounds: Floats  # (parts, 4): west, south, east, north of each part, degrees; no two overlap
    contains: Callable[[Floats, Floats], NDArray[np.bool_]]  # of longitudes and latitudes, degrees
    shape: Any = None  # a shapely geometry, lon and lat in degrees; a country has none
    quota: int | None = None
    seed: int = 0

    def boxes(self) -> Iterator[Box]:
        """Give the boxes to search, in the same order in every run."""
        return _census(self.shape) if self.quota is None else _sample(self)


def parse(text: str) -> Origin:
    """Take `mapillary:KIND=VALUE,…` apart. Raises UserError."""
    kind, equals, rest = text.removeprefix("mapillary:").partition("=")
    if kind not in KINDS or not equals:
        raise UserError(
            f"{text}: expected mapillary:bbox=WEST,SOUTH,EAST,NORTH, polygon=FILE.geojson, "
            "country=NO,SE,quota=500, ids=FILE or sequence=ID"
        )
    rest, _, number = rest.partition(",quota=")
    if number and (not number.isdecimal() or int(number) < 1):
        raise UserError(f"{text}: quota must be a number of photos, not {number!r}")
    one_file = kind in ("polygon", "ids")  # the name of which may hold commas
    values = [rest] if one_file else [part.strip() for part in rest.split(",") if part.strip()]
    if not values or not values[0]:
        raise UserError(f"{text}: nothing stands after {kind}=")
    # a number of a bbox may stand twice, a sequence need not
    named = tuple(values) if kind == "bbox" else tuple(dict.fromkeys(values))
    return Origin(kind, named, int(number) if number else None)


def areas(origin: Origin, *, quota: int | None, seed: int) -> list[Area]:
    """Turn a bbox, polygon or countries into areas. Raises UserError."""
    if origin.kind == "country":
        if quota is None:
            raise UserError("a country needs a quota, the number of photos: mapillary:country=NO,quota=500")
        codes = {name: find_country(name) for name in origin.values}
        unknown = [name for name, code in codes.items() if code is None]
        if unknown:
            raise UserError(f"not a country: {', '.join(unknown)}; give ISO codes such as NO or names")
        return [_country(code, quota, seed) for code in dict.fromkeys(codes.values()) if code]
    shape = _box_shape(origin.values) if origin.kind == "bbox" else _read_polygon(Path(origin.values[0]))
    shapely.prepare(shape)
    bounds = shapely.bounds(shapely.get_parts(shape))  # islands far apart would hardly be hit within one box
    contains = partial(shapely.intersects_xy, shape)
    return [Area(name=origin.kind, bounds=bounds, contains=contains, shape=shape, quota=quota, seed=seed)]


def _country(code: str, quota: int, seed: int) -> Area:
    """The area of a country as `data geocode` has it, so that a photo's country is the one it was fetched for."""
    from whichland.geo.borders import borders, country_of
    from whichland.geo.polygons import UNITS, edges

    found, e = borders(), edges()
    own = found.codes[found.country[e.feature]] == code
    if not own.any():
        raise UserError(f"{code} has no area of its own in the borders; give a polygon instead")
    lon, lat = e.lon0[own] / UNITS, e.lat0[own] / UNITS
    bounds = np.array([[lon.min(), lat.min(), lon.max(), lat.max()]])

    def contains(lon_N: Floats, lat_N: Floats) -> NDArray[np.bool_]:
        return np.asarray(country_of(lat_N, lon_N) == code)

    return Area(name=code, bounds=bounds, contains=contains, quota=quota, seed=seed)


def _box_shape(values: Sequence[str]) -> Any:
    try:
        west, south, east, north = (float(value) for value in values)
    except ValueError:
        raise UserError(f"bbox={','.join(values)}: expected four numbers, west,south,east,north") from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90 and west != east):
        raise UserError(
            f"bbox={','.join(values)}: expected west,south,east,north in degrees, longitudes of -180 to 180 first "
            "and third, south below north"
        )
    over_the_date_line = shapely.box(west, south, east + 360 * (west > east), north)
    return shapely.union_all(list(_within_180(over_the_date_line)))


def _read_polygon(file: Path) -> Any:
    """Read the polygons of a GeoJSON file, whatever wraps them, as one shape."""
    from shapely.geometry import shape

    try:
        whole = [shape(geometry) for geometry in _geometries(json.loads(file.read_bytes()))]
        polygons = [shapely.make_valid(part) for polygon in shapely.get_parts(whole) for part in _within_180(polygon)]
        parts = shapely.get_parts(shapely.get_parts(shapely.union_all(polygons)))
        # without the lines and points that crossed or flat polygons fall to when they are made valid
        merged = shapely.union_all(parts[shapely.area(parts) > 0])
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except _NOT_GEOJSON as error:
        raise UserError(f"{file}: not GeoJSON ({type(error).__name__}: {error})") from None
    west, south, east, north = merged.bounds  # of nothing NaN
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise UserError(f"{file}: expected polygons with longitude and latitude in degrees, longitude first")
    return merged


def _geometries(node: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Find the polygons of a GeoJSON object; a feature of no place has a null geometry."""
    if node is None:
        return
    if node["type"] in ("Polygon", "MultiPolygon"):
        yield node
    for part in (*node.get("features", ()), *node.get("geometries", ()), node.get("geometry")):
        yield from _geometries(part)


def _within_180(polygon: Any) -> Iterator[Any]:
    """Part a polygon that crosses the antimeridian at 180°, and bring the parts to longitudes of -180 to 180.

    Two points more than 180° apart are joined over the antimeridian, the short way round, as programs write it that
    do not cut there (RFC 7946, section 3.1.9, asks them to). Longitudes may continue beyond 180, too.
    """
    rings = [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]
    outer, *inner = [_unrolled(ring) for ring in rings]
    if np.array_equal(outer, rings[0]) and np.all(np.abs(outer[:, 0]) <= 180):
        yield polygon
        return
    middle = outer[:, 0].mean()  # holes lie where the outer ring does
    holes = [ring + np.array([360 * round((middle - ring[:, 0].mean()) / 360), 0]) for ring in inner]
    rolled = shapely.make_valid(shapely.Polygon(outer, holes))
    west, south, east, north = rolled.bounds
    if not (west >= -540 and east <= 540):
        yield rolled  # not degrees, which is said later
        return
    for turn in (-360, 0, 360):
        part = shapely.intersection(rolled, shapely.box(turn - 180, south - 1, turn + 180, north + 1))
        if not part.is_empty:
            yield shapely.transform(part, lambda points, turn=turn: points - [turn, 0])


def _unrolled(points: Floats) -> Floats:
    """Make longitudes of a ring continuous where they jump by more than 180°; from -180 to 180 goes round the world."""
    steps = np.diff(points[:, 0], prepend=points[0, 0])
    jumps = np.where((np.abs(steps) > 180) & (np.abs(steps) < 360), -360 * np.sign(steps), 0)
    return np.column_stack([points[:, 0] + np.cumsum(jumps), points[:, 1]])


def _census(shape: Any) -> Iterator[Box]:
    """Tile the shape from south to north and west to east, leaving out the tiles it does not touch."""
    west, south, east, north = shape.bounds
    columns, rows = (
        np.linspace(first, last, max(1, int(np.ceil((last - first) / CENSUS_SIDE))) + 1).round(7)
        for first, last in ((west, east), (south, north))
    )
    for low, high in pairwise(rows.tolist()):
        touched = shapely.intersects(shape, shapely.box(columns[:-1], low, columns[1:], high))
        for column in np.flatnonzero(touched):
            yield float(columns[column]), low, float(columns[column + 1]), high


def _sample(area: Area) -> Iterator[Box]:
    """Draw boxes of a fixed grid by points that fall evenly on the area's surface; no box comes twice."""
    random = np.random.default_rng(list(sha256(f"{area.seed}:{area.name}".encode()).digest()))
    west, south, east, north = area.bounds.T
    low, high = (np.sin(np.radians(south)), np.sin(np.radians(north)))  # equal heights on the sphere, equal surfaces
    share = (east - west) * (high - low)
    seen: set[tuple[int, int]] = set()
    barren = 0
    while barren < BARREN_DRAWS:
        part = random.choice(len(share), DRAWS, p=share / share.sum())
        lon = random.uniform(west[part], east[part])
        lat = np.degrees(np.arcsin(random.uniform(low[part], high[part])))
        inside = area.contains(lon, lat)
        before = len(seen)
        for column, row in np.floor(np.c_[lon, lat][inside] / SAMPLE_SIDE).astype(int).tolist():
            if (column, row) not in seen:
                seen.add((column, row))
                box = [round(edge * SAMPLE_SIDE, 7) for edge in (column, row, column + 1, row + 1)]
                yield max(box[0], -180.0), max(box[1], -90.0), min(box[2], 180.0), min(box[3], 90.0)
        barren = barren + 1 if len(seen) == before else 0


def quarters(box: Box) -> list[Box]:
    """Cut a box in four; [] when it is too small to cut."""
    west, south, east, north = box
    if max(east - west, north - south) < 2 * SMALLEST_SIDE:
        return []
    x, y = round((west + east) / 2, 7), round((south + north) / 2, 7)
    return [(west, south, x, y), (x, south, east, y), (west, y, x, north), (x, y, east, north)]


def read_ids(file: Path) -> list[str]:
    """Read image ids, one a line; empty lines and those that begin with # are not looked at."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error})") from None
    ids = [line for line in lines if line and not line.startswith("#")]
    for number, native in enumerate(ids, 1):
        if not is_id(native):
            raise UserError(
                f"{file}: entry {number}, {native[:40]!r}, is not an image id of the Graph API (a number); the "
                "22-character keys used until 2021 cannot be looked up any more"
            )
    if not ids:
        raise UserError(f"{file}: no ids in it")
    return list(dict.fromkeys(ids))
