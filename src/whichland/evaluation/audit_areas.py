"""What the probabilities owe to the rim of a picture: an area is replaced, and so is as much area elsewhere.

Rigs leave their marks at the rim: a bonnet or a blurred car below, a watermark or a date in a corner, a frame. The
area is taken from a photo of another country, so that it stays a piece of a street and a blurred edge is really
gone; grey would only be another smooth edge. The same is done at random places away from it with a piece of the
same photo, since any tenth of a picture holds honest evidence. Only what the area costs beyond that counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from whichland.evaluation.audit_config import Fill
from whichland.evaluation.audit_effects import Check, Effect, Limits, by_country, country_means
from whichland.images.preprocess import Pixels
from whichland.progress import Progress

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]  # H×W, the pixels to replace
Ask = Callable[[Pixels], NDArray[np.float32]]  # crops B×H×W×3 to probabilities B×K

SHARE = 0.1  # of the picture's area
ELSEWHERE = 2  # random places to compare each area with
BATCH = 32
LIMITS = Limits(trivial=0.05, relevant=0.2, trivial_mean=0.05, relevant_mean=0.15)


@dataclass(frozen=True, kw_only=True)
class Area:
    """A part of the rim, and as much area away from it."""

    title: str
    asks: str
    at: Callable[[int, int], Mask]
    elsewhere: Callable[[int, int, np.random.Generator], Mask]


def _blocks(height: int, width: int, places: Sequence[tuple[int, int]], size: tuple[int, int]) -> Mask:
    mask = np.zeros((height, width), bool)
    for top, left in places:
        mask[top : top + size[0], left : left + size[1]] = True
    return mask


def _tenth(height: int) -> int:
    return max(round(SHARE * height), 1)


def strip(height: int, width: int, top: int) -> Mask:
    """A tenth of the picture, as wide as it is."""
    return _blocks(height, width, [(top, 0)], (_tenth(height), width))


def _strip_inside(height: int, width: int, random: np.random.Generator) -> Mask:
    tenth = _tenth(height)
    return strip(height, width, int(random.integers(tenth, height - 2 * tenth + 1)))


def _corner_size(height: int, width: int) -> tuple[int, int]:
    return _tenth(height), max(round(width / 4), 1)  # marks are wider than tall; the four make a tenth


CORNERS = ("upper left", "upper right", "lower left", "lower right")


def corner(height: int, width: int, name: str) -> Mask:
    """One corner, a tenth high and a quarter wide."""
    tall, wide = _corner_size(height, width)
    place = (0 if "upper" in name else height - tall, 0 if "left" in name else width - wide)
    return _blocks(height, width, [place], (tall, wide))


def _corners(height: int, width: int) -> Mask:
    mask: Mask = np.logical_or.reduce([corner(height, width, name) for name in CORNERS])
    return mask


def _blocks_inside(height: int, width: int, random: np.random.Generator) -> Mask:
    tall, wide = _corner_size(height, width)
    rows = random.permutation(np.arange(tall, height - 2 * tall + 1, tall))[:4]  # they do not overlap
    return _blocks(height, width, [(int(row), int(random.integers(width - wide + 1))) for row in rows], (tall, wide))


def frame(height: int, width: int) -> Mask:
    """A ring along the rim, a tenth of the picture's area, in whole pixels."""
    half = (height + width) / 4  # the edge e solves height·width - (height - 2e)(width - 2e) = area
    return _ring(height, width, 0, max(round(half - np.sqrt(half * half - SHARE * height * width / 4)), 1))


def _ring(height: int, width: int, inset: int, edge: int) -> Mask:
    mask = np.zeros((height, width), bool)
    mask[inset : height - inset, inset : width - inset] = True
    mask[inset + edge : height - inset - edge, inset + edge : width - inset - edge] = False
    return mask


