"""Houses with gable, hip or flat roofs, windows, doors and chimneys."""

from dataclasses import dataclass

from whichland.sources.synthetic.conventions import RGB, Roof
from whichland.sources.synthetic.stage import Point3, Stage, Tint, toward_sun

GLASS: RGB = (74, 88, 102)
FRAME: RGB = (226, 226, 222)


Ridge = tuple[Point3, Point3]


@dataclass(frozen=True, kw_only=True)
class Shell:
    """A house's extents as seen in one frame: walls, eaves, distance, light and roof colour."""

    walls_x: tuple[float, float]  # at the road, away from it
    walls_z: tuple[float, float]  # near end, far end
    eaves_x: tuple[float, float]
    eaves_z: tuple[float, float]
    depth: float
    lit_front: float
    lit_end: float
    end_seen: bool
    tint: tuple[float, float, float]


@dataclass(frozen=True)
class House:
    """A box whose near long side stands `lateral` metres from the road's middle (negative: left)."""

    lateral: float
    s: float
    length: float  # along the road
    depth: float  # away from the road
    height: float  # to the eaves
    roof: Roof
    wall: RGB
    along: bool  # the ridge runs along the road
    chimney: bool
    door: int  # which bay of the front holds the door

    def draw(self, stage: Stage) -> None:
        shell = self._shell(stage)
        (x0, x1), (z0, z1), h = shell.walls_x, shell.walls_z, self.height
        if shell.end_seen:
            end = [(x0, 0.0, z0), (x0, h, z0), (x1, h, z0), (x1, 0.0, z0)]
            stage.face(end, self.wall, "wall", shell.lit_end, shell.depth)
        front = [(x0, 0.0, z0), (x0, h, z0), (x0, h, z1), (x0, 0.0, z1)]
        stage.face(front, self.wall, "wall", shell.lit_front, shell.depth)
        self._openings(stage, shell)
        self._roof(stage, shell)

    def _shell(self, stage: Stage) -> Shell:
        away = self.depth if self.lateral > 0 else -self.depth
        out = 0.45 if away > 0 else -0.45
        x0, x1, z0, z1 = self.lateral, self.lateral + away, self.s, self.s + self.length
        red, green, blue = (c + (238 - c) * stage.light.snow * 0.85 for c in self.roof.colour)
        return Shell(
            walls_x=(x0, x1),
            walls_z=(z0, z1),
            eaves_x=(x0 - out, x1 + out),
            eaves_z=(z0 - 0.45, z1 + 0.45),
            depth=stage.depth(self.lateral, max(z0, stage.camera.z + 1)),
            lit_front=toward_sun(stage.light, -1 if self.lateral > 0 else 1, 0),
            lit_end=toward_sun(stage.light, 0, -1),
            end_seen=stage.camera.z < z0,
            tint=(red, green, blue),
        )

    def _openings(self, stage: Stage, shell: Shell) -> None:
        """Windows on the front and on the end that faces the camera, and one door."""
        floors = 2 if self.height > 4.2 else 1
        bays = max(int(self.length / 2.6), 2)
        pitch = self.length / bays
        x0, x1 = shell.walls_x
        for floor in range(floors):
            sill = 0.95 + floor * 2.7
            for bay in range(bays):
                middle = self.s + pitch * (bay + 0.5)
                if floor == 0 and bay == self.door % bays:
                    door = [(x0, 0.0, middle - 0.5), (x0, 2.1, middle + 0.5)]
                    self._pane(stage, door, (96, 70, 54), shell.lit_front, shell.depth)
                else:
                    self._window(stage, (x0, sill, middle), (0.0, 0.52), shell.lit_front, shell.depth)
            for part in (0.3, 0.7) if shell.end_seen else ():
                x = x0 + (x1 - x0) * part
                self._window(stage, (x, sill, self.s), (0.43, 0.0), shell.lit_end, shell.depth)

    def _window(self, stage: Stage, sill: Point3, half: tuple[float, float], lit: float, depth: float) -> None:
        """A pane in its frame; `half` is half its width along x and along the road, one of them zero."""
        (x, y, z), (dx, dz) = sill, half
        if depth < 90:
            rim_x, rim_z = dx * 1.25, dz * 1.25
            frame = [(x - rim_x, y - 0.1, z - rim_z), (x + rim_x, y + 1.3, z + rim_z)]
            self._pane(stage, frame, FRAME, lit, depth)
        red, green, blue = (g * 0.6 + s * 0.25 for g, s in zip(GLASS, stage.light.horizon, strict=True))
        self._pane(stage, [(x - dx, y, z - dz), (x + dx, y + 1.2, z + dz)], (red, green, blue), 0.4, depth)

    def _pane(self, stage: Stage, corners: list[Point3], tint: Tint, lit: float, depth: float) -> None:
        (xa, ya, za), (xb, yb, zb) = corners
        quad = [(xa, ya, za), (xa, yb, za), (xb, yb, zb), (xb, ya, zb)]
        stage.face(quad, tint, "wall", lit, depth)

    def _roof(self, stage: Stage, shell: Shell) -> None:
        if self.roof.form == "flat":
            self._parapet(stage, shell)
            return
        ridge, plane, lit = self._along(stage, shell) if self.along else self._across(stage, shell)
        if self.along or shell.end_seen:
            stage.face(plane, shell.tint, "roof", lit, shell.depth)
            self._courses(stage, plane, shell.tint, lit, shell.depth)
        if self.chimney:
            self._chimney(stage, ridge[0], ridge[1], shell.depth, shell.lit_front)

    def _parapet(self, stage: Stage, shell: Shell) -> None:
        (x0, x1), (z0, z1) = shell.eaves_x, shell.eaves_z
        low, top = self.height - 0.1, self.height + 0.7
        if shell.end_seen:
            end = [(x0, low, z0), (x0, top, z0), (x1, top, z0), (x1, low, z0)]
            stage.face(end, shell.tint, "roof", shell.lit_end, shell.depth)
        front = [(x0, low, z0), (x0, top, z0), (x0, top, z1), (x0, low, z1)]
        stage.face(front, shell.tint, "roof", shell.lit_front, shell.depth)

    def _along(self, stage: Stage, shell: Shell) -> tuple[Ridge, list[Point3], float]:
        """A ridge along the road: the gable or hip faces the camera, the plane faces the road."""
        (x0, x1), (z0, z1), h = shell.eaves_x, shell.eaves_z, self.height
        middle, half = (x0 + x1) / 2, abs(x1 - x0) / 2
        peak = h + half * self.roof.rise
        pull = half if self.roof.form == "hip" else 0.0
        ridge = ((middle, peak, z0 + pull), (middle, peak, z1 - pull))
        if self.roof.form == "gable" and shell.end_seen:
            near, (a, b) = shell.walls_z[0], shell.walls_x
            wall = [(a, h, near), (middle, peak - 0.3, near), (b, h, near)]
            stage.face(wall, self.wall, "wall", shell.lit_end, shell.depth)
            verge = [(x0, h, z0), ridge[0], (x1, h, z0)]
            verge += [(x1, h - 0.28, z0), (middle, peak - 0.34, z0), (x0, h - 0.28, z0)]
            stage.face(verge, shell.tint, "roof", shell.lit_end * 0.7, shell.depth)
        elif shell.end_seen:
            hip = [(x0, h, z0), ridge[0], (x1, h, z0)]
            stage.face(hip, shell.tint, "roof", min(shell.lit_end + 0.25, 1.0), shell.depth)
        return ridge, [(x0, h, z0), *ridge, (x0, h, z1)], min(shell.lit_front + 0.25, 1.0)

    def _across(self, stage: Stage, shell: Shell) -> tuple[Ridge, list[Point3], float]:
        """A ridge across the road's direction: the gable or hip faces the road, the plane the camera."""
        (x0, x1), (z0, z1), h = shell.eaves_x, shell.eaves_z, self.height
        middle, half = (z0 + z1) / 2, (z1 - z0) / 2
        peak = h + half * self.roof.rise
        pull = min(half, abs(x1 - x0) * 0.45) if self.roof.form == "hip" else 0.0
        inner = pull if x0 < x1 else -pull
        ridge = ((x0 + inner, peak, middle), (x1 - inner, peak, middle))
        if self.roof.form == "gable":
            face, (a, b) = shell.walls_x[0], shell.walls_z
            wall = [(face, h, a), (face, peak - 0.3, middle), (face, h, b)]
            stage.face(wall, self.wall, "wall", shell.lit_front, shell.depth)
            verge = [(x0, h, z0), ridge[0], (x0, h, z1)]
            verge += [(x0, h - 0.28, z1), (x0, peak - 0.34, middle), (x0, h - 0.28, z0)]
            stage.face(verge, shell.tint, "roof", shell.lit_front * 0.7, shell.depth)
        else:
            hip = [(x0, h, z0), ridge[0], (x0, h, z1)]
            stage.face(hip, shell.tint, "roof", min(shell.lit_front + 0.25, 1.0), shell.depth)
        return ridge, [(x0, h, z0), *ridge, (x1, h, z0)], min(shell.lit_end + 0.25, 1.0)

    def _courses(
        self, stage: Stage, plane: list[Point3], tint: tuple[float, float, float], lit: float, depth: float
    ) -> None:
        """Rows of tiles, or ribs of metal, as darker lines on a roof plane."""
        if depth > 45:
            return
        dark = stage.light.shade((tint[0] * 0.8, tint[1] * 0.8, tint[2] * 0.8), depth, lit)
        eave_a, ridge_a, ridge_b, eave_b = plane
        count = 9 if self.roof.ribbed else 5
        for index in range(1, count):
            t = index / count
            pairs = (
                ((eave_a, eave_b), (ridge_a, ridge_b)) if self.roof.ribbed else ((eave_a, ridge_a), (eave_b, ridge_b))
            )
            line = [stage.at(*(p + (q - p) * t for p, q in zip(a, b, strict=True))) for a, b in pairs]
            stage.canvas.line(line, dark, 0.5, 7)

    def _chimney(self, stage: Stage, a: Point3, b: Point3, depth: float, lit: float) -> None:
        x, y, z = (p + (q - p) * 0.25 for p, q in zip(a, b, strict=True))
        side = 0.35 if self.lateral > 0 else -0.35
        stack = [(x - side, y - 0.5, z), (x - side, y + 0.8, z), (x + side, y + 0.8, z), (x + side, y - 0.5, z)]
        stage.face(stack, (142, 96, 80), "wall", lit, depth)
