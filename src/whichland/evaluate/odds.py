"""What a report says of the odds: whether they mean what they say, sets of countries, and when to be silent."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whichland.evaluate.conformal import JudgedSets, judge_sets
from whichland.evaluate.predictions import Predictions
from whichland.evaluate.reliability import Bin, OddsScores, compared, odds_scores, reliability
from whichland.evaluate.selective import JudgedSilence, RiskCurve, judge_silence, risk_curve
from whichland.model.calibration import NOTHING, Calibration, calibration_of, log_odds


@dataclass(frozen=True, kw_only=True)
class OddsReport:
    """The odds of one evaluation, judged."""

    calibration: Calibration | None  # what the bundle keeps; None: it has not been calibrated
    temperature: float
    scores: OddsScores
    plain: OddsScores | None  # of the same answers at temperature 1; None where that is what they are
    change: OddsScores | None  # scores - plain, paired
    bins: list[Bin]
    curve: RiskCurve
    sets: list[JudgedSets]  # empty without a calibration
    silence: list[JudgedSilence]


def judge_odds(found: Predictions, info: Mapping[str, Any]) -> OddsReport:
    """Judge answers and what their bundle (`info`: its whichland.json) keeps about its odds."""
    calibration, temperature = calibration_of(info), float(info.get("temperature", 1.0))
    truth, group = found.truth, found.groups
    plain, change = None, None
    if temperature == 1 or found.per == "panorama":  # odds of several photos have no one temperature
        scores = odds_scores(found.odds, truth, group)
    else:
        logits = np.log(np.maximum(found.odds.astype(np.float64), NOTHING)) * temperature
        plain, scores, change = compared(np.exp(log_odds(logits)), found.odds, truth, group)
    return OddsReport(
        calibration=calibration,
        temperature=temperature,
        scores=scores,
        plain=plain,
        change=change,
        bins=reliability(found.odds, truth, group),
        curve=risk_curve(found.odds, truth, group),
        sets=judge_sets(calibration, found.odds, truth, group, found.labels) if calibration else [],
        silence=judge_silence(calibration, found.odds, truth, group) if calibration else [],
    )


def numbers(report: OddsReport) -> dict[str, Any]:
    """The same, ready for JSON."""
    found = asdict(report)
    found["calibration"] = report.calibration.info["calibration"] if report.calibration else None
    for name in ("coverage", "risk", "low", "high"):
        found["curve"][name] = [round(float(value), 6) for value in found["curve"][name]]
    return found
