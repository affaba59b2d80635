"""Houses and vehicles: blocks with faces, of which those that are seen from the road are drawn."""

from dataclasses import dataclass

from whichland.sources.synthetic.conventions import CLUES, RGB, SCENERY, Body, Colour, Plate, Roof, Shape
from whichland.sources.synthetic.stage import Board, Light, Point3, Prop, Stage, box, cast, upright

TYRE: RGB = (26, 26, 28)
CAR_GLASS: RGB = (52, 62, 74)


@dataclass(frozen=True)
class House(Prop):
    """A box whose near long side is beside the road; gable, hip or flat roof, windows, a door and a chimney."""

    length: float  # along the road
    depth: float  # away from the road
    height: float  # to the eaves
    roof: Roof
    wall: RGB
    along: bool  # the ridge runs along the road
    chimney: bool
    door: int  # which bay of the front holds the door

    @property
    def side(self) -> int:
        """Of the road: 1 right, -1 left."""
        return 1 if self.lateral > 0 else -1

    def draw(self, stage: Stage) -> None:
        _Drawing(self, stage).draw()

    def in_view(self, stage: Stage) -> bool:
        """Whether it is near enough, and some corner neither left nor right of the picture."""
        nearest, end = stage.camera.z + 1, self.s + self.length
        if end <= nearest + 1 or stage.seen(self.lateral, self.s)[1] >= 260:
            return False
        sides, ends = (self.lateral, self.lateral + self.side * self.depth), (max(self.s, nearest), end)
        corners = [stage.seen(lateral, s) for lateral in sides for s in ends]
        shares = [aside / (max(depth, 1.0) * stage.reach + 1.0) for aside, depth in corners]
        return min(shares) <= 1 and max(shares) >= -1

    def shadow(self, light: Light, x: float, z: float) -> Shape:
        return cast(light, (x, x + self.side * self.depth), (z, z + self.length), self.height * 1.2)


