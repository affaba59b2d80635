"""From a drive and a frame's number to pixels and labels."""

import numpy as np
from PIL import Image, ImageDraw

from whichland.sources.synthetic.camera import F32, Camera
from whichland.sources.synthetic.canvas import U8, Canvas
from whichland.sources.synthetic.drive import Drive
from whichland.sources.synthetic.ground import paint_ground
from whichland.sources.synthetic.sky import paint_ridge, paint_sky, skyline
from whichland.sources.synthetic.stage import Prop, Stage
from whichland.sources.synthetic.vehicles import Vehicle

START = 12.0  # metres along the road where the first frame of a drive is taken


def render_frame(drive: Drive, frame: int, key: list[int], width: int, height: int) -> tuple[U8, U8]:
    """Render one frame as a picture (H×W×3) and labels (H×W); `key` seeds what changes from frame to frame."""
    rng = np.random.Generator(np.random.PCG64([*key, 2, frame]))
    camera = _camera(drive, frame, rng, width, height)
    vehicles = _vehicles(drive, frame, camera)
    picture, labels = _backdrop(drive, camera, vehicles)
    canvas = Canvas(picture, labels)
    stage = Stage(camera, drive.road, drive.light, canvas)
    for prop in sorted([*drive.props, *vehicles], key=lambda one: -one.s):
        if prop.in_view(stage):
            prop.draw(stage)
    _weather(canvas, drive, rng)
    picture, labels = canvas.finish()
    return _develop(picture, drive, rng), labels


def _camera(drive: Drive, frame: int, rng: np.random.Generator, width: int, height: int) -> Camera:
    a, b, c = ((value - 0.5) * 2 for value in rng.random(3).tolist())
    s = START + drive.step * frame
    slope = drive.road.slope(s + 6)
    return Camera(
        x=drive.road.centre(s) + drive.lane + 0.25 * a,
        y=drive.rig.height,
        z=s,
        yaw=slope + drive.rig.yaw + 0.02 * b,
        pitch=drive.rig.pitch + 0.008 * c,
        focal=drive.rig.focal * width,
        width=width,
        height=height,
    )


def _vehicles(drive: Drive, frame: int, camera: Camera) -> list[Vehicle]:
    lit = drive.light.hour == "dusk" or drive.light.weather in ("rain", "fog", "snow")
    found: list[Vehicle] = []
    for mover in drive.movers:
        pace = mover.pace - drive.step if mover.oncoming else mover.pace
        gap = mover.start + pace * frame
        if gap < 6.5:
            continue
        lateral = -drive.lane if mover.oncoming else drive.lane
        taken = any(v.oncoming == mover.oncoming and abs(v.s - camera.z - gap) < 11 for v in found)
        if not taken:
            found.append(Vehicle(lateral, camera.z + gap, mover.kind, mover.paint, mover.plate, mover.oncoming, lit))
    return found


def _backdrop(drive: Drive, camera: Camera, vehicles: list[Vehicle]) -> tuple[U8, U8]:
    """Ground, sky and skyline in the final size."""
    light = drive.light
    height, width = camera.height, camera.width
    picture = np.zeros((height, width, 3), np.float32)
    labels = np.zeros((height, width), np.uint8)
    shadow = _shadows(drive, camera, [*drive.props, *vehicles])
    first, ground, marks = paint_ground(camera, drive.road, drive.surface, light, shadow)
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
    plants = drive.country.plants
    leaves = np.asarray(plants.canopy, dtype=np.float32) * sun * 0.72
    leaves = leaves + (haze - leaves) * light.fade(420.0)
    tops = skyline(camera, drive.seed + 77, 9.0, drive.ridges[1] * (0.5 + 0.5 * plants.density), 0.3)
    paint_ridge(picture, labels, tops, camera, (leaves * 1.12, leaves * 0.8), "vegetation", 0.5)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8), labels


def _shadows(drive: Drive, camera: Camera, props: list[Prop]) -> F32:
    """Sun that reaches the ground, 0 to 1, for the whole picture."""
    light = drive.light
    if not light.shadows:
        return np.ones((camera.height, camera.width), np.float32)
    image = Image.new("L", (camera.width * 2, camera.height * 2), 255)
    draw = ImageDraw.Draw(image)
    for prop in props:
        if camera.z - 12 < prop.s < camera.z + 130:
            outline = prop.shadow(light, drive.road.centre(prop.s) + prop.lateral, prop.s)
            placed = [camera.project(x, 0, z) for x, z in outline if camera.depth(x, z) > 0.7]
            if len(placed) > 2:
                draw.polygon([(_limit(x * 2), _limit(y * 2)) for x, y in placed], fill=70)
    return np.asarray(image.reduce(2)).astype(np.float32) / 255


def _limit(value: float) -> int:
    return int(min(max(value, -20000.0), 20000.0))


def _weather(canvas: Canvas, drive: Drive, rng: np.random.Generator) -> None:
    """Rain streaks and snowflakes in front of everything; they hide nothing from the mask."""
    draw = ImageDraw.Draw(canvas.image)
    wide, tall = canvas.image.size
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
    fall = drive.rig.gain * (1 - drive.rig.vignette * 1.3 * (x * x + y * y))
    pixels = (picture.astype(np.float32) - 116) * drive.rig.contrast + 116
    grain = rng.integers(-5, 6, size=(height, width, 1), dtype=np.int8).astype(np.float32)
    pixels = pixels * fall[..., None] + grain * 0.6
    finished: U8 = np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
    return finished
