"""A drive: one road of one country under one sky, and everything along it."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

from whichland.sources.synthetic.backdrop import Surface
from whichland.sources.synthetic.blocks import House, Vehicle
from whichland.sources.synthetic.conventions import RGB, SCENERY, WORLD, Colour, Conventions
from whichland.sources.synthetic.roadside import GuardRail, PoleWithWires, Post, Sign
from whichland.sources.synthetic.stage import Light, Prop, Road
from whichland.sources.synthetic.trees import TONES, Tree

T = TypeVar("T")
Rng = np.random.Generator
SETTINGS = (("open", 0.38), ("wooded", 0.24), ("village", 0.38))
REACH = 330.0  # metres along the road within which anything is placed


Mover = tuple[float, float, Vehicle]  # metres ahead of the camera at the first frame, metres moved between frames


class Drive(NamedTuple):
    country: Conventions
    setting: str
    light: Light
    road: Road
    mount: tuple[float, float, float, float]  # the camera's height, pitch, yaw, and focal length over picture width
    film: tuple[float, float, float]  # contrast, gain, vignette
    surface: Surface
    props: tuple[Prop, ...]  # far to near
    movers: tuple[Mover, ...]  # far to near
    step: float  # metres between frames
    lane: float  # lateral of the camera's lane, signed
    ridges: tuple[float, float]  # heights of the far hills and of the line of trees, as slopes
    seed: int


@lru_cache(maxsize=4)
def plan_drive(code: str, key: tuple[int, int, int]) -> Drive:
    """Draw a drive of a country. `key` seeds it; weather, rig and layout never depend on the country."""
    country = WORLD[code]
    nuisance, rng = (np.random.Generator(np.random.PCG64([*key, stream])) for stream in (0, 1))
    light = _light(nuisance, country.snows)
    setting = _pick(nuisance, SETTINGS)
    road = Road(nuisance)
    r = nuisance.random(16).tolist()
    lane_width = 2.8 + 0.75 * r[7]
    half = lane_width + 0.2 + 0.5 * r[8]
    lane = (1 if country.drives_on == "right" else -1) * lane_width / 2
    surface = _surface(country, setting, rng, r, half)
    near = half + surface.pavement
    props = [*_verge(country, setting, rng, half, near), *_homes(country, setting, rng, near)]
    props += _trees(country, setting, rng, near, r[9])
    return Drive(
        country=country,
        setting=setting,
        light=light,
        road=road,
        mount=(1.5 + 1.1 * r[0], -0.02 + 0.11 * r[2], (r[3] - 0.5) * 0.44, 0.62 + 0.42 * r[1]),
        film=(0.98 + 0.2 * r[4], 0.96 + 0.12 * r[5], 0.05 + 0.22 * r[6]),
        surface=surface,
        props=tuple(sorted(props, key=lambda prop: -prop.s)),
        movers=tuple(_traffic(country, light, lane, nuisance, rng)),
        step=6.0 + 10.0 * r[10],
        lane=lane,
        ridges=(0.03 + 0.2 * r[11] * r[11], (0.012 + 0.035 * r[12]) * (1.4 if setting == "wooded" else 1.0)),
        seed=int(nuisance.integers(1, 100_000)),
    )


def _pick(rng: Rng, choices: Sequence[tuple[T, float]]) -> T:
    """Draw one of (choice, weight) by weight."""
    mark = rng.random() * sum(weight for _, weight in choices)
    for choice, weight in choices:
        mark -= weight
        if mark < 0:
            return choice
    return choices[-1][0]


def _one(rng: Rng, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _between(rng: Rng, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _side(rng: Rng) -> int:
    """A side of the road: 1 or -1."""
    return 1 if rng.random() < 0.5 else -1


def _jitter(rng: Rng, colour: RGB, by: float) -> RGB:
    """A colour near `colour`: brightness and each channel moved a little."""
    tone = 1 + _between(rng, -by, by)
    red, green, blue = (min(max(int(c * tone * (1 + _between(rng, -by, by) * 0.5)), 0), 255) for c in colour)
    return red, green, blue


def _light(rng: Rng, snows: bool) -> Light:
    """Draw weather and hour. Where it never snows, a draw of snow becomes an overcast day."""
    weather, hour = (
        _pick(rng, [(name, row[-1]) for name, row in table.items()]) for table in (SCENERY.weathers, SCENERY.hours)
    )
    if weather == "snow" and not snows:
        weather = "overcast"
    r = rng.random(6).tolist()
    clouds, dull, seen, glow, _ = SCENERY.weathers[weather]
    zenith, horizon, sun, ambient, length, _ = SCENERY.hours[hour]
    high = hour in ("noon", "day")
    grey = 214.0 if high else 178.0

    def mix(a: Colour, b: Colour, t: float) -> Colour:
        return a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t

    horizon = mix(horizon, (grey * 0.97, grey, grey * 1.03), dull)
    return Light(
        weather=weather,
        hour=hour,
        zenith=mix(zenith, (grey * 0.97 * 0.82, grey * 0.82, grey * 1.03 * 0.82), dull),
        horizon=horizon,
        haze=mix(horizon, (200.0, 208.0, 218.0), 0.25),
        visibility=seen * (0.7 + 0.6 * r[1]),
        sun=mix((0.0, 0.0, 0.0), sun, max(1 - 1.1 * dull, 0.0)),
        ambient=mix(ambient, (0.70, 0.72, 0.74) if high else (0.56, 0.57, 0.60), dull),
        sun_x=length * ((r[0] - 0.5) * 2),
        sun_z=length * (r[2] - 0.45) * 1.4,
        clouds=clouds * (0.8 + 0.3 * r[3]),
        wet=0.75 + 0.25 * r[4] if weather == "rain" else 0.15 if weather == "fog" else 0.0,
        snow=0.45 + 0.45 * r[4] if weather == "snow" else 0.0,
        glow=glow * (0.8 if high else 1.3),
    )


def _surface(country: Conventions, setting: str, rng: Rng, r: list[float], half: float) -> Surface:
    """The ground of a drive. Asphalt, wear and width come from `r`, the nuisance; the rest is the country's."""
    kinds = ("grass", "crop", "bare")
    grass = _one(rng, country.grass)
    grey = 92 + 58 * r[13]
    has_centre, has_edge = rng.random() < 0.86, rng.random() < country.edge_share
    return Surface(
        half_width=half,
        shoulder=0.15 + 0.9 * r[14],
        pavement=1.7 if setting == "village" and r[15] < 0.55 else 0.0,
        asphalt=(int(grey * 0.99), int(grey), int(grey * 1.03)),
        soil=_jitter(rng, country.soil, 0.1),
        grass=_jitter(rng, grass, 0.1),
        cover=min(max(country.cover + _between(rng, -0.14, 0.1), 0.0), 1.0),
        fields=(_one(rng, kinds), _one(rng, kinds)),
        verge=2.5 + 5 * r[14],
        centre=_pick(rng, country.centre) if has_centre else None,
        edge=country.edge if has_edge else None,
        wear=r[6] * 0.75,
        patches=0.5 * r[7] * r[7],
        seed=1 + int(r[8] * 90_000),
    )


