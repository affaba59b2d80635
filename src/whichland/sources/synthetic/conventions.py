"""What a country's roads look like: the fields that the table in `countries` fills.

Colours are albedos, 0 to 255 per channel; lengths are metres; a weight need not sum to one.
"""

from dataclasses import dataclass
from typing import Literal

RGB = tuple[int, int, int]
Script = Literal["latin", "cyrillic", "japanese", "thai", "arabic"]
RoofForm = Literal["gable", "hip", "flat"]

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
    """A roadside marker post; `band` says what stands near its top."""

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
    scripts: tuple[Script, ...]  # the lines of a direction sign, top line first
    striped_post: bool = False


@dataclass(frozen=True)
class Roof:
    form: RoofForm
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
    centre: tuple[tuple[float, Marking], ...]  # (weight, line)
    edge: Marking
    edge_share: float  # share of roads with edge lines
    signs: Signs
    bollard: Bollard | None
    front_plates: tuple[Plate, ...]
    rear_plates: tuple[Plate, ...]
    pole: Pole
    pole_share: float  # share of drives with poles along the road
    roofs: tuple[Roof, ...]
    walls: tuple[RGB, ...]
    soil: RGB
    plants: Plants
    snows: bool
    places: tuple[tuple[float, float], ...]  # (lat, lon) of towns well inside the borders
