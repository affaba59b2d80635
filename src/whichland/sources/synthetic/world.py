"""One scene of the synthetic world by its number: where and when it is, its pixels and the mask of its clues.

scene = render(WorldConfig(seed=0, plant={"JP": "blurred_bottom"}), 17)

Scenes come in blocks of several rounds. Each round has one drive of every country, in an order of its own, and
over a block every country has one drive of each length (2 to 6 frames for a mean of 4); so classes stay balanced
however many scenes are asked for, and a scene is found without looking at any other.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, NamedTuple

import numpy as np
from annotated_types import Interval

from whichland.config import AT_LEAST_0, AT_LEAST_1, Config
from whichland.errors import UserError
from whichland.sources.synthetic.canvas import U8
from whichland.sources.synthetic.conventions import SCENERY, WORLD
from whichland.sources.synthetic.drive import Drive, plan_drive
from whichland.sources.synthetic.render import FILE_SHORTCUTS, SHORTCUTS, render_frame

VERSION = 1  # part of every file's name: raise it when the same number gives other pixels


@dataclass(frozen=True, kw_only=True)
class WorldConfig(Config):
    """Settings of the synthetic world. Raises UserError on what cannot be rendered."""

    scenes: Annotated[int, "how many scenes", AT_LEAST_1] = 2400
    seed: Annotated[int, "which of the possible worlds", AT_LEAST_0] = 0
    width: Annotated[int, "pixels", Interval(ge=64, le=2048)] = 256
    height: Annotated[int, "pixels", Interval(ge=64, le=2048)] = 192
    frames_per_drive: Annotated[
        int, "mean number of frames of one road; from two fewer to two more", Interval(ge=1, le=12)
    ] = 4
    countries: Annotated[tuple[str, ...], "ISO codes of the countries to render"] = tuple(WORLD)
    plant: Annotated[dict[str, str], "shortcut to plant in a country, such as JP=blurred_bottom"] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        super().__post_init__()

        def require(holds: bool, otherwise: str) -> None:
            if not holds:
                raise UserError(f"synthetic world: {otherwise}")

        shortcuts = sorted({*SHORTCUTS, *FILE_SHORTCUTS})
        for code in (*self.countries, *self.plant):
            require(code in WORLD, f"no country {code!r}; it has {', '.join(sorted(WORLD))}")
        for code, shortcut in self.plant.items():
            require(shortcut in shortcuts, f"no shortcut {shortcut!r}; it has {', '.join(shortcuts)}")
            require(code in self.countries, f"a shortcut is planted in {code}, which is not rendered")
        once = 0 < len(set(self.countries)) == len(self.countries)
        require(once, f"countries must be named once each, not {'+'.join(self.countries)!r}")

    @property
    def lengths(self) -> range:
        """Numbers of frames of a block's drives."""
        around = min(2, self.frames_per_drive - 1)
        return range(self.frames_per_drive - around, self.frames_per_drive + around + 1)


def parse(text: str) -> WorldConfig:
    """Read an origin such as `synthetic:scenes=2400,seed=0,size=256x192,plant=JP:watermark,countries=JP+NA+US`.

    Raises UserError on unknown keys, countries and shortcuts, and on what is not a number.
    """
    head, _, body = text.partition(":")
    if head != "synthetic":
        raise UserError(f"{text!r}: not an origin of the synthetic world; write synthetic:scenes=2400,seed=0")
    values: dict[str, Any] = {}
    for part in filter(None, body.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UserError(f"{text!r}: {part!r} is not key=value")
        if key == "countries":
            values[key] = tuple(code.strip().upper() for code in value.split("+"))
        elif key == "plant":
            pairs = (pair.partition(":") for pair in value.split("+"))
            values[key] = {code.strip().upper(): name.strip() for code, _, name in pairs}
        elif key not in ("scenes", "seed", "frames_per_drive", "width", "height", "size"):
            known = "scenes, seed, size, frames_per_drive, countries, plant"
            raise UserError(f"{text!r}: unknown key {key!r}; known are {known}")
        else:
            names, numbers = (("width", "height"), value.partition("x")[::2]) if key == "size" else ((key,), (value,))
            for number in numbers:
                if not (number.isascii() and number.isdigit()):
                    raise UserError(f"{text!r}: {key} must be whole numbers, not {number!r}")
            values |= dict(zip(names, map(int, numbers), strict=True))
    return WorldConfig(**values)


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
    block, within = divmod(index, sum(config.lengths) * len(config.countries))
    return _block(config.seed, block, config.countries, config.lengths)[within]


@lru_cache(maxsize=64)
def _block(seed: int, block: int, countries: tuple[str, ...], lengths: range) -> tuple[Spot, ...]:
    """All scenes of a block, in order."""
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
    """Name, drive, position and time (UTC) of scene `index`, without rendering it.

    It lies within 20 km of a town, each frame some metres on from the last.
    """
    country, block, drive, frame = spot(config, index)
    rng = np.random.Generator(np.random.PCG64([config.seed, block, drive, 4]))
    towns = WORLD[country].places
    lat, lon = towns[int(rng.integers(len(towns)))]
    a, b, day, moment = rng.random(4).tolist()
    lat += (a - 0.5) * 0.26 + frame * 0.0001
    lon += (b - 0.5) * 0.26 + frame * 0.0001
    start = datetime(2015, 1, 1, 7, tzinfo=UTC) + timedelta(days=int(day * 3650), seconds=int(moment * 36_000))
    when = start - timedelta(hours=int(lon / 15)) + timedelta(seconds=2 * frame)
    look = f"{VERSION}/{config.seed}/{config.width}x{config.height}/{config.frames_per_drive}/"
    look += f"{'+'.join(config.countries)}/{sorted(config.plant.items())}"
    name, sequence = (
        blake2b(f"{look}/{text}".encode(), digest_size=8).hexdigest()
        for text in (f"scene/{index}", f"drive/{block}/{drive}")
    )
    return Facts(name, country, sequence, round(lat, 6), round(lon, 6), when.strftime("%Y-%m-%dT%H:%M:%SZ"))


def render(config: WorldConfig, index: int) -> Scene:
    """Render scene `index`; it depends on the seed and the look of the world, not on how many scenes there are."""
    found = spot(config, index)
    key = (config.seed, found.block, found.drive)
    drive = plan_drive(found.country, key)
    image, mask = render_frame(drive, found.frame, key, config.width, config.height)
    planted = config.plant.get(found.country, "")
    if planted in SHORTCUTS:
        SHORTCUTS[planted](image, mask)
    return Scene(image, mask, found.country, describe(config, index).sequence, _clues(drive, mask, planted))


def _clues(drive: Drive, mask: U8, planted: str) -> dict[str, str]:
    """What can be seen in the mask, in words, and the nuisance beside it."""
    country = drive.country
    named = {
        "scripts": "+".join(dict.fromkeys(country.scripts)),
        "roofs": "/".join(dict.fromkeys(roof.form for roof in country.roofs)),
        "trees": ", ".join(name for name, _ in country.trees),
    }
    seen = np.bincount(mask.ravel(), minlength=len(SCENERY.clues))
    found = {
        name: words.format(country=country, surface=drive.surface, planted=planted, **named)
        for name, (value, words) in SCENERY.clues.items()
        if value and seen[value]
    }
    return found | {"weather": drive.light.weather, "hour": drive.light.hour, "setting": drive.setting}
