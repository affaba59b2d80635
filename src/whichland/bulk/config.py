"""How photos are looked at and what is said of each."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from whichland.errors import UserError
from whichland.model.engines import ENGINE_HELP, EngineChoice
from whichland.model.views import HowMany


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Settings of a prediction; those in `NOT_OF_ANSWERS` may change while a batch is half done."""

    top: Annotated[int, "how many countries to name"] = 5
    sets: Annotated[
        float | None,
        "also name the countries of which one is right with this probability, in percent; needs a bundle that "
        "`whichland calibrate` has seen, which fits 80, 90 and 95",
    ] = None
    pin: Annotated[bool, "also the point on the map with the highest expected score"] = False
    views: Annotated[
        HowMany, "see a wide photo or a sphere in several views and combine their probabilities, or only its middle"
    ] = "auto"
    panorama: Annotated[
        bool, "take photos twice as wide as high for whole spheres, also where their file does not say so"
    ] = False
    check_exif: Annotated[bool, "compare with the place that a camera wrote into the file; the guess never uses it"] = (
        False
    )
    engine: Annotated[EngineChoice, ENGINE_HELP] = "auto"
    batch_size: Annotated[int, "photos the model takes at once"] = 32
    allow_local: Annotated[bool, "fetch addresses of this machine and its own network, too"] = False
    fetch_at_once: Annotated[int, "addresses that are fetched at a time"] = 8
    fetch_bytes: Annotated[int, "the most that is read from one address"] = 50_000_000
    fetch_seconds: Annotated[float, "the longest one try at an address may take"] = 30.0

    def __post_init__(self) -> None:
        for name in ("top", "batch_size", "fetch_at_once", "fetch_bytes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if self.fetch_seconds <= 0:
            raise UserError(f"fetch_seconds must be above 0, not {self.fetch_seconds:g}")
        if self.sets is not None and not 0 < self.sets < 100:
            raise UserError(f"sets is a percentage between 0 and 100, not {self.sets:g}")
        if self.panorama and self.views == "one":
            raise UserError("panorama needs several views; leave out --views one")

    @property
    def level(self) -> float | None:
        """The probability of the sets as a share of 1."""
        return None if self.sets is None else round(self.sets / 100, 6)

    @property
    def of_answers(self) -> dict[str, Any]:
        """The settings that decide what an answer is."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_OF_ANSWERS}


NOT_OF_ANSWERS = ("batch_size", "allow_local", "fetch_at_once", "fetch_bytes", "fetch_seconds")
