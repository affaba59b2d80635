"""What goes on from an answer, as text, file, paper or picture, and what comes to a page without a photo at hand."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import polars as pl
from PIL import Image
from playwright.sync_api import Browser, expect

from browsing import answer_of, findings, needs_browser, upload
from browsing import browser as browser
from browsing import bundle as bundle
from browsing import photos as photos
from browsing import server as server
from browsing import visit as visit
from serving import create, running
from tiny_bundle import make_photos
from whichland.manifest import Manifest, write

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


def test_a_card_with_the_answer_holds_the_photo_only_when_wanted(visit: Any, photos: list[Path]) -> None:
    page = visit()
    upload(page, photos[:1])
    page.click("#share-open")
    picture = page.locator("#share-picture")
    expect(picture).to_be_visible()
    verdict = page.locator("#verdict").inner_text()
    expect(picture).to_have_attribute("alt", f"A card that says: {verdict}")
    assert findings(page) == []

    def saved() -> Image.Image:
        with page.expect_download() as card:
            page.click("#share-save")
        return Image.open(card.value.path()).convert("RGB")

    def colours(card: Image.Image) -> int:
        return len(card.crop((80, 200, 500, 500)).getcolors(1 << 20) or [])

    without = saved()
    assert without.size == (1200, 630)
    before = picture.get_attribute("src")
    page.check("#share-photo")
    expect(picture).not_to_have_attribute("src", str(before))
    assert colours(saved()) > 10 * colours(without)


def test_an_example_is_answered_with_its_credit(browser: Browser, bundle: Path, tmp_path: Path) -> None:
    free = {"split": "test", "license": "CC-BY-4.0", "attribution": "M. Durand, CC BY 4.0"}
    other = {"split": "test", "license": "LicenseRef-own", "attribution": "somebody else"}
    rows = [
        {"image_id": f"made/{path.stem}", "uri": str(path), "source": "made", "country": country, "split": "test"}
        | names
        for path, country, names in zip(make_photos(tmp_path / "streets", 2), ("FR", "NO"), (free, other), strict=True)
    ]
    played = str(write(Manifest(pl.DataFrame(rows)), tmp_path / "photos.parquet"))
    for play, count, credit in ((played, 1, free["attribution"]), (None, 6, None)):
        with running(create(bundle, play=play)) as (host, port):
            page = browser.new_page(locale="en-GB", base_url=f"http://{host}:{port}")
            page.goto("/")
            tiles = page.locator("#example-list button")
            expect(tiles).to_have_count(count)
            expect(page.locator("#examples-drawn")).to_be_visible(visible=credit is None)
            expect(page.locator("#examples .credit")).to_have_count(1 if credit else 0)
            assert page.get_by_role("link", name="Beat the machine").get_attribute("href") == "play"
            tiles.first.click()
            expect(page.locator("#answered")).to_be_visible()
            expect(page.locator("#credit")).to_have_text(credit or "whichland's synthetic world, CC0")
            page.close()
