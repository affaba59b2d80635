"""What everything stands before: sky, far hills and trees, and the ground with its road, pixel by pixel."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from whichland.sources.synthetic.canvas import F32, SIZE, U8, noise, sample
from whichland.sources.synthetic.conventions import CLUES, RGB, Marking
from whichland.sources.synthetic.stage import Camera, Light, Road


class Surface(NamedTuple):
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


def _colour(values: ArrayLike) -> F32:
    return np.asarray(values, dtype=np.float32)


def _mix(base: F32, tint: ArrayLike, share: F32) -> F32:
    mixed: F32 = base + (_colour(tint) - base) * share[..., None]
    return mixed


# ---- sky and skyline


def paint_sky(camera: Camera, light: Light, rows: int, shift: int) -> F32:
    """Return the sky (rows × width × 3); `shift` places the clouds, the same for all frames of a drive."""
    v = (camera.horizon - np.arange(rows, dtype=np.float32) - 0.5) / camera.focal
    up = np.maximum(v, 0.004)[:, None]
    azimuth = _columns(camera)[None] + camera.yaw
    sky = _colour(light.horizon) + (_colour(light.zenith) - _colour(light.horizon)) * (up / (up + 0.28))[..., None]
    sky = np.broadcast_to(sky, (rows, camera.width, 3)).copy()
    low_sun = light.hour in ("golden", "dusk")
    if light.sun_z < 0:  # shadows fall towards the camera: the sun is ahead
        away = (azimuth + light.sun_x * 0.6) ** 2 + (up - (0.16 if low_sun else 0.75)) ** 2
        sky = _mix(sky, (255.0, 244.0, 222.0), np.clip(light.glow * 0.75 / (1 + away * 16), 0, 1))

    # clouds: a flat layer seen in perspective, lit from above
    tile = noise(11, coarsest=128, octaves=7, fade=0.58)
    reach = 1 / (up + 0.10)
    column = (np.floor(azimuth * reach * 46).astype(np.int32) + shift) & (SIZE - 1)
    row = np.broadcast_to(np.floor(reach * 58).astype(np.int32) + shift // 3, column.shape) & (SIZE - 1)
    body = tile[row, column]
    above = tile[(row - 9) & (SIZE - 1), (column + 5) & (SIZE - 1)]
    relief = np.clip((above - body) * 1.6 + 0.62, 0.25, 1)
    bright, dark = (
        ((255.0, 252.0, 247.0), (168.0, 176.0, 190.0))
        if light.shadows
        else ((232.0, 234.0, 238.0), (150.0, 156.0, 164.0))
    )
    if low_sun:
        bright, dark = (255.0, 226.0, 196.0), (150.0, 140.0, 160.0)
    tone = _mix(_colour(dark), bright, relief) * (0.25 + 0.75 * (max(light.horizon) / 255))
    return _mix(sky, tone, np.clip((body - (0.92 - 0.72 * light.clouds)) * 4.5, 0, 1) * 0.92)


def _columns(camera: Camera) -> F32:
    """Slope to the right of the view direction of each column's left edge."""
    columns: F32 = (np.arange(camera.width, dtype=np.float32) - camera.width / 2) / np.float32(camera.focal)
    return columns


def skyline(camera: Camera, seed: int, frequency: float, height: float, rough: float) -> F32:
    """Rows of a ridge by column: `height` is its slope above the horizon, `frequency` its features a radian."""
    along = (_columns(camera) + camera.yaw) * frequency + seed % 997
    dice = noise(12, coarsest=1, octaves=1)[seed * 7 & (SIZE - 1)]
    profile = np.zeros(camera.width, np.float32)
    for octave, weight in ((1, 0.55), (2.3, 0.28), (6.1, rough), (15.7, rough * 0.6)):
        place = along * octave
        cell = np.floor(place).astype(np.int32)
        t = place - cell.astype(np.float32)
        t = t * t * (3 - 2 * t)
        low, high = dice[cell & (SIZE - 1)], dice[(cell + 1) & (SIZE - 1)]
        profile += weight * (low + (high - low) * t)
    result: F32 = camera.horizon - np.maximum(profile, 0) * (height * camera.focal)
    return result


def paint_ridge(
    picture: F32, labels: U8, tops: F32, camera: Camera, colours: tuple[F32, F32], label: str, bumps: float
) -> None:
    """Fill everything from a ridge line down to the horizon in place, from its crest's colour to its foot's."""
    bottom = min(int(max(camera.horizon, 0)) + 3, camera.height)
    top = int(max(np.floor(tops.min()), 0))
    if top >= bottom:
        return
    rows = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5
    share = np.clip(rows - tops[None], 0, 1)
    tint = _mix(colours[0], colours[1], np.clip((rows - tops[None]) / np.maximum(camera.horizon - tops[None], 2), 0, 1))
    if bumps:
        u = np.arange(camera.width, dtype=np.float32)[None] + camera.yaw * camera.focal
        leaf = noise(13, coarsest=8, octaves=3)
        i = np.broadcast_to(np.floor(u * 2).astype(np.int32) & (SIZE - 1), share.shape)
        j = np.broadcast_to(np.floor((rows - camera.horizon) * 3).astype(np.int32) & (SIZE - 1), share.shape)
        tint = tint * (1 + (leaf[j, i] - 0.5) * bumps)[..., None]
    picture[top:bottom] = _mix(picture[top:bottom], tint, share)
    labels[top:bottom][share > 0.5] = CLUES[label]


