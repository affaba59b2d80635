"""What a phone gets of the page: bytes, requests, shifts of the layout, and seconds to the first answer.

    whichland serve BUNDLE                      or: python -m http.server -d SITE
    python benchmarks/page_load.py http://127.0.0.1:8000/ PHOTO [--times 5] [--json FILE]

Each visit is that of a new visitor of an emulated phone: 390×844, 12 Mbit/s down and 5 up, 70 ms, the page's own thread
four times slower (all by DevTools, which slows down no worker). The photo is given as soon as the page takes one.
"Bytes" are what came over the network, as they were sent, until the page was still; CLS is the sum of the shifts of
its worst five seconds (web.dev's session windows) over the whole visit, those within half a second of a click apart.
Medians of the visits are printed. Needs chromium on the path.
"""

import argparse
import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "locale": "en-GB"}
NETWORK = {"offline": False, "latency": 70, "downloadThroughput": 12e6 / 8, "uploadThroughput": 5e6 / 8}
SLOWER = 4
PATIENCE_MS = 120_000
STILL_S = 1.0
OBSERVE = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) shifts.push([one.startTime, one.value]);
}).observe({ type: "layout-shift", buffered: true });
"""


def visit(browser: Browser, address: str, photo: Path) -> dict[str, float]:
    """One visit of somebody who has not been there."""
    context = browser.new_context(**PHONE)
    context.add_init_script(OBSERVE)
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    sizes: list[float] = []
    devtools.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", NETWORK)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    started = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#foot-model:not(:empty)", state="attached", timeout=PATIENCE_MS)
    opened, bytes_opened, requests_opened = time.perf_counter() - started, sum(sizes), len(sizes)
    page.set_input_files("#files", photo)
    page.wait_for_selector("#answered", state="visible", timeout=PATIENCE_MS)
    answered, taken = time.perf_counter() - started, sum(sizes)
    before = -1
    while before != len(sizes):
        before = len(sizes)
        page.wait_for_timeout(1000 * STILL_S)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
    found = {
        "first_paint_s": paint / 1000,
        "takes_photos_s": opened,
        "answer_s": answered,
        "kB_until_it_takes_photos": bytes_opened / 1000,
        "requests_until_then": requests_opened,
        "kB_until_the_answer": taken / 1000,
        "kB": sum(sizes) / 1000,
        "requests": len(sizes),
        "CLS": worst(page.evaluate("shifts")),
    }
    context.close()
    return found


def worst(shifts: list[tuple[float, float]]) -> float:
    """The largest sum of shifts within five seconds that follow each other within one."""
    most, first, last, total = 0.0, 0.0, -1e9, 0.0
    for at, value in shifts:
        if at - last > 1000 or at - first > 5000:
            first, total = at, 0.0
        total, last = total + value, at
        most = max(most, total)
    return most


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if shutil.which("chromium") is None:
        sys.exit("no chromium on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        visits: list[dict[str, Any]] = [visit(browser, given.address, given.photo) for _ in range(given.times)]
        browser.close()
    found = {name: round(statistics.median(one[name] for one in visits), 3) for name in visits[0]}
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(visits, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
