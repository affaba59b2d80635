"""Things along the road: trees, poles with their wires, bollards and guard rails."""

from dataclasses import dataclass

from whichland.sources.synthetic.clues import CLUES
from whichland.sources.synthetic.conventions import RGB, Bollard, Pole
from whichland.sources.synthetic.signs import box
from whichland.sources.synthetic.stage import Stage
from whichland.sources.synthetic.trees import SPECIES, sprite

WIRE: RGB = (52, 54, 58)
TONES = ((1.0, 1.0), (1.08, 0.97), (0.92, 1.02), (1.02, 0.92))  # red and green of a species' variants


@dataclass(frozen=True)
class Tree:
    lateral: float
    s: float
    species: str
    variant: int
    height: float
    season: float  # 0.9 fresh to 1.15 dry

    def draw(self, stage: Stage) -> None:
        depth = stage.depth(self.lateral, self.s)
        light = stage.light
        tint = (self.season * TONES[self.variant][0], TONES[self.variant][1], 0.92)
        red, green, blue = (
            round((amb + sun * 0.62) * part, 3) for amb, sun, part in zip(light.ambient, light.sun, tint, strict=True)
        )
        picture = sprite(self.species, self.variant, (red, green, blue), light.sun_x < 0, light.snow)
        x, y = stage.at(self.lateral, 0, self.s)
        tall = self.height * stage.scale(depth)
        haze = tuple(int(value + 0.5) for value in light.haze)
        size = (tall * SPECIES[self.species].aspect, tall)
        faded = ((haze[0], haze[1], haze[2]), light.fade(depth))
        stage.canvas.sprite(picture, (x, y + 0.02 * tall), size, faded, CLUES["vegetation"])


@dataclass(frozen=True)
class PoleWithWires:
    """A utility pole and the wires to the next one, `span` metres further on."""

    lateral: float
    s: float
    style: Pole
    height: float
    span: float
    loaded: bool  # carries the transformer

    def draw(self, stage: Stage) -> None:
        depth = stage.depth(self.lateral, self.s)
        unit = stage.scale(depth)
        foot = stage.at(self.lateral, 0, self.s)
        self._wires(stage, depth)
        shaft = {"wood": 0.15, "round": 0.18, "square": 0.17, "lamp": 0.09}[self.style.form]
        h = self.height
        tint = self.style.colour

        def fill(shape: list[tuple[float, float]], colour: RGB, lit: float) -> None:
            stage.board(foot, unit, shape, stage.light.shade(colour, depth, lit), "pole")

        fill([(-shaft, 0), (-shaft * 0.65, h), (shaft * 0.65, h), (shaft, 0)], tint, 0.3)
        bright = -1 if stage.light.sun_x > 0 else 1
        fill([(0, 0), (0, h), (bright * shaft * 0.65, h), (bright * shaft, 0)], tint, 0.8)
        if self.style.form == "square":
            for hole in range(8):
                y = 1.2 + hole * h * 0.1
                fill(box(-0.04, y, 0.04, y + 0.3), (90, 88, 84), 0.3)
        if self.style.footing:
            fill(box(0.1, 0, 0.34, 2.6), (168, 166, 160), 0.6)
        if self.style.guard:
            for band in range(6):
                y = 0.3 + band * 0.25
                fill(box(-shaft * 1.08, y, shaft * 1.08, y + 0.25), (40, 40, 40) if band % 2 else (246, 196, 22), 0.6)
        if self.style.form == "lamp":
            side = -1 if self.lateral > 0 else 1
            fill([(0, h - 0.15), (0, h), (side * 1.7, h + 0.25), (side * 1.7, h + 0.13)], tint, 0.7)
            fill(box(min(side * 1.3, side * 2.0), h + 0.1, max(side * 1.3, side * 2.0), h + 0.28), (92, 96, 100), 0.5)
            return
        for arm in range(self.style.crossarms):
            y = h - 0.45 - arm * 0.9
            fill(box(-1.05, y - 0.07, 1.05, y + 0.07), (104, 86, 70) if self.style.form == "wood" else tint, 0.5)
            for x in (-0.95, -0.45, 0.45, 0.95):
                fill(box(x - 0.05, y + 0.05, x + 0.05, y + 0.24), (190, 188, 180), 0.6)
        if self.loaded and self.style.transformer:
            fill(box(0.16, h - 2.7, 0.66, h - 1.7), (142, 146, 148), 0.5)
            fill(box(0.41, h - 2.7, 0.66, h - 1.7), (142, 146, 148), 0.85)

    def _wires(self, stage: Stage, depth: float) -> None:
        if not self.style.wires:
            return
        ink = stage.light.shade(WIRE, depth + self.span * 0.4, 0.2)
        width = 0.045 * stage.scale(depth + 6)
        rows = max(self.style.crossarms, 1)
        steps = 8 if depth < 50 else 4
        for wire in range(self.style.wires):
            row = wire % (rows + (1 if self.style.wires > 5 else 0))
            place = wire // max(rows, 1)
            x = (-0.95, 0.95, -0.45, 0.45, 0.0)[place % 5] if self.style.crossarms else 0.1
            y = self.height - 0.25 - row * 0.9 - (0.0 if self.style.crossarms else wire * 0.45)
            points = []
            for step in range(steps + 1):
                t = step / steps
                sag = 0.9 * 4 * t * (1 - t)
                s = self.s + self.span * t
                points.append(stage.at(self.lateral + x, y - sag, s))
            stage.canvas.line(points, ink, min(width, 1.0), CLUES["pole"])


