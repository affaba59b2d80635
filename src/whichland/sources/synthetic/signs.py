"""Traffic signs: warnings, speed limits and direction signs with a script's letters."""

from dataclasses import dataclass

from whichland.sources.synthetic.camera import Point
from whichland.sources.synthetic.conventions import RGB, Signs
from whichland.sources.synthetic.glyphs import DIGITS, GLYPHS, PITCH, Glyph
from whichland.sources.synthetic.stage import Board, Prop, Shape, Stage, box

PAPER: RGB = (244, 244, 240)
INK: RGB = (30, 30, 32)
RED: RGB = (206, 32, 36)
AMBER: RGB = (252, 196, 20)
GREY: RGB = (150, 152, 154)

PICTOGRAMS: tuple[tuple[float, Glyph], ...] = (  # width of the strokes and the strokes, in metres
    (0.09, [[(-0.1, 0), (-0.1, 0.25), (0.1, 0.3), (0.1, 0.55)]]),  # bend
    (0.09, [[(0, 0), (0, 0.55)], [(-0.17, 0.3), (0.17, 0.3)]]),  # crossing
    (0.06, [[(-0.12, 0), (0, 0.25), (0, 0.42)], [(0, 0.25), (0.13, 0)], [(-0.1, 0.3), (0.12, 0.36)]]),  # walker
    (0.09, [[(0, 0.2), (0, 0.55)], [(0, 0.02), (0, 0.08)]]),  # danger
)
WALKER = 2


def _ring(radius: float, dy: float) -> Shape:
    """A circle `dy` above the ground, as sixteen corners."""
    quarter = [(k * radius, j * radius) for k, j in ((1.0, 0.0), (0.9239, 0.3827), (0.7071, 0.7071), (0.3827, 0.9239))]
    half = quarter + [(-y, x) for x, y in quarter]
    return [(x, y + dy) for x, y in half + [(-x, -y) for x, y in half]]


def _rhomb(half: float, y: float) -> Shape:
    return [(0, y - half), (-half, y), (0, y + half), (half, y)]


def _rounded(left: float, bottom: float, right: float, top: float, r: float) -> Shape:
    return [(left + r, bottom), (left, bottom + r), (left, top - r), (left + r, top),
            (right - r, top), (right, top - r), (right, bottom + r), (right - r, bottom)]  # fmt: skip


@dataclass(frozen=True)
class Sign(Prop):
    """A sign on its post, facing the camera. `seed` chooses pictogram, number and words."""

    kind: str  # warning, speed or direction
    style: Signs
    seed: int
    size: float

    def draw(self, stage: Stage) -> None:
        board = Board(stage, self.lateral, self.s, "sign")
        if self.kind == "direction":
            self._direction(board)
            return
        self._post(board, 0.0, 2.2)
        if self.kind == "warning":
            self._warning(board)
        else:
            self._speed(board)

    def _post(self, board: Board, x: float, top: float) -> None:
        board.fill(box(x - 0.05, 0, x + 0.05, top), GREY, 0.6)
        if self.style.striped_post:
            for band in range(5):
                low = band * 0.44
                board.fill(box(x - 0.055, low, x + 0.055, low + 0.22), INK if band % 2 else PAPER, 0.6)

    def _warning(self, board: Board) -> None:
        k, y = self.size, 2.35
        if self.style.warning == "diamond":
            board.fill(_rhomb(0.62 * k, y), INK)
            board.fill(_rhomb(0.56 * k, y), AMBER)
            low = y - 0.3 * k
        else:
            y -= 0.12
            board.fill([(-0.62 * k, y - 0.36 * k), (0.0, y + 0.72 * k), (0.62 * k, y - 0.36 * k)], RED)
            board.fill([(-0.40 * k, y - 0.235 * k), (0.0, y + 0.46 * k), (0.40 * k, y - 0.235 * k)], PAPER)
            low = y - 0.18 * k
        pictogram = self.seed % len(PICTOGRAMS)
        width, strokes = PICTOGRAMS[pictogram]
        for stroke in strokes:
            board.stroke([(x * k, low + y * k) for x, y in stroke], INK, width * k)
        if pictogram == WALKER:
            board.fill(_ring(0.06 * k, low + 0.5 * k), INK)

    def _speed(self, board: Board) -> None:
        k, y = self.size, 2.35
        if self.style.speed == "rectangle":
            number = ("35", "45", "55", "45", "35")[self.seed % 5]
            board.fill(_rounded(-0.42 * k, y - 0.55 * k, 0.42 * k, y + 0.55 * k, 0.06), INK)
            board.fill(_rounded(-0.38 * k, y - 0.51 * k, 0.38 * k, y + 0.51 * k, 0.05), PAPER)
            _write(board, [GLYPHS["latin"][i] for i in (7, 4, 1, 1)], (-0.26 * k, y + 0.3 * k), 0.12 * k, INK)
            _write(board, [DIGITS[d] for d in number], (-0.26 * k, y - 0.42 * k), 0.46 * k, INK, 0.085 * k)
            return
        number = ("30", "40", "50", "60", "80")[self.seed % 5]
        board.fill(_ring(0.5 * k, y), RED)
        board.fill(_ring(0.37 * k, y), PAPER)
        _write(board, [DIGITS[d] for d in number], (-0.235 * k, y - 0.17 * k), 0.34 * k, INK, 0.07 * k)

    def _direction(self, board: Board) -> None:
        ground = self.style.direction[self.seed % len(self.style.direction)]
        ink = PAPER if sum(ground) < 400 else INK
        wide, tall, low = 2.5 * self.size, 1.35 * self.size, 1.5
        for x in (-0.32 * wide, 0.32 * wide):
            self._post(board, x, low + 0.2)
        board.fill(_rounded(-wide / 2, low, wide / 2, low + tall, 0.12), ink)
        board.fill(_rounded(-wide / 2 + 0.05, low + 0.05, wide / 2 - 0.05, low + tall - 0.05, 0.1), ground)
        for row, script in enumerate(self.style.scripts):
            letters = GLYPHS[script]
            numbers = range(5 + (self.seed >> (3 * row)) % 3)
            first = self.seed // (7 + 5 * row)
            text = [letters[(first + 3 * i + i * i * (row + 1)) % len(letters)] for i in numbers]
            y = low + tall * 0.58 - row * tall * 0.42
            _write(board, text, (-wide * 0.4, y), tall * 0.27, ink, 0.045 * self.size, PITCH[script])
        x, y = wide * 0.36, low + tall * 0.3
        board.fill([(x, y + 0.42), (x - 0.17, y + 0.18), (x + 0.17, y + 0.18)], ink)
        board.fill(box(x - 0.05, y - 0.2, x + 0.05, y + 0.2), ink)


def _write(
    board: Board, text: list[Glyph], at: Point, height: float, tint: RGB, width: float = 0.03, pitch: float = 6.0
) -> None:
    """Write glyphs `height` metres high from left to right, `at` being the lower left corner of the first."""
    k, (left, bottom) = height / 6, at
    for index, glyph in enumerate(text):
        for stroke in glyph:
            board.stroke([(left + (index * pitch + x) * k, bottom + y * k) for x, y in stroke], tint, width)
