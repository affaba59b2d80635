"""The flip counterfactual: does a mirrored photo move the probabilities to countries that drive on the other side?

Mirroring swaps the driving side and spoils every letter, and leaves soil, plants and light as they are. A model
that does not care makes no use of the first two.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whichland.evaluation.audit_effects import Check, Effect, Limits, Verdict, by_country, country_means
from whichland.geo.countries import COUNTRIES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIDES = ("left", "right")
BLIND, USED = 0.05, 0.1  # of the probabilities: up to here mirroring does nothing, from here on it does


def mirror_check(
    plain_NK: Floats, mirrored_NK: Floats, truth_N: Ints, group_N: Ints, names: Sequence[str], *, flipped: bool
) -> Check:
    """How much of the probabilities goes over to the other driving side, both sides counting alike.

    `flipped` says whether the model was trained on mirrored photos.
    """
    side_K = np.array([SIDES.index(COUNTRIES[name].drives_on) for name in names])
    side_N = side_K[truth_N]
    own_NK = side_K[None] == side_N[:, None]
    before_N, after_N = (plain_NK * own_NK).sum(axis=1), (mirrored_NK * own_NK).sum(axis=1)
    right, still = plain_NK.argmax(axis=1) == truth_N, mirrored_NK.argmax(axis=1) == truth_N
    effects = by_country(
        "probabilities gone over",
        country_means(before_N - after_N, side_N, group_N, len(SIDES)),
        side_N,
        group_N,
        SIDES,
        Limits(trivial=BLIND, relevant=USED, trivial_mean=BLIND, relevant_mean=USED),
    )
    facts = [
        ("top-1", f"{right.mean():.1%} as it is, {still.mean():.1%} mirrored"),
        *(
            (
                f"probabilities on the {side} side, photos from there",
                f"{before_N[side_N == at].mean():.0%} as it is, {after_N[side_N == at].mean():.0%} mirrored",
            )
            for at, side in enumerate(SIDES)
            if (side_N == at).any()
        ),
        ("mirrored photos in training", "half of them" if flipped else "none"),
    ]
    both = effects[0] if len(effects) > len(SIDES) else None
    found, says = _answer(both)
    return Check(
        name="mirror",
        title="mirrored photo",
        asks="Do the probabilities go over to countries that drive on the other side?",
        measure="probabilities gone over",
        score=both.score if both else None,
        null=0.0,
        against="a model that is blind to mirroring",
        verdict=found,
        says=says,
        shortcut=False,
        facts=tuple(facts),
    )


def _answer(both: Effect | None) -> tuple[Verdict, str]:
    if both is None:
        return "cannot be told", "too few photos from countries that drive on one of the sides"
    if both.low > BLIND:
        return "found", "it uses the driving side or the writing"
    if both.high < USED:
        return "not found", "blind to mirroring: it uses neither driving side nor writing"
    return "cannot be told", "too few photos to tell whether mirroring matters to it"
