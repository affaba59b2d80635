"""Traffic signs: warnings, speed limits and direction signs with a script's letters."""

from dataclasses import dataclass

from whichland.sources.synthetic.camera import Point
from whichland.sources.synthetic.clues import CLUES
from whichland.sources.synthetic.conventions import RGB, Signs
from whichland.sources.synthetic.glyphs import DIGITS, GLYPHS, PITCH, Glyph
from whichland.sources.synthetic.light import Light
from whichland.sources.synthetic.stage import Stage

PAPER: RGB = (244, 244, 240)
INK: RGB = (30, 30, 32)
RED: RGB = (206, 32, 36)
AMBER: RGB = (252, 196, 20)
GREY: RGB = (150, 152, 154)

Shape = list[tuple[float, float]]


def _ring(radius: float) -> Shape:
    """A circle as sixteen corners."""
    a, b = 0.9239 * radius, 0.3827 * radius
    c, d = 0.7071 * radius, radius
    quarter = [(d, 0.0), (a, b), (c, c), (b, a)]
    turn = quarter + [(-y, x) for x, y in quarter]
    return turn + [(-x, -y) for x, y in turn]


def box(left: float, bottom: float, right: float, top: float) -> Shape:
    return [(left, bottom), (left, top), (right, top), (right, bottom)]


def _shift(shape: Shape, dx: float, dy: float, k: float = 1.0) -> Shape:
    return [(x * k + dx, y * k + dy) for x, y in shape]


def _rounded(left: float, bottom: float, right: float, top: float, r: float) -> Shape:
    return [(left + r, bottom), (left, bottom + r), (left, top - r), (left + r, top),
            (right - r, top), (right, top - r), (right, bottom + r), (right - r, bottom)]  # fmt: skip


