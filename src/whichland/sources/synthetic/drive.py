"""A drive: one road of one country under one sky, and everything along it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from whichland.sources.synthetic.camera import Road
from whichland.sources.synthetic.conventions import RGB, Conventions, Plate
from whichland.sources.synthetic.countries import WORLD
from whichland.sources.synthetic.ground import Surface
from whichland.sources.synthetic.houses import House
from whichland.sources.synthetic.light import Light, draw_light, pick
from whichland.sources.synthetic.roadside import GuardRail, PoleWithWires, Post
from whichland.sources.synthetic.signs import Sign
from whichland.sources.synthetic.stage import Prop
from whichland.sources.synthetic.trees import SPECIES, VARIANTS, Tree
from whichland.sources.synthetic.vehicles import PAINTS

T = TypeVar("T")
SETTINGS = (("open", 0.38), ("wooded", 0.24), ("village", 0.38))
REACH = 330.0  # metres along the road within which anything is placed


@dataclass(frozen=True)
class Mover:
    """Traffic of the drive: where it is at the first frame, and metres it moves between frames."""

    start: float
    pace: float
    oncoming: bool
    kind: str
    paint: RGB
    plate: Plate


@dataclass(frozen=True)
class Rig:
    """How the camera is mounted on the car for a whole drive."""

    height: float
    focal: float  # over the picture's width
    pitch: float
    yaw: float
    contrast: float
    gain: float
    vignette: float


@dataclass(frozen=True)
class Drive:
    country: Conventions
    setting: str
    light: Light
    road: Road
    rig: Rig
    surface: Surface
    props: tuple[Prop, ...]  # far to near
    movers: tuple[Mover, ...]
    step: float  # metres between frames
    lane: float  # lateral of the camera's lane, signed
    ridges: tuple[float, float]  # heights of the far hills and of the line of trees, as slopes
    seed: int


def plan_drive(code: str, key: list[int]) -> Drive:
    """Draw a drive of a country. `key` seeds it; weather, rig and layout never depend on the country."""
    country = WORLD[code]
    nuisance = np.random.Generator(np.random.PCG64([*key, 0]))
    rng = np.random.Generator(np.random.PCG64([*key, 1]))
    light = draw_light(nuisance, country.snows)
    setting = pick(nuisance, SETTINGS)
    road = Road(nuisance)
    r = nuisance.random(16).tolist()
    rig = Rig(
        height=1.5 + 1.1 * r[0],
        focal=0.62 + 0.42 * r[1],
        pitch=-0.02 + 0.11 * r[2],
        yaw=(r[3] - 0.5) * 0.44,
        contrast=0.98 + 0.2 * r[4],
        gain=0.96 + 0.12 * r[5],
        vignette=0.05 + 0.22 * r[6],
    )
    lane_width = 2.8 + 0.75 * r[7]
    half = lane_width + 0.2 + 0.5 * r[8]
    surface = _surface(country, setting, rng, r, half)
    side = 1 if country.drives_on == "right" else -1
    near = half + surface.pavement
    props = [*_verge(country, setting, rng, half, near), *_homes(country, setting, rng, near)]
    props += _trees(country, setting, rng, near, r[9])
    return Drive(
        country=country,
        setting=setting,
        light=light,
        road=road,
        rig=rig,
        surface=surface,
        props=tuple(sorted(props, key=lambda prop: -prop.s)),
        movers=_traffic(country, nuisance, rng),
        step=6.0 + 10.0 * r[10],
        lane=side * lane_width / 2,
        ridges=(0.03 + 0.2 * r[11] * r[11], (0.012 + 0.035 * r[12]) * (1.4 if setting == "wooded" else 1.0)),
        seed=int(nuisance.integers(1, 100_000)),
    )


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _jitter(rng: np.random.Generator, colour: RGB, by: float) -> RGB:
    """A colour near `colour`: brightness and each channel moved a little."""
    tone = 1 + _between(rng, -by, by)
    red, green, blue = (min(max(int(c * tone * (1 + _between(rng, -by, by) * 0.5)), 0), 255) for c in colour)
    return red, green, blue


def _one(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _sign(rng: np.random.Generator) -> int:
    """A side of the road: 1 or -1."""
    return 1 if rng.random() < 0.5 else -1


def _surface(country: Conventions, setting: str, rng: np.random.Generator, r: list[float], half: float) -> Surface:
    """The ground of a drive. Asphalt, wear and width come from `r`, the nuisance; the rest is the country's."""
    plants = country.plants
    grass = _one(rng, plants.grass)
    kinds = ("grass", "crop", "bare")
    grey = 92 + 58 * r[13]
    has_centre, has_edge = rng.random() < 0.86, rng.random() < country.edge_share
    return Surface(
        half_width=half,
        shoulder=0.15 + 0.9 * r[14],
        pavement=1.7 if setting == "village" and r[15] < 0.55 else 0.0,
        asphalt=(int(grey * 0.99), int(grey), int(grey * 1.03)),
        soil=_jitter(rng, country.soil, 0.1),
        grass=_jitter(rng, grass, 0.1),
        cover=min(max(plants.cover + _between(rng, -0.14, 0.1), 0.0), 1.0),
        fields=(_one(rng, kinds), _one(rng, kinds)),
        verge=2.5 + 5 * r[14],
        centre=pick(rng, country.centre) if has_centre else None,
        edge=country.edge if has_edge else None,
        wear=r[6] * 0.75,
        patches=0.5 * r[7] * r[7],
        seed=1 + int(r[8] * 90_000),
    )


