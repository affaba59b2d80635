"""Twelve countries' road conventions, as data; docs/decisions/synthetic-world.md names the source of each."""

from collections.abc import Mapping
from types import MappingProxyType

from whichland.sources.synthetic.conventions import (
    RGB,
    WHITE,
    YELLOW,
    Bollard,
    Conventions,
    Marking,
    Plants,
    Plate,
    Pole,
    Roof,
    Signs,
)

GREEN: RGB = (18, 104, 66)
BLUE: RGB = (26, 78, 160)
AMBER: RGB = (250, 200, 30)
PAPER: RGB = (240, 240, 236)
BLACK: RGB = (34, 34, 36)
RED: RGB = (200, 34, 34)
EU_BLUE: RGB = (22, 56, 150)

WOOD: RGB = (112, 86, 64)
CONCRETE: RGB = (176, 172, 164)
STEEL: RGB = (150, 154, 158)


SOLID_WHITE, SOLID_YELLOW = Marking(WHITE, 1, 0), Marking(YELLOW, 1, 0)


def _yellow(mark: float, gap: float, dashed: float) -> tuple[tuple[Marking, float], ...]:
    """A yellow centre line: dashed where one may overtake, else double and solid."""
    return (Marking(YELLOW, mark, gap), dashed), (Marking(YELLOW, 1, 0, double=True), 1 - dashed)


def _white(mark: float, gap: float, dashed: float = 0.75) -> tuple[tuple[Marking, float], ...]:
    """A white centre line: dashed where one may overtake, else solid."""
    return (Marking(WHITE, mark, gap), dashed), (SOLID_WHITE, 1 - dashed)


EURO = Plate(PAPER, wide=True, left_strip=EU_BLUE)
PLAIN_WIDE, PLAIN_TALL = Plate(PAPER, wide=True), Plate(PAPER, wide=False)
YELLOW_WIDE = Plate(AMBER, wide=True)

