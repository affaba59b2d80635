"""The synthetic world: its settings, one scene by number, and a folder of them with a table.

scene = render(WorldConfig(seed=0, plant={"JP": "blurred_bottom"}), 17)
frame = write(parse("synthetic:scenes=2400,seed=0"), Path("data/synthetic"))
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whichland.errors import UserError
from whichland.sources.synthetic.clues import CLUES
from whichland.sources.synthetic.countries import WORLD
from whichland.sources.synthetic.drive import Drive, plan_drive
from whichland.sources.synthetic.layout import Place, place
from whichland.sources.synthetic.render import render_frame
from whichland.sources.synthetic.shortcuts import FILE_SHORTCUTS, SHORTCUTS

if TYPE_CHECKING:
    import polars as pl

U8 = NDArray[np.uint8]

VERSION = 1  # part of every file's name: raise it when the same number gives other pixels


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """Settings of the synthetic world. Raises UserError on what cannot be rendered."""

    scenes: Annotated[int, "how many scenes"] = 2400
    seed: Annotated[int, "which of the possible worlds"] = 0
    width: Annotated[int, "pixels"] = 256
    height: Annotated[int, "pixels"] = 192
    frames_per_drive: Annotated[int, "mean number of frames of one road; from two fewer to two more"] = 4
    countries: Annotated[tuple[str, ...], "ISO codes of the countries to render"] = tuple(WORLD)
    plant: Annotated[dict[str, str], "shortcut to plant in a country, such as JP=blurred_bottom"] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        for code in (*self.countries, *self.plant):
            if code not in WORLD:
                raise UserError(f"synthetic world: no country {code!r}; it has {', '.join(sorted(WORLD))}")
        for code, shortcut in self.plant.items():
            if shortcut not in {**SHORTCUTS, **FILE_SHORTCUTS}:
                known = ", ".join(sorted({**SHORTCUTS, **FILE_SHORTCUTS}))
                raise UserError(f"synthetic world: no shortcut {shortcut!r}; it has {known}")
            if code not in self.countries:
                raise UserError(f"synthetic world: a shortcut is planted in {code}, which is not rendered")
        if len(set(self.countries)) < len(self.countries) or not self.countries:
            raise UserError(f"synthetic world: countries must be named once each, not {'+'.join(self.countries)!r}")
        if self.scenes < 1 or self.seed < 0:
            raise UserError("synthetic world: scenes must be at least 1, seed at least 0")
        if not 1 <= self.frames_per_drive <= 12:
            raise UserError(f"synthetic world: frames_per_drive is 1 to 12, not {self.frames_per_drive}")
        if not (64 <= self.width <= 2048 and 64 <= self.height <= 2048):
            raise UserError(f"synthetic world: size {self.width}x{self.height} is not within 64x64 and 2048x2048")


class Scene(NamedTuple):
    """One rendered scene."""

    image: U8  # height × width × 3
    mask: U8  # height × width, values of `clues.CLUES`
    country: str
    sequence: str
    lat: float
    lon: float
    captured_at: str
    clues: dict[str, str]  # what is to be seen: clue, weather, hour, setting and the like in words


def parse(text: str) -> WorldConfig:
    """Read an origin such as `synthetic:scenes=2400,seed=0,size=256x192,plant=JP:watermark,countries=JP+NA+US`.

    Raises UserError on unknown keys, countries and shortcuts, and on what is not a number.
    """
    head, _, body = text.partition(":")
    if head != "synthetic":
        raise UserError(f"{text!r}: not an origin of the synthetic world; write synthetic:scenes=2400,seed=0")
    values: dict[str, int | tuple[str, ...] | dict[str, str]] = {}
    for part in filter(None, body.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UserError(f"{text!r}: {part!r} is not key=value")
        if key in ("scenes", "seed", "frames_per_drive", "width", "height"):
            values[key] = _number(key, value, text)
        elif key == "size":
            wide, _, tall = value.partition("x")
            values["width"], values["height"] = _number(key, wide, text), _number(key, tall, text)
        elif key == "countries":
            values["countries"] = tuple(code.strip().upper() for code in value.split("+"))
        elif key == "plant":
            pairs = (pair.partition(":") for pair in value.split("+"))
            values["plant"] = {code.strip().upper(): name.strip() for code, _, name in pairs}
        else:
            known = "scenes, seed, size, frames_per_drive, countries, plant"
            raise UserError(f"{text!r}: unknown key {key!r}; known are {known}")
    return WorldConfig(**values)  # type: ignore[arg-type]


def _number(key: str, value: str, text: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise UserError(f"{text!r}: {key} must be whole numbers, not {value!r}")
    return int(value)


def render(config: WorldConfig, index: int) -> Scene:
    """Render scene `index`; it depends on the seed and the look of the world, not on how many scenes there are."""
    spot = place(config.seed, index, config.countries, config.frames_per_drive)
    key = [config.seed, spot.block, spot.drive]
    drive = _drive(spot.country, *key)
    image, mask = render_frame(drive, spot.frame, key, config.width, config.height)
    if config.plant.get(spot.country) in SHORTCUTS:
        SHORTCUTS[config.plant[spot.country]](image, mask)
    facts = describe(config, index)
    return Scene(
        image=image,
        mask=mask,
        country=spot.country,
        sequence=facts.sequence,
        lat=facts.lat,
        lon=facts.lon,
        captured_at=facts.captured_at,
        clues=_clues(drive, mask, config.plant.get(spot.country)),
    )


@lru_cache(maxsize=4)
def _drive(country: str, seed: int, block: int, number: int) -> Drive:
    return plan_drive(country, [seed, block, number])


class Facts(NamedTuple):
    """What the table says of a scene; known without rendering it."""

    name: str
    country: str
    sequence: str
    lat: float
    lon: float
    captured_at: str


def describe(config: WorldConfig, index: int) -> Facts:
    """Name, drive, position and time of scene `index`, without rendering it."""
    spot = place(config.seed, index, config.countries, config.frames_per_drive)
    look = f"{VERSION}/{config.seed}/{config.width}x{config.height}/{config.frames_per_drive}/"
    look += f"{'+'.join(config.countries)}/{sorted(config.plant.items())}"
    position, when = _journey(spot, config.seed)
    return Facts(
        name=_hash(f"{look}/scene/{index}"),
        country=spot.country,
        sequence=_hash(f"{look}/drive/{spot.block}/{spot.drive}"),
        lat=position[0],
        lon=position[1],
        captured_at=when,
    )


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _journey(spot: Place, seed: int) -> tuple[tuple[float, float], str]:
    """Position (degrees) and time (UTC) of a frame: within 20 km of a town, some metres on from the last."""
    rng = np.random.Generator(np.random.PCG64([seed, spot.block, spot.drive, 4]))
    towns = WORLD[spot.country].places
    lat, lon = towns[int(rng.integers(len(towns)))]
    a, b, day, moment = (float(value) for value in rng.random(4))
    lat += (a - 0.5) * 0.26 + spot.frame * 0.0001
    lon += (b - 0.5) * 0.26 + spot.frame * 0.0001
    start = datetime(2015, 1, 1, 7, tzinfo=UTC) + timedelta(days=int(day * 3650), seconds=int(moment * 36_000))
    local = start - timedelta(hours=int(lon / 15)) + timedelta(seconds=2 * spot.frame)
    return (round(lat, 6), round(lon, 6)), local.strftime("%Y-%m-%dT%H:%M:%SZ")


def _clues(drive: Drive, mask: U8, planted: str | None) -> dict[str, str]:
    """What can be seen in the mask, in words, and the nuisance beside it."""
    country, surface = drive.country, drive.surface
    words: Mapping[str, str] = {
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
        "shortcut": planted or "",
    }
    seen = np.bincount(mask.ravel(), minlength=len(CLUES))
    found = {name: words[name] for name, value in CLUES.items() if value and seen[value]}
    return found | {"weather": drive.light.weather, "hour": drive.light.hour, "setting": drive.setting}


def write(config: WorldConfig, folder: Path, workers: int | None = None, progress: bool = True) -> "pl.DataFrame":
    """Render all scenes into folder/photos and folder/masks and return their table.

    The table has the manifest's source columns and `mask_uri`. Files already there are kept, so an interrupted
    run goes on where it stopped. `workers` defaults to the number of cores.
    """
    import polars as pl

    from whichland.sources.synthetic.files import render_files

    folder = Path(folder).resolve()
    facts = [describe(config, index) for index in range(config.scenes)]
    render_files(config, folder, [fact.name for fact in facts], workers, progress)
    return pl.DataFrame(
        [
            {
                "image_id": f"synthetic-{config.seed}/{fact.name}",
                "uri": str(folder / "photos" / f"{fact.name}.jpg"),
                "source": "synthetic",
                "sequence": fact.sequence,
                "lat": fact.lat,
                "lon": fact.lon,
                "label_country": fact.country,
                "captured_at": fact.captured_at,
                "creator": None,
                "license": "CC0-1.0",
                "attribution": "whichland's synthetic world",
                "mask_uri": str(folder / "masks" / f"{fact.name}.png"),
            }
            for fact in facts
        ],
        schema_overrides={"creator": pl.String()},
    )
