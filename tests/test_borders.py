"""Countries by coordinates, against places known from the world and against a slow, independent way."""

import csv
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from whichland.errors import UserError
from whichland.geo import distance
from whichland.geo.borders import border_km, borders, country_of
from whichland.geo.countries import COUNTRIES, find_country
from whichland.geo.distance import haversine_km
from whichland.geo.polygons import across, edges, feature_of
from whichland.geo.polygons import polygons as polygons_of
from whichland.geo.territories import answers, disputed, folded, sovereigns, territories

PLACES = Path(__file__).with_name("tricky_places.csv")
POINTS = Path(__file__).parent.parent.parent / "shared/data/points"

# Where the borders' source draws the line otherwise than the world has it; docs/decisions/borders.md says more.
KNOWN_WRONG = {"Katzrin, Golan Heights": "IL"}


def places() -> list[dict[str, str]]:
    with PLACES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", places(), ids=lambda row: row["place"])
def test_tricky_places(row: dict[str, str]) -> None:
    found = country_of(float(row["lat"]), float(row["lon"]))
    assert found == KNOWN_WRONG.get(row["place"], row["expected"])


@cache
def polygons(name: str = "borders") -> shapely.STRtree:
    """The polygons read straight from the file, without any of the code under test."""
    file = Path(sys.modules["whichland.geo.territories"].__file__ or "").with_name(f"{name}.npz")
    with np.load(file) as data:
        ends = np.cumsum(data["vertices"])
        vertices = np.stack([np.cumsum(data["lon"]), np.cumsum(data["lat"])], axis=1) / 1e5
        rings = np.array([shapely.LinearRing(ring) for ring in np.split(vertices, ends[:-1])])
        owner = data["feature"]
    if name == "land":  # many islands, each with its holes behind it
        outer = np.flatnonzero(shapely.is_ccw(rings))
        return shapely.STRtree([shapely.Polygon(own[0], own[1:]) for own in np.split(rings, outer[1:])])
    rings = shapely.polygons(rings)  # what lies in an odd number of them
    return shapely.STRtree([shapely.symmetric_difference_all(rings[owner == one]) for one in range(owner.max() + 1)])


