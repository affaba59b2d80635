"""One scene of the synthetic world by its number: where and when it is, its pixels and the mask of its clues.

scene = render(WorldConfig(seed=0, plant={"JP": "blurred_bottom"}), 17)

Scenes come in blocks of several rounds. Each round has one drive of every country, in an order of its own, and
over a block every country has one drive of each length (2 to 6 frames for a mean of 4); so classes stay balanced
however many scenes are asked for, and a scene is found without looking at any other.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from whichland.sources.synthetic.canvas import U8
from whichland.sources.synthetic.conventions import CLUES
from whichland.sources.synthetic.countries import WORLD
from whichland.sources.synthetic.drive import Drive, plan_drive
from whichland.sources.synthetic.render import render_frame
from whichland.sources.synthetic.settings import WorldConfig
from whichland.sources.synthetic.shortcuts import SHORTCUTS

VERSION = 1  # part of every file's name: raise it when the same number gives other pixels


class Spot(NamedTuple):
    """Where a scene is among the scenes: its drive, the drive's country, and the frame's number within the drive."""

    country: str
    block: int
    drive: int  # within the block
    frame: int


class Facts(NamedTuple):
    """What the table says of a scene; known without rendering it."""

    name: str
    country: str
    sequence: str
    lat: float
    lon: float
    captured_at: str


class Scene(NamedTuple):
    """One rendered scene."""

    image: U8  # height × width × 3
    mask: U8  # height × width, values of `conventions.CLUES`
    country: str
    sequence: str
    clues: dict[str, str]  # what is to be seen: clue, weather, hour, setting and the like in words


def spot(config: WorldConfig, index: int) -> Spot:
    """Find the drive and frame of scene `index`."""
    mean = config.frames_per_drive
    size = len(_lengths(mean)) * mean * len(config.countries)
    block, within = divmod(index, size)
    return _block(config.seed, block, config.countries, mean)[within]


def _lengths(mean: int) -> range:
    """Numbers of frames of a block's drives."""
    around = min(2, mean - 1)
    return range(mean - around, mean + around + 1)


@lru_cache(maxsize=64)
def _block(seed: int, block: int, countries: tuple[str, ...], mean: int) -> tuple[Spot, ...]:
    """All scenes of a block, in order."""
    lengths = _lengths(mean)
    rng = np.random.Generator(np.random.PCG64([seed, 1_000_003, block]))
    shuffled = {country: [lengths[i] for i in rng.permutation(len(lengths)).tolist()] for country in countries}
    drives = [
        (countries[chosen], shuffled[countries[chosen]][turn])
        for turn in range(len(lengths))
        for chosen in rng.permutation(len(countries)).tolist()
    ]
    return tuple(
        Spot(country, block, number, frame)
        for number, (country, length) in enumerate(drives)
        for frame in range(length)
    )


def describe(config: WorldConfig, index: int) -> Facts:
    """Name, drive, position and time of scene `index`, without rendering it."""
    found = spot(config, index)
    look = f"{VERSION}/{config.seed}/{config.width}x{config.height}/{config.frames_per_drive}/"
    look += f"{'+'.join(config.countries)}/{sorted(config.plant.items())}"
    return Facts(
        _hash(f"{look}/scene/{index}"),
        found.country,
        _hash(f"{look}/drive/{found.block}/{found.drive}"),
        *_journey(found, config.seed),
    )


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _journey(found: Spot, seed: int) -> tuple[float, float, str]:
    """Latitude, longitude and time (UTC) of a frame: within 20 km of a town, some metres on from the last."""
    rng = np.random.Generator(np.random.PCG64([seed, found.block, found.drive, 4]))
    towns = WORLD[found.country].places
    lat, lon = towns[int(rng.integers(len(towns)))]
    a, b, day, moment = rng.random(4).tolist()
    lat += (a - 0.5) * 0.26 + found.frame * 0.0001
    lon += (b - 0.5) * 0.26 + found.frame * 0.0001
    start = datetime(2015, 1, 1, 7, tzinfo=UTC) + timedelta(days=int(day * 3650), seconds=int(moment * 36_000))
    when = start - timedelta(hours=int(lon / 15)) + timedelta(seconds=2 * found.frame)
    return round(lat, 6), round(lon, 6), when.strftime("%Y-%m-%dT%H:%M:%SZ")


def render(config: WorldConfig, index: int) -> Scene:
    """Render scene `index`; it depends on the seed and the look of the world, not on how many scenes there are."""
    found = spot(config, index)
    key = (config.seed, found.block, found.drive)
    drive = _drive(found.country, key)
    image, mask = render_frame(drive, found.frame, [*key], config.width, config.height)
    planted = config.plant.get(found.country, "")
    if planted in SHORTCUTS:
        SHORTCUTS[planted](image, mask)
    return Scene(image, mask, found.country, describe(config, index).sequence, _clues(drive, mask, planted))


@lru_cache(maxsize=4)
def _drive(country: str, key: tuple[int, int, int]) -> Drive:
    return plan_drive(country, [*key])


def _clues(drive: Drive, mask: U8, planted: str) -> dict[str, str]:
    """What can be seen in the mask, in words, and the nuisance beside it."""
    country, surface = drive.country, drive.surface
    words = {
        "centre_line": str(surface.centre),
        "edge_line": str(surface.edge),
        "sign": f"{country.signs.warning} warnings, {'+'.join(dict.fromkeys(country.signs.scripts))} script",
        "bollard": country.bollard.form if country.bollard else "",
        "plate": "number plate",
        "pole": country.pole.form,
        "roof": "/".join(dict.fromkeys(roof.form for roof in country.roofs)),
        "soil": "#{:02x}{:02x}{:02x}".format(*surface.soil),
        "vegetation": ", ".join(name for name, _ in country.plants.trees),
        "traffic": f"keeps {country.drives_on}",
        "grass": "#{:02x}{:02x}{:02x}".format(*surface.grass),
        "wall": "walls",
        "shortcut": planted,
    }
    seen = np.bincount(mask.ravel(), minlength=len(CLUES))
    found = {name: words[name] for name, value in CLUES.items() if value and seen[value]}
    return found | {"weather": drive.light.weather, "hour": drive.light.hour, "setting": drive.setting}
