"""The ground: asphalt and its lines, shoulders, verges and fields, pixel by pixel."""

from dataclasses import dataclass

import numpy as np

from whichland.sources.synthetic.camera import F32, Camera, Road
from whichland.sources.synthetic.canvas import U8, noise, sample
from whichland.sources.synthetic.conventions import CLUES, RGB, Marking
from whichland.sources.synthetic.light import Light


@dataclass(frozen=True)
class Surface:
    """The ground of one drive. Widths in metres, colours as albedos."""

    half_width: float  # of the asphalt
    shoulder: float  # bare strip beside it
    pavement: float  # paved footway beside it; 0 for none
    asphalt: RGB
    soil: RGB
    grass: RGB
    cover: float  # share of the verge that is green
    fields: tuple[str, str]  # beyond the verges, left and right: grass, crop or bare
    verge: float  # width of the verges
    centre: Marking | None
    edge: Marking | None
    wear: float  # of the paint, 0 new to 1 gone
    patches: float  # share of repaired asphalt
    seed: int


def _band(offset: F32, half: float, footprint: F32) -> F32:
    """Share of each pixel that a stripe covers; `offset` is the distance from its middle."""
    reach = footprint * 0.5
    covered = np.minimum(offset + reach, half) - np.maximum(offset - reach, -half)
    return np.clip(covered / footprint, 0, 1)


def _dashes(along: F32, line: Marking, footprint: F32) -> F32:
    """Share of each pixel that is paint, along a line."""
    if not line.gap:
        return np.ones_like(along)
    period = line.mark + line.gap
    phase = along - np.floor(along / period) * period
    half = line.mark / 2
    near = half - np.abs(phase - half)
    sharp = np.clip(near / footprint + 0.5, 0, 1)
    blur = np.clip(footprint / period - 0.2, 0, 1)
    result: F32 = sharp + (line.mark / period - sharp) * blur
    return result


def _mix(base: F32, colour: RGB | F32, share: F32) -> F32:
    tint = np.asarray(colour, dtype=np.float32)
    result: F32 = base + (tint - base) * share[..., None]
    return result


def paint_ground(camera: Camera, road: Road, surface: Surface, light: Light, shadow: F32) -> tuple[int, F32, U8]:
    """Return the first ground row, the lit and hazed colours (rows × width × 3) and the labels.

    `shadow` is 1 in full sun and 0 in shadow, for the whole picture.
    """
    first, x, z, ahead = camera.ground()
    e = x - road.centres(z)
    across = np.maximum(ahead / camera.focal, 0.004)
    along = np.maximum(ahead * ahead / (camera.y * camera.focal), 0.004)
    colour, labels = _land(x, z, e, along, surface)
    colour, labels = _asphalt(colour, labels, e, z, across, along, surface)
    if light.snow:
        drift = sample(noise(3), x, z, 2.3) * 0.5 + sample(noise(1), x, z, 9.0) * 0.5
        on_road = np.clip((surface.half_width - np.abs(e)) * 2, 0, 1)
        cover = np.clip((drift - (1.02 - light.snow * 0.72)) * 5, 0, 1) * (1 - 0.85 * on_road)
        colour = _mix(colour, (238, 242, 248), cover * 0.92)
    sun = np.asarray(light.sun, dtype=np.float32) * shadow[first:, :, None]
    colour = colour * (np.asarray(light.ambient, dtype=np.float32) + sun)
    if light.wet:
        colour = _puddles(colour, e, x, z, ahead, camera, surface, light)
    ratio = ahead / light.visibility
    return first, _mix(colour, np.asarray(light.haze, dtype=np.float32), ratio / (1 + ratio)), labels


def _land(x: F32, z: F32, e: F32, along: F32, surface: Surface) -> tuple[F32, U8]:
    """Verges and fields: soil that shows through grass, crops in rows, bare ground."""
    shift = surface.seed % 400
    coarse = sample(noise(3), x + shift, z, 1.1)
    middle = sample(noise(2, coarsest=32), x + shift, z, 7.0)
    fine = sample(noise(1, coarsest=16, octaves=4, fade=0.8), x, z + shift, 34.0)
    detail = 1 / (1 + along * 3.0)
    relief = (fine - 0.5) * detail + (middle - 0.5) * 0.55
    side, edge = np.abs(e), surface.half_width + surface.shoulder
    soil = np.asarray(surface.soil, dtype=np.float32) * (1 + relief * 0.42)[..., None]
    soil *= (0.86 + coarse * 0.28)[..., None]
    tone = 0.68 + coarse * 0.38 + relief * 0.75
    grass = np.asarray(surface.grass, dtype=np.float32) * tone[..., None]
    grass[..., 0] *= 0.82 + middle * 0.33  # dry and lush patches
    cover = np.full_like(e, surface.cover)
    far = side > edge + surface.verge
    for sign, kind in zip((-1, 1), surface.fields, strict=True):
        here = far & (e * sign > 0)
        if kind == "bare":
            cover = np.where(here, surface.cover * 0.3, cover)
        elif kind == "crop":
            row = np.abs(side * 1.3 - np.floor(side * 1.3) - 0.5) * 2
            comb = np.where(here, row - 0.5, 0) / (1 + along * 0.15)
            grass *= (1 + comb * 0.5)[..., None]
            cover = np.where(here, np.minimum(cover + 0.25, 1), cover)
    green = coarse * 0.55 + middle * 0.3 + fine * 0.15 * detail + 0.5 * (cover * 1.7 - 0.98)
    green = np.clip(green * 6 - 2.4, 0, 1)
    green *= np.clip((side - edge + (middle - 0.5) * 1.2) * 2 + 0.5, 0, 1)
    colour: F32 = soil + (grass - soil) * green[..., None]
    labels = np.where(green > 0.5, np.uint8(CLUES["grass"]), np.uint8(CLUES["soil"]))
    if surface.pavement:
        colour, labels = _pavement(colour, labels, z, side - surface.half_width, fine, detail, surface)
    return colour, labels