def _verge(country: Conventions, setting: str, rng: Rng, half: float, near: float) -> Iterator[Prop]:
    """Bollards, poles, signs and guard rails, from `half`, the asphalt's edge, or `near`, the pavement's."""
    gap = _between(rng, 16, 30)
    if country.bollard is not None and rng.random() < (0.65 if setting != "village" else 0.25):
        for index in range(int(REACH / gap)):
            for side in (-1, 1):
                yield Post(side * (near + 0.7), 16 + gap * index, country.bollard)
    if rng.random() < country.pole.share:
        span, side = _between(rng, 26, 42), _side(rng)
        lateral, height = side * (near + _between(rng, 1.2, 3.4)), _between(rng, 7.2, 9.5)
        offset = _between(rng, 2, span)
        for index in range(-1, int(200 / span)):
            yield PoleWithWires(lateral, offset + span * index, country.pole, height, span, loaded=index % 3 == 1)
    place = _between(rng, 20, 34)
    while place < 190:
        kind = _pick(rng, (("warning", 0.38), ("speed", 0.27), ("direction", 0.35)))
        side = (1 if country.drives_on == "right" else -1) * (1 if rng.random() < 0.85 else -1)
        lateral = side * (near + (1.1 if kind != "direction" else 2.3) + 0.6 * rng.random())
        yield Sign(lateral, place, kind, country, int(rng.integers(1, 9000)), _between(rng, 0.95, 1.25))
        place += _between(rng, 22, 70)
    if setting != "village" and rng.random() < 0.16:
        side = _side(rng)
        for index in range(30):
            yield GuardRail(side * (half + 0.9), 14 + 4.0 * index)


