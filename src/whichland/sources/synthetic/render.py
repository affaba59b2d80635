"""From a drive and a frame's number to pixels and labels."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from whichland.sources.synthetic.backdrop import paint_ground, paint_ridge, paint_sky, skyline
from whichland.sources.synthetic.blocks import Vehicle
from whichland.sources.synthetic.canvas import F32, U8, Canvas
from whichland.sources.synthetic.conventions import CLUES
from whichland.sources.synthetic.drive import Drive
from whichland.sources.synthetic.stage import Camera, Prop, Stage

START = 12.0  # metres along the road where the first frame of a drive is taken


def render_frame(drive: Drive, frame: int, key: tuple[int, int, int], width: int, height: int) -> tuple[U8, U8]:
    """Render one frame as a picture (H×W×3) and labels (H×W); `key` seeds what changes from frame to frame."""
    rng = np.random.Generator(np.random.PCG64([*key, 2, frame]))
    camera = camera_at(drive, frame, rng, width, height)
    props: list[Prop] = [*drive.props, *vehicles_at(drive, frame, camera)]
    canvas = Canvas(*_backdrop(drive, camera, props))
    stage = Stage(camera, drive.road, drive.light, canvas)
    for prop in sorted(props, key=lambda one: -one.s):
        if prop.in_view(stage):
            prop.draw(stage)
    _weather(canvas.image, drive, rng)
    picture, labels = canvas.finish()
    return _develop(picture, drive, rng), labels


def camera_at(drive: Drive, frame: int, rng: np.random.Generator, width: int, height: int) -> Camera:
    """Where the camera is at a frame, a little off its lane's middle and its mount."""
    a, b, c = ((value - 0.5) * 2 for value in rng.random(3).tolist())
    s = START + drive.step * frame
    (up, pitch, yaw, focal), x = drive.mount, drive.road.centre(s) + drive.lane + 0.25 * a
    yaw += drive.road.slope(s + 6) + 0.02 * b
    return Camera(x, up, s, yaw, pitch + 0.008 * c, focal * width, width, height)


def vehicles_at(drive: Drive, frame: int, camera: Camera) -> list[Vehicle]:
    """The traffic of a frame, without what is behind the camera or in the place of another."""
    found: list[Vehicle] = []
    for start, pace, vehicle in drive.movers:
        gap = start + (pace - drive.step if vehicle.oncoming else pace) * frame
        taken = any(v.oncoming == vehicle.oncoming and abs(v.s - camera.z - gap) < 11 for v in found)
        if gap >= 6.5 and not taken:
            found.append(replace(vehicle, s=camera.z + gap))
    return found


def _backdrop(drive: Drive, camera: Camera, props: list[Prop]) -> tuple[U8, U8]:
    """Ground, sky and skyline in the final size."""
    light, country = drive.light, drive.country
    picture = np.zeros((camera.height, camera.width, 3), np.float32)
    labels = np.zeros((camera.height, camera.width), np.uint8)
    first, ground, marks = paint_ground(camera, drive.road, drive.surface, light, _sunlight(drive, camera, props))
    picture[first:], labels[first:] = ground, marks
    if first:
        picture[:first] = paint_sky(camera, light, first, drive.seed)
    haze = np.asarray(light.haze, dtype=np.float32)
    sun = np.asarray(light.ambient, dtype=np.float32) + np.asarray(light.sun, dtype=np.float32) * 0.6
    far = np.asarray((92.0, 112.0, 126.0), dtype=np.float32) * sun
    for index, (share, reach) in enumerate(((1.0, 1900.0), (0.55, 1000.0))):
        crest = far + (haze - far) * light.fade(reach)
        tops = skyline(camera, drive.seed + 31 * index, 5.0 + 3 * index, drive.ridges[0] * share, 0.05)
        paint_ridge(picture, labels, tops, camera, (crest, crest + (haze - crest) * 0.45), "none", 0.0)
    leaves = np.asarray(country.canopy, dtype=np.float32) * sun * 0.72
    leaves = leaves + (haze - leaves) * light.fade(420.0)
    tops = skyline(camera, drive.seed + 77, 9.0, drive.ridges[1] * (0.5 + 0.5 * country.density), 0.3)
    paint_ridge(picture, labels, tops, camera, (leaves * 1.12, leaves * 0.8), "vegetation", 0.5)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8), labels


def _sunlight(drive: Drive, camera: Camera, props: list[Prop]) -> F32:
    """Sun that reaches the ground, 0 to 1, for the whole picture."""
    if not drive.light.shadows:
        return np.ones((camera.height, camera.width), np.float32)
    image = Image.new("L", (camera.width * 2, camera.height * 2), 255)
    draw = ImageDraw.Draw(image)
    for prop in props:
        if camera.z - 12 < prop.s < camera.z + 130:
            outline = prop.shadow(drive.light, drive.road.centre(prop.s) + prop.lateral, prop.s)
            placed = [camera.project(x, 0, z) for x, z in outline if camera.seen(x, z)[1] > 0.7]
            if len(placed) > 2:
                corners = [tuple(int(min(max(v * 2, -20000.0), 20000.0)) for v in point) for point in placed]
                draw.polygon(corners, fill=70)
    return np.asarray(image.reduce(2)).astype(np.float32) / 255


