"""Countries by coordinates: speed, agreement and tricky places, ours beside reverse_geocoder and tzfpy.

    python benchmarks/geocode.py [--points labelled.csv …] [--differing] [--places tests/tricky_places.csv]

Runs on one core. reverse_geocoder (the nearest city) and tzfpy (time zones, which the system's zone.tab gives
to countries) are measured where they are installed: pip install reverse_geocoder tzfpy. A labelled CSV has
columns lat, lon, and country or country_name. Prints Markdown.
"""

import argparse
import csv
import importlib
import importlib.util
import os
import time
import zoneinfo
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from whichland.geo.borders import border_km, country_of
from whichland.geo.countries import find_country
from whichland.geo.territories import sovereigns

COUNT, PEER_COUNT = 500_000, 20_000
REPEATS = 3
PLACES = Path(__file__).parent.parent / "tests/tricky_places.csv"

Points = tuple[np.ndarray, np.ndarray]
Lookup = Callable[[np.ndarray, np.ndarray], np.ndarray]


def nearest_city() -> Lookup:
    """reverse_geocoder on one core."""
    module = importlib.import_module("reverse_geocoder")

    def look_up(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
        found = module.search(list(zip(lat.tolist(), lon.tolist(), strict=True)), mode=1, verbose=False)
        return np.array([row["cc"] for row in found], dtype="<U2")

    return look_up


def time_zones() -> Lookup:
    """tzfpy, and zone.tab for the country of a zone."""
    module, country = importlib.import_module("tzfpy"), {}
    table = next(path for folder in zoneinfo.TZPATH if (path := Path(folder, "zone.tab")).is_file())
    for line in table.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            code, _, zone = line.split("\t")[:3]
            country[zone] = code

    def look_up(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
        pairs = zip(lat.tolist(), lon.tolist(), strict=True)
        return np.array([country.get(module.get_tz(x, y), "") for y, x in pairs], dtype="<U2")

    return look_up


def load_ways() -> dict[str, tuple[Lookup, float]]:
    """Each way with the seconds until its first answer."""
    wanted = {
        "whichland": ("whichland", lambda: country_of),
        "tzfpy": ("tzfpy", time_zones),
        "reverse_geocoder": ("reverse_geocoder", nearest_city),
    }
    ways = {}
    for name, (module, make) in wanted.items():
        if importlib.util.find_spec(module) is None:
            print(f"{name} is not installed and left out\n")
            continue
        start = time.perf_counter()
        way = make()
        way(np.array([47.0]), np.array([8.0]))
        ways[name] = way, time.perf_counter() - start
    return ways


def on_land(count: int) -> Points:
    """Points that lie in a country, evenly spread over the globe."""
    lat, lon = on_globe(3 * count)
    land = np.flatnonzero(country_of(lat, lon, coast_km=0) != "")[:count]
    return lat[land], lon[land]


def on_globe(count: int) -> Points:
    """Points evenly spread over the globe."""
    random = np.random.default_rng(0)
    return np.degrees(np.arcsin(random.uniform(-1, 1, count))), random.uniform(-180, 180, count)


def around(points: Points, count: int) -> Points:
    """Points drawn from those of a CSV, moved by some 100 m."""
    random = np.random.default_rng(0)
    rows = random.integers(0, len(points[0]), count)
    moved = [axis[rows] + random.normal(0, 0.001, count) for axis in points]
    return moved[0], moved[1]


def rate(way: Lookup, points: Points) -> float:
    """Points a second, the median of some runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        way(*points)
        seconds.append(time.perf_counter() - start)
    return len(points[0]) / float(np.median(seconds))


def print_speed(ways: dict[str, tuple[Lookup, float]], sets: dict[str, Points]) -> None:
    """The table of loading times and points a second, then border_km."""
    print(f"| on one core | loading, s | {' | '.join(f'{name}, points/s' for name in sets)} |")
    print(f"|---|---|{'---|' * len(sets)}")
    for name, (way, seconds) in ways.items():
        count = COUNT if name == "whichland" else PEER_COUNT
        rates = [rate(way, (lat[:count], lon[:count])) for lat, lon in sets.values()]
        print(f"| {name} | {seconds:.2f} | {' | '.join(f'{one:,.0f}' for one in rates)} |")
    rates = [rate(border_km, (lat[: COUNT // 5], lon[: COUNT // 5])) for lat, lon in sets.values()]
    print(f"| whichland, border_km | | {' | '.join(f'{one:,.0f}' for one in rates)} |\n")


def read_labelled(path: Path) -> tuple[Points, np.ndarray]:
    """The points of a CSV and their countries."""
    table = pl.read_csv(path, infer_schema=False)
    names = table["country" if "country" in table.columns else "country_name"].to_list()
    code = {name: find_country(name) for name in set(names)}
    points = [table[axis].cast(pl.Float64).to_numpy() for axis in ("lat", "lon")]
    return (points[0], points[1]), np.array([code[name] for name in names])


def print_agreement(path: Path, ways: dict[str, tuple[Lookup, float]]) -> None:
    """How often each way gives the label; and the label or, for a dependency, the label of its state."""
    (lat, lon), label = read_labelled(path)
    km = border_km(lat, lon)
    print(f"| {path.name}, {len(label):,} points | agrees | label may be the state's | within 10 km of a border |")
    print("|---|---|---|---|")
    for name, (way, _) in ways.items():
        found = way(lat, lon)
        state = np.array([sovereigns().get(code, code) for code in found.tolist()])
        same = found == label
        shares = [same.mean(), (same | (state == label)).mean(), (same | (state == label))[km < 10].mean()]
        print(f"| {name} | {' | '.join(f'{share:.2%}' for share in shares)} |")
    print()


def print_differing(path: Path, ways: dict[str, tuple[Lookup, float]]) -> None:
    """Every labelled point to which ours gives another country than its label, and what the others say."""
    (lat, lon), label = read_labelled(path)
    rows = np.flatnonzero(country_of(lat, lon) != label)
    lat, lon, label = lat[rows], lon[rows], label[rows]
    answers = [way(lat, lon) for way, _ in ways.values()]
    print(f"| lat, lon | label | {' | '.join(ways)} | km from a border |\n|---|---|{'---|' * len(ways)}---|")
    for y, x, stated, km, *found in zip(lat, lon, label, border_km(lat, lon), *answers, strict=True):
        print(f"| {y}, {x} | {stated} | {' | '.join(map(_cell, found))} | {km:.1f} |")
    print()


def print_places(path: Path, ways: dict[str, tuple[Lookup, float]]) -> None:
    """The table of tricky places; an answer that is not the expected one is bold."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lat, lon = (np.array([float(row[axis]) for row in rows]) for axis in ("lat", "lon"))
    found = {name: way(lat, lon) for name, (way, _) in ways.items()}
    right = {name: sum(a == row["expected"] for a, row in zip(f, rows, strict=True)) for name, f in found.items()}
    print(f"{len(rows)} places; as expected: {', '.join(f'{name} {count}' for name, count in right.items())}\n")
    print(f"| place | lat, lon | expected | {' | '.join(found)} | why |\n|---|---|---|{'---|' * len(found)}---|")
    for number, row in enumerate(rows):
        answers = [str(answer[number]) for answer in found.values()]
        cells = [_cell(answer) if answer == row["expected"] else f"**{_cell(answer)}**" for answer in answers]
        where = f"{row['lat']}, {row['lon']}"
        print(f"| {row['place']} | {where} | {_cell(row['expected'])} | {' | '.join(cells)} | {row['why']} |")


def _cell(code: str) -> str:
    return code or "none"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=Path, nargs="*", default=[])
    parser.add_argument("--differing", action="store_true", help="list the points whose label differs")
    parser.add_argument("--places", type=Path, default=PLACES)
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ways = load_ways()
    sets = {"on land": on_land(COUNT), "on the globe": on_globe(COUNT)}
    for path in given.points[:1]:
        sets[f"around {path.stem}"] = around(read_labelled(path)[0], COUNT)
    print_speed(ways, sets)
    for path in given.points:
        print_agreement(path, ways)
        if given.differing:
            print_differing(path, ways)
    print_places(given.places, ways)


if __name__ == "__main__":
    main()
