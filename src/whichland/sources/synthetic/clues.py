"""The labels of a scene's mask: which clue the front-most thing at a pixel belongs to."""

from collections.abc import Mapping
from types import MappingProxyType

CLUES: Mapping[str, int] = MappingProxyType(
    {
        "none": 0,  # sky, asphalt, pavements, guard rails, far hills: the same everywhere
        "centre_line": 1,
        "edge_line": 2,
        "sign": 3,  # face and post of a traffic sign
        "bollard": 4,
        "plate": 5,
        "pole": 6,  # utility pole and its wires
        "roof": 7,
        "soil": 8,
        "vegetation": 9,  # trees and bushes
        "traffic": 10,  # other vehicles: the side they keep to, not their make
        "grass": 11,
        "wall": 12,  # walls of houses
        "shortcut": 13,  # a planted one
    }
)
"""Mask value of each clue. A planted shortcut hides whatever it covers."""

NAMES: Mapping[int, str] = MappingProxyType({value: name for name, value in CLUES.items()})
