"""Trees and bushes: sprites grown once a process from fixed seeds, tinted for one drive at a time."""

from dataclasses import dataclass
from functools import cache, lru_cache
from math import floor, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from whichland.sources.synthetic.canvas import F32, U8, Sprite, noise
from whichland.sources.synthetic.conventions import CLUES, SCENERY, Colour, Shape, Species
from whichland.sources.synthetic.stage import Light, Prop, Stage

WIDTH, HEIGHT = 160, 208
TONES = ((1.0, 1.0), (1.08, 0.97), (0.92, 1.02), (1.02, 0.92))  # red and green of a species' variants
LUMPS = {"cone": 46, "column": 34, "open": 26, "bush": 30, "umbrella": 30, "round": 40}  # of leaves, by crown

# A crown's shadow: the lower half is the upper half turned.
_HALF_RING = ((1.0, 0.0), (0.8, 0.5), (0.45, 0.9), (0.0, 1.0), (-0.5, 0.8), (-0.9, 0.45))
_RING = (*_HALF_RING, *((-a, -b) for a, b in _HALF_RING))
_WOBBLE = (1.0, 0.86, 1.06, 0.9)


@dataclass(frozen=True)
class Tree(Prop):
    name: str
    variant: int
    height: float
    season: float  # 0.9 fresh to 1.15 dry

    @property
    def species(self) -> Species:
        return SCENERY.species[self.name]

    def draw(self, stage: Stage) -> None:
        light, depth = stage.light, stage.seen(self.lateral, self.s)[1]
        tint = (self.season * TONES[self.variant][0], TONES[self.variant][1], 0.92)
        red, green, blue = (
            round((amb + sun * 0.62) * part, 3) for amb, sun, part in zip(light.ambient, light.sun, tint, strict=True)
        )
        picture = sprite(self.name, self.variant, (red, green, blue), light.sun_x < 0, light.snow)
        x, y = stage.at(self.lateral, 0, self.s)
        tall = self.height * stage.scale(depth)
        r, g, b = (int(value + 0.5) for value in light.haze)
        size = (tall * self.species.aspect, tall)
        stage.canvas.sprite(picture, (x, y + 0.02 * tall), size, ((r, g, b), light.fade(depth)), CLUES["vegetation"])

    @property
    def half_width(self) -> float:
        return self.height * self.species.aspect

    def shadow(self, light: Light, x: float, z: float) -> Shape:
        """A crown's shadow, roughly round, at half the height of the crown."""
        r = self.height * self.species.aspect * 0.44
        middle = self.height * (0.5 + self.species.bare / 2)
        cx, cz = x + light.sun_x * middle, z + light.sun_z * middle
        drawn = light.sun_x * r * (0.35 + 0.25 * (light.sun_x * light.sun_x + light.sun_z * light.sun_z)) * 0.8
        across, down = _WOBBLE * 3, (_WOBBLE * 4)[self.variant :]
        return [(cx + a * r * across[i] + b * drawn, cz + b * r * down[i]) for i, (a, b) in enumerate(_RING)]


