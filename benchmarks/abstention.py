"""How often a threshold to answer breaks its promise: the rule that is used, the one before it, and a union bound.

    python benchmarks/abstention.py

Simulated validations with groups of 1 to 5 photos that fare alike; the truth is that of 20,000 other groups. A line a
promise, number of groups and model: of 150 thresholds how many were given, how many broke the promise, and what share
of the photos they answer. Shares of the photos are tested in steps of 10 %. Two minutes on one core.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import betaincinv

from whichland.model.calibration import RISK
from whichland.statistics import Flags, Floats, Ints

CUTS, DRAWS = 10, 150
Rule = Callable[[Floats, Floats, float], int | None]  # answered and wrong groups, the surest first; the promise


def world(accuracy: float, groups: int, random: np.random.Generator) -> tuple[Floats, Flags, Ints]:
    """Probability of the first guess, whether it is right, and group of each photo."""
    group_N = np.repeat(np.arange(groups), random.integers(1, 6, groups))
    shared_N = random.normal(0, 1, groups)[group_N]
    skill_N = 1.3 * np.log(accuracy / (1 - accuracy)) + 1.5 * shared_N + random.normal(0, 1, len(group_N))
    right_N = random.random(len(group_N)) < 1 / (1 + np.exp(-skill_N))
    return 1 / (1 + np.exp(-(0.7 * skill_N + random.normal(0, 0.8, len(group_N))))), right_N, group_N


def largest(answered: Floats, wrong: Floats, promise: float) -> int | None:
    """The rule before: the largest share that passes, one group more counted as wrong."""
    kept = np.flatnonzero((wrong + 1) / (answered + 1) <= 1 - promise)
    return int(kept[-1]) if len(kept) else None


def tested(answered: Floats, wrong: Floats, promise: float, *, in_order: bool) -> int | None:
    """The last share before one fails, or with a union bound the largest that passes."""
    best, fewest = None, 2 * np.log(RISK) / np.log(promise)
    for groups in answered[-1] * np.arange(1, CUTS + 1) / CUTS:
        if in_order and groups < min(fewest, answered[-1]):
            continue
        at = min(int(np.searchsorted(answered, groups - 1e-9)), len(answered) - 1)
        level = 1 - (RISK if in_order else RISK / CUTS)
        if betaincinv(wrong[at] + 1, max(answered[at] - wrong[at], 1e-9), level) <= 1 - promise:
            best = at
        elif in_order:
            break
    return best


RULES: dict[str, Rule] = {
    "before": largest,
    "union bound": lambda a, w, p: tested(a, w, p, in_order=False),
    "in order": lambda a, w, p: tested(a, w, p, in_order=True),
}


def main() -> None:
    """Print a line for each promise, number of groups, model and rule."""
    random = np.random.default_rng(0)
    for promise in (0.8, 0.9):
        for groups in (60, 200, 600):
            for accuracy in (0.13, 0.5, 0.7, 0.9):
                unseen, truth, _ = world(accuracy, 20_000, random)
                for name, rule in RULES.items():
                    answers, broken = [], 0
                    for _ in range(DRAWS):
                        sure, right, group = world(accuracy, groups, random)
                        order, weights = np.argsort(-sure), 1 / np.bincount(group)[group]
                        at = rule(np.cumsum(weights[order]), np.cumsum((weights * ~right)[order]), promise)
                        if at is not None:
                            taken = unseen >= sure[order[at]]
                            answers.append(taken.mean())
                            broken += bool(truth[taken].mean() < promise)
                    given, mean = len(answers) / DRAWS, float(np.mean(answers)) if answers else 0.0
                    print(
                        f"{promise:.0%}, {groups} groups, {truth.mean():.0%} right, {name}: "
                        f"given {given:.0%}, broken {broken / DRAWS:.0%}, answered {mean:.0%}"
                    )


if __name__ == "__main__":
    main()
