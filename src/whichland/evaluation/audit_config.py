"""How an audit is taken; apart from the audit, so that the command line need not load it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from whichland.config import AT_LEAST_0, Config

Fill = Literal["other", "grey"]


@dataclass(frozen=True, kw_only=True)
class AuditConfig(Config):
    """How the audit is taken."""

    photos: Annotated[int, "of the split at most, the countries as equal as can be", Ge(20)] = 1000
    train_photos: Annotated[int, "at most, for the classifiers that see a thumbnail or no pixel", Ge(20)] = 2000
    fill: Annotated[Fill, "what stands in for an area: the same area of another country's photo, or grey"] = "other"
    seed: Annotated[int, "of the draws", AT_LEAST_0] = 0