def _lumps(species: Species, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Clumps of leaves as (x, y, radius), 0..1 of the sprite, y downwards, in order from back to front."""
    top, foot, crown = 0.03, 1 - species.bare, species.crown
    found = []
    for index in range(LUMPS[crown]):
        a, b, c = rng.random(3).tolist()
        t = index / (LUMPS[crown] - 1)  # from the top down
        x, y = a * 2 - 1, b * 2 - 1
        if crown == "cone":
            lump = (0.05 + 0.36 * t) * x, top + 0.06 + (foot - top - 0.08) * t, 0.035 + 0.05 * t + 0.03 * b
        elif crown == "column":
            lump = (0.10 + 0.26 * min(t * 2, 1)) * x, top + 0.05 + (foot - top - 0.05) * t, 0.10 + 0.05 * b
        elif crown == "umbrella":
            lump = 0.4 * x, top + 0.16 + 0.18 * x * x * 0.5 + 0.2 * b * (1 - x * x), 0.07 + 0.05 * c
        elif crown == "bush":
            lump = 0.36 * x, 0.22 + 0.66 * max(b, 0.3 * x * x + 0.1), 0.09 + 0.07 * c
        else:
            spread, size = (0.38, 1.0) if crown == "round" else (0.36, 0.8)
            shrink = 1 / max(1.0, sqrt(x * x + y * y) * 1.05)
            height = (top + foot) / 2 + 0.02 + (foot - top) * 0.40 * y * shrink
            lump = spread * x * shrink, height, (0.09 + 0.07 * c) * size
        found.append((0.5 + lump[0], *lump[1:]))
    return found


def _foliage(species: Species, rng: np.random.Generator) -> tuple[F32, NDArray[np.bool_]]:
    """Shade of the leaves (0 dark to about 1.3), lit from the upper left, and where they are."""
    y = (np.arange(HEIGHT, dtype=np.float32)[:, None] + 0.5) / HEIGHT
    x = (np.arange(WIDTH, dtype=np.float32)[None, :] + 0.5) / WIDTH
    grain = rng.random((HEIGHT, WIDTH), dtype=np.float32)
    blocks = rng.random((HEIGHT // 4, WIDTH // 4), dtype=np.float32).repeat(4, 0).repeat(4, 1)
    leaf = grain * 0.5 + blocks * 0.5 - 0.5
    shade: F32 = np.zeros((HEIGHT, WIDTH), np.float32)
    covered = np.zeros((HEIGHT, WIDTH), bool)
    lumps = _lumps(species, rng)
    low, high = (extreme(lump[1] for lump in lumps) for extreme in (min, max))
    for cx, cy, radius in lumps:
        dx, dy = (x - cx) / radius, (y - cy) / (radius * WIDTH / HEIGHT * 1.15)
        inside = dx * dx + dy * dy + leaf * 0.95 < 1
        depth = np.float32((cy - low) / max(high - low, 1e-3))
        facing = 0.78 - dx * 0.2 - dy * 0.3 - depth * np.float32(0.24) + (cx - 0.5) * -0.45
        shade = np.where(inside, facing + leaf * 0.42, shade)
        covered |= inside
    if species.crown in ("open", "bush"):
        gaps = noise(7, coarsest=16, octaves=4)[:HEIGHT, :WIDTH]
        covered &= gaps + grain * 0.25 > (0.46 if species.crown == "open" else 0.36)
    return shade, covered


def _trunk(species: Species, rng: np.random.Generator) -> Image.Image:
    """Trunk and branches as an RGBA picture."""
    image = Image.new("RGBA", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(image)
    top = int(HEIGHT * (0.16 if species.crown == "fronds" else 1 - species.bare - 0.25))
    lean = int((rng.random() - 0.5) * 12)
    half = max(int(species.stem * WIDTH / 2 + 0.5), 1)
    middle = WIDTH // 2
    for side, tone in ((-half, 1.12), (0, 0.8)):  # lit and shaded half
        foot, tip = middle + side, middle + lean
        corners = [(foot, HEIGHT), (foot + half, HEIGHT), (tip + (side + half) // 2, top), (tip + side // 2, top)]
        draw.polygon(corners, fill=(*(min(int(c * tone), 255) for c in species.trunk), 255))
    if species.crown in ("umbrella", "open"):
        fork = int(HEIGHT * (1 - species.bare * 0.6))
        for _ in range(4):
            reach = int((rng.random() - 0.5) * WIDTH * 0.62)
            ends = [(middle + lean // 3, fork), (middle + reach, int(HEIGHT * 0.3))]
            draw.line(ends, fill=(*species.trunk, 255), width=2)
    if species.crown == "open" and species.trunk[0] > 210:  # a birch's bark
        for _ in range(9):
            row = int(HEIGHT * (1 - species.bare * rng.random() * 1.2))
            draw.line([(middle - half, row - 1), (middle, row - 1)], fill=(66, 62, 60, 255))
    return image


def _fronds(species: Species, rng: np.random.Generator) -> Image.Image:
    """A palm's crown: arching fronds drawn as fans of short leaflets."""
    image = _trunk(species, rng)
    draw = ImageDraw.Draw(image)
    cx, cy = WIDTH / 2 + (rng.random() - 0.5) * 6, HEIGHT * 0.2
    count = 26 if species.stem > 0.05 else 18
    for index in range(count):
        spread = (index * 7 % count) / (count - 1) * 2 - 1
        reach = WIDTH * (0.30 + 0.18 * rng.random())
        rise = (0.9 - abs(spread)) * HEIGHT * 0.15 + HEIGHT * 0.05 * rng.random()
        tone = 0.62 + 0.5 * rng.random() - 0.25 * spread
        ink = tuple(min(max(int(value * tone), 0), 255) for value in species.leaf)
        x, y = cx, cy
        for t in (step / 8 for step in range(1, 9)):
            before, x, y = (x, y), cx + spread * reach * t, cy - rise * 2.2 * t + HEIGHT * 0.26 * t * t
            droop = HEIGHT * 0.055 * (1.15 - t)
            for side in (-4.5, 4.5):
                leaflet = (before, (x, y), (x + side * (1 - t), y + droop))
                draw.polygon([(floor(a + 0.5), floor(b + 0.5)) for a, b in leaflet], fill=(*ink, 255))
    return image


@cache
def _grown(name: str, variant: int) -> tuple[U8, U8]:
    """Unlit colours (H×W×3) and alpha (H×W) of one tree."""
    species = SCENERY.species[name]
    rng = np.random.Generator(np.random.PCG64([sorted(SCENERY.species).index(name), variant]))
    leaf = np.asarray(species.leaf, dtype=np.float32)
    palm = species.crown == "fronds"
    drawn = np.asarray((_fronds if palm else _trunk)(species, rng))
    alpha = drawn[..., 3].copy()
    behind = leaf * (1 if palm else np.float32(0.8))  # shows in the blend at leaves' edges
    colour = np.where(alpha[..., None] > 0, drawn[..., :3].astype(np.float32), behind)
    if not palm:
        shade, crown = _foliage(species, rng)
        colour = np.where(crown[..., None], leaf * (shade + 0.45)[..., None], colour)
        alpha[crown] = 255
    return np.clip(colour, 0, 255).astype(np.uint8), alpha


@lru_cache(maxsize=64)
def sprite(name: str, variant: int, shine: Colour, flip: bool, snow: float) -> Sprite:
    """Return a tree under a drive's light (a multiplier a channel); `flip` puts the lit side right."""
    colour, alpha = (Image.fromarray(array) for array in _grown(name, variant))
    if flip:
        colour, alpha = (part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for part in (colour, alpha))
    lit = colour.point([min(int(value * part + 0.5), 255) for part in shine for value in range(256)])
    if snow:
        bright = SCENERY.species[name].leaf[1]
        settles = [min(max(int((value / bright - 1.15) * 816 * snow), 0), 255) for value in range(256)]
        lit.paste((235, 238, 242), (0, 0), colour.getchannel("G").point(settles))
    return Sprite(lit, alpha)