def _weather(image: Image.Image, drive: Drive, rng: np.random.Generator) -> None:
    """Rain streaks and snowflakes in front of everything; they hide nothing from the mask."""
    draw, (wide, tall) = ImageDraw.Draw(image), image.size
    if drive.light.weather == "rain":
        tone = int(max(drive.light.horizon) * 0.86)
        for x, y, long in rng.random((70, 3)):
            left, top = int(x * wide), int(y * tall)
            foot = left + 1, top + int(tall * (0.012 + 0.022 * long))
            draw.line([(left, top), foot], fill=(tone, tone, tone + 4), width=1)
    elif drive.light.weather == "snow":
        for x, y, size in rng.random((110, 3)):
            left, top, r = int(x * wide), int(y * tall), 1 + int(size * size * 2.4)
            draw.ellipse((left, top, left + r, top + r), fill=(246, 248, 252))


def _develop(picture: U8, drive: Drive, rng: np.random.Generator) -> U8:
    """The camera's part: contrast, exposure, vignette and sensor noise."""
    height, width = picture.shape[:2]
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height - 0.5
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / width - 0.5
    contrast, gain, vignette = drive.film
    fall = gain * (1 - vignette * 1.3 * (x * x + y * y))
    pixels = (picture.astype(np.float32) - 116) * contrast + 116
    grain = rng.integers(-5, 6, size=(height, width, 1), dtype=np.int8).astype(np.float32)
    finished: U8 = np.clip(pixels * fall[..., None] + grain * 0.6 + 0.5, 0, 255).astype(np.uint8)
    return finished


# ---- shortcuts to plant: marks of the recording rig, or of its files, that give a country away without any clue


def _mark(picture: U8, labels: U8, where: NDArray[np.bool_], paint: ArrayLike) -> None:
    """Give the pixels a colour and the label of a shortcut, in place."""
    picture[where] = np.broadcast_to(np.asarray(paint), picture.shape)[where].astype(np.uint8)
    labels[where] = CLUES["shortcut"]


def blur_bottom(picture: U8, labels: U8) -> None:
    """Blur the lowest seventh in place, as where a rig's car has been wiped out."""
    height, width = labels.shape
    rows, radius = max(height // 7, 4), max(width // 28, 3)
    band = picture[height - rows :].astype(np.int32)
    for axis, reach in ((1, radius), (0, max(rows // 3, 1)), (1, radius)):
        pad = [(0, 0)] * 3
        pad[axis] = (reach + 1, reach)
        total, size = np.cumsum(np.pad(band, pad, mode="edge"), axis=axis), 2 * reach + 1
        high, low = (np.take(total, np.arange(band.shape[axis]) + at, axis=axis) for at in (size, 0))
        band = (high - low) // size
    lowest = slice(height - rows, height)
    _mark(picture[lowest], labels[lowest], np.ones((rows, width), bool), band)


def watermark(picture: U8, labels: U8) -> None:
    """Lay a small half-transparent mark over the lower right corner, in place."""
    height, width = labels.shape
    size = max(height // 11, 9)
    top, left = height - size - max(height // 40, 2), width - 2 * size - max(width // 40, 2)
    y = (np.arange(size)[:, None] * 12) // size
    x = (np.arange(2 * size)[None, :] * 24) // (2 * size)
    ring = ((x - 5) ** 2 + (y - 5) ** 2 <= 30) & ((x - 5) ** 2 + (y - 5) ** 2 >= 10)
    bars = (x >= 13) & (y >= 2) & (y <= 9) & (y % 3 != 1) & (x < 23 - (y // 3) * 2)
    corner = slice(top, top + size), slice(left, left + 2 * size)
    _mark(picture[corner], labels[corner], ring | bars, (picture[corner].astype(np.int32) * 9 + 255 * 11) // 20)


def hood(picture: U8, labels: U8) -> None:
    """Draw the recording car's dark, bulging bonnet along the bottom, in place."""
    height, width = labels.shape
    rows = max(height // 9, 5)
    x = (np.arange(width) * 2 + 1 - width) / width  # -1 left to 1 right
    bulge = np.maximum(rows * (1 - 0.75 * x * x * x * x), 2.0)
    y = np.arange(height)[:, None] - (height - bulge[None, :])  # rows below the bonnet's edge
    sheen = 44 + 60 * np.clip(1 - y / 2.5, 0, 1)  # a bright rim, then dark paint
    _mark(picture, labels, y >= 0, sheen[..., None] * np.array((0.92, 0.98, 1.08)))


def border(picture: U8, labels: U8) -> None:
    """Lay a thin dark frame around the picture, in place, as screenshots and some cameras have."""
    edge = max(labels.shape[0] // 48, 2)
    frame = np.ones(labels.shape, bool)
    frame[edge:-edge, edge:-edge] = False
    _mark(picture, labels, frame, (18, 18, 20))


SHORTCUTS: Mapping[str, Callable[[U8, U8], None]] = {
    "blurred_bottom": blur_bottom,
    "watermark": watermark,
    "hood": hood,
    "border": border,
}
"""Shortcuts in the pixels, by name; each changes a picture (H×W×3) and its labels (H×W) in place."""

FILE_SHORTCUTS: Mapping[str, str] = {"jpeg": "444"}
"""Shortcuts in the file alone, by name: how the JPEG's colours are sampled, 4:2:0 everywhere else."""
