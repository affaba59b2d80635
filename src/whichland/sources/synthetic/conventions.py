"""What a scene can show: the clues as values of its mask, and the tables from which scenes are drawn.

`countries.toml` has the road conventions of twelve countries, `scenery.toml` what is the same in all of them: weather,
trees, vehicles, letters. Colours are albedos, 0 to 255 per channel; lengths are metres; a weight need not sum to one.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from PIL import ImageColor
from pydantic import BeforeValidator, TypeAdapter

_COUNTRIES, _SCENERY = (
    tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
    for name in ("countries.toml", "scenery.toml")
)
_PALETTE = _COUNTRIES.pop("palette")


def _colour(value: Any) -> Any:
    """Give red, green and blue of #rrggbb or of a name of the palette; other names are left as they are."""
    value = _PALETTE.get(value, value)
    return ImageColor.getrgb(value) if isinstance(value, str) and value.startswith("#") else value


def _strokes(text: str) -> list[list[list[str]]]:
    """`x,y` are corners, `;` lies between strokes."""
    return [[pair.split(",") for pair in stroke.split()] for stroke in text.split(";")]


Colour = tuple[float, float, float]
RGB = Annotated[tuple[int, int, int], BeforeValidator(_colour)]
Point = tuple[float, float]
Shape = list[Point]
Glyph = Annotated[list[Shape], BeforeValidator(_strokes)]
Tint = Annotated[tuple[int, int, int] | str, BeforeValidator(_colour)]  # or the name of a colour given when drawing

YELLOW: RGB = _colour("yellow")  # of paint on the road


class Marking(NamedTuple):
    """A painted line: `mark` metres of paint, then `gap` metres without; gap 0 is a solid line."""

    colour: RGB
    mark: float = 1
    gap: float = 0
    double: bool = False

    def __str__(self) -> str:
        form = "dashed" if self.gap else "double solid" if self.double else "solid"
        return f"{'yellow' if self.colour == YELLOW else 'white'} {form}"


class Bollard(NamedTuple):
    """A roadside marker post; `band` says what is near its top."""

    body: RGB
    form: Literal["post", "slanted", "stripes", "disc"]
    width: float
    height: float = 1.0
    band: RGB | None = None
    reflector: RGB | None = None


class Pole(NamedTuple):
    """A utility pole: its shaft, how many crossarms and wires it carries, and what else hangs on it."""

    colour: RGB
    form: Literal["wood", "round", "square", "lamp"]
    share: float  # of drives with poles along the road
    crossarms: int = 1
    wires: int = 3
    transformer: bool = False
    guard: bool = False  # yellow and black stripes near the ground
    footing: bool = False  # a wooden shaft tied to a concrete stub


class Plate(NamedTuple):
    """A number plate: its shape, face colour, and the strips at its ends or top."""

    face: RGB
    wide: bool
    left_strip: RGB | None = None
    right_strip: RGB | None = None
    top_strip: RGB | None = None


class Roof(NamedTuple):
    form: Literal["gable", "hip", "flat"]
    colour: RGB
    rise: float  # height of the ridge over half the span
    ribbed: bool = False  # corrugated metal


class Conventions(NamedTuple):
    """All clues of one country."""

    drives_on: Literal["left", "right"]
    snows: bool
    places: tuple[Point, ...]  # (lat, lon) of towns well inside the borders
    soil: RGB
    walls: tuple[RGB, ...]
    roofs: tuple[Roof, ...]
    trees: tuple[tuple[str, float], ...]  # (species, weight)
    grass: tuple[RGB, ...]
    cover: float  # share of the verge that is green, 0 to 1; soil shows through the rest
    density: float  # of trees, against the world's mean
    centre: tuple[tuple[Marking, float], ...]  # (line, weight)
    edge: Marking
    edge_share: float  # share of roads with edge lines
    warning_sign: Literal["diamond", "triangle"]
    speed_sign: Literal["circle", "rectangle"]
    direction_signs: tuple[RGB, ...]  # backgrounds; text is white on dark ones and black on light ones
    scripts: tuple[str, ...]  # of the lines of a direction sign, top line first
    pole: Pole
    rear_plates: tuple[Plate, ...]
    front_plates: tuple[Plate, ...] = ()  # where they differ from those at the rear
    bollard: Bollard | None = None
    hedges: float = 0.0  # share of drives lined by hedges
    canopy: RGB = (58, 84, 40)  # the line of trees on the horizon
    striped_posts: bool = False  # of signs


class Species(NamedTuple):
    """How a tree looks."""

    height: Point  # lowest and highest
    aspect: float  # width over height
    trunk: RGB
    leaf: RGB
    crown: Literal["round", "cone", "umbrella", "column", "open", "bush", "fronds"]
    bare: float = 0.2  # share of the height that is trunk alone
    stem: float = 0.045  # trunk width over sprite width


class Body(NamedTuple):
    half: float  # of the width
    length: float
    waist: float
    roof: float
    cabin: Point  # shares of the length, from the near end: where the roof starts and ends
    share: float  # of vehicles


class Scenery(NamedTuple):
    """What is the same in every country; `scenery.toml` says what the numbers of each row are."""

    clues: dict[str, tuple[int, str]]
    weathers: dict[str, tuple[float, float, float, float, float]]
    hours: dict[str, tuple[Colour, Colour, Colour, Colour, float, float]]
    species: dict[str, Species]
    vehicles: dict[str, Body]
    paints: tuple[RGB, ...]
    scripts: dict[str, tuple[float, list[Glyph]]]
    digits: dict[str, Glyph]
    pictograms: tuple[tuple[float, Glyph], ...]
    drawings: dict[str, list[tuple[Tint, float, Glyph]]]


WORLD: Mapping[str, Conventions] = TypeAdapter(dict[str, Conventions]).validate_python(_COUNTRIES)
"""Conventions by ISO 3166-1 alpha-2 code; six keep left, six keep right."""

SCENERY = TypeAdapter(Scenery).validate_python(_SCENERY)

CLUES: Mapping[str, int] = {name: value for name, (value, _) in SCENERY.clues.items()}
"""Mask value of each clue: that of the front-most object at a pixel. A planted shortcut hides whatever it covers."""

NAMES: Mapping[int, str] = {value: name for name, value in CLUES.items()}
