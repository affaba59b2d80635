"""Other traffic: cars, vans and lorries as shaded boxes with windows, lamps, wheels and a number plate."""

from dataclasses import dataclass
from typing import Protocol

from whichland.sources.synthetic.clues import CLUES
from whichland.sources.synthetic.conventions import RGB, Plate
from whichland.sources.synthetic.stage import Point3, Stage, toward_sun

PAINTS: tuple[RGB, ...] = (
    (236, 236, 234), (186, 190, 194), (92, 96, 102), (40, 42, 46), (150, 30, 34), (34, 62, 116), (88, 104, 92),
    (196, 186, 166), (226, 226, 228), (120, 124, 130),
)  # fmt: skip
GLASS: RGB = (52, 62, 74)
TYRE: RGB = (26, 26, 28)


class Fill(Protocol):
    """Fills a shape on the end that faces the camera, in metres from its foot."""

    def __call__(self, shape: list[tuple[float, float]], tint: RGB, sun: float, label: str = "traffic") -> None: ...


@dataclass(frozen=True)
class Body:
    """Half width, length, height of waist and roof, and where the cabin starts and ends along the body."""

    half: float
    length: float
    waist: float
    roof: float
    cabin: tuple[float, float]  # of the length, from the near end: where the roof starts and ends


BODIES = {
    "hatch": Body(0.86, 4.0, 0.92, 1.48, (0.08, 0.62)),
    "saloon": Body(0.90, 4.6, 0.90, 1.44, (0.22, 0.66)),
    "van": Body(0.98, 5.0, 1.10, 2.05, (0.02, 0.80)),
    "lorry": Body(1.22, 8.0, 1.20, 3.30, (0.0, 1.0)),
}


