"""Settings of the clue atlas; without torch, so that the command line can list them."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from whichland.config import AT_LEAST_1, BETWEEN_0_AND_1, Config
from whichland.errors import UserError


@dataclass(frozen=True, kw_only=True)
class AtlasConfig(Config):
    """What the atlas is made from. Raises UserError on numbers that make none."""

    split: Annotated[str, "which part of the photos to look at"] = "val"
    countries: Annotated[tuple[str, ...], "countries to make pages of; all that the model knows if left out"] = ()
    photos: Annotated[int, "rightly judged photos to cut patches from, of each country at most", AT_LEAST_1] = 60
    hosts: Annotated[int, "photos to paste patches into, of all countries together at most", AT_LEAST_1] = 120
    scales: Annotated[
        tuple[float, ...], "sides of patches, over the short side of what the model sees", Interval(ge=0.02, le=0.5)
    ] = (0.12, 0.2, 0.32)
    clusters: Annotated[int, "kinds of patches that a country may have, at most", AT_LEAST_1] = 10
    level: Annotated[float, "chance that a country's page shows even one false clue", BETWEEN_0_AND_1] = 0.05
    seed: Annotated[int, "which photos are drawn"] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scales:
            raise UserError("scales: give one or more, such as 0.12,0.2")