def _pavement(colour: F32, labels: U8, z: F32, kerb: F32, fine: F32, detail: F32, surface: Surface) -> tuple[F32, U8]:
    """A paved footway with a kerb and joints; `kerb` is the distance from the asphalt's edge."""
    share = np.clip(kerb / 0.05, 0, 1) * np.clip((surface.pavement - kerb) * 8, 0, 1)
    joint = np.abs(z * 0.7 - np.floor(z * 0.7) - 0.5) * 2
    stone: F32 = 158 + fine * 22
    stone = stone - np.clip(joint - 0.93, 0, 1) * detail * 500
    stone = np.where(kerb < 0.16, 186, stone)
    return colour + (stone[..., None] - colour) * share[..., None], np.where(share > 0.5, np.uint8(0), labels)


def _asphalt(colour: F32, labels: U8, e: F32, z: F32, across: F32, along: F32, surface: Surface) -> tuple[F32, U8]:
    """The carriageway with wheel tracks, patches, cracks and painted lines."""
    half = surface.half_width
    shift = surface.seed % 300
    grain = sample(noise(6, coarsest=4, octaves=3, fade=0.9), e, z, 64.0) - 0.5
    blotch = sample(noise(3), e + shift, z * 0.35, 4.0) - 0.5
    lane = half * 0.5
    track = np.abs(np.abs(np.abs(e) - lane) - 0.75)
    tone = 1 + grain / (1 + along * 5) * 0.32 + blotch * 0.11
    tone -= np.clip(1 - track * 2.2, 0, 1) * 0.07
    slabs = sample(noise(5, coarsest=16, octaves=1), np.floor(e / lane) * 9 + shift, np.floor(z / 7), 1.0)
    tone -= np.float32(0.13) * (slabs > 1 - surface.patches)
    crack = np.abs(sample(noise(4, coarsest=128, octaves=7), e + shift, z, 26.0) - 0.5)
    tone -= np.clip(1 - crack * 150, 0, 1) * (0.3 * min(surface.patches * 3, 1)) / (1 + along * 6)
    tarmac = np.asarray(surface.asphalt, dtype=np.float32) * tone[..., None]
    worn = sample(noise(2, coarsest=32), e, z, 9.0)
    ragged = (worn - 0.5) * 0.22 * (surface.pavement == 0)
    share = np.clip((half - np.abs(e) + ragged) / across + 0.5, 0, 1)
    colour = colour + (tarmac - colour) * share[..., None]
    labels = np.where(share > 0.5, np.uint8(0), labels)
    paint = np.clip((worn - surface.wear * 0.62) * 5 + 0.55, 0.12, 1)
    apart = 0.14 if surface.centre is not None and surface.centre.double else 0.0  # of the lines from the middle
    inset = 0.55 if surface.pavement else 0.28
    for name, line, place in (("centre_line", surface.centre, apart), ("edge_line", surface.edge, half - inset)):
        if line is None:
            continue
        covered = _band(np.abs(e) - place, 0.075, across) * _dashes(z, line, along)
        colour = _mix(colour, line.colour, covered * paint * 0.94)
        labels = np.where(covered * paint > 0.3, np.uint8(CLUES[name]), labels)
    return colour, labels


def _puddles(colour: F32, e: F32, x: F32, z: F32, ahead: F32, camera: Camera, surface: Surface, light: Light) -> F32:
    """Wet ground: darker, and a mirror of the sky at low angles on the asphalt."""
    wetness = np.float32(light.wet)
    colour = colour * (1 - np.float32(0.3) * wetness)
    on_road = np.clip((surface.half_width - np.abs(e)) * 3, 0, 1)
    grazing = ahead / (ahead + camera.y * 9)
    pool = np.clip((sample(noise(3), x, z * 0.4, 1.6) - 0.52) * 5, 0, 1)
    mirror = on_road * wetness * grazing * (0.42 + 0.4 * pool)
    return _mix(colour, np.asarray(light.horizon, dtype=np.float32) * 0.92, mirror)
