"""The page of photos, and what both pages share, in a real browser against a real server."""

import base64
import csv
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Route, expect

from browsing import PATIENCE_MS, answer_of, findings, needs_browser, upload
from browsing import browser as browser
from browsing import bundle as bundle
from browsing import photos as photos
from browsing import server as server
from browsing import visit as visit
from serving import create, running
from tiny_bundle import LABELS, make_bundle
from unlike import bundle_with_novelty, usual_and_unlike
from whichland.geo.countries import COUNTRIES, country_name
from whichland.model.labels import Label, LabelSpace, labels_text
from whichland.serving import pages as page_module


@needs_browser
def test_photos_are_answered_as_the_api_does(visit: Any, server: str, photos: list[Path], tmp_path: Path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:400])
    page = visit()
    upload(page, [photos[0], broken, photos[1]])
    expect(page.locator("#status")).to_have_text("2 of 3 photos answered; 1 not, see above")
    expect(page.locator("#failed li")).to_have_text(re.compile("^broken.jpg Could not be read: .*truncated"))
    thumbs = page.locator("#strip button")
    expect(thumbs).to_have_count(3)
    for at, photo in ((0, photos[0]), (2, photos[1])):
        thumbs.nth(at).click()
        answer = answer_of(server, photo)
        expect(page.locator("#verdict")).to_contain_text(answer["guesses"][0]["name"])
        expect(page.locator("#verdict-words")).to_have_text(answer["words"])
        names = page.locator("#guesses .name").all_inner_texts()
        assert names == [guess["name"] for guess in answer["guesses"]]
        chips = page.locator("#set-countries li").all_inner_texts()
        assert chips == [country_name(code) for code in answer["set"]["countries"]]
        assert page.locator("#table tr").count() == len(LABELS)
        expect(page.locator("#map-pin")).to_contain_text(country_name(answer["pin"]["country"]))
    thumbs.nth(1).click()
    expect(page.locator("#unreadable")).to_contain_text("broken.jpg")
    expect(page.locator("#world")).to_be_hidden()
    with page.expect_download() as saved:
        page.click("#save")
    rows = list(csv.DictReader(Path(saved.value.path()).read_text("utf-8-sig").splitlines()))
    assert [row["photo"] for row in rows] == ["photo_0000.jpg", "photo_0001.jpg"]


@needs_browser
@pytest.mark.parametrize("way", ["drop", "paste"])
def test_photos_are_dropped_and_pasted(visit: Any, photos: list[Path], way: str):
    page = visit()
    expect(page.locator("#foot-model")).to_contain_text("countries")
    page.evaluate(
        """([way, base64]) => {
            const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
            const files = new DataTransfer();
            files.items.add(new File([bytes], "street.jpg", { type: "image/jpeg" }));
            const given = { bubbles: true, cancelable: true };
            document.body.dispatchEvent(
                way === "drop"
                    ? new DragEvent("drop", { ...given, dataTransfer: files })
                    : new ClipboardEvent("paste", { ...given, clipboardData: files }),
            );
        }""",
        [way, base64.b64encode(photos[0].read_bytes()).decode()],
    )
    expect(page.locator("#answered")).to_be_visible()
    expect(page.locator("#photo")).to_have_attribute("alt", "Photo street.jpg")


@needs_browser
def test_the_heat_map_is_toggled_and_its_opacity_slides(visit: Any, photos: list[Path]):
    page = visit()
    upload(page, photos[:1])
    heat, toggle = page.locator("#heat"), page.locator("#heat-toggle")
    expect(heat).to_be_hidden()
    expect(page.locator("#heat-scale")).to_be_hidden()
    toggle.click()
    expect(heat).to_be_visible()
    expect(page.locator("#heat-scale")).to_be_visible()
    expect(page.locator("#heat-caption")).to_contain_text("where, not why")
    assert heat.evaluate("image => image.naturalWidth") > 0
    photo, laid = page.locator("#photo").bounding_box(), heat.bounding_box()
    assert photo is not None
    assert laid is not None
    pixel = photo["height"] / 64  # of the small photo that timm cuts, at whole pixels
    assert laid["height"] == pytest.approx(laid["width"], abs=pixel)  # the square in the middle of a wide photo
    assert 0.9 < laid["height"] / photo["height"] <= 1
    for start, size in (("x", "width"), ("y", "height")):
        assert laid[start] + laid[size] / 2 == pytest.approx(photo[start] + photo[size] / 2, abs=pixel)
    expect(page.locator("#heat-caption")).to_contain_text("Grad-CAM")
    page.locator("#opacity").fill("20")
    assert heat.evaluate("image => image.style.opacity") == "0.2"
    page.reload()  # both are remembered
    upload(page, photos[:1])
    expect(heat).to_be_visible()
    expect(page.locator("#opacity")).to_have_value("20")
    toggle.click()
    expect(heat).to_be_hidden()
    expect(toggle).to_have_attribute("aria-checked", "false")


