"""How an audit is taken; apart from the audit, so that the command line need not load it."""

from dataclasses import dataclass
from typing import Annotated, Literal

from whichland.errors import UserError

Fill = Literal["other", "grey"]


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """How the audit is taken."""

    photos: Annotated[int, "of the split at most, the countries as equal as can be"] = 1000
    train_photos: Annotated[int, "at most, for the classifiers that see a thumbnail or no pixel"] = 2000
    fill: Annotated[Fill, "what stands in for an area: the same area of another country's photo, or grey"] = "other"
    seed: Annotated[int, "of the draws"] = 0

    def __post_init__(self) -> None:
        if min(self.photos, self.train_photos) < 20:
            raise UserError(f"photos {self.photos}, train_photos {self.train_photos}: give at least 20")
        if self.seed < 0:
            raise UserError(f"seed {self.seed}: give 0 or more")
