"""Trees and bushes: sprites grown once a process from fixed seeds, tinted a drive at a time."""

from dataclasses import dataclass
from functools import cache, lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from whichland.sources.synthetic.canvas import Sprite
from whichland.sources.synthetic.texture import F32, noise

RGB = tuple[int, int, int]
U8 = NDArray[np.uint8]

WIDTH, HEIGHT = 160, 208
VARIANTS = 4


@dataclass(frozen=True)
class Species:
    """How a tree looks: `height` in metres (low, high), the share of it that is bare trunk, crown and colours."""

    height: tuple[float, float]
    aspect: float  # width over height
    trunk: RGB
    leaf: RGB
    crown: str  # round, cone, umbrella, column, open, bush or fronds
    bare: float = 0.2
    stem: float = 0.045  # trunk width over sprite width


SPECIES = {
    "broadleaf": Species((7, 13), 0.85, (92, 74, 58), (72, 108, 44), "round"),
    "conifer": Species((9, 17), 0.5, (84, 66, 52), (44, 78, 50), "cone", 0.08),
    "cedar": Species((11, 20), 0.42, (104, 72, 54), (40, 84, 48), "cone", 0.1),
    "birch": Species((8, 14), 0.6, (222, 220, 212), (104, 136, 56), "open", 0.28, 0.035),
    "poplar": Species((12, 18), 0.3, (112, 94, 74), (84, 118, 52), "column", 0.06),
    "eucalypt": Species((8, 15), 0.8, (206, 190, 168), (104, 118, 76), "open", 0.34, 0.05),
    "acacia": Species((4, 7), 1.35, (96, 74, 56), (104, 112, 54), "umbrella", 0.42, 0.035),
    "tropical": Species((4, 9), 0.95, (104, 84, 60), (64, 124, 44), "round", 0.1),
    "palm": Species((8, 13), 0.7, (142, 122, 98), (82, 128, 50), "fronds", 0.6, 0.035),
    "date_palm": Species((6, 10), 0.75, (126, 100, 72), (106, 122, 66), "fronds", 0.55, 0.06),
    "shrub": Species((1.0, 2.2), 1.3, (92, 76, 56), (86, 116, 50), "bush", 0.0),
    "dry_shrub": Species((0.7, 1.8), 1.4, (112, 92, 68), (134, 128, 78), "bush", 0.0),
    "hedge": Species((1.5, 1.9), 1.6, (80, 66, 50), (66, 104, 42), "bush", 0.0),
}


