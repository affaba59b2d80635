"""Other traffic: cars, vans and lorries as shaded boxes with windows, lamps, wheels and a number plate."""

from dataclasses import dataclass

from whichland.sources.synthetic.conventions import CLUES, RGB, Plate
from whichland.sources.synthetic.light import Light
from whichland.sources.synthetic.stage import Board, Point3, Prop, Shape, Stage, box, cast

PAINTS: tuple[RGB, ...] = (
    (236, 236, 234), (186, 190, 194), (92, 96, 102), (40, 42, 46), (150, 30, 34), (34, 62, 116), (88, 104, 92),
    (196, 186, 166), (226, 226, 228), (120, 124, 130),
)  # fmt: skip
GLASS: RGB = (52, 62, 74)
TYRE: RGB = (26, 26, 28)


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
class Vehicle(Prop):
    """A vehicle in its lane: `s` is where its near end is, `oncoming` whether that end is its front."""

    kind: str
    paint: RGB
    plate: Plate
    oncoming: bool
    lamps: bool  # lit

    @property
    def body(self) -> Body:
        return BODIES[self.kind]

    def shadow(self, light: Light, x: float, z: float) -> Shape:
        body = self.body
        reach = body.roof * 0.8
        return cast((x - body.half, x + body.half), (z, z + body.length), light.sun_x * reach, light.sun_z * reach)

    def draw(self, stage: Stage) -> None:
        board = Board(stage, self.lateral, self.s, "traffic")
        body, depth = self.body, board.depth
        x, z, w = self.lateral, self.s, body.half * 1.04
        below = [(x - w, 0, z - 0.15), (x + w, 0, z - 0.15), (x + w, 0, z + body.length), (x - w, 0, z + body.length)]
        stage.face(below, (46, 47, 50), "none", 0.0, depth)
        for side in (-1, 1):
            wheel = Board(stage, x + side * body.half * 0.82, z + 0.25, "traffic", depth)
            wheel.fill(box(-0.12, 0.0, 0.12, 0.5), TYRE, 0.4)
        self._side(stage, -1 if board.foot[0] > stage.camera.width / 2 else 1, depth)
        if self.kind == "lorry":
            self._tail(board)
        else:
            self._cabin(board)
        board.fill(box(-body.half, 0.26, body.half, 0.44), (54, 55, 58), 0.4)
        self._lamps(board)
        self._plate(board)

    def _side(self, stage: Stage, seen: int, depth: float) -> None:
        """The long side that is seen, -1 the left and 1 the right, with its wheels."""
        body = self.body
        n, (start, stop) = body.length, body.cabin
        x, lit = self.lateral + seen * body.half, stage.toward_sun(float(seen), 0.0)
        slope = 0.0 if self.kind == "lorry" else 0.09 * n
        # (metres from the near end, metres up)
        outline = [(0.0, 0.28), (0.0, body.waist), (start * n, body.waist), (start * n + slope, body.roof)]
        outline += [(stop * n - slope, body.roof), (stop * n, body.waist), (n, body.waist - 0.12), (n, 0.28)]
        stage.face([(x, y, self.s + along) for along, y in outline], self.paint, "traffic", lit * 0.8, depth)
        if self.kind != "lorry":
            inner = self.lateral + seen * body.half * 0.97
            low, high = body.waist + 0.04, body.roof - 0.09
            window = [(start * n + slope * 0.35, low), (start * n + slope * 1.1, high),
                      (stop * n - slope * 1.1, high), (stop * n - slope * 0.35, low)]  # fmt: skip
            stage.face([(inner, y, self.s + along) for along, y in window], GLASS, "traffic", 0.3, depth)
        tyre, rim = stage.light.shade(TYRE, depth, 0.4), stage.light.shade((150, 152, 156), depth, 0.5)
        for along in (0.19 * n, 0.81 * n):
            centre = stage.at(x, 0.32, self.s + along)
            radius = 0.31 * stage.scale(depth + along)
            stage.canvas.ellipse(centre, max(radius * 0.45, 0.4), radius, tyre, CLUES["traffic"])
            if stage.scale(depth) > 22:
                stage.canvas.ellipse(centre, radius * 0.22, radius * 0.5, rim, CLUES["traffic"])

    def _tail(self, board: Board) -> None:
        """The end of a lorry: its windscreen, or the doors of its load."""
        w, top = self.body.half, self.body.roof
        board.fill(box(-w, 0.5, w, top), self.paint, board.stage.toward_sun(0.0, -1.0))
        if self.oncoming:
            board.fill(box(-w * 0.9, 1.5, w * 0.9, 2.4), GLASS, 0.4)
        else:
            board.fill(box(-0.03, 0.6, 0.03, top - 0.1), (110, 112, 116), 0.4)

    def _cabin(self, board: Board) -> None:
        """The end of a car or van: bonnet or boot, the window above it, and the body below."""
        stage, body, depth = board.stage, self.body, board.depth
        lit = stage.toward_sun(0.0, -1.0)
        x, w, waist = self.lateral, body.half, body.waist
        start = body.cabin[0] * body.length
        foot, head = self.s + start, self.s + start + 0.09 * body.length
        a, b = (x - w * 0.94, waist, foot), (x + w * 0.94, waist, foot)
        c, d = (x + w * 0.74, body.roof, head), (x - w * 0.74, body.roof, head)
        if start > 0.3:
            stage.face([(x - w, waist, self.s), (x + w, waist, self.s), b, a], self.paint, "traffic", 0.9, depth)
        stage.face([a, b, c, d], self.paint, "traffic", lit, depth)
        stage.face(_inset([a, b, c, d]), GLASS, "traffic", 0.45, depth)
        lower = [(-w, 0.3), (-w, waist - 0.04), (-w * 0.96, waist), (w * 0.96, waist), (w, waist - 0.04), (w, 0.3)]
        board.fill(lower, self.paint, lit)

    def _lamps(self, board: Board) -> None:
        body, shade = self.body, board.stage.light.shade
        low, high = body.waist * 0.66, body.waist * 0.86
        if self.oncoming:
            ink = (255, 250, 226) if self.lamps else shade((214, 218, 222), board.depth, 0.8)
        else:
            ink = (236, 50, 44) if self.lamps else shade((168, 30, 30), board.depth, 0.6)
        for side in (-1, 1):
            left, right = sorted((side * body.half * 0.64, side * body.half * 0.95))
            board.paint(box(left, low, right, high), ink)
        if self.oncoming and self.kind != "lorry":
            board.fill(box(-body.half * 0.5, low, body.half * 0.5, high - 0.05), (44, 46, 50), 0.4)

    def _plate(self, board: Board) -> None:
        plate, low = self.plate, 0.46
        w, tall = (0.30, 0.14) if plate.wide else (0.19, 0.19)
        board.fill(box(-w, low, w, low + tall), plate.face, 0.85, "plate")
        strips = (
            (plate.left_strip, -w, -w * 0.8, low),
            (plate.right_strip, w * 0.8, w, low),
            (plate.top_strip, -w, w, low + tall * 0.7),
        )
        for tint, left, right, bottom in strips:
            if tint is not None:
                board.fill(box(left, bottom, right, low + tall), tint, 0.8, "plate")
        for letter in range(5):
            x = -w * 0.62 + letter * w * 0.28
            board.fill(box(x, low + tall * 0.25, x + w * 0.14, low + tall * 0.65), (52, 52, 56), 0.6, "plate")


def _inset(corners: list[Point3]) -> list[Point3]:
    """A smaller face within a face of four corners."""
    x0, y0, z0 = (sum(values) / 4 for values in zip(*corners, strict=True))
    return [(x0 + (x - x0) * 0.86, y0 + (y - y0) * 0.78, z0 + (z - z0) * 0.8) for x, y, z in corners]
