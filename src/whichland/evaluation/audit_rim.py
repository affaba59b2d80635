"""What the probabilities owe to the rim of a picture and to its handedness: the model is asked about changed photos.

Rigs leave their marks at the rim: a bonnet or a blurred car below, a watermark or a date in a corner, a frame. The
area is taken from a photo of another country, so that it stays a piece of a street and a blurred edge is really
gone; grey would only be another smooth edge. The same is done at random places away from it with a piece of the
same photo, since any tenth of a picture holds honest evidence. Only what the area costs beyond that counts.

Mirroring swaps the driving side and spoils every letter, and leaves soil, plants and light as they are. A model
that does not care makes no use of the first two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from whichland.evaluation.audit_checks import Check, Effect, Fill, Finding, Limits, Sample, by_country, country_means
from whichland.images.preprocess import Pixels
from whichland.model.label_sources import countries
from whichland.progress import Progress
from whichland.statistics import Floats, Ints

Mask = NDArray[np.bool_]  # H×W, the pixels to replace
Ask = Callable[[Pixels], NDArray[np.float32]]  # crops B×H×W×3 to probabilities B×K
Changed = dict[tuple[str, int], Floats]
"""Probabilities N×K for the photos "plain" and "mirrored" (0), and with each area replaced (0), or elsewhere (1, …)."""

SHARE = 0.1  # of the picture's area
TEXT = SHARE / 2  # the outermost lines of the corners, where text stands
ELSEWHERE = 2  # random places to compare each area with
BATCH = 32
LIMITS = Limits(trivial=0.05, relevant=0.2, trivial_mean=0.05, relevant_mean=0.15)

SIDES = ("left", "right")
BLIND, USED = 0.05, 0.1  # of the probabilities: up to here mirroring does nothing, from here on it does


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


def _corner_size(height: int, width: int, share: float) -> tuple[int, int]:
    return max(round(share * height), 1), max(round(width / 4), 1)  # marks are wider than tall; the four make `share`


def _corners(height: int, width: int, share: float = SHARE) -> Mask:
    tall, wide = _corner_size(height, width, share)
    places = [(top, left) for top in (0, height - tall) for left in (0, width - wide)]
    return _blocks(height, width, places, (tall, wide))


def _blocks_inside(height: int, width: int, random: np.random.Generator, share: float = SHARE) -> Mask:
    (tall, wide), tenth = _corner_size(height, width, share), _tenth(height)
    rows = random.permutation(np.arange(tenth, height - tenth - tall + 1, tall))[:4]  # they do not overlap
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


AREAS = {
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
        title="four corners", asks="Does it know a logo or a clock?", at=_corners, elsewhere=_blocks_inside
    ),
    "text": Area(  # a line of text is too small to stand out of a whole corner's honest evidence
        title="text in the corners",
        asks="Does it know a watermark, a copyright line or a date?",
        at=partial(_corners, share=TEXT),
        elsewhere=partial(_blocks_inside, share=TEXT),
    ),
    "frame": Area(title="frame all round", asks="Does it know a border?", at=frame, elsewhere=_frame_inside),
}


def draw_donors(truth_N: Ints, seed: int) -> Ints:
    """For each photo one of another country, the countries being equally likely."""
    random = np.random.default_rng((seed, 1))
    photos = {int(country): np.flatnonzero(truth_N == country) for country in np.unique(truth_N)}
    donor_N = np.empty(len(truth_N), np.int64)
    for at, own in enumerate(truth_N.tolist()):
        other = random.choice([country for country in photos if country != own])
        donor_N[at] = random.choice(photos[int(other)])
    return donor_N


def look(ask: Ask, crops_NHWC: Pixels, donor_N: Ints, fill: Fill, grey: Pixels, seed: int) -> Changed:
    """Ask the model about the photos as they are, mirrored, and with each area replaced, there and elsewhere."""
    count, height, width, _ = crops_NHWC.shape
    random = np.random.default_rng((seed, 2))

    def replaced(area: Area, turn: int, rows: slice) -> Pixels:
        changed = crops_NHWC[rows].copy()
        for at, donor in enumerate(donor_N[rows]):
            mask = area.elsewhere(height, width, random) if turn else area.at(height, width)
            changed[at][mask] = crops_NHWC[donor][mask] if fill == "other" else grey
        return changed

    parts: dict[tuple[str, int], list[NDArray[np.float32]]] = {}
    with Progress("asking the model", total=count) as shown:
        for start in range(0, count, BATCH):
            rows = slice(start, min(start + BATCH, count))
            views = {("plain", 0): crops_NHWC[rows], ("mirrored", 0): crops_NHWC[rows, :, ::-1]}
            for name, area in AREAS.items():
                views |= {(name, turn): replaced(area, turn, rows) for turn in range(1 + ELSEWHERE)}
            for key, pixels in views.items():
                parts.setdefault(key, []).append(ask(np.ascontiguousarray(pixels)))
            shown.advance(rows.stop - rows.start)
    return {key: np.concatenate(part).astype(np.float64) for key, part in parts.items()}


def area_check(name: str, changed: Changed, sample: Sample, columns: Sequence[int], donor_N: Ints | None) -> Check:
    """The check of one area; `columns` are the sample's countries among the model's labels.

    Probabilities lost beyond as much area elsewhere: of a photo's own country. Probabilities drawn: of the country
    whose piece was put in, over the photos of all others; a mark draws them all to it. Groups are those of the
    photos, and of the pieces' photos.
    """
    plain, replaced, *elsewhere = changed["plain", 0], *(changed[name, turn] for turn in range(1 + ELSEWHERE))
    beyond_NK = np.mean([probs[:, columns] for probs in elsewhere], axis=0) - replaced[:, columns]
    own = country_means(beyond_NK[np.arange(len(beyond_NK)), sample.country], sample)
    effects = by_country("probabilities lost", own, sample, LIMITS, outliers=True)
    if donor_N is not None:
        givers = sample.of(donor_N)
        drawn = country_means(-beyond_NK[np.arange(len(beyond_NK)), givers.country], givers)
        effects = effects + by_country("probabilities drawn", drawn, givers, LIMITS, outliers=True, seed=1)
    own_N = np.array(columns)[sample.country]
    top1, without, *others = (
        float((probs_NK.argmax(axis=1) == own_N).mean()) for probs_NK in (plain, replaced, *elsewhere)
    )
    other = float(np.mean(others))
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
            ("top-1", f"{top1:.1%} as they are, {without:.1%} with it replaced, {other:.1%} elsewhere"),
            (
                "points of top-1 per tenth of area",
                f"{(top1 - without) * 100:.1f}, elsewhere {(top1 - other) * 100:.1f}",
            ),
        ),
    )


def mirror_check(plain_NK: Floats, mirrored_NK: Floats, sample: Sample, *, flipped: bool) -> Check:
    """How much of the probabilities moves to the other driving side, both sides counting alike.

    `flipped` says whether the model was trained on mirrored photos.
    """
    side_K = np.array([SIDES.index(side) for side in countries(sample.names).drives_on or ()])
    side_N = side_K[sample.country]
    own_NK = side_K[None] == side_N[:, None]
    before_N, after_N = (plain_NK * own_NK).sum(axis=1), (mirrored_NK * own_NK).sum(axis=1)
    right, still = plain_NK.argmax(axis=1) == sample.country, mirrored_NK.argmax(axis=1) == sample.country
    by_side = Sample(country=side_N, group=sample.group, names=SIDES)
    limits = Limits(trivial=BLIND, relevant=USED, trivial_mean=BLIND, relevant_mean=USED)
    effects = by_country("probabilities moved", country_means(before_N - after_N, by_side), by_side, limits)
    facts = [("top-1", f"{right.mean():.1%} as it is, {still.mean():.1%} mirrored")]
    for at, side in enumerate(SIDES):
        if (side_N == at).any():
            before, after = before_N[side_N == at].mean(), after_N[side_N == at].mean()
            name = f"probabilities on the {side} side, photos from there"
            facts.append((name, f"{before:.0%} as it is, {after:.0%} mirrored"))
    facts.append(("mirrored photos in training", "half of them" if flipped else "none"))
    both = effects[0] if len(effects) > len(SIDES) else None
    found, says = _moved(both)
    return Check(
        name="mirror",
        title="mirrored photo",
        asks="Do the probabilities move to countries that drive on the other side?",
        measure="probabilities moved",
        score=both.score if both else None,
        null=0.0,
        against="a model that is blind to mirroring",
        verdict=found,
        says=says,
        shortcut=False,
        facts=tuple(facts),
    )


def _moved(both: Effect | None) -> tuple[Finding, str]:
    if both is None:
        return "inconclusive", "too few photos from countries that drive on one of the sides"
    if both.above(BLIND):
        return "found", "it uses the driving side or the writing"
    if both.below(USED):
        return "not found", "blind to mirroring: it uses neither driving side nor writing"
    return "inconclusive", "too few photos to say whether mirroring matters to it"
