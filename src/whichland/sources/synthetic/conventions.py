"""The clues of a scene as values of its mask, and the conventions that the table in `countries` fills.

Colours are albedos, 0 to 255 per channel; lengths are metres; a weight need not sum to one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

RGB = tuple[int, int, int]

CLUES: Mapping[str, int] = MappingProxyType(
    {
        "none": 0,  # sky, asphalt, pavements, guard rails, far hills: the same everywhere
        "centre_line": 1,
        "edge_line": 2,
        "sign": 3,  # face and post of a traffic sign
        "bollard": 4,
        "plate": 5,
        "pole": 6,  # utility pole and its wires
        "roof": 7,
        "soil": 8,
        "vegetation": 9,  # trees and bushes
        "traffic": 10,  # other vehicles: the side they keep to, not their make
        "grass": 11,
        "wall": 12,  # walls of houses
        "shortcut": 13,  # a planted one
    }
)
"""Mask value of each clue: that of the front-most object at a pixel. A planted shortcut hides whatever it covers."""

NAMES: Mapping[int, str] = MappingProxyType({value: name for name, value in CLUES.items()})

WHITE: RGB = (236, 236, 230)
YELLOW: RGB = (240, 178, 28)


@dataclass(frozen=True)
class Marking:
    """A painted line: `mark` metres of paint, then `gap` metres without; gap 0 is a solid line."""

    colour: RGB
    mark: float
    gap: float
    double: bool = False

    def __str__(self) -> str:
        tint = "yellow" if self.colour == YELLOW else "white"
        form = "dashed" if self.gap else "double solid" if self.double else "solid"
        return f"{tint} {form}"


@dataclass(frozen=True)
class Bollard:
    """A roadside marker post; `band` says what is near its top."""

    body: RGB
    band: RGB | None
    reflector: RGB | None
    form: Literal["post", "slanted", "stripes", "disc"]
    width: float = 0.14
    height: float = 1.0


@dataclass(frozen=True)
class Pole:
    """A utility pole: its shaft, how many crossarms and wires it carries, and what else hangs on it."""

    colour: RGB
    form: Literal["wood", "round", "square", "lamp"]
    share: float  # of drives with poles along the road
    crossarms: int = 1
    wires: int = 3
    transformer: bool = False
    guard: bool = False  # yellow and black stripes near the ground
    footing: bool = False  # a wooden shaft tied to a concrete stub


@dataclass(frozen=True)
class Plate:
    """A number plate: width over height in metres, face colour, and the strips at its ends or top."""

    face: RGB
    wide: bool
    left_strip: RGB | None = None
    right_strip: RGB | None = None
    top_strip: RGB | None = None


@dataclass(frozen=True)
class Signs:
    """Shapes and colours of warning, speed and direction signs."""

    warning: Literal["diamond", "triangle"]
    speed: Literal["circle", "rectangle"]
    direction: tuple[RGB, ...]  # backgrounds; text is white on dark ones and black on light ones
    scripts: tuple[
        Literal["latin", "cyrillic", "japanese", "thai", "arabic"], ...
    ]  # the lines of a direction sign, top line first
    striped_post: bool = False


@dataclass(frozen=True)
class Roof:
    form: Literal["gable", "hip", "flat"]
    colour: RGB
    rise: float  # height of the ridge over half the span
    ribbed: bool = False  # corrugated metal


@dataclass(frozen=True)
class Plants:
    """Trees by weight, the ground cover, and how much bare soil shows through it."""

    trees: tuple[tuple[str, float], ...]
    grass: tuple[RGB, ...]
    cover: float  # share of the verge that is green, 0 to 1
    density: float  # trees against the world's mean
    hedges: float = 0.0  # share of drives lined by hedges
    canopy: RGB = (58, 84, 40)  # the line of trees on the horizon


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """All clues of one country."""

    code: str
    drives_on: Literal["left", "right"]
    centre: tuple[tuple[Marking, float], ...]  # (line, weight)
    edge: Marking
    edge_share: float  # share of roads with edge lines
    signs: Signs
    rear_plates: tuple[Plate, ...]
    bollard: Bollard | None = None
    front_plates: tuple[Plate, ...] = ()  # where they differ from those at the rear
    pole: Pole
    roofs: tuple[Roof, ...]
    walls: tuple[RGB, ...]
    soil: RGB
    plants: Plants
    snows: bool
    places: tuple[tuple[float, float], ...]  # (lat, lon) of towns well inside the borders
