"""What goes on from an answer: as text, as a file, on paper."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import expect

from browsing import answer_of, needs_browser, upload
from browsing import browser as browser
from browsing import bundle as bundle
from browsing import photos as photos
from browsing import server as server
from browsing import visit as visit

pytestmark = needs_browser


def test_an_answer_is_copied_saved_and_printed_on_one_page(visit: Any, server: str, photos: list[Path]) -> None:
    page = visit(color_scheme="dark", permissions=["clipboard-read", "clipboard-write"])
    upload(page, photos[:1])
    answer, model = answer_of(server, photos[0]), httpx.get(f"{server}/api/info").json()["name"]
    page.click("#copy")
    expect(page.locator("#copied")).to_have_text("Copied.")
    text = page.evaluate("navigator.clipboard.readText()")
    assert page.locator("#verdict").inner_text() in text
    assert all(guess["name"] in text for guess in answer["guesses"])
    assert text.splitlines()[-1] == f"whichland, {model}, {server}/"
    with page.expect_download() as saved:
        page.click("#save-json")
    found = json.loads(Path(saved.value.path()).read_text("utf-8"))
    assert found["model"]["name"] == model
    assert found["answers"][0]["name"] == photos[0].name
    assert found["answers"][0]["probabilities"] == answer["probabilities"]
    expect(page.locator("#map .pin.best")).to_be_visible()
    on_screen = page.locator("#map path").first.get_attribute("fill")
    paper = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1
    expect(page.locator("#printed")).to_contain_text(re.compile(rf"^{photos[0].name} · .* 20\d\d.* · model {model} · "))
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    colours = page.evaluate("['backgroundColor', 'color'].map(name => getComputedStyle(document.body)[name])")
    assert colours == ["rgb(255, 255, 255)", "rgb(29, 42, 46)"]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#map path").first.get_attribute("fill") == on_screen