def _verge(country: Conventions, setting: str, rng: np.random.Generator, half: float, near: float) -> list[Prop]:
    """Bollards, poles, signs and guard rails, from `half`, the asphalt's edge, or `near`, the pavement's."""
    found: list[Prop] = []
    side = 1 if country.drives_on == "right" else -1
    gap = _between(rng, 16, 30)
    if country.bollard is not None and rng.random() < (0.65 if setting != "village" else 0.25):
        for index in range(int(REACH / gap)):
            s = 16 + gap * index
            found += [Post(sign * (near + 0.7), s, country.bollard) for sign in (-1, 1)]
    if rng.random() < country.pole.share:
        span, sign = _between(rng, 26, 42), _sign(rng)
        lateral, height = sign * (near + _between(rng, 1.2, 3.4)), _between(rng, 7.2, 9.5)
        offset = _between(rng, 2, span)
        found += [
            PoleWithWires(lateral, offset + span * index, country.pole, height, span, loaded=index % 3 == 1)
            for index in range(-1, int(200 / span))
        ]
    place = _between(rng, 20, 34)
    while place < 190:
        kind = pick(rng, (("warning", 0.38), ("speed", 0.27), ("direction", 0.35)))
        sign = side if rng.random() < 0.85 else -side
        lateral = sign * (near + (1.1 if kind != "direction" else 2.3) + 0.6 * rng.random())
        found.append(Sign(lateral, place, kind, country.signs, int(rng.integers(1, 9000)), _between(rng, 0.95, 1.25)))
        place += _between(rng, 22, 70)
    if setting != "village" and rng.random() < 0.16:
        sign = _sign(rng)
        found += [GuardRail(sign * (half + 0.9), 14 + 4.0 * index) for index in range(30)]
    return found


def _homes(country: Conventions, setting: str, rng: np.random.Generator, near: float) -> list[Prop]:
    """Houses: rows of them in a village, a farm now and then elsewhere."""
    found: list[Prop] = []
    for sign in (-1, 1):
        s = _between(rng, 4, 22)
        if setting != "village":
            s += _between(rng, 0, 160)
        while s < 230:
            roof, wall = _one(rng, country.roofs), _one(rng, country.walls)
            length = _between(rng, 8, 14)
            set_back = _between(rng, 4.5, 11) if setting == "village" else _between(rng, 14, 40)
            found.append(
                House(
                    lateral=sign * (near + set_back),
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
            )
            s += length + (_between(rng, 4, 24) if setting == "village" else _between(rng, 70, 220))
    return found


def _trees(country: Conventions, setting: str, rng: np.random.Generator, near: float, fullness: float) -> list[Prop]:
    """Trees and bushes; `fullness` is the same draw for every country, the species are the country's."""
    plants = country.plants
    number, nearest, wide = {"open": (32, 5.0, 70.0), "wooded": (74, 4.0, 22.0), "village": (34, 13.0, 40.0)}[setting]
    total = number * plants.density * (0.6 + 0.8 * fullness)
    season = _between(rng, 0.88, 1.1)
    found: list[Prop] = []
    for _ in range(int(total)):
        sign = _sign(rng)
        a, b = rng.random(), rng.random()
        species = pick(rng, plants.trees)
        low = 2.2 if "shrub" in species else nearest
        lateral = sign * (near + low + wide * a * a)
        found.append(_tree(rng, species, lateral, 6 + (REACH - 6) * b, season))
    if setting == "village":
        for _ in range(int(14 * plants.density)):
            sign = _sign(rng)
            shrubs = [name for name, _ in plants.trees if "shrub" in name] or ["shrub"]
            found.append(_tree(rng, shrubs[0], sign * (near + _between(rng, 1.8, 4)), _between(rng, 8, 160), season))
    if plants.hedges and rng.random() < plants.hedges and setting != "village":
        for sign in (-1, 1):
            lateral = sign * (near + _between(rng, 1.9, 3.2))
            found += [_tree(rng, "hedge", lateral, 8 + 2.1 * index, season) for index in range(44)]
    return found


def _tree(rng: np.random.Generator, name: str, lateral: float, s: float, season: float) -> Tree:
    low, high = SPECIES[name].height
    return Tree(lateral, s, name, int(rng.integers(VARIANTS)), _between(rng, low, high), season)


def _traffic(country: Conventions, nuisance: np.random.Generator, rng: np.random.Generator) -> tuple[Mover, ...]:
    """Cars ahead and cars that come towards the camera, far to near."""
    found = []
    kinds = (("hatch", 0.36), ("saloon", 0.36), ("van", 0.17), ("lorry", 0.11))
    ahead = 7 + 16 * nuisance.random()
    for oncoming in (False, True, True):
        present, where, pace = nuisance.random(3).tolist()
        kind = pick(nuisance, kinds)
        paint = _one(nuisance, PAINTS)
        plate = _one(rng, (oncoming and country.front_plates) or country.rear_plates)
        if present > (0.6 if oncoming else 0.5):
            continue
        if oncoming:
            found.append(Mover(16 + 80 * where, -8 - 8 * pace, True, kind, paint, plate))
        else:
            found.append(Mover(ahead, (pace - 0.4) * 5, False, kind, paint, plate))
    return tuple(found)