@dataclass(frozen=True)
class Post:
    """A bollard or marker post."""

    lateral: float
    s: float
    style: Bollard

    def draw(self, stage: Stage) -> None:
        depth = stage.depth(self.lateral, self.s)
        unit, foot = stage.scale(depth), stage.at(self.lateral, 0, self.s)
        w, h = self.style.width / 2, self.style.height

        def fill(shape: list[tuple[float, float]], colour: RGB, lit: float = 0.65) -> None:
            stage.board(foot, unit, shape, stage.light.shade(colour, depth, lit), "bollard")

        fill(box(-w, 0, w, h), self.style.body)
        fill(box(w * 0.35, 0, w, h), self.style.body, 0.3)
        band, reflector = self.style.band, self.style.reflector
        if self.style.form == "stripes" and band is not None:
            for stripe in range(2):
                y = h * (0.25 + 0.4 * stripe)
                fill(box(-w, y, w, y + h * 0.2), band)
        elif self.style.form == "slanted" and band is not None:
            fill([(-w, h * 0.70), (-w, h * 0.90), (w, h * 0.96), (w, h * 0.76)], band)
        elif band is not None:
            fill(box(-w, h * 0.68, w, h * 0.95), band)
        if self.style.form == "disc" and reflector is not None:
            fill([(-0.1, h), (-0.07, h + 0.09), (0, h + 0.12), (0.07, h + 0.09), (0.1, h), (0, h - 0.1)], reflector)
        elif reflector is not None:
            fill(box(-w * 0.5, h * 0.76, w * 0.5, h * 0.88), reflector, 0.95)


@dataclass(frozen=True)
class GuardRail:
    """One four-metre length of steel rail; the same in every country here."""

    lateral: float
    s: float

    def draw(self, stage: Stage) -> None:
        depth = max(stage.depth(self.lateral, self.s), 0.8)
        shade = stage.light.shade
        a, b = self.s, self.s + 4.0
        post = [stage.at(self.lateral, 0, a), stage.at(self.lateral, 0.6, a)]
        stage.canvas.line(post, shade((128, 130, 132), depth, 0.3), 0.12 * stage.scale(depth), 0)
        for low, high, tone in ((0.45, 0.56, 150), (0.56, 0.64, 200), (0.64, 0.75, 172)):
            rail = [(self.lateral, low, a), (self.lateral, high, a), (self.lateral, high, b), (self.lateral, low, b)]
            stage.face(rail, (tone, tone + 3, tone + 6), "none", 0.7, depth)
