"""The page without a server: its answers against those of `predict`, and what a first visit with a phone takes.

    python benchmarks/site.py parity BUNDLE PHOTOS --count 50 [--engine int8] [--json FILE]
    python benchmarks/site.py phone SITE PHOTO [--times 5] [--json FILE]

parity writes the site of a bundle, opens it in Chromium on a plain host under a path, and asks for photos of a folder,
each as the next of KINDS: as it is, enlarged to 12 megapixels as phones write them, wide, grey, with a palette ….
phone opens a written site as a new visitor of an emulated phone over 4G, gives it a photo as soon as the page takes
one, and reports the seconds from asking for the page to the verdict, and the bytes until then; and the same of a visit
without a network afterwards. Needs chromium on the path.

DevTools slows down neither what a worker fetches nor what it computes, so both are done from outside: the host sends no
faster than the network would (all connections together), a round trip late, two for a new connection, and packs
nothing; and Chromium's processes for pages are held for three quarters of the time (SIGSTOP, SIGCONT), which makes a
processor a quarter as fast.
"""

import argparse
import base64
import contextlib
import functools
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import whichland as wl
from served import photos_of
from whichland.images.orientation import ORIENTATION
from whichland.serving.site import write_site

LARGE = (4000, 3000)
CHUNK = 16_384
TURN_S = 0.02
LATE_S = 0.2  # what a busy machine is late by is made good
NETWORKS = {"4G": (9.0, 170), "LTE": (12.0, 70)}  # Mbit/s down, ms of a round trip; WebPageTest's 4G and LTE
PHONE = {"width": 390, "height": 844}
ASK = """async ([name, data]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const answers = await import(new URL("static/site/answers.js", document.baseURI));
    return answers.predict(new File([bytes], name));
}"""


class Quiet(SimpleHTTPRequestHandler):
    """`python -m http.server` without its log, keeping connections as most hosts do."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass


class Network:
    """What a host sends through: so many bytes a second over all connections, so late."""

    def __init__(self, megabits: float, latency_ms: float) -> None:
        self.rate, self.latency, self.sent = megabits * 1e6 / 8, latency_ms / 1000, 0
        self.lock, self.free = threading.Lock(), time.perf_counter()

    def send(self, some: int) -> None:
        """Wait until so many bytes are through."""
        with self.lock:
            self.free = max(self.free, time.perf_counter() - LATE_S) + some / self.rate
            self.sent += some
            wait = self.free - time.perf_counter()
        time.sleep(max(0.0, wait))


class Slow(Quiet):
    """The same behind a network."""

    def __init__(self, *given: Any, network: Network, **named: Any) -> None:
        self.network = network
        time.sleep(2 * network.latency)  # for the connection and its encryption
        super().__init__(*given, **named)

    def do_GET(self) -> None:
        time.sleep(self.network.latency)
        super().do_GET()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        while some := source.read(CHUNK):
            self.network.send(len(some))
            outputfile.write(some)


@contextmanager
def hosted(folder: Path, network: Network | None = None) -> Iterator[str]:
    """The address of a folder on a plain host."""
    handler = functools.partial(Slow, network=network) if network else Quiet
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder))) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextmanager
def slowed(slower: int) -> Iterator[None]:
    """Hold the processes of pages so that they run for one part in `slower` of the time."""
    over = threading.Event()

    def hold() -> None:
        while not over.is_set():
            pages = renderers()
            signal_all(pages, signal.SIGSTOP)
            time.sleep(TURN_S * (slower - 1) / slower)
            signal_all(pages, signal.SIGCONT)
            time.sleep(TURN_S / slower)

    thread = threading.Thread(target=hold)
    if slower > 1:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if slower > 1:
            thread.join()


def renderers(parent: int | None = None) -> list[int]:
    """Chromium's processes for pages, among the descendants of this one."""
    found = []
    for child in map(int, children_of(parent or os.getpid())):
        with contextlib.suppress(OSError):
            if b"--type=renderer" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
        found += renderers(child)
    return found


def children_of(process: int) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            found += (task / "children").read_text().split()
    return found