def slowly(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """The code of the polygon that each point lies in, by shapely alone."""
    shapely.prepare(polygons().geometries)
    feature, row = shapely.STRtree(shapely.points(lon, lat)).query(polygons().geometries, predicate="contains")
    found = np.full(len(lat), "", dtype="<U2")
    found[row] = np.array(answers())[feature]
    return found


def quickly(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """The same as the package does it, wherever there is land."""
    return borders().codes[borders().country[feature_of(lat, lon)]]


def on_globe(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return np.degrees(np.arcsin(random.uniform(-1, 1, count))), random.uniform(-180, 180, count)


def test_polygons_are_whole_and_do_not_overlap() -> None:
    shapes = polygons().geometries
    assert len(shapes) == len(territories())
    assert shapely.is_valid(shapes).all()
    assert sum(shape.area for shape in shapes) == pytest.approx(shapely.union_all(shapes).area, abs=1e-6)


def test_the_lookup_equals_the_slow_way_on_the_globe() -> None:
    lat, lon = on_globe(100_000)
    np.testing.assert_array_equal(quickly(lat, lon), slowly(lat, lon))


def test_the_lookup_equals_the_slow_way_at_vertices_of_borders() -> None:
    random = np.random.default_rng(1)
    vertices = shapely.get_coordinates(polygons().geometries)
    near = vertices[random.integers(0, len(vertices), 40_000)]
    for spread in (0.03, 1e-4):
        lon, lat = (near + random.normal(0, spread, near.shape)).T
        inside = (np.abs(lat) < 90) & (np.abs(lon) < 180)
        lat, lon = lat[inside], lon[inside]
        np.testing.assert_array_equal(quickly(lat, lon), slowly(lat, lon))


@given(st.integers(0, len(territories()) - 1))
@settings(max_examples=60, deadline=None)
def test_a_polygon_answers_its_own_code(feature: int) -> None:
    inside = shapely.point_on_surface(polygons().geometries[feature])
    assert country_of(inside.y, inside.x, coast_km=np.inf) == territories()[feature].code


def test_shapes_of_input() -> None:
    one = country_of(48.8566, 2.3522)
    assert isinstance(one, str)
    assert one == "FR"
    assert country_of([[48.8566], [0.0]], [2.3522, 13.4]).shape == (2, 2)
    assert country_of([], []).tolist() == []
    assert border_km([], []).tolist() == []
    assert country_of(pl.Series([48.8566, None]), pl.Series([2.3522, 2.3522])).tolist() == ["FR", ""]


@pytest.mark.parametrize(
    ("lat", "lon"), [(np.nan, 2), (2, np.nan), (91, 0), (-90.1, 0), (0, 180.5), (0, -181), (np.inf, 0)]
)
def test_what_is_no_place_has_no_country(lat: float, lon: float) -> None:
    assert country_of([lat, 48.8566], [lon, 2.3522]).tolist() == ["", "FR"]
    assert np.isnan(border_km([lat, 48.8566], [lon, 2.3522])).tolist() == [True, False]


def test_off_the_coast() -> None:
    """West of Ushant, whose last rock lies at 48.46 N, 5.14 W."""
    west = -5.2 - np.arange(0, 2.5, 0.002)
    lat = np.full(len(west), 48.46)
    km = haversine_km(48.46, -5.14, lat, west)
    for reach in (0, 10, 25, 40):
        found = country_of(lat, west, coast_km=reach)
        assert (found[km < reach - 1.5] == "FR").all()
        assert (found[km > reach + 1.5] == "").all()
    assert country_of(48.46, -5.10, coast_km=0) == "FR"


AT_SEA = {
    "Gulf of Mexico": (25.0, -90.0),
    "Bay of Bengal": (14.0, 88.0),
    "Tasman Sea": (-38.0, 160.0),
    "Hudson Bay": (60.0, -86.0),
    "Java Sea": (-5.0, 112.0),
    "Bay of Biscay": (46.0, -6.0),
    "Coral Sea": (-15.0, 150.0),
    "between Hawaii and California": (30.0, -140.0),
    "Sea of Okhotsk": (55.0, 149.0),
}


def test_the_open_sea_is_in_no_country() -> None:
    lat, lon = np.array([*AT_SEA.values()]).T
    assert country_of(lat, lon).tolist() == [""] * len(AT_SEA)
    assert country_of([54.35, 54.35], [8.3, 8.95], coast_km=0).tolist() == ["", "DE"]  # the sea off Eiderstedt; Garding


def test_near_coast_equals_the_slow_way() -> None:
    lat, lon = on_globe(40_000, seed=2)
    land = shapely.get_parts(polygons("land").geometries)
    wet = np.ones(len(lat), dtype=bool)
    wet[shapely.STRtree(shapely.points(lon, lat)).query(land, predicate="intersects")[1]] = False
    some = np.flatnonzero(wet & (np.abs(lat) < 75))
    found = country_of(lat[some], lon[some]) != ""
    tree = shapely.STRtree(land)
    for at in [*np.flatnonzero(found)[:60], *np.flatnonzero(~found)[:60]]:
        place = shapely.Point(lon[some[at]], lat[some[at]])
        near = shapely.GeometryCollection(list(land[tree.query(place.buffer(2))]))
        drawn = shapely.affinity.scale(near, np.cos(np.radians(place.y)), origin=(place.x, place.y))
        km = np.inf if near.is_empty else place.distance(drawn) * 111.195
        assert found[at] == (km <= 25) or abs(km - 25) < 0.3


def test_border_km_equals_brute_force() -> None:
    """Against the great-circle distance to points every 200 m along all borders, at places all over the land."""
    left, right = borders().country[edges().feature], borders().country[across()]
    lat0, lon0, lat1, lon1 = edges().degrees((across() >= 0) & (left < right))
    lines = shapely.linestrings(np.stack([[lon0, lat0], [lon1, lat1]]).transpose(2, 0, 1))
    dots = shapely.get_coordinates(shapely.segmentize(lines, 0.02))
    lat, lon = on_globe(300, seed=3)
    land = slowly(lat, lon) != ""
    lat, lon = np.append(lat[land], [73.41, 89.9, -90]), np.append(lon[land], [106.8, 0, 0])
    for y, x, said in zip(lat, lon, border_km(lat, lon), strict=True):
        true = haversine_km(y, x, dots[:, 1], dots[:, 0]).min()
        assert said == pytest.approx(true, rel=1e-4, abs=0.3)


def test_border_is_between_countries_and_not_a_coast() -> None:
    assert border_km(50.75, 6.02) < 3  # Aachen, at Belgium and the Netherlands
    assert border_km(53.55, 9.99) > 100  # Hamburg: 20 km from tidal water, 130 from Denmark
    assert 100 < border_km(51.5, -0.12) < 140  # London: the line in the Strait of Dover, Dover is 105 away
    assert border_km(-25.34, 131.03) > 700  # Uluru: no neighbour but across the sea
    assert border_km(64.78, -141.15) < 10  # Alaska at Canada's


def test_territories_by_state() -> None:
    lat, lon = ([18.465, 22.282, -20.88, 60.097, 78.22, 25.03], [-66.106, 114.158, 55.45, 19.935, 15.65, 121.56])
    assert country_of(lat, lon).tolist() == ["PR", "HK", "RE", "AX", "SJ", "TW"]
    assert country_of(lat, lon, territories="sovereign").tolist() == ["US", "CN", "FR", "FI", "NO", "TW"]
    assert border_km(22.53, 114.11) < 2
    assert border_km(22.53, 114.11, territories="sovereign") > 300  # no border between Hong Kong and Shenzhen


@pytest.mark.parametrize("name", ["own.csv", "own.toml"])
def test_territories_of_the_user(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name == "own.csv":
        file.write_text("id,code\nPR,us\nQ7835,RU\nEH-west,MA\nXK,\n", encoding="utf-8")
    else:
        file.write_text('PR = "us"\nQ7835 = "RU"\nEH-west = "MA"\nXK = ""\n', encoding="utf-8")
    lat, lon = [18.465, 44.95, 27.153, 26.158, 42.663], [-66.106, 34.10, -13.203, -10.567, 21.165]
    assert country_of(lat, lon).tolist() == ["PR", "UA", "EH", "EH", "XK"]
    assert country_of(lat, lon, territories=str(file)).tolist() == ["US", "RU", "MA", "EH", ""]
    assert folded(str(file)) == {"PR": "US"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"PR,US\n", "columns id and code"),
        (b"id,code\nPQ,US\n", "'PQ'"),
        (b"id,code\nPR,USA\n", "'USA'"),
        (b"code,id\nUS\n", "a row without an id"),
        (b"\xff\xfe\x00", "not a readable table"),
    ],
)
def test_bad_territories(tmp_path: Path, text: bytes, said: str) -> None:
    file = tmp_path / "own.csv"
    file.write_bytes(text)
    with pytest.raises(UserError, match=said):
        country_of(0, 0, territories=str(file))
    with pytest.raises(UserError, match="and no such"):
        country_of(0, 0, territories=str(tmp_path / "none.csv"))


def test_disputed_places_are_counted_as_their_table_says() -> None:
    for place in disputed():
        assert country_of(place.lat, place.lon) == place.code, place.name
        assert place.code not in place.otherwise
        assert place.otherwise
        assert set(place.otherwise) <= set(COUNTRIES), place.name


def test_the_table_of_territories() -> None:
    codes = set(answers()) - {""}
    assert codes == set(COUNTRIES)  # every country has land, and every answer is one
    assert set(answers("sovereign")) - {""} <= codes
    assert all(row.why for row in territories() if row.code != row.sovereign)
    assert sovereigns()["PR"] == "US"
    assert folded() == {}


@pytest.mark.skipif(not POINTS.is_dir(), reason="the labelled points of shared/ are not here")
@pytest.mark.parametrize(
    ("name", "column", "strict", "by_state"),
    [("streetview_points.csv", "country", 0.998, 0.999), ("mapillary_points.csv", "country_name", 0.997, 0.997)],
)
def test_agreement_with_street_level_points(name: str, column: str, strict: float, by_state: float) -> None:
    table = pl.read_csv(POINTS / name, infer_schema=False)
    label = np.array([find_country(text) for text in table[column]])
    found = country_of(*(table[axis].cast(pl.Float64) for axis in ("lat", "lon")))
    state = np.array([sovereigns()[code] for code in found.tolist()])
    assert np.mean(found == label) >= strict
    assert np.mean((found == label) | (state == label)) >= by_state


def test_names_alone_load_neither_numpy_nor_shapely() -> None:
    code = "import sys, whichland.geo.countries; sys.exit({'numpy', 'shapely'} & set(sys.modules) != set())"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_any_coast_is_near_enough() -> None:
    assert country_of(0, -140, coast_km=float("inf")) != ""


def test_threads_have_the_same_answers() -> None:
    """Polygons and trees make their indices when they are first asked."""
    lat, lon = on_globe(2000, seed=4)
    polygons_of.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(lambda _: country_of(lat, lon), range(4))
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_threads_share_what_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that another thread is listing must not be taken for listed."""
    one = np.zeros(1)
    lines = distance.Lines(one, one, one, one + 1)
    lat, lon = np.full(3, 0.5), np.full(3, 0.5)
    begun = threading.Barrier(4)

    def ask() -> float:
        begun.wait()
        return float(lines.nearest(lat, lon).km[0])

    listed: list[int] = []
    real = lines._list

    def counted(cells: Any, limit: float) -> None:
        listed.extend(cells.tolist())
        time.sleep(0.05)
        real(cells, limit)

    monkeypatch.setattr(lines, "_list", counted)
    with ThreadPoolExecutor(4) as pool:
        found = {future.result() for future in [pool.submit(ask) for _ in range(4)]}
    assert [round(km, 1) for km in found] == [55.6]
    assert len(listed) == 1
