"""A stand-in for Mapillary on loopback: a made-up world, and every way in which the real one misbehaves.

Two servers, as there: one for the API, one for the photos. Which faults hit a thing follows from the seed and the
thing alone, and none is hit more than `MOST_FAULTS` times, so that a patient client gets the same in the end.
"""

import json
import random
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import simplejpeg

TOKEN = "MLY|1234567890|not-to-be-seen-anywhere"
MOST_FAULTS = 3
HANG_S = 30.0
WEST, SOUTH, _, _ = BOX = (10.0, 59.0, 10.2, 59.12)

API_FAULTS = (
    *("429", "429 wait", "500", "503", "drop", "cut", "html", "hang", "drip", "error in 200", "too many in 400"),
)
PHOTO_FAULTS = (
    *("429", "500", "503", "drop", "cut", "cut without length", "short length", "html", "garbage", "hang", "drip"),
    *("403", "404", "410", "redirect", "empty"),
)
SLOW = ("hang", "drip", "429 wait")  # rare, so that a test has an end


def jpeg(native: str) -> bytes:
    """A small photo, another for every id, with EXIF that tells more than it should."""
    picture = _picture(int(native))
    tiff = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, 1) + struct.pack("<I", 0)
    exif = b"Exif\0\0" + tiff + b"the owner lives here"
    return picture[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + picture[2:]


@lru_cache(maxsize=4096)
def _picture(number: int) -> bytes:
    coarse = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(coarse.repeat(16, 0).repeat(16, 1)), quality=80))


class World:
    """Images along drives through a box of 0.2 by 0.12 degrees, one drive with more than an answer can hold."""

    def __init__(
        self,
        drives: int = 24,
        frames: int = 25,
        long_drive: int = 2100,
        seed: int = 0,
        west: float = WEST,
        south: float = SOUTH,
    ) -> None:
        self.west, self.south = west, south
        self.images: dict[str, dict[str, Any]] = {}
        draw = random.Random(seed)
        for drive in range(drives):
            self._drive(f"drive{drive:04}", frames, draw, spread=0.01)
        if long_drive:
            self._drive("longdrive", long_drive, draw, spread=0.012)
        # three parts of the world of which large boxes cannot be asked for, each in its own way
        self.heavy = {"500": (10.02, 59.02), "hang": (10.1, 59.1), "400": (10.17, 59.03)}

    def _drive(self, name: str, frames: int, draw: random.Random, spread: float) -> None:
        lon, lat = self.west + draw.uniform(0.02, 0.18), self.south + draw.uniform(0.02, 0.1)
        for frame in range(frames):
            native = str(10**14 + len(self.images) * 7919)
            at = [round(lon + draw.uniform(-spread, spread), 6), round(lat + draw.uniform(-spread, spread), 6)]
            pano = draw.random() < 0.2
            image: dict[str, Any] = {
                "id": native,
                "geometry": {"type": "Point", "coordinates": at},
                "computed_geometry": {"type": "Point", "coordinates": [at[0] + 1e-6, at[1] - 1e-6]},
                "captured_at": 1_500_000_000_000 + frame * 1500 + draw.randrange(10**10),
                "compass_angle": round(draw.uniform(-180, 360), 2),
                "sequence": name,
                "creator": {"username": f"user{draw.randrange(5)}", "id": "1"},
                "camera_type": "spherical" if pano else draw.choice(["perspective", "fisheye"]),
                "is_pano": pano,
                "width": 4096,
                "height": 2048 if pano else 3072,
            }
            for field in draw.sample(sorted(image), draw.choice([0, 0, 1, 2])):
                if field == "computed_geometry" or field not in ("id", "geometry", "sequence"):
                    if draw.random() < 0.5:
                        image[field] = None
                    else:
                        del image[field]
            self.images[native] = image

    def within(self, box: list[float]) -> list[dict[str, Any]]:
        west, south, east, north = box
        return [
            image
            for image in self.images.values()
            if west <= image["geometry"]["coordinates"][0] <= east
            and south <= image["geometry"]["coordinates"][1] <= north
        ]


