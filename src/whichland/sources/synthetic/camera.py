"""A perspective camera over flat ground, and the road it looks along.

World axes: x to the right of the road's first metre, y up, z forward, in metres. Angles are given as slopes
(tangents) so that no trigonometry is needed and the same numbers come out on any machine.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.floating[Any]]  # float32 throughout; numpy's stubs widen it at every constant
Point = tuple[float, float]

NEAR = 0.6  # metres; nothing nearer is drawn
ROAD_LENGTH = 1400


class Road:
    """The centre line of a road: lateral offset and slope by the metre, from a few changes of curvature."""

    def __init__(self, rng: np.random.Generator) -> None:
        bend = 0.0002 + 0.0016 * rng.random()
        knots = [(value - 0.5) * 2 * bend for value in rng.random(24).tolist()]
        self._offsets, self._slopes = [0.0], [0.0]
        slope, lateral = 0.0, 0.0
        for metre in range(1, ROAD_LENGTH + 1):
            knot, part = divmod(metre, 64)
            slope = min(max(slope + knots[knot] + (knots[knot + 1] - knots[knot]) * (part / 64), -0.4), 0.4)
            lateral += slope
            self._offsets.append(lateral)
            self._slopes.append(slope)
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

    @cached_property
    def columns(self) -> F32:
        """Slope to the right of the view direction of each column's left edge."""
        columns: F32 = (np.arange(self.width, dtype=np.float32) - self.width / 2) / np.float32(self.focal)
        return columns

    def depth(self, x: float, z: float) -> float:
        """Metres in front of the camera, along the ground."""
        fx, fz = self.forward
        return (x - self.x) * fx + (z - self.z) * fz

    def aside(self, x: float, z: float) -> float:
        """Metres to the right of the view direction."""
        fx, fz = self.forward
        return (x - self.x) * fz - (z - self.z) * fx

    def project(self, x: float, y: float, z: float) -> Point:
        """Pixel of a world point; points behind the camera are pulled to just before it."""
        fx, fz = self.forward
        cos, sin = self.tilt
        dx, dz, up = x - self.x, z - self.z, y - self.y
        ahead = dx * fx + dz * fz
        depth = ahead * cos - up * sin
        scale = self.focal / (depth if depth > NEAR else NEAR)
        right = self.width / 2 + scale * (dx * fz - dz * fx)
        return right, self.height / 2 - scale * (up * cos + ahead * sin)

    def ground(self) -> tuple[int, F32, F32, F32]:
        """First row that shows the ground, then each pixel's world x, z and distance from it down."""
        first = max(ceil(self.horizon + 0.5), 0)
        rows = np.arange(first, self.height, dtype=np.float32) + 0.5
        columns = np.arange(self.width, dtype=np.float32) + 0.5
        (cos, sin), (fx, fz) = self.tilt, self.forward
        v = ((rows - self.height / 2) / self.focal)[:, None]
        u = ((columns - self.width / 2) / self.focal)[None, :]
        down = np.maximum(v * cos + sin, 1e-4)
        reach = self.y / down
        ahead = np.minimum((cos - v * sin) * reach, 3000)
        side = u * reach
        x = self.x + ahead * fx + side * fz
        z = self.z + ahead * fz - side * fx
        return first, x, z, np.broadcast_to(ahead, x.shape)
