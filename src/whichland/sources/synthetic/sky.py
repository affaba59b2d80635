"""The sky with its clouds, and the hills and the line of trees at the horizon."""

import numpy as np

from whichland.sources.synthetic.camera import F32, Camera
from whichland.sources.synthetic.canvas import SIZE, U8, noise
from whichland.sources.synthetic.conventions import CLUES
from whichland.sources.synthetic.light import Colour, Light


def _colour(values: Colour) -> F32:
    return np.asarray(values, dtype=np.float32)


def paint_sky(camera: Camera, light: Light, rows: int, shift: int) -> F32:
    """Return the sky (rows × width × 3); `shift` places the clouds, the same for all frames of a drive."""
    v = (camera.horizon - np.arange(rows, dtype=np.float32) - 0.5) / camera.focal
    up = np.maximum(v, 0.004)[:, None]
    azimuth = camera.columns[None] + camera.yaw
    height = (up / (up + 0.28))[..., None]
    sky = _colour(light.horizon) + (_colour(light.zenith) - _colour(light.horizon)) * height
    sky = np.broadcast_to(sky, (rows, camera.width, 3)).copy()

    sun_v = 0.16 if light.hour in ("golden", "dusk") else 0.75
    away = (azimuth + light.sun_x * 0.6) ** 2 + (up - sun_v) ** 2
    if light.sun_z < 0:  # shadows fall towards the camera: the sun is ahead
        glow = light.glow * 0.75 / (1 + away * 16)
        sky += (_colour((255.0, 244.0, 222.0)) - sky) * np.clip(glow, 0, 1)[..., None]

    sky += _clouds(azimuth, up, sky, light, shift)
    return sky


def _clouds(azimuth: F32, up: F32, sky: F32, light: Light, shift: int) -> F32:
    """What the clouds add to the sky: a flat layer seen in perspective, lit from above."""
    tile = noise(11, coarsest=128, octaves=7, fade=0.58)
    reach = 1 / (up + 0.10)
    x, y = azimuth * reach * 46, reach * 58
    column = (np.floor(x).astype(np.int32) + shift) & (SIZE - 1)
    row = np.broadcast_to(np.floor(y).astype(np.int32) + shift // 3, column.shape) & (SIZE - 1)
    body = tile[row, column]
    above = tile[(row - 9) & (SIZE - 1), (column + 5) & (SIZE - 1)]
    threshold = 0.92 - 0.72 * light.clouds
    share = np.clip((body - threshold) * 4.5, 0, 1) * 0.92
    relief = np.clip((above - body) * 1.6 + 0.62, 0.25, 1)
    grey = max(light.horizon) / 255
    bright = _colour((255.0, 252.0, 247.0)) if light.shadows else _colour((232.0, 234.0, 238.0))
    dark = _colour((168.0, 176.0, 190.0)) if light.shadows else _colour((150.0, 156.0, 164.0))
    if light.hour in ("golden", "dusk"):
        bright, dark = _colour((255.0, 226.0, 196.0)), _colour((150.0, 140.0, 160.0))
    tone = (dark + (bright - dark) * relief[..., None]) * (0.25 + 0.75 * grey)
    result: F32 = (tone - sky) * share[..., None]
    return result


def skyline(camera: Camera, seed: int, frequency: float, height: float, rough: float) -> F32:
    """Rows of a ridge by column: `height` is its slope above the horizon, `frequency` its features a radian."""
    along = (camera.columns + camera.yaw) * frequency + seed % 997
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
    drop = np.clip((rows - tops[None]) / np.maximum(camera.horizon - tops[None], 2), 0, 1)[..., None]
    tint = colours[0] + (colours[1] - colours[0]) * drop
    if bumps:
        u = np.arange(camera.width, dtype=np.float32)[None] + camera.yaw * camera.focal
        leaf = noise(13, coarsest=8, octaves=3)
        i = np.broadcast_to(np.floor(u * 2).astype(np.int32) & (SIZE - 1), share.shape)
        j = np.broadcast_to(np.floor((rows - camera.horizon) * 3).astype(np.int32) & (SIZE - 1), share.shape)
        tint = tint * (1 + (leaf[j, i] - 0.5) * bumps)[..., None]
    band = picture[top:bottom]
    band += (tint - band) * share[..., None]
    labels[top:bottom][share > 0.5] = CLUES[label]
