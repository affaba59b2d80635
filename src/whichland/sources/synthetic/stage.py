"""What a thing needs to draw itself: camera, road, light and canvas, with the usual ways to place a face."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from whichland.sources.synthetic.camera import Camera, Point, Road
from whichland.sources.synthetic.canvas import Canvas
from whichland.sources.synthetic.clues import CLUES
from whichland.sources.synthetic.light import Light

Point3 = tuple[float, float, float]
RGB = tuple[int, int, int]
Tint = RGB | tuple[float, float, float]


@dataclass(frozen=True)
class Stage:
    """One frame being drawn. Positions along the road are (lateral metres, metres up, metres along)."""

    camera: Camera
    road: Road
    light: Light
    canvas: Canvas

    def world(self, lateral: float, s: float) -> Point:
        """Ground position of a place beside the road."""
        return self.road.centre(s) + lateral, s

    def at(self, lateral: float, up: float, s: float) -> Point:
        """Pixel of a place beside the road."""
        x, z = self.world(lateral, s)
        return self.camera.project(x, up, z)

    def depth(self, lateral: float, s: float) -> float:
        """Metres in front of the camera."""
        return self.camera.depth(*self.world(lateral, s))

    def aside(self, lateral: float, s: float) -> float:
        """Metres to the right of the view direction."""
        fx, fz = self.camera.forward
        x, z = self.world(lateral, s)
        return (x - self.camera.x) * fz - (z - self.camera.z) * fx

    @property
    def reach(self) -> float:
        """Metres seen to each side, a metre ahead."""
        return self.camera.width / 2 / self.camera.focal

    def scale(self, depth: float) -> float:
        """Pixels a metre at `depth`."""
        return self.camera.focal / max(depth, 0.6)

    def face(self, corners: Sequence[Point3], tint: Tint, label: str, lit: float, depth: float) -> None:
        """Fill a flat face given by its corners beside the road."""
        points = [self.at(*corner) for corner in corners]
        self.canvas.polygon(points, self.light.shade(tint, depth, lit), CLUES[label])

    def board(self, origin: Point, unit: float, shape: Sequence[Point], ink: RGB, label: str) -> None:
        """Fill a shape that faces the camera: `shape` in metres from `origin` (pixels), y upwards."""
        x, y = origin
        self.canvas.polygon([(x + a * unit, y - b * unit) for a, b in shape], ink, CLUES[label])


def toward_sun(light: Light, normal_x: float, normal_z: float) -> float:
    """How much sun an upright wall gets, 0 to 1, from its outward normal."""
    norm = sqrt(light.sun_x * light.sun_x + light.sun_z * light.sun_z + 1)
    facing = -(normal_x * light.sun_x + normal_z * light.sun_z) / norm
    return min(max(0.35 + facing * 0.9, 0.05), 1.0)