@needs_browser
def test_the_map_is_shaded_by_the_odds(visit: Any, server: str, photos: list[Path]):
    page = visit()
    upload(page, photos[:1])
    expect(page.locator("#map .pin.best")).to_be_visible()
    fills = page.locator("#map path").evaluate_all("paths => paths.map(path => path.getAttribute('fill'))")
    assert len(fills) > 240
    names = [f"--map-{shade}" for shade in range(5)]
    ramp = page.evaluate(
        "names => names.map(name => getComputedStyle(document.documentElement).getPropertyValue(name).trim())", names
    )
    probabilities = answer_of(server, photos[0])["probabilities"]
    expected = {ramp[sum(least <= value for least in (0.01, 0.05, 0.2, 0.5))] for value in probabilities.values()}
    assert expected <= set(fills)
    assert not (set(ramp) - expected) & set(fills)
    assert page.locator("#legend li").count() == 6


@needs_browser
def test_why_this_and_not_that(visit: Any, photos: list[Path]):
    page = visit()
    upload(page, photos[:1])
    page.click("#heat-toggle")
    expect(page.locator("#heat")).to_be_visible()  # what is answered from now on is to the question
    page.select_option("#why-country", "JP")
    page.select_option("#why-against", "JP")
    page.click("#why button[type=submit]")
    expect(page.locator("#error-text")).to_contain_text("two different countries")
    page.select_option("#why-against", "FR")
    with page.expect_response("**/api/explain") as answered:
        page.click("#why button[type=submit]")
    explained = answered.value.json()
    assert (explained["country"], explained["against"]) == ("JP", "FR")
    expect(page.locator("#heat-caption")).to_contain_text("Japan rather than France")
    expect(page.locator("#heat")).to_have_attribute("alt", re.compile("Japan rather than France"))
    page.click("#why-back")
    expect(page.locator("#heat-caption")).not_to_contain_text("rather")


