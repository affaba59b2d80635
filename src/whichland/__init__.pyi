"""The public names and where they live: for type checkers, and read by `__init__.py`."""

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

__version__: str
