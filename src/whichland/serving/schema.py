"""The shapes of the answers, as the OpenAPI schema shows them."""

from typing import Annotated

from pydantic import BaseModel, Field

PROBABILITY = Field(ge=0, le=1)


class Error(BaseModel):
    """What went wrong, in one line."""

    error: str


class Label(BaseModel):
    """A label the model knows: a country, or what else it was trained on."""

    code: Annotated[str, Field(description="of a country ISO 3166-1 alpha-2; NA is Namibia", examples=["NO"])]
    name: Annotated[str, Field(examples=["Norway"])]


class Limits(BaseModel):
    """What one request may hold, and how long it may take to arrive."""

    files: int
    bytes: int
    pixels: Annotated[int, Field(description="of one photo")]
    seconds: float


class Info(BaseModel):
    """What is served."""

    version: str
    name: Annotated[str, Field(description="of the model: its folder or its run")]
    kind: Annotated[str, Field(description="what the labels are: country, or a column of a table of photos")]
    labels: list[Label]
    engine: Annotated[str, Field(description="torch, onnx, int8 or openvino")]
    torch: Annotated[bool, Field(description="whether heat maps come from gradients")]
    methods: Annotated[list[str], Field(description="ways to explain, the usual one first")]
    calibrated: Annotated[bool, Field(description="whether probabilities were fitted on validation photos")]
    sets: Annotated[list[float], Field(description="percent of the country sets that the bundle keeps")]
    limits: Limits
    report: bool
    atlas: bool
    play: bool
    neighbours: Annotated[bool, Field(description="whether training photos can be shown beside an answer")]


class Guess(BaseModel):
    """One label and its probability."""

    country: Annotated[str, Field(description="code of the label, also where it is no country", examples=["NO"])]
    name: Annotated[str, Field(examples=["Norway"])]
    probability: Annotated[float, PROBABILITY, Field(examples=[0.81])]
    words: Annotated[str, Field(description="the same in the IPCC's words", examples=["likely"])]


class CountrySet(BaseModel):
    """Countries of which one is right with that probability, likeliest first."""

    percent: Annotated[float, Field(examples=[90])]
    countries: Annotated[list[str], Field(examples=[["NO", "SE"]])]


class Pin(BaseModel):
    """The point with the highest expected GeoGuessr score."""

    lat: Annotated[float, Field(ge=-90, le=90, examples=[61.2])]
    lon: Annotated[float, Field(ge=-180, le=180, examples=[9.6])]
    expected_score: Annotated[float, Field(ge=0, le=5000, examples=[3120.5])]


class Neighbour(BaseModel):
    """A training photo that the model answers like this one."""

    country: Annotated[str, Field(description="where it was taken", examples=["NO"])]
    similarity: Annotated[
        float, Field(ge=-1, le=1, description="cosine between the centred log-probabilities of both", examples=[0.97])
    ]
    credit: Annotated[
        str | None,
        Field(description="the line to print beside it", examples=["contributor 7, Mapillary, CC BY-SA 4.0"]),
    ]
    license: Annotated[str | None, Field(description="SPDX name", examples=["CC-BY-SA-4.0"])]
    thumbnail: Annotated[str, Field(description="base64 of a JPEG: what the model saw of it, made small")]


class Answer(BaseModel):
    """What the model says of one photo."""

    name: Annotated[str, Field(description="as sent", examples=["a.jpg"])]
    width: Annotated[int, Field(description="pixels, upright", examples=[1536])]
    height: Annotated[int, Field(examples=[662])]
    guesses: Annotated[list[Guess], Field(description="likeliest first")]
    probabilities: Annotated[
        dict[str, Annotated[float, PROBABILITY]],
        Field(description="of every country the model knows, likeliest first", examples=[{"NO": 0.81, "SE": 0.19}]),
    ]
    words: Annotated[str, Field(description="those of the first guess", examples=["likely"])]
    levels: Annotated[
        dict[str, dict[str, Annotated[float, PROBABILITY]]],
        Field(description="the probabilities added up to the levels above, such as continent, likeliest first"),
    ]
    set: CountrySet | None
    abstained: Annotated[bool, Field(description="less sure than an answer should be")]
    pin: Pin | None
    neighbours: Annotated[
        list[Neighbour] | None,
        Field(description="nearest first; null when none were asked for or the bundle may show none"),
    ]
    milliseconds: Annotated[float, Field(ge=0, examples=[23.4])]


class Unread(BaseModel):
    """A photo that could not be read, and why."""

    name: str
    error: Annotated[str, Field(examples=["truncated JPEG: the end of the image is missing"])]


class Answers(BaseModel):
    """One entry a photo, in the order they were sent."""

    results: list[Answer | Unread]


class HeatView(BaseModel):
    """One part of the photo that the model saw, and the evidence in it."""

    box: Annotated[
        list[float],
        Field(
            description="left, top, right and bottom as fractions of the upright photo; of a view of a sphere what it "
            "covers about: where it reaches across the sphere's seam, right is above 1",
            min_length=4,
            max_length=4,
            examples=[[0.28, 0.0, 0.72, 1.0]],
        ),
    ]
    heading: Annotated[float | None, Field(description="of a view of a sphere: degrees right of the photo's middle")]
    fov: Annotated[float | None, Field(description="of a view of a sphere: degrees across")]
    png: Annotated[str, Field(description="base64 of a PNG with transparency, to be laid over the box")]


class MappedView(HeatView):
    """The same with numbers."""

    map: Annotated[list[list[float]], Field(description="the heat over the box in numbers, rows from the top")]


class Explanation(BaseModel):
    """Where in a photo the evidence for an answer lies."""

    name: str
    method: Annotated[str, Field(examples=["gradcam"])]
    country: Annotated[str, Field(examples=["NO"])]
    against: Annotated[str | None, Field(description="what the country is compared with", examples=["SE"])]
    views: Annotated[list[MappedView], Field(description="every part of the photo that the model saw")]
    evidence: Annotated[bool, Field(description="whether any was found; without it the maps are empty")]
    verified: Annotated[bool | None, Field(description="whether the map held a test; null: it took none")]


class Health(BaseModel):
    """The service is up and its model is loaded."""

    status: Annotated[str, Field(examples=["ok"])]
