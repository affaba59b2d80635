"""Settings of the synthetic world, and how an origin such as `synthetic:scenes=2400,seed=0` spells them."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Interval

from whichland.config import AT_LEAST_0, AT_LEAST_1, Config
from whichland.errors import UserError
from whichland.sources.synthetic.countries import WORLD
from whichland.sources.synthetic.shortcuts import FILE_SHORTCUTS, SHORTCUTS


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
        elif key in ("scenes", "seed", "frames_per_drive", "width", "height", "size"):
            names, numbers = (("width", "height"), value.partition("x")[::2]) if key == "size" else ((key,), (value,))
            for name, number in zip(names, numbers, strict=True):
                if not (number.isascii() and number.isdigit()):
                    raise UserError(f"{text!r}: {key} must be whole numbers, not {number!r}")
                values[name] = int(number)
        else:
            known = "scenes, seed, size, frames_per_drive, countries, plant"
            raise UserError(f"{text!r}: unknown key {key!r}; known are {known}")
    return WorldConfig(**values)