def _lumps(species: Species, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Clumps of leaves as (x, y, radius), 0..1 of the sprite, y downwards, in order from back to front."""
    top, foot = 0.03, 1 - species.bare
    found = []
    count = {"cone": 46, "column": 34, "open": 26, "bush": 30, "umbrella": 30}.get(species.crown, 40)
    for index in range(count):
        a, b, c = (float(value) for value in rng.random(3))
        t = index / (count - 1)
        if species.crown == "cone":
            y = top + 0.06 + (foot - top - 0.08) * t
            half = 0.05 + 0.36 * t
            found.append((0.5 + (a - 0.5) * 2 * half, y, 0.035 + 0.05 * t + 0.03 * b))
        elif species.crown == "column":
            y = top + 0.05 + (foot - top - 0.05) * t
            half = 0.10 + 0.26 * min(t * 2, 1)
            found.append((0.5 + (a - 0.5) * 2 * half, y, 0.10 + 0.05 * b))
        elif species.crown == "umbrella":
            x = a * 2 - 1
            found.append((0.5 + 0.4 * x, top + 0.16 + 0.18 * x * x * 0.5 + 0.2 * b * (1 - x * x), 0.07 + 0.05 * c))
        elif species.crown == "bush":
            x = a * 2 - 1
            found.append((0.5 + 0.36 * x, 0.22 + 0.66 * max(b, 0.3 * x * x + 0.1), 0.09 + 0.07 * c))
        else:
            x, y = a * 2 - 1, b * 2 - 1
            shrink = 1 / max(1.0, sqrt(x * x + y * y) * 1.05)
            spread = 0.38 if species.crown == "round" else 0.36
            middle = (top + foot) / 2 + 0.02
            radius = (0.09 + 0.07 * c) * (0.8 if species.crown == "open" else 1.0)
            found.append((0.5 + spread * x * shrink, middle + (foot - top) * 0.40 * y * shrink, radius))
    return found


def _foliage(species: Species, rng: np.random.Generator) -> tuple[F32, F32]:
    """Shade (0 dark to about 1.3) and coverage of the leaves, lit from the upper left."""
    y = (np.arange(HEIGHT, dtype=np.float32)[:, None] + np.float32(0.5)) / np.float32(HEIGHT)
    x = (np.arange(WIDTH, dtype=np.float32)[None, :] + np.float32(0.5)) / np.float32(WIDTH)
    grain = rng.random((HEIGHT, WIDTH), dtype=np.float32)
    blocks = rng.random((HEIGHT // 4, WIDTH // 4), dtype=np.float32).repeat(4, 0).repeat(4, 1)
    leaf = grain * np.float32(0.5) + blocks * np.float32(0.5)
    shade = np.zeros((HEIGHT, WIDTH), np.float32)
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    lumps = _lumps(species, rng)
    low = min(lump[1] for lump in lumps)
    high = max(lump[1] for lump in lumps)
    for cx, cy, radius in lumps:
        tall = np.float32(radius * WIDTH / HEIGHT * 1.15)
        dx, dy = (x - np.float32(cx)) / np.float32(radius), (y - np.float32(cy)) / tall
        inside = dx * dx + dy * dy + (leaf - np.float32(0.5)) * np.float32(0.95) < 1
        depth = np.float32((cy - low) / max(high - low, 1e-3))
        facing = np.float32(0.78) - dx * np.float32(0.2) - dy * np.float32(0.3) - depth * np.float32(0.24)
        facing = facing + np.float32((cx - 0.5) * -0.45)
        shade = np.where(inside, facing + (leaf - np.float32(0.5)) * np.float32(0.42), shade)
        alpha = np.where(inside, np.float32(1), alpha)
    if species.crown in ("open", "bush"):
        gaps = noise(7, coarsest=16, octaves=4)[:HEIGHT, :WIDTH]
        alpha = alpha * (gaps + grain * np.float32(0.25) > np.float32(0.46 if species.crown == "open" else 0.36))
    return shade, alpha


def _trunk(species: Species, rng: np.random.Generator) -> Image.Image:
    """Trunk and branches as an RGBA picture."""
    image = Image.new("RGBA", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(image)
    top = int(HEIGHT * (0.16 if species.crown == "fronds" else 1 - species.bare - 0.25))
    lean = int((float(rng.random()) - 0.5) * 12)
    half = max(int(species.stem * WIDTH / 2 + 0.5), 1)
    middle = WIDTH // 2
    r, g, b = species.trunk
    for side, tone in ((-half, 1.12), (0, 0.8)):
        ink = (min(int(r * tone), 255), min(int(g * tone), 255), min(int(b * tone), 255), 255)
        draw.polygon(
            [
                (middle + side, HEIGHT),
                (middle + side + half, HEIGHT),
                (middle + lean + (side + half) // 2, top),
                (middle + lean + side // 2, top),
            ],
            fill=ink,
        )
    if species.crown in ("umbrella", "open"):
        fork = int(HEIGHT * (1 - species.bare * 0.6))
        for _ in range(4):
            reach = int((float(rng.random()) - 0.5) * WIDTH * 0.62)
            draw.line(
                [(middle + lean // 3, fork), (middle + reach, int(HEIGHT * 0.3))], fill=(*species.trunk, 255), width=2
            )
    if species.crown == "open" and species.trunk[0] > 210:
        for _ in range(9):
            row = int(HEIGHT * (1 - species.bare * float(rng.random()) * 1.2))
            draw.line([(middle - half, row - 1), (middle, row - 1)], fill=(66, 62, 60, 255))
    return image


def _fronds(species: Species, rng: np.random.Generator) -> Image.Image:
    """A palm's crown: arching fronds drawn as fans of short leaflets."""
    image = _trunk(species, rng)
    draw = ImageDraw.Draw(image)
    cx, cy = WIDTH / 2 + (float(rng.random()) - 0.5) * 6, HEIGHT * 0.2
    count = 26 if species.stem > 0.05 else 18
    for index in range(count):
        spread = (index * 7 % count) / (count - 1) * 2 - 1
        reach = WIDTH * (0.30 + 0.18 * float(rng.random()))
        rise = (0.9 - abs(spread)) * HEIGHT * 0.15 + HEIGHT * 0.05 * float(rng.random())
        tone = 0.62 + 0.5 * float(rng.random()) - 0.25 * spread
        ink = tuple(min(max(int(value * tone), 0), 255) for value in species.leaf)
        previous = (cx, cy)
        for step in range(1, 9):
            t = step / 8
            point = (cx + spread * reach * t, cy - rise * 2.2 * t + HEIGHT * 0.26 * t * t)
            droop = HEIGHT * 0.055 * (1.15 - t)
            for side in (-1, 1):
                tip = (point[0] + side * 4.5 * (1 - t), point[1] + droop)
                draw.polygon([_round(previous), _round(point), _round(tip)], fill=(*ink, 255))
            previous = point
    return image


def _round(point: tuple[float, float]) -> tuple[int, int]:
    return int(np.floor(point[0] + 0.5)), int(np.floor(point[1] + 0.5))


@cache
def _grown(name: str, variant: int) -> tuple[U8, U8]:
    """Unlit colours (H×W×3) and alpha (H×W) of one tree."""
    species = SPECIES[name]
    rng = np.random.Generator(np.random.PCG64([sorted(SPECIES).index(name), variant]))
    if species.crown == "fronds":
        picture = np.asarray(_fronds(species, rng))
        colour, alpha = picture[..., :3].astype(np.float32), picture[..., 3].copy()
        colour = np.where(alpha[..., None] > 0, colour, np.asarray(species.leaf, dtype=np.float32))
        return colour.astype(np.uint8), alpha
    trunk = np.asarray(_trunk(species, rng))
    shade, alpha = _foliage(species, rng)
    green = np.asarray(species.leaf, dtype=np.float32) * (np.float32(0.45) + shade)[..., None]
    crown = alpha > 0
    behind = np.asarray(species.leaf, dtype=np.float32) * np.float32(0.8)  # shows in the blend at leaves' edges
    wood = np.where(trunk[..., 3:] > 0, trunk[..., :3].astype(np.float32), behind)
    colour = np.where(crown[..., None], green, wood)
    return np.clip(colour, 0, 255).astype(np.uint8), np.where(crown, np.uint8(255), trunk[..., 3])


@lru_cache(maxsize=64)
def sprite(name: str, variant: int, shine: tuple[float, float, float], flip: bool, snow: float) -> Sprite:
    """Return a tree under a drive's light (a multiplier a channel); `flip` puts the lit side right."""
    albedo, coverage = _grown(name, variant)
    colour, alpha = Image.fromarray(albedo), Image.fromarray(coverage)
    if flip:
        colour, alpha = (part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for part in (colour, alpha))
    lit = colour.point([min(int(value * part + 0.5), 255) for part in shine for value in range(256)])
    if snow:
        bright = SPECIES[name].leaf[1]
        settles = [min(max(int((value / bright - 1.15) * 816 * snow), 0), 255) for value in range(256)]
        lit.paste((235, 238, 242), (0, 0), colour.getchannel("G").point(settles))
    return Sprite(lit, alpha)
