"""Where everything stands: the road, the camera that looks along it, the light, and the usual ways to place a face.

World axes: x to the right of the road's first metre, y up, z forward, in metres. Angles are given as slopes
(tangents) so that no trigonometry is needed and the same numbers come out on any machine.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from whichland.sources.synthetic.canvas import F32, Canvas
from whichland.sources.synthetic.conventions import CLUES, RGB, SCENERY, Colour, Point, Shape

Point3 = tuple[float, float, float]

NEAR = 0.6  # metres; nothing nearer is drawn
ROAD_LENGTH = 1400


class Road:
    """The centre line of a road: lateral offset and slope by the metre, from a few changes of curvature."""

    def __init__(self, rng: np.random.Generator) -> None:
        bend = 0.0002 + 0.0016 * rng.random()
        knots = [(value - 0.5) * 2 * bend for value in rng.random(24).tolist()]
        self._offsets, self._slopes = [0.0], [0.0]
        for metre in range(1, ROAD_LENGTH + 1):
            knot, part = divmod(metre, 64)
            slope = self._slopes[-1] + knots[knot] + (knots[knot + 1] - knots[knot]) * (part / 64)
            self._slopes.append(min(max(slope, -0.4), 0.4))
            self._offsets.append(self._offsets[-1] + self._slopes[-1])
        self._offset: F32 = np.asarray(self._offsets, dtype=np.float32)

    def centre(self, s: float) -> float:
        """Lateral position of the centre line, `s` metres along."""
        if s <= 0:
            return 0.0
        cell = int(s)
        low, high = self._offsets[cell], self._offsets[cell + 1]
        return low + (high - low) * (s - cell)

    def slope(self, s: float) -> float:
        """Direction of the road, as lateral metres a metre forward."""
        return self._slopes[min(max(int(s), 0), ROAD_LENGTH)]

    def centres(self, z: F32) -> F32:
        """Lateral position of the centre line for an array of distances along."""
        along = np.clip(z, 0, ROAD_LENGTH - 1.001)
        cell = along.astype(np.int32)
        low, high = self._offset[cell], self._offset[cell + 1]
        result: F32 = low + (high - low) * (along - cell.astype(np.float32))
        return result


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: position, direction of view as slopes, focal length and picture size in pixels."""

    x: float
    y: float  # height over the ground
    z: float
    yaw: float  # slope of the view direction to the right of +z
    pitch: float  # slope downwards
    focal: float
    width: int
    height: int

    @cached_property
    def forward(self) -> Point:
        """Unit view direction in the ground plane."""
        norm = sqrt(1 + self.yaw * self.yaw)
        return self.yaw / norm, 1 / norm

    @cached_property
    def tilt(self) -> Point:
        """(cosine, sine) of the downward pitch."""
        norm = sqrt(1 + self.pitch * self.pitch)
        return 1 / norm, self.pitch / norm

    @property
    def horizon(self) -> float:
        """Row of the horizon, in pixels from the top."""
        return self.height / 2 - self.focal * self.pitch

    def seen(self, x: float, z: float) -> Point:
        """Metres to the right of the view direction and metres in front of the camera, along the ground."""
        (fx, fz), dx, dz = self.forward, x - self.x, z - self.z
        return dx * fz - dz * fx, dx * fx + dz * fz

    def project(self, x: float, y: float, z: float) -> Point:
        """Pixel of a world point; points behind the camera are pulled to just before it."""
        (aside, ahead), (cos, sin), up = self.seen(x, z), self.tilt, y - self.y
        depth = ahead * cos - up * sin
        scale = self.focal / (depth if depth > NEAR else NEAR)
        return self.width / 2 + scale * aside, self.height / 2 - scale * (up * cos + ahead * sin)

    def ground(self) -> tuple[int, F32, F32, F32]:
        """First row that shows the ground, then each pixel's world x, z and distance from it down."""
        first = max(ceil(self.horizon + 0.5), 0)
        rows = np.arange(first, self.height, dtype=np.float32) + 0.5
        columns = np.arange(self.width, dtype=np.float32) + 0.5
        (cos, sin), (fx, fz) = self.tilt, self.forward
        v = ((rows - self.height / 2) / self.focal)[:, None]
        u = ((columns - self.width / 2) / self.focal)[None, :]
        reach = self.y / np.maximum(v * cos + sin, 1e-4)
        ahead = np.minimum((cos - v * sin) * reach, 3000)
        side = u * reach
        return (
            first,
            self.x + ahead * fx + side * fz,
            self.z + ahead * fz - side * fx,
            np.broadcast_to(ahead, side.shape),
        )


class Light(NamedTuple):
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

    def shade(self, albedo: Colour, depth: float, lit: float = 0.6) -> RGB:
        """Return the 0..255 colour of a surface; `lit` is 0 in shadow and 1 facing the sun."""
        haze = self.fade(depth)
        clear = 1 - haze
        (r, g, b), (ar, ag, ab), (sr, sg, sb), (hr, hg, hb) = albedo, self.ambient, self.sun, self.haze
        red = int(r * (ar + sr * lit) * clear + hr * haze + 0.5)
        green = int(g * (ag + sg * lit) * clear + hg * haze + 0.5)
        blue = int(b * (ab + sb * lit) * clear + hb * haze + 0.5)
        return min(red, 255), min(green, 255), min(blue, 255)


