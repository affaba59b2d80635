"""Weather and time of day: what they do to colours, and nothing to do with the country."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Colour = tuple[float, float, float]
T = TypeVar("T")

WEATHERS = (("clear", 0.3), ("cloudy", 0.27), ("overcast", 0.18), ("rain", 0.1), ("fog", 0.08), ("snow", 0.07))
HOURS = (("noon", 0.35), ("day", 0.35), ("golden", 0.2), ("dusk", 0.1))


@dataclass(frozen=True)
class Light:
    """One moment's light. Colours of light are multipliers of an albedo; sky colours are 0 to 255."""

    weather: str
    hour: str
    zenith: Colour
    horizon: Colour
    haze: Colour
    visibility: float  # metres at which the haze takes half of a colour
    sun: Colour  # added where the sun reaches
    ambient: Colour
    sun_x: float  # where shadows fall: metres to the right and forward for a metre of height
    sun_z: float
    clouds: float  # share of the sky, 0 to 1
    wet: float  # 0 dry to 1 mirror
    snow: float  # 0 none to 1 thin cover
    glow: float  # strength of the sun's glow in the sky

    @property
    def shadows(self) -> bool:
        return self.sun[0] > 0.15

    def fade(self, depth: float) -> float:
        """Share of a colour that the haze takes at `depth` metres."""
        ratio = depth / self.visibility
        return ratio / (1 + ratio)

    def shade(self, albedo: Colour | tuple[int, int, int], depth: float, lit: float = 0.6) -> tuple[int, int, int]:
        """Return the 0..255 colour of a surface; `lit` is 0 in shadow and 1 facing the sun."""
        haze = self.fade(depth)
        clear = 1 - haze
        (r, g, b), (ar, ag, ab), (sr, sg, sb), (hr, hg, hb) = albedo, self.ambient, self.sun, self.haze
        red = int(r * (ar + sr * lit) * clear + hr * haze + 0.5)
        green = int(g * (ag + sg * lit) * clear + hg * haze + 0.5)
        blue = int(b * (ab + sb * lit) * clear + hb * haze + 0.5)
        return min(red, 255), min(green, 255), min(blue, 255)


def pick(rng: np.random.Generator, choices: tuple[tuple[T, float], ...]) -> T:
    """Draw one of (choice, weight) by weight."""
    mark = rng.random() * sum(weight for _, weight in choices)
    for choice, weight in choices:
        mark -= weight
        if mark < 0:
            return choice
    return choices[-1][0]


def _mix(a: Colour, b: Colour, t: float) -> Colour:
    return a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t


def _scaled(a: Colour, k: float) -> Colour:
    return a[0] * k, a[1] * k, a[2] * k


_WEATHER = {  # cloud cover, how dull it is, visibility in metres, glow around the sun
    "clear": (0.1, 0.0, 1500.0, 1.0),
    "cloudy": (0.55, 0.15, 1100.0, 0.7),
    "overcast": (0.9, 0.8, 800.0, 0.12),
    "rain": (0.95, 0.92, 330.0, 0.12),
    "fog": (0.5, 0.9, 85.0, 0.12),
    "snow": (0.9, 0.8, 260.0, 0.12),
}
_HOUR: dict[str, tuple[Colour, Colour, Colour, Colour, float]] = {  # zenith, horizon, sun, ambient, shadow length
    "noon": ((66, 124, 204), (188, 214, 236), (0.62, 0.60, 0.54), (0.50, 0.53, 0.58), 0.5),
    "day": ((80, 138, 210), (198, 218, 234), (0.60, 0.56, 0.48), (0.47, 0.50, 0.56), 0.9),
    "golden": ((96, 134, 190), (246, 208, 160), (0.66, 0.47, 0.26), (0.42, 0.42, 0.48), 2.2),
    "dusk": ((72, 92, 142), (236, 184, 152), (0.30, 0.20, 0.13), (0.46, 0.45, 0.51), 3.0),
}


def draw_light(rng: np.random.Generator, snows: bool) -> Light:
    """Draw weather and hour. Where it never snows, a draw of snow becomes an overcast day."""
    weather, hour = pick(rng, WEATHERS), pick(rng, HOURS)
    if weather == "snow" and not snows:
        weather = "overcast"
    r = rng.random(6).tolist()
    zenith, horizon, sun, ambient, length = _HOUR[hour]
    cover, dull, seen, glow = _WEATHER[weather]
    high = hour in ("noon", "day")
    grey = 214.0 if high else 178.0
    cloud_grey = (grey * 0.97, grey, grey * 1.03)
    horizon = _mix(horizon, cloud_grey, dull)
    return Light(
        weather=weather,
        hour=hour,
        zenith=_mix(zenith, _scaled(cloud_grey, 0.82), dull),
        horizon=horizon,
        haze=_mix(horizon, (200.0, 208.0, 218.0), 0.25),
        visibility=seen * (0.7 + 0.6 * r[1]),
        sun=_scaled(sun, max(1 - 1.1 * dull, 0.0)),
        ambient=_mix(ambient, (0.70, 0.72, 0.74) if high else (0.56, 0.57, 0.60), dull),
        sun_x=length * ((r[0] - 0.5) * 2),
        sun_z=length * (r[2] - 0.45) * 1.4,
        clouds=cover * (0.8 + 0.3 * r[3]),
        wet=0.75 + 0.25 * r[4] if weather == "rain" else 0.15 if weather == "fog" else 0.0,
        snow=0.45 + 0.45 * r[4] if weather == "snow" else 0.0,
        glow=glow * (0.8 if high else 1.3),
    )