@dataclass(frozen=True)
class Vehicle:
    """A vehicle in its lane: `s` is where its near end stands, `oncoming` whether that end is its front."""

    lateral: float
    s: float
    kind: str
    paint: RGB
    plate: Plate
    oncoming: bool
    lamps: bool  # lit

    def draw(self, stage: Stage) -> None:
        body = BODIES[self.kind]
        depth = max(stage.depth(self.lateral, self.s), 0.8)
        self._shadow(stage, body, depth)
        self._wheels(stage, body, depth)
        seen = -1 if stage.at(self.lateral, 0, self.s)[0] > stage.camera.width / 2 else 1
        self._side(stage, body, seen, depth)
        self._end(stage, body, depth)

    def _shadow(self, stage: Stage, body: Body, depth: float) -> None:
        x, z, w, n = self.lateral, self.s, body.half * 1.04, body.length
        corners: list[Point3] = [(x - w, 0, z - 0.15), (x + w, 0, z - 0.15), (x + w, 0, z + n), (x - w, 0, z + n)]
        stage.face(corners, (46, 47, 50), "none", 0.0, depth)

    def _wheels(self, stage: Stage, body: Body, depth: float) -> None:
        unit = stage.scale(depth)
        for x in (self.lateral - body.half * 0.82, self.lateral + body.half * 0.82):
            foot = stage.at(x, 0, self.s + 0.25)
            wheel = [(-0.12, 0.0), (-0.12, 0.5), (0.12, 0.5), (0.12, 0.0)]
            stage.board(foot, unit, wheel, stage.light.shade(TYRE, depth, 0.4), "traffic")

    def _profile(self, body: Body) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Outline and window of a side, as (metres from the near end, metres up)."""
        n, (start, stop) = body.length, body.cabin
        slope = 0.0 if self.kind == "lorry" else 0.09 * n
        outline = [(0.0, 0.28), (0.0, body.waist), (start * n, body.waist), (start * n + slope, body.roof)]
        outline += [(stop * n - slope, body.roof), (stop * n, body.waist), (n, body.waist - 0.12), (n, 0.28)]
        low, high = body.waist + 0.04, body.roof - 0.09
        window = [(start * n + slope * 0.35, low), (start * n + slope * 1.1, high),
                  (stop * n - slope * 1.1, high), (stop * n - slope * 0.35, low)]  # fmt: skip
        return outline, window

    def _side(self, stage: Stage, body: Body, seen: int, depth: float) -> None:
        x = self.lateral + seen * body.half
        outline, window = self._profile(body)
        lit = toward_sun(stage.light, float(seen), 0.0)
        stage.face([(x, y, self.s + along) for along, y in outline], self.paint, "traffic", lit * 0.8, depth)
        if self.kind != "lorry":
            inner = self.lateral + seen * body.half * 0.97
            stage.face([(inner, y, self.s + along) for along, y in window], GLASS, "traffic", 0.3, depth)
        unit = stage.scale(depth)
        for along in (0.19 * body.length, 0.81 * body.length):
            centre = stage.at(x, 0.32, self.s + along)
            radius = 0.31 * stage.scale(depth + along)
            stage.canvas.ellipse(
                centre, max(radius * 0.45, 0.4), radius, stage.light.shade(TYRE, depth, 0.4), CLUES["traffic"]
            )
            if unit > 22:
                rim = stage.light.shade((150, 152, 156), depth, 0.5)
                stage.canvas.ellipse(centre, radius * 0.22, radius * 0.5, rim, CLUES["traffic"])

    def _end(self, stage: Stage, body: Body, depth: float) -> None:
        lit = toward_sun(stage.light, 0.0, -1.0)
        unit, foot = stage.scale(depth), stage.at(self.lateral, 0, self.s)
        w, n = body.half, body.length

        def fill(shape: list[tuple[float, float]], tint: RGB, sun: float, label: str = "traffic") -> None:
            stage.board(foot, unit, shape, stage.light.shade(tint, depth, sun), label)

        if self.kind == "lorry":
            fill([(-w, 0.5), (-w, body.roof), (w, body.roof), (w, 0.5)], self.paint, lit)
            if self.oncoming:
                fill([(-w * 0.9, 1.5), (-w * 0.9, 2.4), (w * 0.9, 2.4), (w * 0.9, 1.5)], GLASS, 0.4)
            else:
                fill(
                    [(-0.03, 0.6), (-0.03, body.roof - 0.1), (0.03, body.roof - 0.1), (0.03, 0.6)], (110, 112, 116), 0.4
                )
        else:
            start = body.cabin[0] * n
            slope = 0.09 * n
            a = (self.lateral - w * 0.94, body.waist, self.s + start)
            b = (self.lateral + w * 0.94, body.waist, self.s + start)
            c = (self.lateral + w * 0.74, body.roof, self.s + start + slope)
            d = (self.lateral - w * 0.74, body.roof, self.s + start + slope)
            if start > 0.3:
                deck = [(self.lateral - w, body.waist, self.s), (self.lateral + w, body.waist, self.s), b, a]
                stage.face(deck, self.paint, "traffic", 0.9, depth)
            stage.face([a, b, c, d], self.paint, "traffic", lit, depth)
            stage.face(self._inset(a, b, c, d), GLASS, "traffic", 0.45, depth)
            fill([(-w, 0.3), (-w, body.waist - 0.04), (-w * 0.96, body.waist), (w * 0.96, body.waist),
                  (w, body.waist - 0.04), (w, 0.3)], self.paint, lit)  # fmt: skip
        fill([(-w, 0.26), (-w, 0.44), (w, 0.44), (w, 0.26)], (54, 55, 58), 0.4)
        self._lamps(stage, body, depth)
        self._plate(fill)

    @staticmethod
    def _inset(a: Point3, b: Point3, c: Point3, d: Point3) -> list[Point3]:
        middle = tuple((p + q + r + s) / 4 for p, q, r, s in zip(a, b, c, d, strict=True))
        return [
            (middle[0] + (x - middle[0]) * 0.86, middle[1] + (y - middle[1]) * 0.78, middle[2] + (z - middle[2]) * 0.8)
            for x, y, z in (a, b, c, d)
        ]

    def _lamps(self, stage: Stage, body: Body, depth: float) -> None:
        unit, foot = stage.scale(depth), stage.at(self.lateral, 0, self.s)
        low, high = body.waist * 0.66, body.waist * 0.86
        for side in (-1, 1):
            x0, x1 = sorted((side * body.half * 0.64, side * body.half * 0.95))
            shape = [(x0, low), (x0, high), (x1, high), (x1, low)]
            if self.oncoming:
                ink = (255, 250, 226) if self.lamps else stage.light.shade((214, 218, 222), depth, 0.8)
            else:
                ink = (236, 50, 44) if self.lamps else stage.light.shade((168, 30, 30), depth, 0.6)
            stage.board(foot, unit, shape, ink, "traffic")
        if self.oncoming and self.kind != "lorry":
            grille = [
                (-body.half * 0.5, low),
                (-body.half * 0.5, high - 0.05),
                (body.half * 0.5, high - 0.05),
                (body.half * 0.5, low),
            ]
            stage.board(foot, unit, grille, stage.light.shade((44, 46, 50), depth, 0.4), "traffic")

    def _plate(self, fill: Fill) -> None:
        plate = self.plate
        w, tall = (0.30, 0.14) if plate.wide else (0.19, 0.19)
        low = 0.46
        fill([(-w, low), (-w, low + tall), (w, low + tall), (w, low)], plate.face, 0.85, "plate")
        for strip, x0, x1 in ((plate.left_strip, -w, -w * 0.8), (plate.right_strip, w * 0.8, w)):
            if strip is not None:
                fill([(x0, low), (x0, low + tall), (x1, low + tall), (x1, low)], strip, 0.8, "plate")
        if plate.top_strip is not None:
            fill(
                [(-w, low + tall * 0.7), (-w, low + tall), (w, low + tall), (w, low + tall * 0.7)],
                plate.top_strip,
                0.8,
                "plate",
            )
        for letter in range(5):
            x = -w * 0.62 + letter * w * 0.28
            fill([(x, low + tall * 0.25), (x, low + tall * 0.65), (x + w * 0.14, low + tall * 0.65),
                  (x + w * 0.14, low + tall * 0.25)], (52, 52, 56), 0.6, "plate")  # fmt: skip