@dataclass(frozen=True)
class Stage:
    """One frame being drawn. Positions along the road are (lateral metres, metres up, metres along)."""

    camera: Camera
    road: Road
    light: Light
    canvas: Canvas

    def at(self, lateral: float, up: float, s: float) -> Point:
        """Pixel of a place beside the road."""
        return self.camera.project(self.road.centre(s) + lateral, up, s)

    def seen(self, lateral: float, s: float) -> Point:
        """Metres to the right of the view direction, and in front of the camera."""
        return self.camera.seen(self.road.centre(s) + lateral, s)

    @cached_property
    def reach(self) -> float:
        """Metres seen to each side, a metre ahead."""
        return self.camera.width / 2 / self.camera.focal

    def scale(self, depth: float) -> float:
        """Pixels a metre at `depth`."""
        return self.camera.focal / max(depth, NEAR)

    def face(self, corners: Sequence[Point3], tint: Colour, label: str, lit: float, depth: float) -> None:
        """Fill a flat face given by its corners beside the road."""
        points = [self.at(*corner) for corner in corners]
        self.canvas.polygon(points, self.light.shade(tint, depth, lit), CLUES[label])

    def toward_sun(self, normal_x: float, normal_z: float) -> float:
        """How much sun an upright wall gets, 0 to 1, from its outward normal."""
        x, z = self.light.sun_x, self.light.sun_z
        facing = -(normal_x * x + normal_z * z) / sqrt(x * x + z * z + 1)
        return min(max(0.35 + facing * 0.9, 0.05), 1.0)


class Board:
    """Draws in metres over a place beside the road, facing the camera: x to the right, y up, all with one label.

    `depth` sets the size and the haze; without it they follow from the place.
    """

    def __init__(self, stage: Stage, lateral: float, s: float, label: str, depth: float | None = None) -> None:
        self.stage, self.label = stage, CLUES[label]
        self.depth = stage.seen(lateral, s)[1] if depth is None else depth
        self.unit = stage.scale(self.depth)
        self.foot = stage.at(lateral, 0, s)

    def fill(self, shape: Shape, tint: RGB, lit: float = 0.75) -> None:
        """Fill a shape with a surface's colour; `lit` is the sun on it."""
        self.paint(shape, self.stage.light.shade(tint, self.depth, lit))

    def paint(self, shape: Shape, ink: RGB) -> None:
        """Fill a shape with a colour as it is, of a lamp for example."""
        self.stage.canvas.polygon(self._placed(shape), ink, self.label)

    def stroke(self, points: Shape, tint: RGB, width: float) -> None:
        """Draw a line `width` metres wide."""
        ink = self.stage.light.shade(tint, self.depth, 0.75)
        self.stage.canvas.line(self._placed(points), ink, width * self.unit, self.label)

    def draw(
        self,
        name: str,
        tints: Mapping[str, RGB | None] = MappingProxyType({}),
        scale: Point = (1, 1),
        at: Point = (0, 0),
    ) -> None:
        """Fill the faces of a drawing of SCENERY, `scale` metres a unit; those whose tint is None are left out."""
        for tint, lit, (outline,) in SCENERY.drawings[name]:
            colour = tints[tint] if isinstance(tint, str) else tint
            if colour is not None:
                self.fill([(at[0] + x * scale[0], at[1] + y * scale[1]) for x, y in outline], colour, lit)

    def _placed(self, points: Shape) -> Shape:
        (x, y), unit = self.foot, self.unit
        return [(x + a * unit, y - b * unit) for a, b in points]


@dataclass(frozen=True)
class Prop(ABC):
    """Something on or beside the road, `lateral` metres from the road's middle (negative: left), `s` along it."""

    lateral: float
    s: float

    @abstractmethod
    def draw(self, stage: Stage) -> None:
        """Draw it on the stage's canvas."""

    def in_view(self, stage: Stage) -> bool:
        """Whether any of it may show; what lies wholly beside the picture is not worth drawing."""
        aside, depth = stage.seen(self.lateral, self.s)
        return 2.2 < depth < 320 and abs(aside) < depth * stage.reach + self.half_width

    @property
    def half_width(self) -> float:
        """Metres it may reach to each side."""
        return 3.0

    def shadow(self, light: Light, x: float, z: float) -> Shape:
        """Outline of its shadow on the ground, in world x and z, from its own place in the world; [] for none."""
        return []


def box(left: float, bottom: float, right: float, top: float) -> Shape:
    """An upright rectangle of a board."""
    return [(left, bottom), (left, top), (right, top), (right, bottom)]


def upright(a: Point3, b: Point3) -> list[Point3]:
    """An upright rectangle in space, from its lower corner `a` to its upper corner `b`."""
    return [a, (a[0], b[1], a[2]), b, (b[0], a[1], b[2])]


def cast(light: Light, x: Point, z: Point, height: float) -> Shape:
    """Outline of the shadow of a block of `height` that stands on x[0]..x[1] by z[0]..z[1]."""
    dx, dz = light.sun_x * height, light.sun_z * height
    (x0, x1), (z0, z1) = sorted(x, reverse=dx < 0), sorted(z, reverse=dz < 0)
    return [(x0, z0), (x1, z0), (x1 + dx, z0 + dz), (x1 + dx, z1 + dz), (x0 + dx, z1 + dz), (x0, z1)]
