"""Calibrating: temperature and thresholds, fitted on the validation photos and kept in the bundle."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np

from whichland import manifest as manifests
from whichland.config import BETWEEN_0_AND_1, Config
from whichland.evaluation.predictions import Identity, Predictions, collect, doubt_about
from whichland.evaluation.probabilities import ProbabilityScores, compared
from whichland.manifest import Manifest
from whichland.model import bundle as bundles
from whichland.model.bundle import keep_calibration
from whichland.model.calibration import (
    COLDEST,
    HOTTEST,
    LEVELS,
    NOTHING,
    Calibration,
    fit,
    fit_temperature,
    log_softmax,
    slope,
)
from whichland.model.labels import LabelSpace
from whichland.statistics import Floats, Ints, Score, judged

SPLIT = "val"  # never the test: what is fitted there judges nothing any more
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(Config):
    """What is fitted on the validation photos, beside the temperature."""

    levels: Annotated[tuple[float, ...], "coverage of prediction sets, each between 0 and 1", BETWEEN_0_AND_1] = LEVELS
    accuracies: Annotated[tuple[float, ...], "accuracy to keep by answering only when sure enough", BETWEEN_0_AND_1] = (
        LEVELS
    )


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What `calibrate` did: the calibration, and how the probabilities score on the validation photos."""

    bundle: Path
    space: LabelSpace
    calibration: Calibration
    temperature: Score
    plain: ProbabilityScores  # at temperature 1
    fitted: ProbabilityScores  # each group's photos at the temperature of the other groups
    change: ProbabilityScores  # fitted - plain, paired
    doubt: str | None  # why the photos may not be new to the model, or too few to fit anything on


def calibrate(bundle: str | Path, manifest: Manifest | str | Path, config: CalibrateConfig | None = None) -> Calibrated:
    """Fit temperature and thresholds on the validation photos of a manifest, and keep them in the bundle.

    Raises UserError when the manifest has no validation photos of countries that the bundle knows.
    """
    config = config or CalibrateConfig()
    loaded = bundles.load(bundle)
    table = manifest if isinstance(manifest, Manifest) else manifests.read(manifest)
    digest = table.digest(loaded.space.kind)
    plain = replace(loaded, info=loaded.info.model_copy(update={"temperature": 1.0}))
    identity = Identity(bundle_sha256="", manifest_sha256=digest, split=SPLIT)
    with TemporaryDirectory() as folder:
        found, _ = collect(plain, table, identity, Path(folder))
    groups = found.frame["group"].to_list()
    logits_NK = np.log(np.maximum(found.probabilities.astype(np.float64), NOTHING))
    fitted = fit(logits_NK, found.truth, groups, levels=config.levels, accuracies=config.accuracies)
    calibration = replace(fitted, split=SPLIT, manifest_sha256=digest)
    scores = _before_and_after(logits_NK, found.truth, found.groups)
    keep_calibration(loaded.folder, calibration)
    return Calibrated(
        bundle=loaded.folder,
        space=loaded.space,
        calibration=calibration,
        temperature=temperature_interval(logits_NK, found.truth, found.groups, calibration.temperature),
        plain=scores[0],
        fitted=scores[1],
        change=scores[2],
        doubt="; ".join(filter(None, [doubt_about(loaded.info, table, digest), _thin(found, calibration)])) or None,
    )


def _thin(found: Predictions, calibration: Calibration) -> str | None:
    """Why the validation photos do not determine the temperature, in one line; None: they do."""
    shown, known = len(np.unique(found.truth)), len(found.labels)
    at_bound = any(abs(np.log(calibration.temperature / bound)) < 0.01 for bound in (COLDEST, HOTTEST))
    if shown > known / 2 and not at_bound:
        return None
    bound = f", and the temperature is at its bound of {calibration.temperature:.3g}" if at_bound else ""
    return f"the validation photos show {shown} of {known} labels{bound}: do not rely on these probabilities elsewhere"


def _before_and_after(logits_NK: Floats, truth_N: Ints, group_N: Ints) -> list[ProbabilityScores]:
    """Scores at temperature 1, at one fitted on other groups, and their difference."""
    fold_N = np.random.default_rng(0).permutation(int(group_N.max()) + 1)[group_N] % FOLDS
    fitted_NK = np.empty_like(logits_NK)
    for fold in range(FOLDS):
        inside = fold_N == fold
        # a single group cannot leave others to fit on
        others = ~inside if (~inside).any() else inside
        temperature = fit_temperature(logits_NK[others], truth_N[others])
        fitted_NK[inside] = log_softmax(logits_NK[inside], temperature)
    return compared(np.exp(log_softmax(logits_NK)), np.exp(fitted_NK), truth_N, group_N)


def temperature_interval(logits_NK: Floats, truth_N: Ints, group_N: Ints, temperature: float) -> Score:
    """The fitted temperature with its interval: its logarithm takes one Newton step without each of the groups."""
    slope_N, curve_N = slope(logits_NK, truth_N, temperature)
    log = np.log(temperature)

    def statistic(weights_N: Floats) -> Floats:
        down, bend = weights_N @ slope_N / temperature, weights_N @ curve_N / temperature**2
        step = (down - log) / np.maximum(bend + down + 1, NOTHING)  # the prior adds log² / 2 to the loss
        return np.array([np.exp(np.clip(log + step, np.log(COLDEST), np.log(HOTTEST)))])

    return judged(statistic, group_N, least=COLDEST)[0]
