"""Settings of the clue atlas; without torch, so that the command line can list them."""

from dataclasses import dataclass
from typing import Annotated

from whichland.errors import UserError


@dataclass(frozen=True, kw_only=True)
class AtlasConfig:
    """What the atlas is made from. Raises UserError on numbers that make none."""

    split: Annotated[str, "which part of the photos to look at"] = "val"
    countries: Annotated[tuple[str, ...], "countries to make pages of; all that the model knows if left out"] = ()
    photos: Annotated[int, "rightly judged photos to cut patches from, of each country at most"] = 60
    hosts: Annotated[int, "photos to paste patches into, of all countries together at most"] = 120
    scales: Annotated[tuple[float, ...], "sides of patches, over the short side of what the model sees"] = (
        0.12,
        0.2,
        0.32,
    )
    clusters: Annotated[int, "kinds of patches that a country may have, at most"] = 10
    level: Annotated[float, "chance that a country's page shows even one false clue"] = 0.05
    seed: Annotated[int, "which photos are drawn"] = 0

    def __post_init__(self) -> None:
        if not self.scales or not all(0.02 <= scale <= 0.5 for scale in self.scales):
            raise UserError(f"scales {', '.join(map(str, self.scales))}: give shares from 0.02 to 0.5")
        if min(self.photos, self.hosts, self.clusters) < 1:
            raise UserError("photos, hosts and clusters must be at least 1")
        if not 0 < self.level < 1:
            raise UserError(f"level {self.level}: give a chance between 0 and 1, such as 0.05")
