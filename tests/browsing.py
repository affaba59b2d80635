"""The page in a real browser, against a real server: what its tests share."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import axe_playwright_python
import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from serving import bundle as bundle
from serving import create, running
from serving import photos as photos

CHROMIUM = shutil.which("chromium")
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
PATIENCE_MS = 30_000
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path to look at the page with")
needs_firefox = pytest.mark.skipif(FIREFOX is None, reason="no firefox on the path to look at the page with")


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[str]:
    with running(create(bundle, explain="gradcam")) as (host, port):
        yield f"http://{host}:{port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def firefox() -> Iterator[Browser]:
    """Firefox as it is, over WebDriver BiDi; it is sent nothing that it does not know (firefox.cjs)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NODE_OPTIONS", f"--require {Path(__file__).with_name('firefox.cjs')}")
        with sync_playwright() as playwright:
            firefox = playwright.firefox.launch(executable_path=FIREFOX, channel="moz-firefox")
            yield firefox
            firefox.close()


@pytest.fixture
def visit(browser: Browser, server: str) -> Iterator[Any]:
    """Opens pages; at the end none of them may have asked another host, broken the CSP or met a defect."""
    contexts, hosts, complaints = [], set(), []

    def open_page(path: str = "/", **settings: Any) -> Page:
        context = browser.new_context(
            base_url=server, **({"viewport": DESKTOP, "locale": "en-GB", "color_scheme": "light"} | settings)
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: hosts.add(urlsplit(request.url)[:2]))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if "Security Policy" in line.text else None)
        page.goto(path)
        return page

    expect.set_options(timeout=PATIENCE_MS)
    yield open_page
    for context in contexts:
        context.close()
    own = urlsplit(server)[:2]
    assert {host for host in hosts if host != own and host[0] not in ("blob", "data")} == set()
    assert complaints == []


def upload(page: Page, photos: list[Path]) -> None:
    page.set_input_files("#files", photos)
    expect(page.locator("#answered")).to_be_visible()


def answer_of(server: str, photo: Path) -> dict[str, Any]:
    """What the API says of a photo: three lines for any program."""
    sent = {"files": (photo.name, photo.read_bytes())}
    found: dict[str, Any] = httpx.post(f"{server}/api/predict", files=sent, timeout=60).json()["results"][0]
    return found


def findings(page: Page) -> list[str]:
    """What axe-core calls serious or critical on a page, light and dark."""
    page.evaluate(AXE)
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for violation in page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]:
            if violation["impact"] in ("serious", "critical"):
                nodes = [f"{node['html'][:120]} {node['failureSummary'][:200]}" for node in violation["nodes"]]
                found.append(f"{scheme}, {violation['id']}: {nodes}")
    return found


def sideways(page: Page) -> int:
    """By how many pixels a page is wider than its window."""
    wider: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wider


def play_photo(page: Page, code: str) -> tuple[int, int]:
    """Pin a country, look, and say what both earned."""
    page.select_option("#country", code)
    page.click("#guess")
    expect(page.locator("#reveal")).to_be_visible()
    points = page.locator("#both tr td:last-child").all_inner_texts()
    you, model = (int(text.replace(",", "")) for text in points)
    page.click("#next")
    expect(page.locator("#reveal")).to_be_hidden()
    return you, model
