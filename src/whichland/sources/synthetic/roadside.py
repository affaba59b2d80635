"""Along the road: poles with their wires, bollards, guard rails and traffic signs."""

from dataclasses import dataclass

from whichland.sources.synthetic.conventions import CLUES, RGB, SCENERY, Bollard, Conventions, Glyph, Point, Pole, Shape
from whichland.sources.synthetic.stage import Board, Light, Prop, Stage, box, upright

HALF_SHAFT = {"wood": 0.15, "round": 0.18, "square": 0.17, "lamp": 0.09}  # metres, by the pole's form
PAPER: RGB = (244, 244, 240)
INK: RGB = (30, 30, 32)


@dataclass(frozen=True)
class PoleWithWires(Prop):
    """A utility pole and the wires to the next one, `span` metres further on."""

    style: Pole
    height: float
    span: float
    loaded: bool  # carries the transformer

    def in_view(self, stage: Stage) -> bool:
        depth = stage.seen(self.lateral, self.s)[1]
        return 1.5 < depth < 240 and self.s > stage.camera.z - self.span * 0.5

    def shadow(self, light: Light, x: float, z: float) -> Shape:
        dx, dz = light.sun_x * self.height, light.sun_z * self.height
        return [(x - 0.15, z), (x + 0.15, z), (x + dx + 0.1, z + dz), (x + dx - 0.1, z + dz)]

    def draw(self, stage: Stage) -> None:
        board = Board(stage, self.lateral, self.s, "pole")
        self._wires(stage, board.depth)
        style, h, shaft = self.style, self.height, HALF_SHAFT[self.style.form]
        tints = {"shaft": style.colour, "arm": (104, 86, 70) if style.form == "wood" else style.colour}
        board.draw("shaft", tints, (shaft, h))
        board.draw("sunlit_shaft", tints, (-shaft if stage.light.sun_x > 0 else shaft, h))
        if style.form == "square":
            for y in (1.2 + hole * h * 0.1 for hole in range(8)):
                board.fill(box(-0.04, y, 0.04, y + 0.3), (90, 88, 84), 0.3)
        if style.footing:
            board.draw("footing")
        if style.guard:
            board.draw("guard", scale=(shaft, 1))
        if style.form == "lamp":
            board.draw("lamp", tints, (-1 if self.lateral > 0 else 1, 1), (0, h))
        for arm in range(style.crossarms):
            board.draw("crossarm", tints, at=(0, h - 0.45 - arm * 0.9))
        if self.loaded and style.transformer:
            board.draw("transformer", at=(0, h))

    def _wires(self, stage: Stage, depth: float) -> None:
        ink = stage.light.shade((52, 54, 58), depth + self.span * 0.4, 0.2)
        width = min(0.045 * stage.scale(depth + 6), 1.0)
        arms, steps = self.style.crossarms, 8 if depth < 50 else 4
        rows = max(arms, 1)
        for wire in range(self.style.wires):
            row = wire % (rows + (1 if self.style.wires > 5 else 0))
            x = self.lateral + ((-0.95, 0.95, -0.45, 0.45, 0.0)[wire // rows % 5] if arms else 0.1)
            y = self.height - 0.25 - row * 0.9 - (0.0 if arms else wire * 0.45)
            along = [step / steps for step in range(steps + 1)]
            points = [stage.at(x, y - 0.9 * 4 * t * (1 - t), self.s + self.span * t) for t in along]  # they sag
            stage.canvas.line(points, ink, width, CLUES["pole"])


@dataclass(frozen=True)
class Post(Prop):
    """A bollard or marker post."""

    style: Bollard

    def draw(self, stage: Stage) -> None:
        board, style = Board(stage, self.lateral, self.s, "bollard"), self.style
        tints = {"body": style.body, "band": style.band, "reflector": style.reflector}
        board.draw(f"bollard_{style.form}", tints, (style.width / 2, style.height))
        if style.form == "disc":
            board.draw("disc", tints, at=(0, style.height))


@dataclass(frozen=True)
class GuardRail(Prop):
    """One four-metre length of steel rail; the same in every country here."""

    def in_view(self, stage: Stage) -> bool:
        return stage.seen(self.lateral, self.s)[1] > 0.2 and self.s > stage.camera.z + 0.5

    def draw(self, stage: Stage) -> None:
        depth = max(stage.seen(self.lateral, self.s)[1], 0.8)
        x, a, b = self.lateral, self.s, self.s + 4.0
        ink = stage.light.shade((128, 130, 132), depth, 0.3)
        stage.canvas.line([stage.at(x, 0, a), stage.at(x, 0.6, a)], ink, 0.12 * stage.scale(depth), CLUES["none"])
        for low, high, tone in ((0.45, 0.56, 150), (0.56, 0.64, 200), (0.64, 0.75, 172)):
            stage.face(upright((x, low, a), (x, high, b)), (tone, tone + 3, tone + 6), "none", 0.7, depth)


@dataclass(frozen=True)
class Sign(Prop):
    """A sign on its post, facing the camera. `seed` chooses pictogram, number and words."""

    kind: str  # warning, speed or direction
    country: Conventions
    seed: int
    size: float

    def draw(self, stage: Stage) -> None:
        board, middle = Board(stage, self.lateral, self.s, "sign"), 2.35
        if self.kind == "direction":
            self._direction(board)
            return
        self._post(board, 0.0, 2.2)
        if self.kind == "speed":
            self._speed(board, middle)
        elif self.country.warning_sign == "diamond":
            self._warning(board, middle, 0.3)
        else:
            self._warning(board, middle - 0.12, 0.18)

    def _post(self, board: Board, x: float, top: float) -> None:
        board.fill(box(x - 0.05, 0, x + 0.05, top), (150, 152, 154), 0.6)
        if self.country.striped_posts:
            board.draw("striped_post", at=(x, 0))

    def _warning(self, board: Board, middle: float, below: float) -> None:
        """A board around `middle`, its pictogram standing as far below it."""
        k, pictogram = self.size, self.seed % len(SCENERY.pictograms)
        board.draw(self.country.warning_sign, scale=(k, k), at=(0, middle))
        width, strokes = SCENERY.pictograms[pictogram]
        low = middle - below * k
        for stroke in strokes:
            board.stroke([(x * k, low + y * k) for x, y in stroke], INK, width * k)
        if pictogram == 2:
            board.draw("head", scale=(k, k), at=(0, low))

    def _speed(self, board: Board, middle: float) -> None:
        k, y, digits = self.size, middle, SCENERY.digits
        if self.country.speed_sign == "rectangle":
            number = ("35", "45", "55", "45", "35")[self.seed % 5]
            board.fill(_rounded(-0.42 * k, y - 0.55 * k, 0.42 * k, y + 0.55 * k, 0.06), INK)
            board.fill(_rounded(-0.38 * k, y - 0.51 * k, 0.38 * k, y + 0.51 * k, 0.05), PAPER)
            _, letters = SCENERY.scripts["latin"]
            _write(board, [letters[i] for i in (7, 4, 1, 1)], (-0.26 * k, y + 0.3 * k), 0.12 * k, INK)
            _write(board, [digits[d] for d in number], (-0.26 * k, y - 0.42 * k), 0.46 * k, INK, 0.085 * k)
        else:
            number = ("30", "40", "50", "60", "80")[self.seed % 5]
            board.draw("circle", scale=(k, k), at=(0, y))
            _write(board, [digits[d] for d in number], (-0.235 * k, y - 0.17 * k), 0.34 * k, INK, 0.07 * k)

    def _direction(self, board: Board) -> None:
        ground = self.country.direction_signs[self.seed % len(self.country.direction_signs)]
        ink = PAPER if sum(ground) < 400 else INK
        wide, tall, low = 2.5 * self.size, 1.35 * self.size, 1.5
        for x in (-0.32 * wide, 0.32 * wide):
            self._post(board, x, low + 0.2)
        board.fill(_rounded(-wide / 2, low, wide / 2, low + tall, 0.12), ink)
        board.fill(_rounded(-wide / 2 + 0.05, low + 0.05, wide / 2 - 0.05, low + tall - 0.05, 0.1), ground)
        for row, name in enumerate(self.country.scripts):
            pitch, letters = SCENERY.scripts[name]
            numbers = range(5 + (self.seed >> (3 * row)) % 3)
            first = self.seed // (7 + 5 * row)
            text = [letters[(first + 3 * i + i * i * (row + 1)) % len(letters)] for i in numbers]
            corner = -wide * 0.4, low + tall * 0.58 - row * tall * 0.42
            _write(board, text, corner, tall * 0.27, ink, 0.045 * self.size, pitch)
        board.draw("arrow", {"ink": ink}, at=(wide * 0.36, low + tall * 0.3))


def _rounded(left: float, bottom: float, right: float, top: float, r: float) -> Shape:
    return [(left + r, bottom), (left, bottom + r), (left, top - r), (left + r, top),
            (right - r, top), (right, top - r), (right, bottom + r), (right - r, bottom)]  # fmt: skip


def _write(
    board: Board, text: list[Glyph], at: Point, height: float, tint: RGB, width: float = 0.03, pitch: float = 6.0
) -> None:
    """Write glyphs `height` metres high from left to right, `at` being the lower left corner of the first."""
    k, (left, bottom) = height / 6, at
    for index, glyph in enumerate(text):
        for stroke in glyph:
            board.stroke([(left + (index * pitch + x) * k, bottom + y * k) for x, y in stroke], tint, width)
