"""Houses with gable, hip or flat roofs, windows, doors and chimneys."""

from dataclasses import dataclass

from whichland.sources.synthetic.conventions import CLUES, RGB, Roof
from whichland.sources.synthetic.light import Colour, Light
from whichland.sources.synthetic.stage import Point3, Prop, Shape, Stage, cast, upright

GLASS: RGB = (74, 88, 102)
FRAME: RGB = (226, 226, 222)
DOOR: RGB = (96, 70, 54)
BRICK: RGB = (142, 96, 80)


@dataclass(frozen=True)
class House(Prop):
    """A box whose near long side is beside the road."""

    length: float  # along the road
    depth: float  # away from the road
    height: float  # to the eaves
    roof: Roof
    wall: RGB
    along: bool  # the ridge runs along the road
    chimney: bool
    door: int  # which bay of the front holds the door

    @property
    def far(self) -> float:
        """Lateral of the long side away from the road."""
        return self.lateral + (self.depth if self.lateral > 0 else -self.depth)

    def draw(self, stage: Stage) -> None:
        _Drawing(self, stage).draw()

    def in_view(self, stage: Stage) -> bool:
        """Whether it is near enough, and some corner neither left nor right of the picture."""
        if self.s + self.length <= stage.camera.z + 2 or stage.depth(self.lateral, self.s) >= 260:
            return False
        outside = []
        for lateral in (self.lateral, self.far):
            for s in (max(self.s, stage.camera.z + 1), self.s + self.length):
                aside, limit = stage.aside(lateral, s), max(stage.depth(lateral, s), 1.0) * stage.reach + 1.0
                outside.append(-1 if aside < -limit else 1 if aside > limit else 0)
        return not (min(outside) == 1 or max(outside) == -1)

    def shadow(self, light: Light, x: float, z: float) -> Shape:
        away = self.depth if self.lateral > 0 else -self.depth
        reach = self.height * 1.2
        return cast((x, x + away), (z, z + self.length), light.sun_x * reach, light.sun_z * reach)


