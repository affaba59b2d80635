"""Houses with gable, hip or flat roofs, windows, doors and chimneys."""

from dataclasses import dataclass

from whichland.sources.synthetic.conventions import RGB, Roof
from whichland.sources.synthetic.stage import Point3, Stage, toward_sun

GLASS: RGB = (74, 88, 102)
FRAME: RGB = (226, 226, 222)


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
        away = self.depth if self.lateral > 0 else -self.depth
        x0, x1 = self.lateral, self.lateral + away
        z0, z1 = self.s, self.s + self.length
        depth = stage.depth(self.lateral, max(z0, stage.camera.z + 1))
        light = stage.light
        lit_front = toward_sun(light, -1 if self.lateral > 0 else 1, 0)
        lit_end = toward_sun(light, 0, -1)
        h = self.height
        end_seen, front_seen = stage.camera.z < z0, True
        if end_seen:
            stage.face(
                [(x0, 0, z0), (x0, h, z0), (x1, h, z0), (x1, 0, z0)], self.wall, "wall", lit_end, depth
            )
        if front_seen:
            stage.face(
                [(x0, 0, z0), (x0, h, z0), (x0, h, z1), (x0, 0, z1)], self.wall, "wall", lit_front, depth
            )
        self._openings(stage, x0, x1, depth, lit_front, lit_end, end_seen)
        self._roof(stage, (x0, x1), (z0, z1), depth, (lit_front, lit_end), end_seen)

    def _openings(
        self,
        stage: Stage,
        x0: float,
        x1: float,
        depth: float,
        lit_front: float,
        lit_end: float,
        end_seen: bool,
    ) -> None:
        floors = 2 if self.height > 4.2 else 1
        bays = max(int(self.length / 2.6), 2)
        pitch = self.length / bays
        glass = tuple(int(g * 0.6 + s * 0.25) for g, s in zip(GLASS, stage.light.horizon, strict=True))
        for floor in range(floors):
            sill = 0.95 + floor * 2.7
            for bay in range(bays):
                middle = self.s + pitch * (bay + 0.5)
                if floor == 0 and bay == self.door % bays:
                    self._pane(
                        stage,
                        [(x0, 0.0, middle - 0.5), (x0, 2.1, middle + 0.5)],
                        (96, 70, 54),
                        lit_front,
                        depth,
                    )
                    continue
                self._pane(
                    stage,
                    [(x0, sill - 0.1, middle - 0.65), (x0, sill + 1.3, middle + 0.65)],
                    FRAME,
                    lit_front,
                    depth,
                )
                self._pane(
                    stage, [(x0, sill, middle - 0.52), (x0, sill + 1.2, middle + 0.52)], glass, 0.4, depth
                )
            for part in (0.3, 0.7) if end_seen else ():
                x = x0 + (x1 - x0) * part
                self._pane(
                    stage,
                    [(x - 0.55, sill - 0.1, self.s), (x + 0.55, sill + 1.3, self.s)],
                    FRAME,
                    lit_end,
                    depth,
                )
                self._pane(
                    stage, [(x - 0.43, sill, self.s), (x + 0.43, sill + 1.2, self.s)], glass, 0.4, depth
                )

    def _pane(
        self, stage: Stage, corners: list[Point3], tint: RGB | tuple[int, ...], lit: float, depth: float
    ) -> None:
        (xa, ya, za), (xb, yb, zb) = corners
        quad = [(xa, ya, za), (xa, yb, za), (xb, yb, zb), (xb, ya, zb)]
        stage.face(quad, (tint[0], tint[1], tint[2]), "wall", lit, depth)

    def _roof(
        self,
        stage: Stage,
        xs: tuple[float, float],
        zs: tuple[float, float],
        depth: float,
        lit: tuple[float, float],
        end_seen: bool,
    ) -> None:
        snow = stage.light.snow
        colour = tuple(c + (238 - c) * snow * 0.85 for c in self.roof.colour)
        tint = (colour[0], colour[1], colour[2])
        out = 0.45 if xs[0] < xs[1] else -0.45
        (x0, x1), (z0, z1), h = (xs[0] - out, xs[1] + out), (zs[0] - 0.45, zs[1] + 0.45), self.height
        middle_x, middle_z = (x0 + x1) / 2, (z0 + z1) / 2
        sun_front, sun_end = min(lit[0] + 0.25, 1.0), min(lit[1] + 0.25, 1.0)
        if self.roof.form == "flat":
            top = h + 0.7
            if end_seen:
                stage.face(
                    [(x0, h - 0.1, z0), (x0, top, z0), (x1, top, z0), (x1, h - 0.1, z0)],
                    tint,
                    "roof",
                    lit[1],
                    depth,
                )
            stage.face(
                [(x0, h - 0.1, z0), (x0, top, z0), (x0, top, z1), (x0, h - 0.1, z1)],
                tint,
                "roof",
                lit[0],
                depth,
            )
            return
        if self.along:
            peak = h + abs(x1 - x0) / 2 * self.roof.rise
            pull = abs(x1 - x0) / 2 if self.roof.form == "hip" else 0.0
            ridge = ((middle_x, peak, z0 + pull), (middle_x, peak, z1 - pull))
            if self.roof.form == "gable" and end_seen:
                wall = [(xs[0], h, zs[0]), (middle_x, peak - 0.3, zs[0]), (xs[1], h, zs[0])]
                stage.face(wall, self.wall, "wall", lit[1], depth)
                verge = [
                    (x0, h, z0),
                    ridge[0],
                    (x1, h, z0),
                    (x1, h - 0.28, z0),
                    (middle_x, peak - 0.34, z0),
                    (x0, h - 0.28, z0),
                ]
                stage.face(verge, tint, "roof", lit[1] * 0.7, depth)
            elif end_seen:
                stage.face([(x0, h, z0), ridge[0], (x1, h, z0)], tint, "roof", sun_end, depth)
            plane: list[Point3] = [(x0, h, z0), ridge[0], ridge[1], (x0, h, z1)]
            normal = sun_front
        else:
            peak = h + (z1 - z0) / 2 * self.roof.rise
            pull = (z1 - z0) / 2 if self.roof.form == "hip" else 0.0
            pull = min(pull, abs(x1 - x0) * 0.45)
            inner = pull if x0 < x1 else -pull
            ridge = ((x0 + inner, peak, middle_z), (x1 - inner, peak, middle_z))
            if self.roof.form == "gable":
                stage.face(
                    [(xs[0], h, zs[0]), (xs[0], peak - 0.3, middle_z), (xs[0], h, zs[1])],
                    self.wall,
                    "wall",
                    lit[0],
                    depth,
                )
                verge = [
                    (x0, h, z0),
                    ridge[0],
                    (x0, h, z1),
                    (x0, h - 0.28, z1),
                    (x0, peak - 0.34, middle_z),
                    (x0, h - 0.28, z0),
                ]
                stage.face(verge, tint, "roof", lit[0] * 0.7, depth)
            else:
                stage.face([(x0, h, z0), ridge[0], (x0, h, z1)], tint, "roof", sun_front, depth)
            plane = [(x0, h, z0), ridge[0], ridge[1], (x1, h, z0)]
            normal = sun_end
        if self.along or end_seen:
            stage.face(plane, tint, "roof", normal, depth)
            self._courses(stage, plane, tint, normal, depth)
        if self.chimney:
            self._chimney(stage, ridge[0], ridge[1], depth, lit[0])

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
                ((eave_a, eave_b), (ridge_a, ridge_b))
                if self.roof.ribbed
                else ((eave_a, ridge_a), (eave_b, ridge_b))
            )
            line = [stage.at(*(p + (q - p) * t for p, q in zip(a, b, strict=True))) for a, b in pairs]
            stage.canvas.line(line, dark, 0.5, 7)

    def _chimney(self, stage: Stage, a: Point3, b: Point3, depth: float, lit: float) -> None:
        x, y, z = (p + (q - p) * 0.25 for p, q in zip(a, b, strict=True))
        brick = (142, 96, 80)
        side = 0.35 if self.lateral > 0 else -0.35
        stage.face([(x - side, y - 0.5, z), (x - side, y + 0.8, z), (x + side, y + 0.8, z), (x + side, y - 0.5, z)],
                   brick, "wall", lit, depth)  # fmt: skip
