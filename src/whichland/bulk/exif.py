"""Where a photo says it was taken, to be compared with the guess: nothing of it reaches the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whichland.geo.borders import country_of

Place = tuple[float, float]  # latitude, longitude in degrees


def countries_at(places: Sequence[Place | None]) -> list[str | None]:
    """The country of each place; None where there is no place, or no country at it."""
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
        share = self.agree / self.placed
        return (
            f"EXIF: {self.placed:,} of {self.photos:,} photos say where they were taken; the guess is that "
            f"country for {self.agree:,} of them ({share:.1%})"
        )