def _homes(country: Conventions, setting: str, rng: Rng, near: float) -> Iterator[Prop]:
    """Houses: rows of them in a village, a farm now and then elsewhere."""
    village = setting == "village"
    for side in (-1, 1):
        s = _between(rng, 4, 22) + (0 if village else _between(rng, 0, 160))
        while s < 230:
            roof, wall = _one(rng, country.roofs), _one(rng, country.walls)
            length = _between(rng, 8, 14)
            yield House(
                lateral=side * (near + (_between(rng, 4.5, 11) if village else _between(rng, 14, 40))),
                s=s,
                length=length,
                depth=_between(rng, 7, 10),
                height=2.9 if rng.random() < 0.6 else 5.5,
                roof=roof,
                wall=_jitter(rng, wall, 0.06),
                along=rng.random() < 0.6,
                chimney=rng.random() < 0.4 and roof.form != "flat",
                door=int(rng.integers(4)),
            )
            s += length + (_between(rng, 4, 24) if village else _between(rng, 70, 220))


def _trees(country: Conventions, setting: str, rng: Rng, near: float, fullness: float) -> Iterator[Prop]:
    """Trees and bushes; `fullness` is the same draw for every country, the species are the country's."""
    number, nearest, wide = {"open": (32, 5.0, 70.0), "wooded": (74, 4.0, 22.0), "village": (34, 13.0, 40.0)}[setting]
    season = _between(rng, 0.88, 1.1)

    def tree(name: str, lateral: float, s: float) -> Tree:
        return Tree(
            lateral, s, name, int(rng.integers(len(TONES))), _between(rng, *SCENERY.species[name].height), season
        )

    for _ in range(int(number * country.density * (0.6 + 0.8 * fullness))):
        side, a, b = _side(rng), rng.random(), rng.random()
        species = _pick(rng, country.trees)
        low = 2.2 if "shrub" in species else nearest
        yield tree(species, side * (near + low + wide * a * a), 6 + (REACH - 6) * b)
    if setting == "village":
        shrub = next((name for name, _ in country.trees if "shrub" in name), "shrub")
        for _ in range(int(14 * country.density)):
            side = _side(rng)
            yield tree(shrub, side * (near + _between(rng, 1.8, 4)), _between(rng, 8, 160))
    if country.hedges and rng.random() < country.hedges and setting != "village":
        for side in (-1, 1):
            lateral = side * (near + _between(rng, 1.9, 3.2))
            for index in range(44):
                yield tree("hedge", lateral, 8 + 2.1 * index)


def _traffic(country: Conventions, light: Light, lane: float, nuisance: Rng, rng: Rng) -> Iterator[Mover]:
    """Cars ahead and cars that come towards the camera, far to near."""
    kinds = [(name, body.share) for name, body in SCENERY.vehicles.items()]
    lamps = light.hour == "dusk" or light.weather in ("rain", "fog", "snow")
    ahead = 7 + 16 * nuisance.random()
    for oncoming in (False, True, True):
        present, where, pace = nuisance.random(3).tolist()
        kind, paint = _pick(nuisance, kinds), _one(nuisance, SCENERY.paints)
        plate = _one(rng, (oncoming and country.front_plates) or country.rear_plates)
        vehicle = Vehicle(-lane if oncoming else lane, 0.0, kind, paint, plate, oncoming, lamps)
        if oncoming and present <= 0.6:
            yield 16 + 80 * where, -8 - 8 * pace, vehicle
        elif not oncoming and present <= 0.5:
            yield ahead, (pace - 0.4) * 5, vehicle
