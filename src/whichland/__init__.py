"""Tell the country of a street-level photo; train, judge and explain the model that does.

Public names are imported on first use, so `import whichland` stays light.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Libraries underneath report their use to their makers by default. They read these before they do, in this process
# and in every one that it starts; OpenVINO's has no such variable, see model/engines.py.
for _variable, _off in (
    ("ORT_DISABLE_TELEMETRY", "1"),
    ("RAY_USAGE_STATS_ENABLED", "0"),
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
):
    os.environ[_variable] = _off

_HOMES = {
    "UserError": "whichland.errors",
    "Manifest": "whichland.manifest",
    "read": "whichland.manifest",
    "write": "whichland.manifest",
    "ingest": "whichland.sources.ingest",
    "geocode": "whichland.curate.geocode",
    "GeocodeConfig": "whichland.curate.geocode",
    "country_of": "whichland.geo.borders",
    "border_km": "whichland.geo.borders",
    "merge": "whichland.curate.merge",
    "MergeConfig": "whichland.curate.merge",
    "measure": "whichland.curate.measure",
    "clean": "whichland.curate.clean",
    "CleanConfig": "whichland.curate.clean",
    "split": "whichland.curate.split",
    "SplitConfig": "whichland.curate.split",
    "balance": "whichland.curate.balance",
    "BalanceConfig": "whichland.curate.balance",
    "TrainConfig": "whichland.training.config",
    "train": "whichland.training.run",
    "find_lr": "whichland.training.lr_finder",
    "evaluate": "whichland.evaluation.evaluate",
    "CalibrateConfig": "whichland.evaluation.calibration",
    "calibrate": "whichland.evaluation.calibration",
    "compare": "whichland.evaluation.compare",
    "cross_source": "whichland.evaluation.cross_source",
    "AuditConfig": "whichland.evaluation.audit_checks",
    "audit": "whichland.evaluation.audit",
    "AtlasConfig": "whichland.explanation.atlas_config",
    "atlas": "whichland.explanation.atlas",
    "study": "whichland.studies.study",
    "load": "whichland.model.model",
    "Model": "whichland.model.model",
    "Answer": "whichland.model.answer",
    "ExportConfig": "whichland.model.export",
    "export": "whichland.model.export",
    "predict": "whichland.model.model",
    "PredictConfig": "whichland.bulk.config",
    "predict_to": "whichland.bulk.run",
    "explain": "whichland.explanation.explain",
    "ServeConfig": "whichland.serving.settings",
    "serve": "whichland.serving.server",
    "ScoreConfig": "whichland.model.street",
    "score": "whichland.model.street",
}
__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from whichland.bulk.config import PredictConfig as PredictConfig
    from whichland.bulk.run import predict_to as predict_to
    from whichland.curate.balance import BalanceConfig as BalanceConfig
    from whichland.curate.balance import balance as balance
    from whichland.curate.clean import CleanConfig as CleanConfig
    from whichland.curate.clean import clean as clean
    from whichland.curate.geocode import GeocodeConfig as GeocodeConfig
    from whichland.curate.geocode import geocode as geocode
    from whichland.curate.measure import measure as measure
    from whichland.curate.merge import MergeConfig as MergeConfig
    from whichland.curate.merge import merge as merge
    from whichland.curate.split import SplitConfig as SplitConfig
    from whichland.curate.split import split as split
    from whichland.errors import UserError as UserError
    from whichland.evaluation.audit import audit as audit
    from whichland.evaluation.audit_checks import AuditConfig as AuditConfig
    from whichland.evaluation.calibration import CalibrateConfig as CalibrateConfig
    from whichland.evaluation.calibration import calibrate as calibrate
    from whichland.evaluation.compare import compare as compare
    from whichland.evaluation.cross_source import cross_source as cross_source
    from whichland.evaluation.evaluate import evaluate as evaluate
    from whichland.explanation.atlas import atlas as atlas
    from whichland.explanation.atlas_config import AtlasConfig as AtlasConfig
    from whichland.explanation.explain import explain as explain
    from whichland.geo.borders import border_km as border_km
    from whichland.geo.borders import country_of as country_of
    from whichland.manifest import Manifest as Manifest
    from whichland.manifest import read as read
    from whichland.manifest import write as write
    from whichland.model.answer import Answer as Answer
    from whichland.model.export import ExportConfig as ExportConfig
    from whichland.model.export import export as export
    from whichland.model.model import Model as Model
    from whichland.model.model import load as load
    from whichland.model.model import predict as predict
    from whichland.model.street import ScoreConfig as ScoreConfig
    from whichland.model.street import score as score
    from whichland.serving.server import serve as serve
    from whichland.serving.settings import ServeConfig as ServeConfig
    from whichland.sources.ingest import ingest as ingest
    from whichland.studies.study import study as study
    from whichland.training.config import TrainConfig as TrainConfig
    from whichland.training.lr_finder import find_lr as find_lr
    from whichland.training.run import train as train


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'whichland' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
