"""From a drive and a frame's number to pixels and labels."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from whichland.sources.synthetic.camera import Camera
from whichland.sources.synthetic.canvas import Canvas
from whichland.sources.synthetic.drive import Drive, Thing
from whichland.sources.synthetic.ground import paint_ground
from whichland.sources.synthetic.houses import House
from whichland.sources.synthetic.roadside import GuardRail, PoleWithWires, Tree
from whichland.sources.synthetic.sky import paint_ridge, paint_sky, skyline
from whichland.sources.synthetic.stage import Stage
from whichland.sources.synthetic.texture import F32
from whichland.sources.synthetic.trees import SPECIES
from whichland.sources.synthetic.vehicles import BODIES, Vehicle

U8 = NDArray[np.uint8]


def render_frame(drive: Drive, frame: int, key: list[int], width: int, height: int) -> tuple[U8, U8]:
    """Render one frame as a picture (H×W×3) and labels (H×W); `key` seeds what changes from frame to frame."""
    rng = np.random.Generator(np.random.PCG64([*key, 2, frame]))
    camera = _camera(drive, frame, rng, width, height)
    vehicles = _vehicles(drive, frame, camera)
    picture, labels = _backdrop(drive, camera, vehicles)
    canvas = Canvas(picture, labels)
    stage = Stage(camera, drive.road, drive.light, canvas)
    for thing in sorted([*drive.things, *vehicles], key=lambda one: -one.s):
        if _in_view(thing, stage):
            thing.draw(stage)
    _weather(canvas, drive, rng)
    picture, labels = canvas.finish()
    return _develop(picture, drive, rng), labels


def _camera(drive: Drive, frame: int, rng: np.random.Generator, width: int, height: int) -> Camera:
    a, b, c = ((float(value) - 0.5) * 2 for value in rng.random(3))
    s = drive.start + drive.step * frame
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
        gap = (
            mover.start + mover.pace * frame if not mover.oncoming else mover.start + (mover.pace - drive.step) * frame
        )
        if gap < 6.5:
            continue
        lateral = -drive.lane if mover.oncoming else drive.lane
        taken = any(v.oncoming == mover.oncoming and abs(v.s - camera.z - gap) < 11 for v in found)
        if not taken:
            found.append(Vehicle(lateral, camera.z + gap, mover.kind, mover.paint, mover.plate, mover.oncoming, lit))
    return found


def _in_view(thing: Thing, stage: Stage) -> bool:
    """Whether any of a thing may show; what lies wholly beside the picture is not worth drawing."""
    camera = stage.camera
    depth = stage.depth(thing.lateral, thing.s)
    if isinstance(thing, House):
        return thing.s + thing.length > camera.z + 2 and depth < 260 and _house_in_view(thing, stage)
    if isinstance(thing, PoleWithWires):
        return thing.s > camera.z - thing.span * 0.5 and 1.5 < depth < 240
    if isinstance(thing, GuardRail):
        return depth > 0.2 and thing.s > camera.z + 0.5
    if not 2.2 < depth < 320:
        return False
    margin = thing.height * SPECIES[thing.species].aspect if isinstance(thing, Tree) else 3.0
    return abs(stage.aside(thing.lateral, thing.s)) < depth * stage.reach + margin


def _house_in_view(house: House, stage: Stage) -> bool:
    """Whether some corner of a house is neither left nor right of the picture."""
    outside = []
    for lateral in (house.lateral, house.lateral + (house.depth if house.lateral > 0 else -house.depth)):
        for s in (max(house.s, stage.camera.z + 1), house.s + house.length):
            aside, limit = stage.aside(lateral, s), max(stage.depth(lateral, s), 1.0) * stage.reach + 1.0
            outside.append(-1 if aside < -limit else 1 if aside > limit else 0)
    return not (min(outside) == 1 or max(outside) == -1)


def _backdrop(drive: Drive, camera: Camera, vehicles: list[Vehicle]) -> tuple[U8, U8]:
    """Ground, sky and skyline in the final size."""
    light = drive.light
    height, width = camera.height, camera.width
    picture = np.zeros((height, width, 3), np.float32)
    labels = np.zeros((height, width), np.uint8)
    shadow = _shadows(drive, camera, vehicles)
    first, ground, marks = paint_ground(camera, drive.road, drive.surface, light, shadow)
    picture[first:], labels[first:] = ground, marks
    if first:
        picture[:first] = paint_sky(camera, light, first, drive.seed)
    haze = np.asarray(light.haze, dtype=np.float32)
    sun = np.asarray(light.ambient, dtype=np.float32) + np.asarray(light.sun, dtype=np.float32) * np.float32(0.6)
    far = np.asarray((92.0, 112.0, 126.0), dtype=np.float32) * sun
    for index, (share, reach) in enumerate(((1.0, 1900.0), (0.55, 1000.0))):
        veil = np.float32(light.fade(reach))
        crest = far + (haze - far) * veil
        tops = skyline(camera, drive.seed + 31 * index, 5.0 + 3 * index, drive.ridges[0] * share, 0.05)
        paint_ridge(picture, labels, tops, camera, (crest, crest + (haze - crest) * np.float32(0.45)), "none", 0.0)
    veil = np.float32(light.fade(420.0))
    leaves = np.asarray(drive.canopy, dtype=np.float32) * sun * np.float32(0.72)
    leaves = leaves + (haze - leaves) * veil
    tops = skyline(camera, drive.seed + 77, 9.0, drive.ridges[1] * (0.5 + 0.5 * drive.country.plants.density), 0.3)
    paint_ridge(picture, labels, tops, camera, (leaves * np.float32(1.12), leaves * np.float32(0.8)), "vegetation", 0.5)
    return np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8), labels


def _shadows(drive: Drive, camera: Camera, vehicles: list[Vehicle]) -> F32:
    """Sun that reaches the ground, 0 to 1, for the whole picture."""
    light = drive.light
    if not light.shadows:
        return np.ones((camera.height, camera.width), np.float32)
    image = Image.new("L", (camera.width * 2, camera.height * 2), 255)
    draw = ImageDraw.Draw(image)
    for thing in [*drive.things, *vehicles]:
        if camera.z - 12 < thing.s < camera.z + 130:
            points = _outline(thing, drive)
            if len(points) > 2:
                placed = [camera.project(x, 0, z) for x, z in points if camera.depth(x, z) > 0.7]
                if len(placed) > 2:
                    draw.polygon([(_limit(x * 2), _limit(y * 2)) for x, y in placed], fill=70)
    return np.asarray(image.reduce(2)).astype(np.float32) / np.float32(255)


def _limit(value: float) -> int:
    return int(min(max(value, -20000.0), 20000.0))


# A crown's shadow, roughly round: the lower half is the upper half turned.
_HALF_RING = ((1.0, 0.0), (0.8, 0.5), (0.45, 0.9), (0.0, 1.0), (-0.5, 0.8), (-0.9, 0.45))
_RING = (*_HALF_RING, *((-a, -b) for a, b in _HALF_RING))


def _outline(thing: Thing, drive: Drive) -> list[tuple[float, float]]:
    """Ground polygon of a thing's shadow, in world x and z."""
    light = drive.light
    x, z = drive.road.centre(thing.s) + thing.lateral, thing.s
    if isinstance(thing, Tree):
        species = SPECIES[thing.species]
        r = thing.height * species.aspect * 0.44
        middle = thing.height * (0.5 + species.bare / 2)
        cx, cz = x + light.sun_x * middle, z + light.sun_z * middle
        wide = 0.35 + 0.25 * (light.sun_x * light.sun_x + light.sun_z * light.sun_z)
        wobble = (1.0, 0.86, 1.06, 0.9)
        return [
            (
                cx + a * r * wobble[i % 4] + light.sun_x * b * r * wide * 0.8,
                cz + b * r * wobble[(i + thing.variant) % 4],
            )
            for i, (a, b) in enumerate(_RING)
        ]
    if isinstance(thing, House):
        away = thing.depth if thing.lateral > 0 else -thing.depth
        dx, dz = light.sun_x * thing.height * 1.2, light.sun_z * thing.height * 1.2
        corners = [(x, z), (x + away, z), (x + away, z + thing.length), (x, z + thing.length)]
        return _hull([*corners, *((a + dx, b + dz) for a, b in corners)])
    if isinstance(thing, Vehicle):
        body = BODIES[thing.kind]
        dx, dz = light.sun_x * body.roof * 0.8, light.sun_z * body.roof * 0.8
        w = body.half
        corners = [(x - w, z), (x + w, z), (x + w, z + body.length), (x - w, z + body.length)]
        return _hull([*corners, *((a + dx, b + dz) for a, b in corners)])
    if isinstance(thing, PoleWithWires):
        dx, dz = light.sun_x * thing.height, light.sun_z * thing.height
        return [(x - 0.15, z), (x + 0.15, z), (x + dx + 0.1, z + dz), (x + dx - 0.1, z + dz)]
    return []