def processor_seconds() -> float:
    """What Chromium's processes for pages have computed so far."""
    ticks = 0
    for process in renderers():
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def signal_all(processes: list[int], number: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def file_of(image: Image.Image, form: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


def phones(image: Image.Image, **how: Any) -> bytes:
    """As a phone writes it: 12 megapixels, and turned by EXIF."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return file_of(image.resize(LARGE, Image.Resampling.BICUBIC), "JPEG", quality=90, exif=exif, **how)


def wide(image: Image.Image) -> Image.Image:
    return image.crop((0, 0, image.width, image.width // 4))


def see_through(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


# The photo comes as RGB; None leaves its file as it is.
KINDS: dict[str, Callable[[Image.Image], bytes] | None] = {
    "as it is": None,
    "12 megapixels, turned by EXIF": phones,
    "… with whole colour, progressive": lambda image: phones(image, subsampling=0, progressive=True),
    "four times as wide as high, JPEG": lambda image: file_of(wide(image), "JPEG", quality=90),
    "… 4,000 pixels wide, PNG": lambda image: file_of(wide(image).resize((4000, 1000)), "PNG"),
    "grey JPEG": lambda image: file_of(image.convert("L"), "JPEG", quality=90),
    "CMYK JPEG": lambda image: file_of(image.convert("CMYK"), "JPEG", quality=90),
    "palette PNG": lambda image: file_of(image.convert("P"), "PNG"),
    "half-transparent PNG": lambda image: file_of(see_through(image), "PNG"),
    "WebP": lambda image: file_of(image, "WEBP", quality=80),
}


def parity(bundle: Path, photos: Path, count: int, engine: Any) -> dict[str, Any]:
    """The largest difference of a probability between browser and `predict`, by kind of photo."""
    model = wl.load(bundle, engine=engine)
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch, chromium() as browser:
        write_site(bundle, Path(scratch) / "under/a/path", network=engine)
        with hosted(Path(scratch)) as address:
            page = browser.new_page()
            page.goto(f"{address}under/a/path/")
            page.wait_for_selector("#foot-model:not(:empty)", state="attached")
            for number, photo in enumerate(photos_of(photos, count)):
                kind, make = list(KINDS.items())[number % len(KINDS)]
                data = make(Image.open(photo).convert("RGB")) if make else photo.read_bytes()
                said = page.evaluate(ASK, [photo.name, base64.b64encode(data).decode()])
                found.setdefault(kind, []).append(compared(said, model.predict(data)))
    rows = {kind: summary(of) for kind, of in found.items()}
    return {"engine": engine, "kinds": rows | {"all": summary([one for of in found.values() for one in of])}}


def compared(said: dict[str, Any], own: wl.Answer) -> dict[str, Any]:
    """One photo's answer in the browser against that of Python."""
    pairs = zip(own.labels, own.probabilities, strict=True)
    moved = [abs(said["probabilities"][code] - share) for code, share in pairs]
    level = said["set"] and said["set"]["percent"] / 100
    return {
        "difference": float(max(moved)),
        "first": said["guesses"][0]["country"] == own.label,
        "set": level is None or said["set"]["countries"] == list(own.set(level)),
        "abstained": said["abstained"] == own.abstains_at(0.8),
        "pin": own.pin is None or abs(said["pin"]["expected_score"] - own.pin.expected_score) < 1,
    }


def summary(photos: list[dict[str, Any]]) -> dict[str, Any]:
    """How many photos, the median and the largest difference, and how many agree in the rest."""
    differences = [one["difference"] for one in photos]
    same = {name: sum(one[name] for one in photos) for name in ("first", "set", "abstained", "pin")}
    return {"photos": len(photos), "median": float(np.median(differences)), "most": max(differences), **same}


def phone(site: Path, photo: Path, times: int, slower: int) -> list[dict[str, Any]]:
    """First visits, and visits again, on each network in turns."""
    found = []
    with chromium() as browser:
        for _ in range(times):
            for name, speed in NETWORKS.items():
                network = Network(*speed)
                context = browser.new_context(viewport=PHONE, is_mobile=True, has_touch=True, locale="en-GB")
                with hosted(site, network) as address:
                    found.append({"network": name} | visit(context.new_page(), address, photo, network, slower))
                context.close()
                print(json.dumps(found[-1]), file=sys.stderr)
    return found


def visit(page: Page, address: str, photo: Path, network: Network, slower: int) -> dict[str, Any]:
    """Seconds to the verdict and bytes until then, of a first visit; and of one without a network after it."""
    before = processor_seconds()
    with slowed(slower):
        first = verdict(page, address, photo)
    taken, computed = network.sent, processor_seconds() - before
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    everything = network.sent
    page.context.set_offline(True)
    with slowed(slower):
        again = verdict(page, address, photo)
    return {"first_s": first, "processor_s": computed, "bytes": taken, "all_bytes": everything, "again_s": again}


def verdict(page: Page, address: str, photo: Path) -> float:
    """Seconds from asking for the page to reading the verdict."""
    started = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#foot-model:not(:empty)", state="attached", timeout=120_000)
    page.set_input_files("#files", photo)
    page.wait_for_selector("#answered", state="visible", timeout=120_000)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(dest="what", required=True)
    same = what.add_parser("parity")
    same.add_argument("bundle", type=Path)
    same.add_argument("photos", type=Path)
    same.add_argument("--count", type=int, default=50)
    same.add_argument("--engine", choices=("onnx", "int8"), default="onnx")
    visits = what.add_parser("phone")
    visits.add_argument("site", type=Path)
    visits.add_argument("photo", type=Path)
    visits.add_argument("--times", type=int, default=5)
    visits.add_argument("--slower", type=int, default=4, help="times that the phone's processor is slower")
    for each in (same, visits):
        each.add_argument("--json", type=Path)
    given = parser.parse_args()
    if shutil.which("chromium") is None:
        sys.exit("no chromium on the path")
    found: Any
    if given.what == "parity":
        found = parity(given.bundle, given.photos, given.count, given.engine)
    else:
        found = phone(given.site, given.photo, given.times, given.slower)
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
