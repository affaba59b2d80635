"""Make the pictures of docs/page.md: the page and the game, on drawn streets alone.

whichland export runs/demo/run/bundle --photos runs/demo/world.parquet --gallery open
python scripts/screenshots.py runs/demo/run/bundle        (needs chromium, and a bundle of the synthetic world)
"""

import io
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from whichland.serving.app import create_app
from whichland.serving.rounds import open_deck
from whichland.serving.server import listen
from whichland.serving.service import open_service

IMAGES = Path(__file__).parent.parent / "docs/images"
QUALITY = 88
SEED = 7  # of the round that is shown
SCENES = (380, 477, 650)  # of the drawn streets; the demo is not sure of the first, and wrong on the last


def main(bundle: str) -> None:
    """Serve the bundle, look at it in a browser, and write the pictures."""
    service = open_service(bundle)
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(service), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.1)
        try:
            with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                look(browser, f"http://127.0.0.1:{listener.getsockname()[1]}", Path(folder))
                browser.close()
        finally:
            server.should_exit = True
            thread.join()


def look(browser: Browser, address: str, folder: Path) -> None:
    """Go to what is shown, one picture after the other."""
    deck = open_deck(None)
    streets = [folder / f"street-{number}.jpg" for number in range(1, len(SCENES) + 1)]
    for street, scene in zip(streets, SCENES, strict=True):
        street.write_bytes(deck.photo(scene))
    wide = {"viewport": {"width": 1180, "height": 900}, "locale": "en-GB", "base_url": address}
    page = browser.new_page(**wide, color_scheme="light")
    answered(page, streets)
    save(page, "page.webp")
    page = browser.new_page(**wide | {"locale": "de-DE"}, color_scheme="dark")
    answered(page, streets)
    page.select_option("#why-against", index=2)
    page.click("#why button[type=submit]")
    page.wait_for_selector("#why-back:not([hidden])")
    page.wait_for_timeout(2_000)
    save(page, "page-dark.webp")
    page = browser.new_page(**wide, color_scheme="light")
    played(page)
    save(page, "play.webp")
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    page = browser.new_page(**wide | phone, color_scheme="light", device_scale_factor=2)
    played(page)
    save(page, "play-phone.webp")


def answered(page: Page, photos: list[Path]) -> None:
    """The page of photos, with answers and a heat map."""
    page.goto("/")
    page.wait_for_selector("#foot-model:not(:empty)")
    page.set_input_files("#files", photos)
    page.wait_for_selector("#heat:not([hidden])")
    page.wait_for_selector("#map .pin")
    page.wait_for_selector("#near:not([hidden])")
    page.wait_for_timeout(2_000)


def played(page: Page) -> None:
    """The game, after the first pin."""
    page.goto(f"/play?seed={SEED}")
    page.wait_for_selector("#photo[src]")
    page.select_option("#country", "FR")
    page.click("#guess")
    page.wait_for_selector("#heat:not([hidden])")
    page.wait_for_timeout(2_000)


def save(page: Page, name: str) -> None:
    """The whole page as a WebP."""
    whole = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    IMAGES.mkdir(parents=True, exist_ok=True)
    whole.save(IMAGES / name, quality=QUALITY, method=6)
    print(f"{name}: {whole.width}×{whole.height}, {(IMAGES / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