def _hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Convex hull, counter-clockwise (Andrew's monotone chain)."""
    ordered = sorted(points)
    chains = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for p in sequence:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2], chain[-1]
                if (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax) > 0:
                    break
                chain.pop()
            chain.append(p)
        chains.append(chain[:-1])
    return chains[0] + chains[1]


def _weather(canvas: Canvas, drive: Drive, rng: np.random.Generator) -> None:
    """Rain streaks and snowflakes in front of everything; they hide nothing from the mask."""
    draw = ImageDraw.Draw(canvas.image)
    wide, tall = canvas.image.size
    if drive.light.weather == "rain":
        tone = int(max(drive.light.horizon) * 0.86)
        for x, y, long in rng.random((70, 3)):
            at = int(x * wide), int(y * tall)
            draw.line(
                [at, (at[0] + 1, at[1] + int(tall * (0.012 + 0.022 * long)))], fill=(tone, tone, tone + 4), width=1
            )
    elif drive.light.weather == "snow":
        for x, y, size in rng.random((110, 3)):
            at, r = (int(x * wide), int(y * tall)), 1 + int(size * size * 2.4)
            draw.ellipse((*at, at[0] + r, at[1] + r), fill=(246, 248, 252))


def _develop(picture: U8, drive: Drive, rng: np.random.Generator) -> U8:
    """The camera's part: contrast, exposure, vignette and sensor noise."""
    height, width = picture.shape[:2]
    y = (np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5)) / np.float32(height) - np.float32(0.5)
    x = (np.arange(width, dtype=np.float32)[None] + np.float32(0.5)) / np.float32(width) - np.float32(0.5)
    fall = np.float32(drive.rig.gain) * (1 - np.float32(drive.rig.vignette * 1.3) * (x * x + y * y))
    pixels = (picture.astype(np.float32) - np.float32(116)) * np.float32(drive.rig.contrast) + np.float32(116)
    grain = rng.integers(-5, 6, size=(height, width, 1), dtype=np.int8).astype(np.float32)
    pixels = pixels * fall[..., None] + grain * np.float32(0.6)
    finished: U8 = np.clip(pixels + np.float32(0.5), 0, 255).astype(np.uint8)
    return finished
