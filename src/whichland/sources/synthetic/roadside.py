"""Along the road: poles with their wires, bollards and guard rails."""

from dataclasses import dataclass

from whichland.sources.synthetic.conventions import CLUES, RGB, Bollard, Pole
from whichland.sources.synthetic.light import Light
from whichland.sources.synthetic.stage import Board, Prop, Shape, Stage, box, upright

WIRE: RGB = (52, 54, 58)
HALF_SHAFT = {"wood": 0.15, "round": 0.18, "square": 0.17, "lamp": 0.09}  # metres, by the pole's form


@dataclass(frozen=True)
class PoleWithWires(Prop):
    """A utility pole and the wires to the next one, `span` metres further on."""

    style: Pole
    height: float
    span: float
    loaded: bool  # carries the transformer

    def in_view(self, stage: Stage) -> bool:
        near_enough = 1.5 < stage.depth(self.lateral, self.s) < 240
        return near_enough and self.s > stage.camera.z - self.span * 0.5

    def shadow(self, light: Light, x: float, z: float) -> Shape:
        dx, dz = light.sun_x * self.height, light.sun_z * self.height
        return [(x - 0.15, z), (x + 0.15, z), (x + dx + 0.1, z + dz), (x + dx - 0.1, z + dz)]

    def draw(self, stage: Stage) -> None:
        board = Board(stage, self.lateral, self.s, "pole")
        self._wires(stage, board.depth)
        shaft, h, tint = HALF_SHAFT[self.style.form], self.height, self.style.colour
        board.fill([(-shaft, 0), (-shaft * 0.65, h), (shaft * 0.65, h), (shaft, 0)], tint, 0.3)
        bright = -1 if stage.light.sun_x > 0 else 1
        board.fill([(0, 0), (0, h), (bright * shaft * 0.65, h), (bright * shaft, 0)], tint, 0.8)
        if self.style.form == "square":
            for hole in range(8):
                y = 1.2 + hole * h * 0.1
                board.fill(box(-0.04, y, 0.04, y + 0.3), (90, 88, 84), 0.3)
        if self.style.footing:
            board.fill(box(0.1, 0, 0.34, 2.6), (168, 166, 160), 0.6)
        if self.style.guard:
            for band in range(6):
                y = 0.3 + band * 0.25
                stripe = (40, 40, 40) if band % 2 else (246, 196, 22)
                board.fill(box(-shaft * 1.08, y, shaft * 1.08, y + 0.25), stripe, 0.6)
        if self.style.form == "lamp":
            side = -1 if self.lateral > 0 else 1
            board.fill([(0, h - 0.15), (0, h), (side * 1.7, h + 0.25), (side * 1.7, h + 0.13)], tint, 0.7)
            left, right = sorted((side * 1.3, side * 2.0))
            board.fill(box(left, h + 0.1, right, h + 0.28), (92, 96, 100), 0.5)
            return
        for arm in range(self.style.crossarms):
            y = h - 0.45 - arm * 0.9
            board.fill(box(-1.05, y - 0.07, 1.05, y + 0.07), (104, 86, 70) if self.style.form == "wood" else tint, 0.5)
            for x in (-0.95, -0.45, 0.45, 0.95):
                board.fill(box(x - 0.05, y + 0.05, x + 0.05, y + 0.24), (190, 188, 180), 0.6)
        if self.loaded and self.style.transformer:
            board.fill(box(0.16, h - 2.7, 0.66, h - 1.7), (142, 146, 148), 0.5)
            board.fill(box(0.41, h - 2.7, 0.66, h - 1.7), (142, 146, 148), 0.85)

    def _wires(self, stage: Stage, depth: float) -> None:
        ink = stage.light.shade(WIRE, depth + self.span * 0.4, 0.2)
        width = min(0.045 * stage.scale(depth + 6), 1.0)
        arms = self.style.crossarms
        rows = max(arms, 1)
        steps = 8 if depth < 50 else 4
        for wire in range(self.style.wires):
            row = wire % (rows + (1 if self.style.wires > 5 else 0))
            x = (-0.95, 0.95, -0.45, 0.45, 0.0)[wire // rows % 5] if arms else 0.1
            y = self.height - 0.25 - row * 0.9 - (0.0 if arms else wire * 0.45)
            points = []
            for t in (step / steps for step in range(steps + 1)):
                sag = 0.9 * 4 * t * (1 - t)
                points.append(stage.at(self.lateral + x, y - sag, self.s + self.span * t))
            stage.canvas.line(points, ink, width, CLUES["pole"])


@dataclass(frozen=True)
class Post(Prop):
    """A bollard or marker post."""

    style: Bollard

    def draw(self, stage: Stage) -> None:
        board = Board(stage, self.lateral, self.s, "bollard")
        style, w, h = self.style, self.style.width / 2, self.style.height
        board.fill(box(-w, 0, w, h), style.body, 0.65)
        board.fill(box(w * 0.35, 0, w, h), style.body, 0.3)
        if style.band is not None:
            bands = {
                "stripes": [box(-w, h * y, w, h * y + h * 0.2) for y in (0.25, 0.25 + 0.4)],
                "slanted": [[(-w, h * 0.70), (-w, h * 0.90), (w, h * 0.96), (w, h * 0.76)]],
            }
            for shape in bands.get(style.form, [box(-w, h * 0.68, w, h * 0.95)]):
                board.fill(shape, style.band, 0.65)
        if style.reflector is not None and style.form == "disc":
            disc = [(-0.1, h), (-0.07, h + 0.09), (0, h + 0.12), (0.07, h + 0.09), (0.1, h), (0, h - 0.1)]
            board.fill(disc, style.reflector, 0.65)
        elif style.reflector is not None:
            board.fill(box(-w * 0.5, h * 0.76, w * 0.5, h * 0.88), style.reflector, 0.95)


@dataclass(frozen=True)
class GuardRail(Prop):
    """One four-metre length of steel rail; the same in every country here."""

    def in_view(self, stage: Stage) -> bool:
        return stage.depth(self.lateral, self.s) > 0.2 and self.s > stage.camera.z + 0.5

    def draw(self, stage: Stage) -> None:
        depth = max(stage.depth(self.lateral, self.s), 0.8)
        x, a, b = self.lateral, self.s, self.s + 4.0
        ink = stage.light.shade((128, 130, 132), depth, 0.3)
        stage.canvas.line([stage.at(x, 0, a), stage.at(x, 0.6, a)], ink, 0.12 * stage.scale(depth), CLUES["none"])
        for low, high, tone in ((0.45, 0.56, 150), (0.56, 0.64, 200), (0.64, 0.75, 172)):
            stage.face(upright((x, low, a), (x, high, b)), (tone, tone + 3, tone + 6), "none", 0.7, depth)