@dataclass(frozen=True)
class Sign:
    """A sign on its post, facing the camera. `seed` chooses pictogram, number and words."""

    lateral: float
    s: float
    kind: str  # warning, speed or direction
    style: Signs
    seed: int
    size: float

    def draw(self, stage: Stage) -> None:
        depth = stage.depth(self.lateral, self.s)
        foot = stage.at(self.lateral, 0, self.s)
        unit = stage.scale(depth)
        painter = _Face(stage, foot, unit, depth)
        if self.kind == "direction":
            self._direction(painter)
            return
        self._post(painter, 0.0, 2.2)
        if self.kind == "warning":
            self._warning(painter)
        else:
            self._speed(painter)

    def _post(self, face: "_Face", x: float, top: float) -> None:
        face.fill(box(x - 0.05, 0, x + 0.05, top), GREY, 0.6)
        if self.style.striped_post:
            for band in range(5):
                low = band * 0.44
                face.fill(box(x - 0.055, low, x + 0.055, low + 0.22), INK if band % 2 else PAPER, 0.6)

    def _warning(self, face: "_Face") -> None:
        k, y = self.size, 2.35
        if self.style.warning == "diamond":
            face.fill([(0, y - 0.62 * k), (-0.62 * k, y), (0, y + 0.62 * k), (0.62 * k, y)], INK)
            face.fill([(0, y - 0.56 * k), (-0.56 * k, y), (0, y + 0.56 * k), (0.56 * k, y)], AMBER)
        else:
            y -= 0.12
            outer = [(-0.62 * k, y - 0.36 * k), (0.0, y + 0.72 * k), (0.62 * k, y - 0.36 * k)]
            face.fill(outer, RED)
            face.fill([(-0.40 * k, y - 0.235 * k), (0.0, y + 0.46 * k), (0.40 * k, y - 0.235 * k)], PAPER)
        pictogram = self.seed % 4
        low = y - (0.3 if self.style.warning == "diamond" else 0.18) * k
        if pictogram == 0:  # bend
            face.strokes([[(-0.1, 0), (-0.1, 0.25), (0.1, 0.3), (0.1, 0.55)]], (0, low), k, 0.09)
        elif pictogram == 1:  # crossing
            face.strokes([[(0, 0), (0, 0.55)], [(-0.17, 0.3), (0.17, 0.3)]], (0, low), k, 0.09)
        elif pictogram == 2:  # walker
            face.strokes(
                [[(-0.12, 0), (0, 0.25), (0, 0.42)], [(0, 0.25), (0.13, 0)], [(-0.1, 0.3), (0.12, 0.36)]],
                (0, low),
                k,
                0.06,
            )
            face.fill(_shift(_ring(0.06 * k), 0, low + 0.5 * k), INK)
        else:  # danger
            face.strokes([[(0, 0.2), (0, 0.55)], [(0, 0.02), (0, 0.08)]], (0, low), k, 0.09)

    def _speed(self, face: "_Face") -> None:
        k, y = self.size, 2.35
        number = ("30", "40", "50", "60", "80")[self.seed % 5]
        if self.style.speed == "rectangle":
            number = ("35", "45", "55", "45", "35")[self.seed % 5]
            face.fill(_rounded(-0.42 * k, y - 0.55 * k, 0.42 * k, y + 0.55 * k, 0.06), INK)
            face.fill(_rounded(-0.38 * k, y - 0.51 * k, 0.38 * k, y + 0.51 * k, 0.05), PAPER)
            face.words([GLYPHS["latin"][i] for i in (7, 4, 1, 1)], (-0.26 * k, y + 0.3 * k), 0.12 * k, INK)
            face.words([DIGITS[d] for d in number], (-0.26 * k, y - 0.42 * k), 0.46 * k, INK, 0.085 * k)
            return
        face.fill(_shift(_ring(0.5 * k), 0, y), RED)
        face.fill(_shift(_ring(0.37 * k), 0, y), PAPER)
        face.words([DIGITS[d] for d in number], (-0.235 * k, y - 0.17 * k), 0.34 * k, INK, 0.07 * k)

    def _direction(self, face: "_Face") -> None:
        ground = self.style.direction[self.seed % len(self.style.direction)]
        ink = PAPER if sum(ground) < 400 else INK
        wide, tall, low = 2.5 * self.size, 1.35 * self.size, 1.5
        for x in (-0.32 * wide, 0.32 * wide):
            self._post(face, x, low + 0.2)
        face.fill(_rounded(-wide / 2, low, wide / 2, low + tall, 0.12), ink)
        face.fill(_rounded(-wide / 2 + 0.05, low + 0.05, wide / 2 - 0.05, low + tall - 0.05, 0.1), ground)
        rows = len(self.style.scripts)
        height = tall * 0.27
        for row, script in enumerate(self.style.scripts):
            letters = GLYPHS[script]
            count = 5 + (self.seed >> (3 * row)) % 3
            text = [
                letters[(self.seed // (7 + 5 * row) + 3 * i + i * i * (row + 1)) % len(letters)] for i in range(count)
            ]
            y = low + tall * 0.58 - row * tall * 0.42 if rows > 1 else low + tall * 0.4
            face.words(text, (-wide * 0.4, y), height, ink, 0.045 * self.size, PITCH[script])
        x, y = wide * 0.36, low + tall * 0.3
        face.fill([(x, y + 0.42), (x - 0.17, y + 0.18), (x + 0.17, y + 0.18)], ink)
        face.fill(box(x - 0.05, y - 0.2, x + 0.05, y + 0.2), ink)


class _Face:
    """Fills shapes and strokes in metres over the foot of a sign that faces the camera."""

    def __init__(self, stage: Stage, foot: Point, unit: float, depth: float) -> None:
        self.stage, self.foot, self.unit, self.depth = stage, foot, unit, depth

    def fill(self, shape: Shape, tint: RGB, lit: float = 0.75) -> None:
        self.stage.board(self.foot, self.unit, shape, self._ink(tint, lit), "sign")

    def strokes(self, glyph: list[list[tuple[float, float]]], at: Point, k: float, width: float) -> None:
        for stroke in glyph:
            self._stroke([(at[0] + x * k, at[1] + y * k) for x, y in stroke], INK, width * k)

    def words(
        self, text: list[Glyph], at: Point, height: float, tint: RGB, width: float = 0.03, pitch: float = 6.0
    ) -> None:
        """Write glyphs from left to right; `at` is the lower left corner, `height` the letters' height."""
        k = height / 6
        for index, glyph in enumerate(text):
            for stroke in glyph:
                self._stroke([(at[0] + (index * pitch + x) * k, at[1] + y * k) for x, y in stroke], tint, width)

    def _stroke(self, points: Shape, tint: RGB, width: float) -> None:
        x, y = self.foot
        placed = [(x + a * self.unit, y - b * self.unit) for a, b in points]
        self.stage.canvas.line(placed, self._ink(tint, 0.75), width * self.unit, CLUES["sign"])

    def _ink(self, tint: RGB, lit: float) -> RGB:
        light: Light = self.stage.light
        return light.shade(tint, self.depth, lit)
