"""What a report says of the probabilities: calibration, prediction sets and abstention."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whichland.evaluation.abstention import JudgedAbstention, RiskCurve, judge_abstention, risk_curve
from whichland.evaluation.prediction_sets import JudgedSets, judge_sets
from whichland.evaluation.predictions import Predictions
from whichland.evaluation.reliability import Bin, ProbabilityScores, compared, probability_scores, reliability
from whichland.model.calibration import NOTHING, Calibration, calibration_of, log_softmax


@dataclass(frozen=True, kw_only=True)
class ProbabilityReport:
    """The probabilities of one evaluation, judged."""

    calibration: Calibration | None  # what the bundle keeps; None: it has not been calibrated
    temperature: float
    scores: ProbabilityScores
    plain: ProbabilityScores | None  # of the same answers at temperature 1; None where that is what they are
    change: ProbabilityScores | None  # scores - plain, paired
    bins: list[Bin]
    curve: RiskCurve
    sets: list[JudgedSets]  # empty without a calibration
    abstention: list[JudgedAbstention]


def judge_probabilities(found: Predictions, info: Mapping[str, Any]) -> ProbabilityReport:
    """Judge answers and what their bundle (`info`: its whichland.json) keeps about its probabilities."""
    calibration, temperature = calibration_of(info), float(info.get("temperature", 1.0))
    truth, group = found.truth, found.groups
    plain, change = None, None
    if temperature == 1 or found.per == "panorama":  # probabilities of several photos have no one temperature
        scores = probability_scores(found.probabilities, truth, group)
    else:
        logits = np.log(np.maximum(found.probabilities.astype(np.float64), NOTHING)) * temperature
        plain, scores, change = compared(np.exp(log_softmax(logits)), found.probabilities, truth, group)
    return ProbabilityReport(
        calibration=calibration,
        temperature=temperature,
        scores=scores,
        plain=plain,
        change=change,
        bins=reliability(found.probabilities, truth, group),
        curve=risk_curve(found.probabilities, truth, group),
        sets=judge_sets(calibration, found.probabilities, truth, group, found.labels) if calibration else [],
        abstention=judge_abstention(calibration, found.probabilities, truth, group) if calibration else [],
    )


def numbers(report: ProbabilityReport) -> dict[str, Any]:
    """The same, ready for JSON."""
    found = asdict(report)
    found["calibration"] = report.calibration.info["calibration"] if report.calibration else None
    for name in ("coverage", "risk", "low", "high"):
        found["curve"][name] = [round(float(value), 6) for value in found["curve"][name]]
    return found
