"""How photos are looked at and what is said of each."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from annotated_types import Interval

from whichland.config import ABOVE_0, AT_LEAST_1, Config
from whichland.errors import UserError
from whichland.model.engines import ENGINE_HELP, EngineChoice
from whichland.model.views import HowMany


@dataclass(frozen=True, kw_only=True)
class PredictConfig(Config):
    """Settings of a prediction; those in `NOT_OF_ANSWERS` may change while a batch is half done."""

    top: Annotated[int, "how many countries to name", AT_LEAST_1] = 5
    sets: Annotated[
        float | None,
        "also name the countries of which one is right with this probability, in percent; needs a bundle that "
        "`whichland calibrate` has seen, which fits 80, 90 and 95",
        Interval(gt=0, lt=100),
    ] = None
    among: Annotated[
        str | None,
        "answer within these alone: codes or names of labels, a continent, a region, EU, drives left or drives right, "
        "with commas between; the probability that fell outside is stated",
    ] = None
    certainty: Annotated[
        float | None,
        "also what is certain to this probability, in percent: the country, or where none reaches it, the region or "
        "continent that does",
        Interval(gt=0, lt=100),
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
    batch_size: Annotated[int, "photos the model takes at once", AT_LEAST_1] = 32
    allow_local: Annotated[bool, "fetch addresses of this machine and its own network, too"] = False
    fetch_at_once: Annotated[int, "addresses that are fetched at a time", AT_LEAST_1] = 8
    fetch_bytes: Annotated[int, "the most that is read from one address", AT_LEAST_1] = 50_000_000
    fetch_seconds: Annotated[float, "the longest one try at an address may take", ABOVE_0] = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
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


@dataclass(frozen=True, kw_only=True)
class EmbedConfig(Config):
    """By which model, and how photos are looked at."""

    bundle: Annotated[str, "folder of a trained model, or hub:OWNER/NAME; or give an arch"] = ""
    arch: Annotated[str, "timm's name of a pretrained model, in place of a bundle"] = ""
    weights: Annotated[str, "of an arch: `hub`, `none` (at random), or a .safetensors file"] = "hub"
    size: Annotated[int | None, "of an arch: side of the crop in pixels; the model's own when unset", AT_LEAST_1] = None
    views: Annotated[HowMany, "see a wide photo or a sphere in several views, or only its middle"] = "auto"
    batch_size: Annotated[int, "photos the model takes at once", AT_LEAST_1] = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bundle and self.size:
            raise UserError("a bundle has its size; --size goes with an --arch")
        if bool(self.bundle) == bool(self.arch):
            raise UserError("give either a bundle or an --arch")
