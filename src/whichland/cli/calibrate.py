"""whichland calibrate BUNDLE MANIFEST"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichland.cli.flags import flags
from whichland.cli.output import Json, print_json
from whichland.evaluation.calibration import CalibrateConfig

if TYPE_CHECKING:
    from whichland.evaluation.calibration import Calibrated
    from whichland.statistics import Score

SAID = {"ece": "calibration error", "brier": "Brier score", "nll": "log-likelihood, negative"}


@flags(CalibrateConfig)
def calibrate(
    bundle: Annotated[Path, typer.Argument(help="Folder of a trained model; its whichland.json is written.")],
    manifest: Annotated[Path, typer.Argument(help="The table of photos, with splits; val is used.")],
    config: CalibrateConfig,
    json: Json = False,
) -> None:
    """Make a bundle's probabilities honest: fit temperature and thresholds on the validation photos.

    The temperature makes probabilities mean what they say. The thresholds give country sets ("one of HU, SK, RO
    at 90 %", `whichland predict --sets 90`), and probabilities below which to say nothing so that a stated share
    of answers is right. No answer changes but its probabilities. Test photos are never used.
    """
    from whichland.evaluation.calibration import calibrate as fit_and_keep

    found = fit_and_keep(bundle, manifest, config)
    if json:
        print_json(numbers(found), indent=2)
    else:
        print(table(found))


def numbers(found: "Calibrated") -> dict[str, Any]:
    """What was fitted, and the scores, ready for JSON."""
    scores = {name: asdict(getattr(found, name)) for name in ("temperature", "plain", "fitted", "change")}
    return {"bundle": str(found.bundle), **scores, **found.calibration.facts, "doubt": found.doubt}


def _sure(temperature: "Score") -> str:
    if temperature.low > 1:
        return "too sure"
    return "not sure enough" if temperature.high < 1 else "about as sure as it should be"


def table(found: "Calibrated") -> str:
    """The scores before and after, and what the thresholds promise, as text."""
    kept, at = found.calibration, found.temperature
    lines = [
        f"{kept.photos:,} validation photos in {kept.groups:,} groups",
        f"temperature {at.value:.3f} [{at.low:.3f}, {at.high:.3f}]: the model was {_sure(at)}",
        f"{'':<26}{'before':>8}{'95% interval':>18}{'after':>9}{'95% interval':>18}{'change':>9}",
    ]
    for name, title in SAID.items():
        before, after, change = (getattr(scores, name) for scores in (found.plain, found.fitted, found.change))
        intervals = [f"{score.low:.3f} to {score.high:.3f}" for score in (before, after)]
        lines.append(
            f"{title:<26}{before.value:>8.3f}{intervals[0]:>18}{after.value:>9.3f}{intervals[1]:>18}"
            f"{change.value:>+9.3f}"
        )
    for level, threshold in kept.sets.items():
        lines.append(f"sets at {level * 100:.4g} %: the countries with probabilities of {threshold:.4f} or more")
    for share, abstention in kept.abstain.items():
        if abstention.threshold is None:
            lines.append(f"no threshold keeps {share * 100:.4g} % of the answers right on these photos")
        else:
            lines.append(
                f"answer from probabilities of {abstention.threshold:.3f} on: {abstention.right:.1%} right on "
                f"{abstention.answered:.1%} of these photos (asked for: {share * 100:.4g} %)"
            )
    if found.doubt:
        lines.append(found.doubt)
    return "\n".join([*lines, f"kept in {found.bundle / 'whichland.json'}"])
