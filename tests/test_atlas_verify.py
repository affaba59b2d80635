"""What makes a clue: the shift against controls, its interval, and Holm over many."""

import numpy as np
import pytest

from whichland.explanation.atlas import FEWEST_GROUPS, HOSTS_EACH, Pool, shift, summarise
from whichland.explanation.patches import Patch, Photo, Square
from whichland.images.preprocess import Pixels

RED, GREY = (220, 20, 20), (110, 110, 110)
PLACE = Square(8, 8, 16)


def redness(crops: Pixels) -> np.ndarray:
    """Log probabilities of two countries by how red a crop is."""
    red = crops[..., 0].astype(np.float32).mean(axis=(1, 2)) / 10
    return np.stack([red, -red], axis=1)


def photo(country: str, group: int) -> Photo:
    return Photo(uri=f"{country}{group}", country=country, group=group, right=True, credit="")


def pool(countries: str, colour: tuple[int, int, int] = GREY) -> Pool:
    photos = [photo(country, 100 + at) for at, country in enumerate(countries)]
    random = np.random.default_rng(0)
    crops = [np.clip(random.normal(colour, 12, (40, 40, 3)), 0, 255).astype(np.uint8) for _ in photos]
    return Pool(photos, crops)


def patches(colour: tuple[int, int, int], groups: int) -> list[Patch]:
    square = np.full((16, 16, 3), colour, np.uint8)
    made = [
        Patch(photo=photo("A", group), place=PLACE, pixels=square, gain=1.0, features=np.zeros(3))
        for group in range(groups)
    ]
    return made * 2


def test_a_clue_raises_the_odds_and_an_ordinary_patch_does_not() -> None:
    others = pool("BCDBCDBCDBCDBCDBCDA")
    clue = shift(redness, 0, patches(RED, 8), others, 0)
    assert clue is not None
    assert clue.low > 0.5
    assert clue.low < clue.value < clue.high
    assert clue.p < 1e-4
    assert clue.raised == 1
    assert clue.pastings == 16 * HOSTS_EACH
    assert clue.groups == 8
    assert clue.photos == 18, "every photo of another country is used, and none of its own"
    plain = shift(redness, 0, patches(GREY, 8), others, 0)
    assert plain is not None
    assert abs(plain.value) < 0.2
    against = shift(redness, 1, patches(RED, 8), others, 0)
    assert against is not None
    assert against.p > 0.99


def test_what_every_country_shows_there_is_no_clue() -> None:
    red_everywhere = shift(redness, 0, patches(RED, 8), pool("BCDBCDBCDBCD", RED), 0)
    assert red_everywhere is not None
    assert abs(red_everywhere.value) < 0.2


def test_controls_come_from_third_countries() -> None:
    """B's photos are grey and C's red: in B's the control is red like the patch, so only half the gain is left."""
    grey, red = pool("BBBBBB"), pool("CCCCCC", RED)
    alone = shift(redness, 0, patches(RED, 8), grey, 0)
    assert alone is not None, "with two countries the control is of another drive of the host's country"
    assert alone.raised == 1
    both = shift(redness, 0, patches(RED, 8), Pool([*grey.photos, *red.photos], [*grey.crops, *red.crops]), 0)
    assert both is not None
    assert 0.35 < both.value / alone.value < 0.65


def test_few_drives_are_not_judged() -> None:
    others = pool("BCDBCD")
    assert shift(redness, 0, patches(RED, FEWEST_GROUPS - 1), others, 0) is None
    assert shift(redness, 0, patches(RED, FEWEST_GROUPS), others, 0) is not None
    assert shift(redness, 0, patches(RED, 8), pool("AAAA"), 0) is None


@pytest.mark.parametrize("spread", [(1.0, 0.0), (0.0, 1.0), (0.7, 0.7), (0.0, 0.0)])
def test_the_interval_covers_and_false_alarms_are_rare(spread: tuple[float, float]) -> None:
    """Simulated gains with chance shared by drives on both sides: 95 % intervals, tests at 5 %."""
    random = np.random.default_rng(1)
    patch_group = np.repeat(np.arange(8), 16)
    host_group = np.tile(np.arange(32), 4)
    covered = alarms = 0
    runs = 400
    for _ in range(runs):
        gain = spread[0] * random.normal(size=8)[patch_group] + spread[1] * random.normal(size=32)[host_group]
        found = summarise(gain + 0.5 * random.normal(size=128), patch_group, host_group, 32)
        covered += found.low <= 0 <= found.high
        alarms += found.p < 0.05
    assert covered / runs > 0.93
    assert alarms / runs < 0.075
