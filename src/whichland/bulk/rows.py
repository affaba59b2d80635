"""Photos to answers, a batch at a time, and answers as rows of one table: the same columns in every form.

path, country, probability, country_2, probability_2, …, and where they are asked for outside (the probability that
fell outside the labels that answers are restricted to), set_90 (the countries of which one is right with that
probability), certain, certain_level, certain_probability (the country, or the region or continent where that alone is
certain enough), pin_lat, pin_lon, pin_score, exif_lat, exif_lon, exif_country, agrees (the place that the file states,
which the model never sees), and of a bundle that knows them novelty and unlike (how unlike the training photos the
photo is, and whether more so than 99 % of validation photos); then views (how many the probabilities were combined of)
and error (why a photo could not be read; the rest is empty then). Where labels are no countries the guesses are label,
label_2, …; country and country_probability are then the likeliest country that they add up to, where they do.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from whichland.bulk.config import PredictConfig
from whichland.images.containers import ImageError
from whichland.images.decode import encode_jpeg
from whichland.images.photo import Fetch, open_photo
from whichland.model.answer import DECIMALS, Answer
from whichland.model.label_sources import among
from whichland.model.labels import COUNTRY, LabelSpace
from whichland.model.model import Model
from whichland.model.views import DECODE_THREADS, PhotoViews, cut_views, made_ahead

LISTED = 1000  # photos that a page shows one by one, of each a small picture
THUMBNAIL = (72, 54)  # pixels, width and height at most
QUALITY = 70

Place = tuple[float, float]  # latitude, longitude in degrees
Row = dict[str, Any]


class Seen(NamedTuple):
    """What a thread made of one photo."""

    views: PhotoViews | ImageError
    place: Place | None = None  # that its EXIF states
    thumbnail: str | None = None  # JPEG in base64


Answered = tuple[Answer, Seen]


def answers(
    model: Model, photos: Sequence[str], config: PredictConfig, *, addresses: bool, thumbnails: int = 0
) -> Iterator[list[Answered]]:
    """Yield the answers to `photos` in order, in lists of the batch size.

    Threads fetch, decode and cut into views while the model runs. `addresses` says whether any photo is to be fetched
    from the web; of the first `thumbnails` a small picture is kept.
    """
    pictured = frozenset(photos[:thumbnails])
    threads = max(DECODE_THREADS, config.fetch_at_once) if addresses else DECODE_THREADS
    with ExitStack() as stack:
        fetch = None
        if addresses:
            from whichland.images.fetch import Fetcher

            bounds = {"most_bytes": config.fetch_bytes, "at_once": config.fetch_at_once}
            fetcher = Fetcher(allow_local=config.allow_local, seconds=config.fetch_seconds, **bounds)
            fetch = stack.enter_context(closing(fetcher)).fetch
        look = partial(_look, model, config, fetch, pictured)
        batches = stack.enter_context(closing(made_ahead(photos, look, config.batch_size, threads=threads)))
        if addresses:
            stack.callback(fetcher.stop)  # before the threads are waited for
        for paths, seen in batches:
            found = model.answers(paths, [one.views for one in seen], config.batch_size, among=config.among)
            yield list(zip(found, seen, strict=True))


def _look(model: Model, config: PredictConfig, fetch: Fetch | None, pictured: frozenset[str], path: str) -> Seen:
    try:
        photo = open_photo(path, fetch)
        views = cut_views(photo, model.preprocess, views=config.views, panorama=config.panorama)
    except ImageError as error:
        return Seen(error)
    place = thumbnail = None
    if config.check_exif:
        from whichland.sources.exif import stated_place

        place = stated_place(photo.data)
    if path in pictured:
        picture = Image.fromarray(views.crops[len(views.crops) // 2])
        picture.thumbnail(THUMBNAIL)
        thumbnail = base64.b64encode(encode_jpeg(np.asarray(picture), QUALITY)).decode("ascii")
    return Seen(views, place, thumbnail)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Turns answers into rows."""

    space: LabelSpace
    top: int  # guesses to name
    novelty: bool  # whether the bundle knows how unlike its training photos a photo is
    config: PredictConfig

    @property
    def label(self) -> str:
        """The name of the column of first guesses: "country", or "label" where labels are no countries."""
        return self.space.noun

    @property
    def adds_countries(self) -> bool:
        """Whether labels that are no countries add up to countries."""
        return self.space.has_countries and self.space.kind != COUNTRY

    @property
    def set_column(self) -> str | None:
        """The name of the column of sets, such as set_90; None when none are asked for."""
        return None if self.config.sets is None else f"set_{self.config.sets:g}"

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in order."""
        guesses = [name for n in range(2, self.top + 1) for name in (f"{self.label}_{n}", f"probability_{n}")]
        found = ["path", self.label, "probability", *guesses]
        found += ["country", "country_probability"] if self.adds_countries else []
        found += ["outside"] if self.config.among is not None else []
        found += [self.set_column] if self.set_column else []
        found += ["certain", "certain_level", "certain_probability"] if self.config.certainty is not None else []
        found += ["pin_lat", "pin_lon", "pin_score"] if self.config.pin else []
        found += ["exif_lat", "exif_lon", "exif_country", "agrees"] if self.config.check_exif else []
        found += ["novelty", "unlike"] if self.novelty else []
        return [*found, "views", "error"]

    def of(self, batch: Sequence[Answered]) -> list[Row]:
        """The rows of a batch of answers, in order; `thumbnail` is there as well where one was kept."""
        rows = [self._row(answer, seen) for answer, seen in batch]
        if self.config.check_exif:
            codes = countries_at([seen.place for _, seen in batch])
            for row, (answer, seen), code in zip(rows, batch, codes, strict=True):
                if answer.error is None:
                    row["exif_lat"], row["exif_lon"] = seen.place or (None, None)
                    row["exif_country"] = code
                    row["agrees"] = None if code is None or "country" not in row else row["country"] == code
        return rows

    def _row(self, answer: Answer, seen: Seen) -> Row:
        row: Row = dict.fromkeys(self.columns) | {"path": shown(answer.path or ""), "error": answer.reason}
        if answer.error is not None:
            return row
        row["views"] = len(answer.views)
        if seen.thumbnail:
            row["thumbnail"] = seen.thumbnail
        for n, guess in enumerate(answer.top(self.top), 1):
            ending = "" if n == 1 else f"_{n}"
            row[f"{self.label}{ending}"] = guess.code
            row[f"probability{ending}"] = round(guess.probability, DECIMALS)
        if self.adds_countries:
            likeliest = answer.at(COUNTRY)[0]
            row["country"], row["country_probability"] = likeliest.code, round(likeliest.probability, DECIMALS)
        if answer.novelty is not None:
            row["novelty"], row["unlike"] = round(answer.novelty, DECIMALS), answer.unlike
        if self.config.among is not None:
            row["outside"] = round(answer.outside, DECIMALS)
        if self.config.certainty is not None and (certain := answer.certain(self.config.certainty / 100)):
            row["certain"], row["certain_level"] = certain.code, certain.level
            row["certain_probability"] = round(certain.probability, DECIMALS)
        if self.config.level is not None:
            row[str(self.set_column)] = list(answer.set(self.config.level))
        if self.config.pin:
            pin = answer.pin_or_land
            row["pin_lat"], row["pin_lon"] = round(pin.lat, 4), round(pin.lon, 4)
            row["pin_score"] = round(pin.expected_score, 1)
        return row


def rows_for(model: Model, config: PredictConfig) -> Rows:
    """What it takes to turn a bundle's answers into rows.

    Raises UserError where sets are asked for that the bundle does not keep, or labels that it does not know.
    """
    if config.level is not None:
        model.require_level(config.level)
    within = model.labels if config.among is None else among(model.space, config.among)
    novelty = model.novelty is not None
    return Rows(space=model.space, top=min(config.top, len(within)), novelty=novelty, config=config)


def shown(path: str) -> str:
    """A path as text that any file can hold: bytes of a name that are no UTF-8 are written as \\xff."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def guesses(row: Mapping[str, Any], rows: Rows) -> list[tuple[str, float]]:
    """Code and probability of a row's guesses, likeliest first."""
    endings = ["", *(f"_{n}" for n in range(2, rows.top + 1))]
    found = ((row.get(rows.label + ending), row.get(f"probability{ending}")) for ending in endings)
    return [(code, probability) for code, probability in found if code is not None and probability is not None]


def countries_at(places: Sequence[Place | None]) -> list[str | None]:
    """The country of each place; None where there is no place, or no country at it."""
    from whichland.geo.borders import country_of  # the polygons are wanted for this alone

    points = np.array([place or (np.nan, np.nan) for place in places]).reshape(-1, 2)
    return [str(code) or None for code in np.atleast_1d(country_of(points[:, 0], points[:, 1]))]


@dataclass
class ExifCount:
    """How often guesses are of the country that the photos themselves state."""

    photos: int = 0  # that were answered
    placed: int = 0  # of these, with coordinates in a country
    agree: int = 0

    def add(self, agrees: Sequence[bool | None]) -> None:
        """Count a batch: whether the guess agrees, None where the photo states no country."""
        self.photos += len(agrees)
        self.placed += sum(value is not None for value in agrees)
        self.agree += sum(value is True for value in agrees)

    def __str__(self) -> str:
        if not self.placed:
            return f"EXIF: none of {self.photos:,} photos says where it was taken"
        return (
            f"EXIF: {self.placed:,} of {self.photos:,} photos say where they were taken; the guess is that "
            f"country for {self.agree:,} of them ({self.agree / self.placed:.1%})"
        )