class _Drawing:
    """One house as it is drawn in one frame."""

    def __init__(self, house: House, stage: Stage) -> None:
        self.house, self.stage = house, stage
        out = 0.45 if house.lateral > 0 else -0.45
        self.walls_x = self.x0, self.x1 = house.lateral, house.far
        self.walls_z = self.z0, self.z1 = house.s, house.s + house.length
        self.eaves_x = self.x0 - out, self.x1 + out
        self.eaves_z = self.z0 - 0.45, self.z1 + 0.45
        self.depth = stage.depth(house.lateral, max(house.s, stage.camera.z + 1))
        self.lit_front = stage.toward_sun(-1 if house.lateral > 0 else 1, 0)
        self.lit_end = stage.toward_sun(0, -1)
        self.end_seen = stage.camera.z < house.s
        red, green, blue = (c + (238 - c) * stage.light.snow * 0.85 for c in house.roof.colour)
        self.tint: Colour = (red, green, blue)

    def draw(self) -> None:
        h = self.house.height
        if self.end_seen:
            self._wall(upright((self.x0, 0.0, self.z0), (self.x1, h, self.z0)), self.lit_end)
        self._wall(upright((self.x0, 0.0, self.z0), (self.x0, h, self.z1)), self.lit_front)
        self._openings()
        if self.house.roof.form == "flat":
            self._parapet()
        else:
            self._pitched()

    def _wall(self, corners: list[Point3], lit: float, tint: RGB | Colour | None = None) -> None:
        self.stage.face(corners, tint or self.house.wall, "wall", lit, self.depth)

    def _roof(self, corners: list[Point3], lit: float) -> None:
        self.stage.face(corners, self.tint, "roof", lit, self.depth)

    def _openings(self) -> None:
        """Windows on the front and on the end that faces the camera, and one door."""
        house, x = self.house, self.x0
        bays = max(int(house.length / 2.6), 2)
        pitch = house.length / bays
        for floor in range(2 if house.height > 4.2 else 1):
            sill = 0.95 + floor * 2.7
            for bay in range(bays):
                middle = house.s + pitch * (bay + 0.5)
                if floor == 0 and bay == house.door % bays:
                    self._wall(upright((x, 0.0, middle - 0.5), (x, 2.1, middle + 0.5)), self.lit_front, DOOR)
                else:
                    self._window(x, sill, middle, (0.0, 0.52), self.lit_front)
            for part in (0.3, 0.7) if self.end_seen else ():
                self._window(x + (self.x1 - x) * part, sill, house.s, (0.43, 0.0), self.lit_end)

    def _window(self, x: float, y: float, z: float, half: tuple[float, float], lit: float) -> None:
        """A pane in its frame; `half` is half its width along x and along the road, one of them zero."""
        dx, dz = half
        if self.depth < 90:
            rim_x, rim_z = dx * 1.25, dz * 1.25
            self._wall(upright((x - rim_x, y - 0.1, z - rim_z), (x + rim_x, y + 1.3, z + rim_z)), lit, FRAME)
        red, green, blue = (g * 0.6 + s * 0.25 for g, s in zip(GLASS, self.stage.light.horizon, strict=True))
        self._wall(upright((x - dx, y, z - dz), (x + dx, y + 1.2, z + dz)), 0.4, (red, green, blue))

    def _parapet(self) -> None:
        (x0, x1), (z0, z1) = self.eaves_x, self.eaves_z
        low, top = self.house.height - 0.1, self.house.height + 0.7
        if self.end_seen:
            self._roof(upright((x0, low, z0), (x1, top, z0)), self.lit_end)
        self._roof(upright((x0, low, z0), (x0, top, z1)), self.lit_front)

    def _pitched(self) -> None:
        """A gable or hip roof: one of its triangles, one of its planes and the chimney.

        Where the ridge runs along the road, the triangle faces the camera and the plane the road; else the other way
        round. Either way a point is (across the ridge, up, along the ridge).
        """
        h, along, hipped = self.house.height, self.house.along, self.house.roof.form == "hip"
        across, ridgewise = (self.eaves_x, self.eaves_z) if along else (self.eaves_z, self.eaves_x)
        wall_across, wall_near = (self.walls_x, self.z0) if along else (self.walls_z, self.x0)
        lit_triangle, lit_plane = (self.lit_end, self.lit_front) if along else (self.lit_front, self.lit_end)
        (c0, c1), (r0, r1) = across, ridgewise
        middle, half = (c0 + c1) / 2, abs(c1 - c0) / 2
        peak = h + half * self.house.roof.rise
        pull = (half if along else min(half, abs(r1 - r0) * 0.45)) if hipped else 0.0
        inner = pull if r0 < r1 else -pull

        def at(*points: Point3) -> list[Point3]:
            return list(points) if along else [(z, y, x) for x, y, z in points]

        ridge = at((middle, peak, r0 + inner), (middle, peak, r1 - inner))
        if (self.end_seen or not along) and hipped:
            self._roof(at((c0, h, r0), (middle, peak, r0 + inner), (c1, h, r0)), min(lit_triangle + 0.25, 1.0))
        elif self.end_seen or not along:
            (w0, w1), near = wall_across, wall_near
            self._wall(at((w0, h, near), (middle, peak - 0.3, near), (w1, h, near)), lit_triangle)
            verge = at((c0, h, r0), (middle, peak, r0), (c1, h, r0))
            verge += at((c1, h - 0.28, r0), (middle, peak - 0.34, r0), (c0, h - 0.28, r0))
            self._roof(verge, lit_triangle * 0.7)
        if along or self.end_seen:
            plane = [*at((c0, h, r0)), *ridge, *at((c0, h, r1))]
            lit = min(lit_plane + 0.25, 1.0)
            self._roof(plane, lit)
            self._courses(plane, lit)
        if self.house.chimney:
            self._chimney(*ridge)

    def _courses(self, plane: list[Point3], lit: float) -> None:
        """Rows of tiles, or ribs of metal, as darker lines on a roof plane."""
        if self.depth > 45:
            return
        red, green, blue = self.tint
        dark = self.stage.light.shade((red * 0.8, green * 0.8, blue * 0.8), self.depth, lit)
        eave_a, ridge_a, ridge_b, eave_b = plane
        ribbed = self.house.roof.ribbed
        sides = ((eave_a, eave_b), (ridge_a, ridge_b)) if ribbed else ((eave_a, ridge_a), (eave_b, ridge_b))
        count = 9 if ribbed else 5
        for t in (index / count for index in range(1, count)):
            line = [self.stage.at(*(p + (q - p) * t for p, q in zip(a, b, strict=True))) for a, b in sides]
            self.stage.canvas.line(line, dark, 0.5, CLUES["roof"])

    def _chimney(self, a: Point3, b: Point3) -> None:
        x, y, z = (p + (q - p) * 0.25 for p, q in zip(a, b, strict=True))
        side = 0.35 if self.house.lateral > 0 else -0.35
        self._wall(upright((x - side, y - 0.5, z), (x + side, y + 0.8, z)), self.lit_front, BRICK)