class _Drawing:
    """One house as it is drawn in one frame."""

    def __init__(self, house: House, stage: Stage) -> None:
        self.house, self.stage = house, stage
        self.x = x0, x1 = house.lateral, house.lateral + house.side * house.depth  # near and far wall
        self.z = z0, z1 = house.s, house.s + house.length
        self.eaves_x = x0 - house.side * 0.45, x1 + house.side * 0.45
        self.eaves_z = z0 - 0.45, z1 + 0.45
        self.depth = stage.seen(house.lateral, max(house.s, stage.camera.z + 1))[1]
        self.lit_front, self.lit_end = stage.toward_sun(-house.side, 0), stage.toward_sun(0, -1)
        self.end_seen = stage.camera.z < house.s
        red, green, blue = (c + (238 - c) * stage.light.snow * 0.85 for c in house.roof.colour)
        self.tint: Colour = (red, green, blue)

    def draw(self) -> None:
        h, (x0, x1), (z0, z1) = self.house.height, self.x, self.z
        if self.end_seen:
            self._wall(upright((x0, 0.0, z0), (x1, h, z0)), self.lit_end)
        self._wall(upright((x0, 0.0, z0), (x0, h, z1)), self.lit_front)
        self._openings()
        if self.house.roof.form != "flat":
            self._pitched()
            return
        (x0, x1), (z0, z1) = self.eaves_x, self.eaves_z
        if self.end_seen:
            self._roof(upright((x0, h - 0.1, z0), (x1, h + 0.7, z0)), self.lit_end)
        self._roof(upright((x0, h - 0.1, z0), (x0, h + 0.7, z1)), self.lit_front)

    def _wall(self, corners: list[Point3], lit: float, tint: Colour | None = None) -> None:
        self.stage.face(corners, tint or self.house.wall, "wall", lit, self.depth)

    def _roof(self, corners: list[Point3], lit: float) -> None:
        self.stage.face(corners, self.tint, "roof", lit, self.depth)

    def _openings(self) -> None:
        """Windows on the front and on the end that faces the camera, and one door."""
        house, (x, far) = self.house, self.x
        bays = max(int(house.length / 2.6), 2)
        for floor in range(2 if house.height > 4.2 else 1):
            sill = 0.95 + floor * 2.7
            for bay in range(bays):
                middle = house.s + house.length / bays * (bay + 0.5)
                if floor == 0 and bay == house.door % bays:
                    self._wall(upright((x, 0.0, middle - 0.5), (x, 2.1, middle + 0.5)), self.lit_front, (96, 70, 54))
                else:
                    self._window(x, sill, middle, (0.0, 0.52), self.lit_front)
            for part in (0.3, 0.7) if self.end_seen else ():
                self._window(x + (far - x) * part, sill, house.s, (0.43, 0.0), self.lit_end)

    def _window(self, x: float, y: float, z: float, half: tuple[float, float], lit: float) -> None:
        """A pane in its frame; `half` is half its width along x and along the road, one of them zero."""
        dx, dz = half
        if self.depth < 90:
            rim_x, rim_z = dx * 1.25, dz * 1.25
            self._wall(upright((x - rim_x, y - 0.1, z - rim_z), (x + rim_x, y + 1.3, z + rim_z)), lit, (226, 226, 222))
        red, green, blue = (g * 0.6 + s * 0.25 for g, s in zip((74, 88, 102), self.stage.light.horizon, strict=True))
        self._wall(upright((x - dx, y, z - dz), (x + dx, y + 1.2, z + dz)), 0.4, (red, green, blue))

    def _pitched(self) -> None:
        """A gable or hip roof: one of its triangles, one of its planes and the chimney.

        Where the ridge runs along the road, the triangle faces the camera and the plane the road; else the other way
        round. Either way a point is (across the ridge, up, along the ridge).
        """
        h, along, hipped = self.house.height, self.house.along, self.house.roof.form == "hip"
        across, ridgewise = (self.eaves_x, self.eaves_z) if along else (self.eaves_z, self.eaves_x)
        (w0, w1), near = (self.x, self.z[0]) if along else (self.z, self.x[0])
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
            x, y, z = (p + (q - p) * 0.25 for p, q in zip(*ridge, strict=True))
            half = self.house.side * 0.35
            self._wall(upright((x - half, y - 0.5, z), (x + half, y + 0.8, z)), self.lit_front, (142, 96, 80))

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
        return SCENERY.vehicles[self.kind]

    def shadow(self, light: Light, x: float, z: float) -> Shape:
        body = self.body
        return cast(light, (x - body.half, x + body.half), (z, z + body.length), body.roof * 0.8)

    def draw(self, stage: Stage) -> None:
        board, body = Board(stage, self.lateral, self.s, "traffic"), self.body
        x, z, w, n, depth = self.lateral, self.s, body.half, body.length, board.depth
        left, right = x - w * 1.04, x + w * 1.04
        below = [(left, 0, z - 0.15), (right, 0, z - 0.15), (right, 0, z + n), (left, 0, z + n)]
        stage.face(below, (46, 47, 50), "none", 0.0, depth)
        for side in (-1, 1):
            wheel = Board(stage, x + side * w * 0.82, z + 0.25, "traffic", depth)
            wheel.fill(box(-0.12, 0.0, 0.12, 0.5), TYRE, 0.4)
        self._side(stage, -1 if board.foot[0] > stage.camera.width / 2 else 1, depth)
        self._end(board)
        board.fill(box(-w, 0.26, w, 0.44), (54, 55, 58), 0.4)
        low, high = body.waist * 0.66, body.waist * 0.86
        dark, lit = ((214, 218, 222), (255, 250, 226)) if self.oncoming else ((168, 30, 30), (236, 50, 44))
        ink = lit if self.lamps else stage.light.shade(dark, depth, 0.8 if self.oncoming else 0.6)
        for side in (-1, 1):
            board.paint(box(side * w * 0.64, low, side * w * 0.95, high), ink)
        if self.oncoming and self.kind != "lorry":
            board.fill(box(-w * 0.5, low, w * 0.5, high - 0.05), (44, 46, 50), 0.4)
        size = (0.30, 0.14) if self.plate.wide else (0.19, 0.19)
        Board(stage, x, z, "plate").draw("plate", self.plate._asdict(), size, (0, 0.46))

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
            window = [(start * n + slope * 0.35, low), (start * n + slope * 1.1, high)]
            window += [(stop * n - slope * 1.1, high), (stop * n - slope * 0.35, low)]
            stage.face([(inner, y, self.s + along) for along, y in window], CAR_GLASS, "traffic", 0.3, depth)
        tyre, rim = stage.light.shade(TYRE, depth, 0.4), stage.light.shade((150, 152, 156), depth, 0.5)
        for along in (0.19 * n, 0.81 * n):
            centre = stage.at(x, 0.32, self.s + along)
            radius = 0.31 * stage.scale(depth + along)
            stage.canvas.ellipse(centre, max(radius * 0.45, 0.4), radius, tyre, CLUES["traffic"])
            if stage.scale(depth) > 22:
                stage.canvas.ellipse(centre, radius * 0.22, radius * 0.5, rim, CLUES["traffic"])

    def _end(self, board: Board) -> None:
        """The end that faces the camera: of a lorry its windscreen or doors, else bonnet or boot under a window."""
        stage, body, depth, lit = board.stage, self.body, board.depth, board.stage.toward_sun(0.0, -1.0)
        x, w, waist, top = self.lateral, body.half, body.waist, body.roof
        if self.kind == "lorry":
            board.fill(box(-w, 0.5, w, top), self.paint, lit)
            opening = box(-w * 0.9, 1.5, w * 0.9, 2.4) if self.oncoming else box(-0.03, 0.6, 0.03, top - 0.1)
            board.fill(opening, CAR_GLASS if self.oncoming else (110, 112, 116), 0.4)
            return
        start = body.cabin[0] * body.length
        foot, head = self.s + start, self.s + start + 0.09 * body.length
        window = [
            (x - w * 0.94, waist, foot),
            (x + w * 0.94, waist, foot),
            (x + w * 0.74, top, head),
            (x - w * 0.74, top, head),
        ]
        if start > 0.3:
            bonnet = [(x - w, waist, self.s), (x + w, waist, self.s), window[1], window[0]]
            stage.face(bonnet, self.paint, "traffic", 0.9, depth)
        stage.face(window, self.paint, "traffic", lit, depth)
        x0, y0, z0 = (sum(values) / 4 for values in zip(*window, strict=True))
        pane = [(x0 + (x - x0) * 0.86, y0 + (y - y0) * 0.78, z0 + (z - z0) * 0.8) for x, y, z in window]
        stage.face(pane, CAR_GLASS, "traffic", 0.45, depth)
        lower = [(-w, 0.3), (-w, waist - 0.04), (-w * 0.96, waist), (w * 0.96, waist), (w, waist - 0.04), (w, 0.3)]
        board.fill(lower, self.paint, lit)
