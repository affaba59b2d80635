"""What an object needs to draw itself: camera, road, light and canvas, with the usual ways to place a face."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

from whichland.sources.synthetic.camera import Camera, Point, Road
from whichland.sources.synthetic.canvas import Canvas
from whichland.sources.synthetic.conventions import CLUES, RGB
from whichland.sources.synthetic.light import Colour, Light

Point3 = tuple[float, float, float]
Shape = list[Point]


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

    def depth(self, lateral: float, s: float) -> float:
        """Metres in front of the camera."""
        return self.camera.depth(self.road.centre(s) + lateral, s)

    def aside(self, lateral: float, s: float) -> float:
        """Metres to the right of the view direction."""
        return self.camera.aside(self.road.centre(s) + lateral, s)

    @cached_property
    def reach(self) -> float:
        """Metres seen to each side, a metre ahead."""
        return self.camera.width / 2 / self.camera.focal

    def scale(self, depth: float) -> float:
        """Pixels a metre at `depth`."""
        return self.camera.focal / max(depth, 0.6)

    def face(self, corners: Sequence[Point3], tint: RGB | Colour, label: str, lit: float, depth: float) -> None:
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
        self.depth = stage.depth(lateral, s) if depth is None else depth
        self.unit = stage.scale(self.depth)
        self.foot = stage.at(lateral, 0, s)

    def fill(self, shape: Shape, tint: RGB, lit: float = 0.75, label: str | None = None) -> None:
        """Fill a shape with a surface's colour; `lit` is the sun on it."""
        self.paint(shape, self.stage.light.shade(tint, self.depth, lit), label)

    def paint(self, shape: Shape, ink: RGB, label: str | None = None) -> None:
        """Fill a shape with a colour as it is, of a lamp for example."""
        self.stage.canvas.polygon(self._placed(shape), ink, CLUES[label] if label else self.label)

    def stroke(self, points: Shape, tint: RGB, width: float) -> None:
        """Draw a line `width` metres wide."""
        ink = self.stage.light.shade(tint, self.depth, 0.75)
        self.stage.canvas.line(self._placed(points), ink, width * self.unit, self.label)

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
        depth = stage.depth(self.lateral, self.s)
        return 2.2 < depth < 320 and abs(stage.aside(self.lateral, self.s)) < depth * stage.reach + self.half_width

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


def cast(x: Point, z: Point, dx: float, dz: float) -> Shape:
    """Outline of the shadow of a block that stands on x[0]..x[1] by z[0]..z[1], its top's moved by (dx, dz)."""
    (x0, x1), (z0, z1) = sorted(x, reverse=dx < 0), sorted(z, reverse=dz < 0)
    return [(x0, z0), (x1, z0), (x1 + dx, z0 + dz), (x1 + dx, z1 + dz), (x0 + dx, z1 + dz), (x0, z1)]
