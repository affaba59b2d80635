"""How countries lie to each other: which are neighbours, and how far it is from places of one to those of another.

>>> neighbours(["DE", "FR", "JP"]).tolist()
[[False, True, False], [True, False, False], [False, False, False]]
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whichland.geo.borders import borders
from whichland.geo.distance import EARTH_RADIUS_KM
from whichland.geo.nearest import unit
from whichland.geo.polygons import NOTHING, across, edges, feature_of
from whichland.geo.territories import answers

Points = NDArray[np.float64]  # P×2: latitude and longitude in degrees

# Polygons reach out to sea; these meet there alone, bridges and tunnels notwithstanding.
_AT_SEA = """
AE-IR AE-QA AG-MS AI-MF AS-WS AU-ID AU-NC AU-PG AX-FI AZ-TM BE-GB BH-QA BH-SA BQ-CW BQ-VE BS-TC CA-PM CK-KI
CK-PF CN-TW CO-HN CO-NI CU-US CW-VE CY-SY CY-TR DJ-YE DK-NO DK-SE DZ-ES EE-FI EE-SE EG-JO EG-SA ER-SA ER-YE
FJ-TO FJ-TV FR-GB FR-GG FR-JE GD-VC GG-JE HR-IT HT-UM ID-SG IN-LK IR-OM IR-SA IT-TN JP-RU KI-PF KM-YT LC-MQ
LC-VC LV-SE MY-PH MY-SG NC-VU NI-SV PG-SB PH-TW PR-VI RU-SJ RU-US SA-SD SB-VU SO-YE TT-VE VG-VI
"""
AT_SEA = frozenset(_AT_SEA.split())

OUTLINE = 64  # points that stand for a country on whose area none of the lattice falls


def neighbours(codes: Sequence[str]) -> NDArray[np.bool_]:
    """Whether two countries have a border in common on land, in a river or in a lake: K×K."""
    code_F = np.array([*answers(), ""])  # the last for `NOTHING`
    pairs = np.unique(np.stack([edges().feature, across()], axis=1)[across() != NOTHING], axis=0)
    index = {code: number for number, code in enumerate(codes)}
    touch_KK = np.zeros((len(codes), len(codes)), dtype=bool)
    for left, right in code_F[pairs]:
        if left in index and right in index and left != right and "-".join(sorted((left, right))) not in AT_SEA:
            touch_KK[index[left], index[right]] = True
    return touch_KK


def points_of(codes: Sequence[str], *, step: float = 1.0) -> list[Points]:
    """Places in each country: the points of a lattice of `step` degrees in it, or for the smallest, its outline.

    Raises KeyError for what is no country's code.
    """
    found = borders()
    lat, lon = np.meshgrid(np.arange(-90 + step / 2, 90, step), np.arange(-180 + step / 2, 180, step), indexing="ij")
    lattice = np.stack([lat.ravel(), lon.ravel()], axis=1)
    country_P = found.country[feature_of(*lattice.T)]
    number = {code: index for index, code in enumerate(found.codes)}
    points = []
    for code in codes:
        own = lattice[country_P == number[code]]
        if not len(own):
            lat0, lon0, *_ = edges().degrees(found.country[edges().feature] == number[code])
            own = np.stack([lat0, lon0], axis=1)[:: max(1, len(lat0) // OUTLINE)]
        points.append(own)
    return points


def kilometres(places: Sequence[Points]) -> NDArray[np.float64]:
    """From row to column, K×K: the mean over a country's points of the distance to the other's nearest, in km.

    It is not symmetric: from a small country a large one beside it is near, but not the other way round.
    """
    starts = np.cumsum([0, *(len(points) for points in places)])[:-1]
    xyz_P3 = np.concatenate([unit(*points.T) for points in places])
    km_KK = np.empty((len(places), len(places)))
    for row, points in enumerate(places):
        cosine_QK = np.maximum.reduceat(unit(*points.T) @ xyz_P3.T, starts, axis=1)
        km_KK[row] = EARTH_RADIUS_KM * np.arccos(np.clip(cosine_QK, -1, 1)).mean(0)
        km_KK[row, row] = 0.0  # rounding leaves some metres
    return km_KK