class Mapillary:
    """Both servers, what they were asked, and what a client did that it must not."""

    def __init__(self, world: World, *, faults: float = 0.0, seed: int = 0, lost: int = 0) -> None:
        self.world, self.faults, self.seed = world, faults, seed
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()  # requests by server: "api", "photo"
        self.injected: Counter[str] = Counter()
        self.times: list[float] = []
        self.wrongs: list[str] = []
        self.refuse = False  # every token
        self.deny = False  # every search
        self.fresh: Counter[str] = Counter()  # addresses given out by an image's own entry
        self._hits: Counter[str] = Counter()
        draw = random.Random(seed)
        natives = sorted(world.images)
        self.lost = set(draw.sample(natives, lost))  # gone since the search index was made
        self.expiring = set(draw.sample(natives, len(natives) // 3)) if faults else set()
        self.api = _Server(self, _Api)
        self.photos = _Server(self, _Photos)

    def fault(self, kind: str, key: str) -> str | None:
        """Draw what goes wrong this time; None when nothing does."""
        faults = API_FAULTS if kind == "api" else PHOTO_FAULTS
        with self.lock:
            hit = self._hits[f"{kind} {key}"]
            self._hits[f"{kind} {key}"] += 1
            draw = random.Random(f"{self.seed} {kind} {key} {hit}")
            if hit >= MOST_FAULTS or draw.random() >= self.faults:
                return None
            fault = draw.choice(faults)
            if fault in SLOW and draw.random() < 0.9:
                fault = "500"
            self.injected[f"{kind}: {fault}"] += 1
            return fault


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, mapillary: Mapillary, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.mapillary = mapillary

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Killed clients leave broken pipes behind."""


class _Answer(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    kind = ""

    def do_GET(self) -> None:
        here = self.server.mapillary
        with here.lock:
            here.asked[self.kind] += 1
            here.times.append(time.monotonic())
        token = self.headers.get("Authorization")
        if token != (f"OAuth {TOKEN}" if self.kind == "api" else None):
            here.wrongs.append(f"{self.kind} {self.path}: Authorization is {token!r}")
        if "MLY" in self.path or "token" in self.path:
            here.wrongs.append(f"{self.kind} {self.path}: token in the address")
        with suppress(ConnectionError):
            self.answer(here)

    def answer(self, here: Mapillary) -> None:
        raise NotImplementedError

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def send(self, code: int, body: bytes, *, length: int | None = -1, **headers: str) -> None:
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        if length is None or length >= 0:
            self.send_header("Connection", "close")
            self.close_connection = True
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def misbehave(self, fault: str, good: bytes) -> None:
        """Answer with a fault that both servers know."""
        if fault.isdecimal():
            self.send(int(fault), b"<html>not now</html>")
        elif fault == "429 wait":
            self.send(429, b"", Retry_After="1")
        elif fault == "drop":
            self.close_connection = True
            self.connection.shutdown(2)
        elif fault == "cut":
            self.send(200, good[: len(good) * 2 // 3], length=len(good))
        elif fault == "cut without length":
            self.send(200, good[: len(good) - 1], length=None)
        elif fault == "short length":
            self.send(200, good, length=len(good) // 2)
        elif fault == "html":
            self.send(200, b"<!doctype html><title>Sorry</title>", Content_Type="text/html")
        elif fault == "garbage":
            self.send(200, good[:300] + b"\xff\xfe\x00\xff" * 40 + good[460:])
        elif fault == "empty":
            self.send(200, b"")
        elif fault == "hang":
            self.close_connection = True
            time.sleep(HANG_S)
        elif fault == "drip":
            self.send(200, b"", length=len(good))
            for at in range(len(good)):
                self.wfile.write(good[at : at + 1])
                self.wfile.flush()
                time.sleep(0.3)
        elif fault == "error in 200":
            self.send(200, b'{"error": {"message": "An unknown error occurred", "code": 1}}')
        elif fault == "too many in 400":
            self.send(400, b'{"error": {"message": "Application request limit reached", "code": 4}}')
        else:
            raise AssertionError(fault)


class _Api(_Answer):
    kind = "api"

    def answer(self, here: Mapillary) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        name = parts.path.strip("/")
        if not query.get("fields") and name != "image_ids":
            here.wrongs.append(f"no fields asked for: {self.path}")
        if here.refuse:
            return self.send(400, b'{"error": {"message": "Invalid OAuth access token", "code": 190}}')
        if here.deny and name == "images":
            return self.send(400, b'{"error": {"message": "Unsupported get request", "code": 100}}')
        code, content = self._content(here, name, query)
        if fault := here.fault("api", self.path):
            return self.misbehave(fault, json.dumps(content).encode())
        if code == 0:
            return self.misbehave("hang", b"")
        self.send(code, json.dumps(content).encode(), Content_Type="application/json")

    def _content(self, here: Mapillary, name: str, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        images = here.world.images
        if name == "image_ids":
            ids = [native for native, image in images.items() if image["sequence"] == query["sequence_id"]]
            return 200, {"data": [{"id": native} for native in ids]}
        if name == "images":
            return self._search(here, query)
        if name not in images or name in here.lost:
            return 400, {"error": {"message": "Object does not exist", "code": 100}}
        with here.lock:
            here.fresh[name] += 1
        return 200, self._fields(here, name, query["fields"])

    def _search(self, here: Mapillary, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        box = [float(edge) for edge in query["bbox"].split(",")]
        side = max(box[2] - box[0], box[3] - box[1])
        if (box[2] - box[0]) * (box[3] - box[1]) >= 0.01:
            return 400, {"error": {"message": "bbox must be smaller than 0.01 degrees square", "code": 100}}
        for how, (lon, lat) in here.world.heavy.items():
            if here.faults and side > 0.03 and box[0] <= lon <= box[2] and box[1] <= lat <= box[3]:
                code = 0 if how == "hang" else int(how)
                return code, {"error": {"message": "reduce the amount of data you ask for", "code": 2}}
        found = here.world.within(box)
        if "is_pano" in query:
            found = [image for image in found if bool(image.get("is_pano")) == (query["is_pano"] == "true")]
        for bound, sign in (("start_captured_at", 1), ("end_captured_at", -1)):
            if bound in query:
                at = datetime.fromisoformat(query[bound]).timestamp() * 1000
                found = [image for image in found if sign * ((image.get("captured_at") or 0) - at) >= 0]
        limit = int(query["limit"])
        assert limit <= 2000
        return 200, {"data": [self._fields(here, image["id"], query["fields"]) for image in found[:limit]]}

    def _fields(self, here: Mapillary, native: str, fields: str) -> dict[str, Any]:
        image = here.world.images[native]
        content = {name: image[name] for name in fields.split(",") if name in image}
        for name in fields.split(","):
            if name.startswith("thumb_"):
                content[name] = f"{here.photos.address}/{name}/{native}.jpg?oe={here.fresh[native]}"
        return content


class _Photos(_Answer):
    kind = "photo"

    def answer(self, here: Mapillary) -> None:
        parts = urlsplit(self.path)
        native = parts.path.rpartition("/")[2].removesuffix(".jpg")
        if native in here.lost:
            return self.send(404, b"")
        if native in here.expiring and not int(parse_qs(parts.query)["oe"][0]):
            return self.send(403, b"URL signature expired")
        if fault := here.fault("photo", native):
            if fault == "redirect":
                return self.send(302, b"", Location=f"{here.photos.address}{self.path}")
            return self.misbehave(fault, jpeg(native))
        self.send(200, jpeg(native), Content_Type="image/jpeg")


@contextmanager
def serve(world: World | None = None, *, faults: float = 0.0, seed: int = 0, lost: int = 0) -> Iterator[Mapillary]:
    """Serve until the block ends. `faults` is the chance of a fault, `lost` the number of images gone for good."""
    mapillary = Mapillary(world or World(), faults=faults, seed=seed, lost=lost)
    servers = mapillary.api, mapillary.photos
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield mapillary
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
