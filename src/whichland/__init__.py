"""Tell the country of a street-level photo; train, judge and explain the model that does.

Public names are imported on first use, so `import whichland` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

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
    "TrainConfig": "whichland.train.config",
    "train": "whichland.train.run",
    "find_lr": "whichland.train.lr_finder",
    "evaluate": "whichland.evaluate.report",
    "CalibrateConfig": "whichland.evaluate.calibration",
    "calibrate": "whichland.evaluate.calibration",
    "compare": "whichland.evaluate.compare",
    "cross_source": "whichland.evaluate.cross_source",
    "AuditConfig": "whichland.evaluate.audit_config",
    "audit": "whichland.evaluate.audit",
    "AtlasConfig": "whichland.explain.atlas_config",
    "atlas": "whichland.explain.atlas",
    "study": "whichland.study.study",
    "load": "whichland.model.bundle",
    "open_bundle": "whichland.model.runner",
    "ExportConfig": "whichland.model.export",
    "export": "whichland.model.export",
    "predict": "whichland.model.predict",
    "PredictConfig": "whichland.bulk.config",
    "predict_to": "whichland.bulk.run",
    "sets": "whichland.model.calibration",
    "explain": "whichland.explain.explanation",
    "ServeConfig": "whichland.serve.settings",
    "serve": "whichland.serve.server",
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
    from whichland.evaluate.audit import audit as audit
    from whichland.evaluate.audit_config import AuditConfig as AuditConfig
    from whichland.evaluate.calibration import CalibrateConfig as CalibrateConfig
    from whichland.evaluate.calibration import calibrate as calibrate
    from whichland.evaluate.compare import compare as compare
    from whichland.evaluate.cross_source import cross_source as cross_source
    from whichland.evaluate.report import evaluate as evaluate
    from whichland.explain.atlas import atlas as atlas
    from whichland.explain.atlas_config import AtlasConfig as AtlasConfig
    from whichland.explain.explanation import explain as explain
    from whichland.geo.borders import border_km as border_km
    from whichland.geo.borders import country_of as country_of
    from whichland.manifest import Manifest as Manifest
    from whichland.manifest import read as read
    from whichland.manifest import write as write
    from whichland.model.bundle import load as load
    from whichland.model.calibration import sets as sets
    from whichland.model.export import ExportConfig as ExportConfig
    from whichland.model.export import export as export
    from whichland.model.predict import predict as predict
    from whichland.model.runner import open_bundle as open_bundle
    from whichland.model.street import ScoreConfig as ScoreConfig
    from whichland.model.street import score as score
    from whichland.serve.server import serve as serve
    from whichland.serve.settings import ServeConfig as ServeConfig
    from whichland.sources.ingest import ingest as ingest
    from whichland.study.study import study as study
    from whichland.train.config import TrainConfig as TrainConfig
    from whichland.train.lr_finder import find_lr as find_lr
    from whichland.train.run import train as train


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'whichland' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