@needs_browser
def test_a_busy_server_is_asked_again_when_it_says_so(visit: Any, photos: list[Path]):
    page = visit()
    asked = []

    def busy_once(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": "too much is going on"})
        else:
            route.continue_()

    page.route("**/api/predict", busy_once)
    expect(page.locator("#foot-model")).to_contain_text("countries")
    page.set_input_files("#files", photos[:1])
    expect(page.locator("#status")).to_contain_text("trying again in 1 s")
    expect(page.locator("#answered")).to_be_visible()
    assert len(asked) == 2


@needs_browser
def test_a_token_is_asked_for_and_what_needs_torch_or_is_too_large_is_not_offered(
    browser: Browser, bundle: Path, photos: list[Path], tmp_path: Path
):
    large = tmp_path / "large.jpg"
    large.write_bytes(photos[0].read_bytes() + bytes(60_000))
    with running(create(bundle, token="open-sesame", bytes=50_000)) as (host, port):
        page = browser.new_page(base_url=f"http://{host}:{port}", locale="en-GB")
        page.set_default_timeout(PATIENCE_MS)
        page.goto("/")
        expect(page.locator("#token")).to_be_visible()
        page.fill("#token-input", "wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#token-wrong")).to_be_visible()
        page.fill("#token-input", "open-sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#token")).to_be_hidden()
        upload(page, photos[:1])
        expect(page.locator("#why")).to_be_hidden()  # this server has no torch
        expect(page.locator("#heat")).to_be_hidden()
        page.click("#heat-toggle")
        expect(page.locator("#heat-caption")).to_contain_text("by covering parts")
        page.set_input_files("#files", large)
        expect(page.locator("#failed li")).to_have_text(re.compile(r"large\.jpg Too large \(0\.06 MB\).*0\.05 MB"))
        page.goto("/play?seed=5")
        expect(page.locator("#photo")).to_have_attribute("src", re.compile("^blob:"))
        page.close()


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose labels are states, with codes that are those of countries, too."""
    names = {"CA": "California", "GA": "Georgia", "NE": "Nebraska"}
    folder = make_bundle(tmp_path_factory.mktemp("states") / "bundle", tuple(names))
    labels = {code: Label(name, None) for code, name in names.items()}
    space = LabelSpace(kind="state", tree={"state": labels})
    (folder / "labels.json").write_text(labels_text(space), encoding="utf-8")
    return folder


@needs_browser
def test_labels_that_are_no_countries_are_called_what_they_are(states: Path, photos: list[Path], browser: Browser):
    with running(create(states, explain="gradcam")) as (host, port):
        for locale, country in (("en-GB", r"countr|Canada|Gabon"), ("de-DE", r"Land\b|Länder|Kanada|Gabun")):
            page = browser.new_page(locale=locale, base_url=f"http://{host}:{port}")
            page.goto("/")
            assert re.search(r"state\b", page.title())
            assert not re.search(country, page.title())
            expect(page.locator("#foot-model")).to_contain_text("(state)")
            upload(page, photos[:1])
            names = page.locator("#guesses .name").all_inner_texts()
            assert sorted(names) == ["California", "Georgia", "Nebraska"]
            page.click("#heat-toggle")
            expect(page.locator("#heat-caption")).to_contain_text(names[0])
            assert not re.search(country, page.locator("body").inner_text())
            assert page.locator("#answer img, #strip .badge img, #table img").count() == 0, "no flag of a country"
            expect(page.locator("#legend")).to_be_hidden()
            page.close()
        answer = httpx.post(f"http://{host}:{port}/api/play/5/1/guess", json={"lat": 50.0, "lon": 10.0}, timeout=60)
        assert answer.status_code == 422
        assert "where its labels are photographed" in answer.json()["error"]


def test_every_country_has_a_flag_and_a_place_on_the_map():
    world = json.loads((page_module.STATIC / "world.json").read_text(encoding="utf-8"))
    assert {feature["properties"]["code"] for feature in world["features"]} == set(COUNTRIES)
    assert {path.stem for path in (page_module.STATIC / "flags").iterdir()} == set(COUNTRIES)
    for feature in world["features"]:
        if feature["properties"]["code"] == "AQ":  # it has a straight edge towards the pole
            continue
        for polygon in (feature["geometry"] or {"coordinates": []})["coordinates"]:
            longitudes = [place[0] for place in polygon[0]]
            jumps = [abs(b - a) for a, b in pairwise(longitudes)]
            assert max(jumps) < 60, feature["properties"]["code"]  # no line across the map


def test_nothing_in_the_page_needs_what_its_policy_forbids(server: str):
    for page in ("/", "/play"):
        source = httpx.get(server + page).text
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|(?:src|href)=\"(?:https?:)?//", source)


@needs_browser
def test_the_answer_is_within_what_is_chosen_and_says_the_region_that_is_certain(
    visit: Any, server: str, photos: list[Path]
):
    page = visit()
    upload(page, photos[:1])
    whole = answer_of(server, photos[0])
    expect(page.locator("#outside")).to_be_hidden()
    with httpx.Client() as client:
        groups = client.get(f"{server}/api/info").json()["among"]
    expect(page.locator("#among option")).to_have_count(1 + len(groups))
    for name in ("drives left", "EU"):
        page.select_option("#among", name)
        sent = {"files": (photos[0].name, photos[0].read_bytes())}
        one = httpx.post(f"{server}/api/predict", files=sent, data={"among": name}, timeout=60).json()["results"][0]
        expect(page.locator("#verdict")).to_contain_text(COUNTRIES[one["guesses"][0]["country"]].name)
        expect(page.locator("#outside")).to_contain_text("of the probability fell outside this choice")
        expect(page.locator("#guesses li")).to_have_count(len(groups[name]))
        certain = one["certain"] if one["abstained"] else None
        certain = certain if certain and certain["level"] != "country" else None
        expect(page.locator("#certain")).to_be_visible(visible=certain is not None)
        expect(page.locator("#certain")).to_contain_text(certain["name"] if certain else "")
    page.select_option("#language", "de")
    expect(page.locator("#among option").first).to_have_text("allen Ländern")
    expect(page.locator("#among option[value='Southern Africa']")).to_have_text("südliches Afrika")
    assert findings(page) == []
    page.select_option("#language", "en")
    page.select_option("#among", "")
    expect(page.locator("#outside")).to_be_hidden()
    expect(page.locator("#verdict")).to_contain_text(whole["guesses"][0]["name"])


@needs_browser
def test_a_picture_unlike_the_training_photos_is_called_so(browser: Browser, tmp_path: Path):
    usual, unlike = usual_and_unlike(tmp_path / "pictures")
    with running(create(bundle_with_novelty(tmp_path))) as (host, port):
        page = browser.new_page(locale="en-GB", base_url=f"http://{host}:{port}")
        page.goto("/")
        upload(page, [usual])
        expect(page.locator("#unlike")).to_be_hidden()
        page.set_input_files("#files", [unlike])
        expect(page.locator("#unlike")).to_contain_text("unlike the photos the model was trained on")
        page.close()