def _frame_inside(height: int, width: int, random: np.random.Generator) -> Mask:
    """A ring further in, of as many pixels: its innermost line is broken off where they are used up."""
    area, side = int(frame(height, width).sum()), min(height, width)
    inset = int(random.integers(max(side // 16, 2), side // 6 + 1))
    edge = next(e for e in range(1, side) if _ring(height, width, inset, e).sum() >= area)
    mask = _ring(height, width, inset, edge)
    inmost = np.flatnonzero(mask & ~_ring(height, width, inset, edge - 1))
    mask.flat[inmost[: int(mask.sum()) - area]] = False
    return mask


AREAS: Mapping[str, Area] = MappingProxyType(
    {
        "bottom": Area(
            title="bottom tenth",
            asks="Does it know a bonnet, a blurred car or a caption along the bottom?",
            at=lambda height, width: strip(height, width, height - _tenth(height)),
            elsewhere=_strip_inside,
        ),
        "top": Area(
            title="top tenth",
            asks="Does it know a caption or a rim along the top?",
            at=lambda height, width: strip(height, width, 0),
            elsewhere=_strip_inside,
        ),
        "corners": Area(
            title="four corners",
            asks="Does it know a watermark, a date or a logo?",
            at=_corners,
            elsewhere=_blocks_inside,
        ),
        "frame": Area(title="frame all round", asks="Does it know a border?", at=frame, elsewhere=_frame_inside),
    }
)


@dataclass(frozen=True, kw_only=True)
class Views:
    """The probabilities for the photos as they are and changed, N×K each."""

    plain: Floats
    mirrored: Floats
    replaced: dict[str, Floats]  # by area
    elsewhere: dict[str, list[Floats]]  # by area, for each of `ELSEWHERE` places


def draw_donors(truth_N: Ints, seed: int) -> Ints:
    """For each photo one of another country, the countries being equally likely."""
    random = np.random.default_rng((seed, 1))
    photos = {int(country): np.flatnonzero(truth_N == country) for country in np.unique(truth_N)}
    donor_N = np.empty(len(truth_N), np.int64)
    for at, own in enumerate(truth_N.tolist()):
        other = random.choice([country for country in photos if country != own])
        donor_N[at] = random.choice(photos[int(other)])
    return donor_N


def look(ask: Ask, crops_NHWC: Pixels, donor_N: Ints, fill: Fill, grey: Pixels, seed: int) -> Views:
    """Put the photos to the model as they are, mirrored, and with each area replaced, there and elsewhere."""
    count, height, width, _ = crops_NHWC.shape
    random = np.random.default_rng((seed, 2))

    def replaced(mask_of: Callable[[], Mask], rows: slice) -> Pixels:
        changed = crops_NHWC[rows].copy()
        for at, donor in enumerate(donor_N[rows]):
            mask = mask_of()
            changed[at][mask] = crops_NHWC[donor][mask] if fill == "other" else grey
        return changed

    parts: dict[tuple[str, int], list[NDArray[np.float32]]] = {}
    with Progress("asking the model", total=count) as shown:
        for start in range(0, count, BATCH):
            rows = slice(start, min(start + BATCH, count))
            views = {("plain", 0): crops_NHWC[rows], ("mirrored", 0): crops_NHWC[rows, :, ::-1]}
            for name, area in AREAS.items():
                views[name, 0] = replaced(lambda area=area: area.at(height, width), rows)  # type: ignore[misc]
                for turn in range(1, ELSEWHERE + 1):
                    views[name, turn] = replaced(
                        lambda area=area: area.elsewhere(height, width, random),  # type: ignore[misc]
                        rows,
                    )
            for key, pixels in views.items():
                parts.setdefault(key, []).append(ask(np.ascontiguousarray(pixels)))
            shown.advance(rows.stop - rows.start)
    probabilities = {key: np.concatenate(part).astype(np.float64) for key, part in parts.items()}
    return Views(
        plain=probabilities["plain", 0],
        mirrored=probabilities["mirrored", 0],
        replaced={name: probabilities[name, 0] for name in AREAS},
        elsewhere={name: [probabilities[name, turn] for turn in range(1, ELSEWHERE + 1)] for name in AREAS},
    )


def area_effects(
    replaced_NK: Floats,
    elsewhere: Sequence[Floats],
    truth_N: Ints,
    group_N: Ints,
    donor_N: Ints | None,
    names: Sequence[str],
) -> list[Effect]:
    """What an area costs beyond as much area elsewhere, and what it brings to the country it was taken from.

    Probabilities lost: of a photo's own country. Probabilities drawn: of the country whose piece was put in, over
    the photos of all others; a mark draws them all to it. Groups are those of the photos, and of the pieces'
    photos.
    """
    beyond_NK = np.mean(elsewhere, axis=0) - replaced_NK  # probabilities that the area takes beyond what others do
    every = np.arange(len(truth_N))
    lost_N = beyond_NK[every, truth_N]
    own = country_means(lost_N, truth_N, group_N, len(names))
    found = by_country("probabilities lost", own, truth_N, group_N, names, LIMITS, outliers=True)
    if donor_N is None:
        return found
    giver_N, giver_group_N = truth_N[donor_N], np.unique(group_N[donor_N], return_inverse=True)[1]
    drawn = country_means(-beyond_NK[every, giver_N], giver_N, giver_group_N, len(names))
    return found + by_country(
        "probabilities drawn", drawn, giver_N, giver_group_N, names, LIMITS, outliers=True, seed=1
    )


def area_check(
    name: str,
    top1: Sequence[float],
    replaced_NK: Floats,
    elsewhere: Sequence[Floats],
    truth_N: Ints,
    group_N: Ints,
    donor_N: Ints | None,
    names: Sequence[str],
) -> Check:
    """The check of one area; `top1` as the photos are, with the area replaced, and with each place elsewhere."""
    effects = area_effects(replaced_NK, elsewhere, truth_N, group_N, donor_N, names)
    plain, replaced, other = top1[0], top1[1], float(np.mean(top1[2:]))
    return Check(
        name=name,
        title=AREAS[name].title,
        asks=AREAS[name].asks,
        measure="probabilities lost beyond elsewhere",
        score=effects[0].score if effects else None,
        null=0.0,
        against="as much area elsewhere",
        effects=tuple(effects),
        facts=(
            ("top-1", f"{plain:.1%} as they are, {replaced:.1%} with it replaced, {other:.1%} elsewhere"),
            (
                "points of top-1 per tenth of area",
                f"{(plain - replaced) * 100:.1f}, elsewhere {(plain - other) * 100:.1f}",
            ),
        ),
    )
