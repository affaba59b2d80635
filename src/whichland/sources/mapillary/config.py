"""The settings of a harvest."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from whichland.config import ABOVE_0, AT_LEAST_0, AT_LEAST_1, TOML_ONLY, Config
from whichland.errors import UserError

# A sampled country is to be seen from many drives; a drive's frames resemble each other.
PER_SEQUENCE_SAMPLED = 5

# What decides which photos come, so that a journal shows whether it is asked for the same ones again.
CHOOSING = ("size", "quota", "per_sequence", "per_box", "panoramas", "after", "before", "min_size", "seed")


@dataclass(frozen=True, kw_only=True)
class HarvestConfig(Config):
    """What to take from Mapillary, and how hard to ask."""

    size: Annotated[
        Literal["256", "1024", "2048", "original"], "longer side of the photos, pixels, as Mapillary keeps them"
    ] = "1024"
    quota: Annotated[int | None, "photos of each country or area, sampled over it; none: all there are", AT_LEAST_1] = (
        None
    )
    per_sequence: Annotated[int | None, "most photos of one drive; with a quota 5 unless given", AT_LEAST_1] = None
    per_box: Annotated[int, "with a quota, most photos from one box of 0.05 degrees", AT_LEAST_1] = 10
    panoramas: Annotated[Literal["with", "without", "only"], "take 360° photos, leave them out, or only them"] = "with"
    after: Annotated[str | None, "taken on or after this day or time, ISO 8601, UTC"] = None
    before: Annotated[str | None, "taken before this day or time, ISO 8601, UTC"] = None
    min_size: Annotated[int, "least shorter side of the original, pixels", AT_LEAST_0] = 0
    seed: Annotated[int, "which of the possible samples"] = 0
    budget: Annotated[int, "most requests in all, photos included, over all runs of this harvest", AT_LEAST_1] = 10_000
    rate: Annotated[int, "most requests a minute, evenly spaced; Mapillary allows 10,000 searches", AT_LEAST_1] = 6_000
    workers: Annotated[int, "requests under way at once", AT_LEAST_1] = 8
    tries: Annotated[int, "how often to ask for one thing before giving it up", AT_LEAST_1, TOML_ONLY] = 6
    timeout_s: Annotated[
        float, "seconds to wait for an answer, and four times as long for all of it", ABOVE_0, TOML_ONLY
    ] = 30.0
    backoff_s: Annotated[float, "seconds before the second try, doubled each time up to 30", AT_LEAST_0, TOML_ONLY] = (
        0.5
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.after and self.before and milliseconds(self.after) >= milliseconds(self.before):
            raise UserError(f"nothing is taken after {self.after} and before {self.before}")
        for text in (self.after, self.before):
            milliseconds(text or "2020-01-01")

    def choosing(self) -> dict[str, Any]:
        """Return the settings that decide which photos come."""
        return {name: value for name, value in asdict(self).items() if name in CHOOSING}


def milliseconds(text: str) -> int:
    """Turn an ISO 8601 day or time (UTC unless it says otherwise) to milliseconds since 1970."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{text!r} is not a day or time such as 2021-05-30 or 2021-05-30T12:00") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return round(time.timestamp() * 1000)