# One paragraph a country.
# fmt: off
_COUNTRIES = (
    Conventions(
        code="US", drives_on="right", snows=True, soil=(142, 116, 88),
        walls=((222, 218, 208), (196, 204, 208), (206, 190, 164), (232, 230, 226)),
        roofs=(Roof("gable", (112, 106, 102), 0.55), Roof("hip", (126, 104, 88), 0.5)),
        plants=Plants((("broadleaf", 6), ("conifer", 3), ("shrub", 2)), ((112, 134, 66), (150, 142, 86)), 0.8, 1.0),
        centre=_yellow(3, 9, 0.45), edge=SOLID_WHITE, edge_share=0.8,
        signs=Signs("diamond", "rectangle", (GREEN,), ("latin", "latin")),
        rear_plates=(PLAIN_TALL, Plate((206, 220, 236), wide=False)), front_plates=(PLAIN_TALL,),
        pole=Pole(WOOD, "wood", crossarms=1, wires=4, transformer=True, share=0.75),
        places=((39.05, -94.9), (39.6, -104.6), (33.7, -84.2)),
    ),
    Conventions(
        code="BR", drives_on="right", snows=False, soil=(178, 86, 50),
        walls=((236, 226, 204), (226, 196, 140), (198, 214, 198), (220, 170, 144)),
        roofs=(Roof("gable", (196, 104, 62), 0.45), Roof("hip", (184, 92, 56), 0.45)),
        plants=Plants((("broadleaf", 4), ("tropical", 4), ("palm", 2)), ((98, 140, 52), (128, 146, 66)), 0.66, 1.0),
        centre=_yellow(4, 8, 0.5), edge=SOLID_WHITE, edge_share=0.7,
        signs=Signs("diamond", "circle", (GREEN,), ("latin", "latin")),
        rear_plates=(Plate(PAPER, wide=True, top_strip=BLUE), Plate((184, 186, 188), wide=True)),
        pole=Pole(CONCRETE, "round", crossarms=1, wires=4, transformer=True, share=0.75),
        places=((-15.9, -48.0), (-16.7, -49.25), (-19.9, -44.2)),
    ),
    Conventions(
        code="GB", drives_on="left", snows=True, soil=(104, 82, 60),
        walls=((156, 88, 66), (172, 104, 78), (206, 186, 152), (228, 224, 214)),
        roofs=(Roof("gable", (78, 82, 92), 0.75), Roof("gable", (118, 84, 72), 0.75)),
        plants=Plants((("broadleaf", 7), ("shrub", 3)), ((84, 142, 50), (98, 146, 62)), 0.97, 1.1, hedges=0.6),
        centre=_white(3, 6, 0.85), edge=SOLID_WHITE, edge_share=0.5,
        signs=Signs("triangle", "circle", (GREEN, PAPER), ("latin", "latin")),
        bollard=Bollard(PAPER, BLACK, RED, "post", width=0.16),
        rear_plates=(YELLOW_WIDE,), front_plates=(PLAIN_WIDE,),
        pole=Pole((98, 80, 66), "wood", crossarms=0, wires=2, share=0.4),
        places=((52.45, -1.9), (53.8, -1.55), (52.63, -1.13)),
    ),
    Conventions(
        code="FR", drives_on="right", snows=True, soil=(142, 112, 80),
        walls=((230, 218, 190), (216, 202, 176), (238, 232, 218)),
        roofs=(Roof("gable", (150, 104, 80), 0.6), Roof("hip", (92, 92, 100), 0.85)),
        plants=Plants((("broadleaf", 6), ("poplar", 3), ("shrub", 2)), ((108, 142, 58), (136, 148, 74)), 0.9, 0.9),
        centre=_white(3, 10), edge=Marking(WHITE, 3, 3.5), edge_share=0.65,
        signs=Signs("triangle", "circle", (GREEN, PAPER), ("latin", "latin")),
        bollard=Bollard(PAPER, RED, None, "post", width=0.18),
        rear_plates=(Plate(PAPER, wide=True, left_strip=EU_BLUE, right_strip=EU_BLUE),),
        pole=Pole(CONCRETE, "square", crossarms=0, wires=3, share=0.45),
        places=((45.8, 3.15), (47.3, 0.75), (47.05, 2.4)),
    ),
    Conventions(
        code="DE", drives_on="right", snows=True, soil=(112, 90, 66),
        walls=((240, 236, 226), (236, 224, 192), (226, 230, 226)),
        roofs=(Roof("gable", (158, 72, 52), 0.95), Roof("gable", (112, 66, 54), 0.95)),
        plants=Plants((("broadleaf", 5), ("conifer", 4), ("shrub", 1)), ((94, 140, 54), (110, 144, 64)), 0.95, 1.1),
        centre=_white(4, 8), edge=SOLID_WHITE, edge_share=0.75,
        signs=Signs("triangle", "circle", (AMBER,), ("latin", "latin")),
        bollard=Bollard(PAPER, BLACK, PAPER, "slanted", width=0.18), rear_plates=(EURO,),
        pole=Pole(STEEL, "lamp", crossarms=0, wires=0, share=0.35),
        places=((51.3, 9.45), (50.95, 11.0), (49.8, 9.95)),
    ),
    Conventions(
        code="RU", drives_on="right", snows=True, soil=(118, 100, 80),
        walls=((128, 98, 66), (92, 130, 158), (112, 140, 104), (170, 134, 84)),
        roofs=(Roof("gable", (66, 112, 88), 0.7, ribbed=True), Roof("gable", (132, 138, 146), 0.7, ribbed=True),
               Roof("gable", (128, 58, 50), 0.7, ribbed=True)),
        plants=Plants((("birch", 6), ("conifer", 4), ("shrub", 2)), ((112, 136, 62), (144, 142, 84)), 0.85, 1.2),
        centre=_white(3, 9), edge=SOLID_WHITE, edge_share=0.6,
        signs=Signs("triangle", "circle", (BLUE,), ("cyrillic", "cyrillic")),
        bollard=Bollard(PAPER, BLACK, RED, "slanted", width=0.16), rear_plates=(PLAIN_WIDE,),
        pole=Pole((122, 104, 86), "wood", crossarms=1, wires=3, footing=True, share=0.7),
        places=((55.5, 37.2), (56.2, 43.9), (56.8, 60.5)),
    ),
    Conventions(
        code="AE", drives_on="right", snows=False, soil=(216, 176, 124),
        walls=((230, 214, 182), (238, 228, 206), (212, 188, 152)),
        roofs=(Roof("flat", (226, 212, 184), 0.0), Roof("flat", (206, 190, 160), 0.0)),
        plants=Plants((("date_palm", 5), ("dry_shrub", 5)), ((150, 144, 84),), 0.06, 0.45, canopy=(126, 122, 82)),
        centre=_white(3, 9, 0.85), edge=SOLID_YELLOW, edge_share=0.9,
        signs=Signs("triangle", "circle", (GREEN,), ("arabic", "latin"), striped_post=True),
        rear_plates=(PLAIN_WIDE, PLAIN_TALL), pole=Pole((82, 64, 50), "wood", crossarms=1, wires=3, share=0.5),
        places=((23.65, 53.6), (23.35, 53.9), (24.7, 55.2)),
    ),
    Conventions(
        code="JP", drives_on="left", snows=True, soil=(124, 104, 82),
        walls=((226, 218, 202), (196, 184, 164), (236, 234, 228), (150, 128, 106)),
        roofs=(Roof("hip", (70, 78, 92), 0.6), Roof("gable", (88, 88, 92), 0.6), Roof("hip", (58, 84, 122), 0.6)),
        plants=Plants((("cedar", 6), ("broadleaf", 3), ("shrub", 3)), ((88, 132, 58), (112, 138, 70)), 0.85, 1.2),
        centre=((Marking(WHITE, 5, 5), 0.55), (SOLID_YELLOW, 0.45)), edge=SOLID_WHITE, edge_share=0.9,
        signs=Signs("diamond", "circle", (BLUE,), ("japanese", "latin")),
        bollard=Bollard(PAPER, None, (238, 128, 26), "disc", width=0.1),
        rear_plates=(PLAIN_TALL, PLAIN_TALL, Plate(AMBER, wide=False)),
        pole=Pole((166, 164, 158), "round", crossarms=2, wires=7, transformer=True, guard=True, share=0.9),
        places=((36.2, 137.95), (35.65, 138.55), (36.1, 137.3)),
    ),
    Conventions(
        code="TH", drives_on="left", snows=False, soil=(176, 112, 70),
        walls=((240, 232, 214), (222, 204, 168), (206, 216, 218)),
        roofs=(Roof("gable", (176, 72, 50), 0.8), Roof("hip", (64, 104, 150), 0.7), Roof("gable", (204, 120, 64), 0.8)),
        plants=Plants((("tropical", 5), ("palm", 4), ("broadleaf", 2)), ((92, 146, 48), (120, 150, 60)), 0.75, 1.0),
        centre=_yellow(3, 9, 0.7), edge=SOLID_WHITE, edge_share=0.75,
        signs=Signs("diamond", "circle", (GREEN, BLUE), ("thai", "latin")),
        bollard=Bollard(PAPER, BLACK, None, "stripes", width=0.17, height=0.85), rear_plates=(PLAIN_TALL,),
        pole=Pole((190, 184, 172), "square", crossarms=1, wires=7, transformer=True, share=0.9),
        places=((16.4, 102.8), (15.7, 100.15), (16.8, 100.3)),
    ),
    Conventions(
        code="NA", drives_on="left", snows=False, soil=(208, 172, 130),
        walls=((236, 226, 202), (222, 196, 152), (206, 206, 198)),
        roofs=(Roof("gable", (188, 190, 192), 0.3, ribbed=True), Roof("gable", (150, 84, 62), 0.3, ribbed=True)),
        plants=Plants((("acacia", 4), ("dry_shrub", 6)), ((190, 168, 96), (168, 152, 92)), 0.4, 0.55,
                      canopy=(124, 116, 72)),
        centre=_white(4.5, 7.5, 0.85), edge=SOLID_YELLOW, edge_share=0.75,
        signs=Signs("triangle", "circle", (GREEN,), ("latin", "latin")), rear_plates=(YELLOW_WIDE,),
        pole=Pole((124, 98, 72), "wood", crossarms=1, wires=2, share=0.5),
        places=((-22.5, 17.1), (-20.45, 16.7), (-24.6, 18.0)),
    ),
    Conventions(
        code="ZA", drives_on="left", snows=False, soil=(172, 112, 76),
        walls=((226, 206, 174), (196, 150, 116), (236, 230, 216)),
        roofs=(Roof("hip", (146, 92, 70), 0.45), Roof("gable", (124, 128, 128), 0.4, ribbed=True)),
        plants=Plants((("acacia", 3), ("eucalypt", 3), ("shrub", 3)), ((168, 158, 84), (136, 146, 72)), 0.72, 0.8),
        centre=_white(4.5, 7.5, 0.75), edge=SOLID_YELLOW, edge_share=0.85,
        signs=Signs("triangle", "circle", (GREEN, BLUE), ("latin", "latin")), rear_plates=(PLAIN_WIDE,),
        pole=Pole((118, 90, 66), "wood", crossarms=1, wires=3, transformer=True, share=0.6),
        places=((-29.05, 26.2), (-28.7, 24.8), (-25.8, 28.2)),
    ),
    Conventions(
        code="AU", drives_on="left", snows=False, soil=(188, 94, 54),
        walls=((214, 186, 150), (176, 108, 80), (232, 226, 210)),
        roofs=(Roof("hip", (138, 146, 146), 0.5, ribbed=True), Roof("hip", (82, 98, 88), 0.5, ribbed=True),
               Roof("gable", (152, 70, 54), 0.5, ribbed=True)),
        plants=Plants((("eucalypt", 7), ("dry_shrub", 3)), ((176, 162, 92), (150, 150, 84)), 0.6, 0.9),
        centre=_white(3, 9), edge=SOLID_WHITE, edge_share=0.7,
        signs=Signs("diamond", "circle", (GREEN,), ("latin", "latin")),
        bollard=Bollard(PAPER, None, RED, "post", width=0.13), rear_plates=(PLAIN_WIDE, YELLOW_WIDE),
        pole=Pole((126, 106, 86), "wood", crossarms=1, wires=4, share=0.6),
        places=((-23.7, 133.9), (-32.25, 148.6), (-27.6, 151.7)),
    ),
)
# fmt: on

WORLD: Mapping[str, Conventions] = MappingProxyType({country.code: country for country in _COUNTRIES})
"""Conventions by ISO 3166-1 alpha-2 code; six keep left, six keep right."""
