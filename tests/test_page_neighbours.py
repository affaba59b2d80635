"""The training photos beside an answer, in a real browser against a real server."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from browsing import PHONE, answer_of, findings, needs_browser, sideways, upload
from browsing import browser as browser
from browsing import server as server
from browsing import visit as visit
from shown import Shown
from shown import shown as shown
from whichland.geo.countries import country_name


@pytest.fixture(scope="module")
def bundle(shown: Shown) -> Path:
    """What `server` serves here."""
    return shown.bundle


@needs_browser
def test_thumbnails_stand_beside_the_answer_with_whom_to_name(visit: Any, shown: Shown) -> None:
    page = visit()
    with page.expect_response("**/api/predict") as answered:
        upload(page, [shown.photos[3]])  # the first of its drive: Mapillary's line
    near = answered.value.json()["results"][0]["neighbours"]
    tiles = page.locator("#neighbours > li")
    expect(tiles).to_have_count(6)
    for at, one in enumerate(near):
        image = tiles.nth(at).locator("> img")
        assert image.evaluate("image => image.naturalWidth") == 64
        expect(image).to_have_attribute("alt", f"Training photo {at + 1}")
        expect(tiles.nth(at).locator(".place")).to_have_text(country_name(one["country"]))
        expect(tiles.nth(at).locator(".credit")).to_have_text(one["credit"])
        expected = {"CC-BY-SA-4.0": "licenses/by-sa/4.0/", "CC-BY-4.0": "licenses/by/4.0/"}
        text = expected.get(one["license"], "publicdomain/zero/1.0/")
        link = tiles.nth(at).locator(".credit a")
        expect(link).to_have_attribute("href", f"https://creativecommons.org/{text}")
    expect(tiles.nth(0).locator(".credit")).to_have_text("contributor 7, Mapillary, CC BY-SA 4.0")
    expect(tiles.nth(0).locator(".credit a")).to_have_text("CC BY-SA 4.0")
    expect(page.locator("#near")).to_contain_text("what the model sees in them before it answers")
    assert findings(page) == []
    page.select_option("#language", "de")
    expect(page.locator("#near-title")).to_have_text("Trainingsfotos, die das Modell am ähnlichsten findet")
    expect(tiles.nth(0).locator("> img")).to_have_attribute("alt", "Trainingsfoto 1")


@needs_browser
def test_a_phone_has_them_without_scrolling_sideways(visit: Any, shown: Shown) -> None:
    page = visit(viewport=PHONE, is_mobile=True, has_touch=True)
    upload(page, shown.photos[:1])
    expect(page.locator("#neighbours > li")).to_have_count(6)
    assert sideways(page) == 0


@needs_browser
def test_lines_of_any_kind_are_text_and_none_leaves_no_gap(visit: Any, server: str, shown: Shown) -> None:
    photo = shown.photos[0]
    answer = answer_of(server, photo)
    thumbnail = base64.b64encode(photo.read_bytes()).decode()
    one = {"country": "FR", "similarity": 0.9, "thumbnail": thumbnail}
    lines = [("<b>Bob</b> " + "x" * 90, "LicenseRef-own"), (None, None), (None, "CC-BY-NC-ND-2.0"), ("Eve", "CC0-1.0")]
    near = [one | {"credit": credit, "license": license} for credit, license in lines]
    answers = [answer | {"neighbours": near}, answer | {"neighbours": None}]

    page = visit(viewport=PHONE)
    page.route("**/api/predict", lambda route: route.fulfill(json={"results": [answers.pop(0)]}))
    upload(page, [photo])
    credits = page.locator("#neighbours .credit")
    expect(credits.nth(0)).to_have_text(re.compile("^<b>Bob</b> x+, LicenseRef-own$"))
    expect(credits.nth(1)).to_be_empty()
    expect(credits.nth(2)).to_have_text("CC-BY-NC-ND-2.0")
    expect(credits.nth(2).locator("a")).to_have_attribute("href", re.compile("/licenses/by-nc-nd/2.0/$"))
    expect(credits.nth(3)).to_have_text("Eve, CC0-1.0")
    assert sideways(page) == 0
    page.click("#clear")
    upload(page, [photo])
    expect(page.locator("#near")).to_be_hidden()