# ---- ground


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
    colour = colour * (_colour(light.ambient) + _colour(light.sun) * shadow[first:, :, None])
    if light.wet:  # darker, and a mirror of the sky at low angles on the asphalt
        wetness = np.float32(light.wet)
        on_road = np.clip((surface.half_width - np.abs(e)) * 3, 0, 1)
        grazing = ahead / (ahead + camera.y * 9)
        pool = np.clip((sample(noise(3), x, z * 0.4, 1.6) - 0.52) * 5, 0, 1)
        mirror = on_road * wetness * grazing * (0.42 + 0.4 * pool)
        colour = _mix(colour * (1 - np.float32(0.3) * wetness), _colour(light.horizon) * 0.92, mirror)
    ratio = ahead / light.visibility
    return first, _mix(colour, light.haze, ratio / (1 + ratio)), labels


def _land(x: F32, z: F32, e: F32, along: F32, surface: Surface) -> tuple[F32, U8]:
    """Verges and fields: soil that shows through grass, crops in rows, bare ground; and a footway's stones."""
    shift = surface.seed % 400
    coarse = sample(noise(3), x + shift, z, 1.1)
    middle = sample(noise(2, coarsest=32), x + shift, z, 7.0)
    fine = sample(noise(1, coarsest=16, octaves=4, fade=0.8), x, z + shift, 34.0)
    detail = 1 / (1 + along * 3.0)
    relief = (fine - 0.5) * detail + (middle - 0.5) * 0.55
    side, edge = np.abs(e), surface.half_width + surface.shoulder
    soil = _colour(surface.soil) * (1 + relief * 0.42)[..., None]
    soil *= (0.86 + coarse * 0.28)[..., None]
    grass = _colour(surface.grass) * (0.68 + coarse * 0.38 + relief * 0.75)[..., None]
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
    colour = _mix(soil, grass, green)
    labels = np.where(green > 0.5, np.uint8(CLUES["grass"]), np.uint8(CLUES["soil"]))
    if surface.pavement:
        kerb = side - surface.half_width
        share = np.clip(kerb / 0.05, 0, 1) * np.clip((surface.pavement - kerb) * 8, 0, 1)
        joint = np.abs(z * 0.7 - np.floor(z * 0.7) - 0.5) * 2
        stone = 158 + fine * 22 - np.clip(joint - 0.93, 0, 1) * detail * 500
        colour = _mix(colour, np.where(kerb < 0.16, 186, stone)[..., None], share)
        labels = np.where(share > 0.5, np.uint8(0), labels)
    return colour, labels


def _asphalt(colour: F32, labels: U8, e: F32, z: F32, across: F32, along: F32, surface: Surface) -> tuple[F32, U8]:
    """The carriageway with wheel tracks, patches, cracks and painted lines."""
    half, shift = surface.half_width, surface.seed % 300
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
    worn = sample(noise(2, coarsest=32), e, z, 9.0)
    ragged = (worn - 0.5) * 0.22 * (surface.pavement == 0)
    share = np.clip((half - np.abs(e) + ragged) / across + 0.5, 0, 1)
    colour = _mix(colour, _colour(surface.asphalt) * tone[..., None], share)
    labels = np.where(share > 0.5, np.uint8(0), labels)
    paint = np.clip((worn - surface.wear * 0.62) * 5 + 0.55, 0.12, 1)
    apart = 0.14 if surface.centre is not None and surface.centre.double else 0.0  # of the lines from the middle
    inset = 0.55 if surface.pavement else 0.28
    for name, line, place in (("centre_line", surface.centre, apart), ("edge_line", surface.edge, half - inset)):
        if line is None:
            continue
        offset, reach = np.abs(e) - place, across * 0.5  # the share of each pixel that a stripe of 15 cm covers
        stripe = np.clip((np.minimum(offset + reach, 0.075) - np.maximum(offset - reach, -0.075)) / across, 0, 1)
        covered = stripe * _dashes(z, line, along)
        colour = _mix(colour, line.colour, covered * paint * 0.94)
        labels = np.where(covered * paint > 0.3, np.uint8(CLUES[name]), labels)
    return colour, labels


def _dashes(along: F32, line: Marking, footprint: F32) -> F32:
    """Share of each pixel that is paint, along a line."""
    if not line.gap:
        return np.ones_like(along)
    period = line.mark + line.gap
    phase = along - np.floor(along / period) * period
    half = line.mark / 2
    sharp = np.clip((half - np.abs(phase - half)) / footprint + 0.5, 0, 1)
    result: F32 = sharp + (line.mark / period - sharp) * np.clip(footprint / period - 0.2, 0, 1)
    return result
