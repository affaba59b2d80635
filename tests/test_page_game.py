"""The game in a real browser against a real server."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import DESKTOP, needs_browser, play_photo, sideways
from browsing import browser as browser
from browsing import bundle as bundle
from browsing import server as server
from browsing import visit as visit
from serving import create, running
from tiny_bundle import make_photos
from whichland.manifest import Manifest, write


@needs_browser
def test_three_rounds_are_played_and_kept_in_the_browser_alone(visit: Any):
    page = visit("/play?seed=12")
    won = 0
    for played in range(1, 4):
        scores = [play_photo(page, code) for code in ("JP", "US", "DE", "NA", "FR")]
        you, model = (sum(score[who] for score in scores) for who in (0, 1))
        won += you > model
        expect(page.locator("#over-round")).to_be_visible()
        totals = page.locator("#total td.number").all_inner_texts()
        assert [int(text.replace(",", "")) for text in totals] == [you, model]
        named = page.locator("#results td:nth-child(3) img").evaluate_all("all => all.map(({alt}) => alt)")
        assert named == ["Japan", "United States", "Germany", "Namibia", "France"]
        record = json.loads(page.evaluate("localStorage['whichland.record']"))
        assert (record["rounds"], record["won"]) == (played, won)
        if played < 3:
            before = page.url
            page.click("#again")
            expect(page.locator("#game")).to_be_visible()
            page.wait_for_function("before => location.href !== before", arg=before)
    assert page.context.cookies() == []
    expect(page.locator("#record")).to_contain_text(f"3 rounds, {won} won")
    page.click("#forget")
    assert page.evaluate("localStorage['whichland.record']") is None


@needs_browser
def test_a_round_is_shared_by_its_seed_and_survives_a_reload(visit: Any):
    def first_photo(page: Page) -> bytes:
        with page.expect_response("**/1/photo") as answered:
            page.reload()
        assert re.search(r"/api/play/\d/1/photo$", answered.value.url)
        return httpx.get(answered.value.url, timeout=60).content

    mine, theirs, others = visit("/play?seed=5"), visit("/play?seed=5"), visit("/play?seed=6")
    assert first_photo(mine) == first_photo(theirs) != first_photo(others)
    you, model = play_photo(mine, "JP")
    mine.reload()
    expect(mine.locator("#round")).to_have_text("Photo 2 of 5")
    expect(mine.locator("#tally-you")).to_have_text(f"{you:,}")
    expect(mine.locator("#tally-model")).to_have_text(f"{model:,}")
    mine.goto("/")
    mine.locator("nav a", has_text="Play").click()
    expect(mine.locator("#round")).to_have_text("Photo 2 of 5")
    assert mine.url.endswith("seed=5")


@needs_browser
def test_a_click_pins_and_only_the_end_shows_truth_and_heat(visit: Any):
    page = visit("/play?seed=5")
    expect(page.locator("#guess")).to_be_disabled()
    expect(page.locator("#map.pinning")).to_be_visible()  # before, there is nothing to pin
    page.locator("#map").click(position={"x": 250, "y": 150})
    expect(page.locator("#map .pin")).to_have_count(1)
    expect(page.locator("#pinned")).to_contain_text("Your pin")
    expect(page.locator("#heat-controls")).to_be_hidden()
    page.click("#guess")
    expect(page.locator("#map .pin.truth")).to_be_visible()
    expect(page.locator("#map .pin.model")).to_be_visible()
    expect(page.locator("#heat")).to_be_visible()
    page.locator("#map").click(position={"x": 60, "y": 150})  # too late for another pin
    expect(page.locator("#map .pin")).to_have_count(3)


@needs_browser
def test_a_map_that_is_still_moving_goes_on_to_what_was_asked_for_last(visit: Any):
    page = visit("/play?seed=5")
    expect(page.locator("#map.pinning")).to_be_visible()
    in_view = page.evaluate("""async () => {
        const { WorldMap } = await import("/static/map.js");
        const pause = (ms) => new Promise((done) => setTimeout(done, ms));
        const box = document.body.appendChild(document.createElement("div"));
        [box.style.width, box.style.height] = ["600px", "400px"];
        const world = new WorldMap(box, "play.mapLabel");
        await pause(300);
        world.show([[36, 138]], 4);
        await pause(50);
        world.show([[36, 138], [51, 10]]);
        await pause(2000);
        return world.map.getBounds().contains([51, 10]);
    }""")
    assert in_view


@needs_browser
@pytest.mark.parametrize("size", [(1366, 768), (390, 844)])
def test_the_end_of_a_photo_lies_in_one_window(visit: Any, size: tuple[int, int]):
    width, height = size
    page = visit("/play?seed=12", viewport={"width": width, "height": height})
    expect(page.locator("#photo")).to_have_attribute("src", re.compile("^blob:"))
    expect(page.locator("#credit")).to_contain_text("synthetic world")  # a credit stands where a photo stands

    def outside(*ids: str) -> list[str]:
        boxes = {name: page.locator(f"#{name}").bounding_box() for name in ids}
        return [name for name, box in boxes.items() if not box or box["y"] < 0 or box["y"] + box["height"] > height]

    assert outside("photo", "map", "pinned", "hint", "guess", "tally-you", "credit") == []
    page.select_option("#country", "JP")
    page.click("#guess")
    expect(page.locator("#heat")).to_be_visible()
    seen = ("photo", "heat", "map", "truth", "winner", "both", "remark", "next", "tally-you", "tally-model", "credit")
    assert outside(*seen) == []
    expect(page.locator("#remark")).to_contain_text(re.compile("The model (was right|was fooled|could only be wrong)"))
    assert sideways(page) == 0


@needs_browser
def test_photos_without_coordinates_are_played_country_against_country(browser: Browser, bundle: Path, tmp_path: Path):
    rows = [
        {"image_id": f"made/{at}", "uri": str(path), "source": "made", "country": code, "split": "test"}
        | {"lat": None, "lon": None, "creator": f"who{at}", "license": "CC-BY-4.0"}
        for at, (path, code) in enumerate(zip(make_photos(tmp_path / "photos", 2), ("FR", "JP"), strict=True))
    ]
    table = pl.DataFrame(rows, schema_overrides={"lat": pl.Float64, "lon": pl.Float64})
    played = write(Manifest(table), tmp_path / "played.parquet")
    with running(create(bundle, play=str(played))) as (host, port):
        page = browser.new_page(base_url=f"http://{host}:{port}", viewport=DESKTOP, locale="en-GB")
        page.goto("/play?seed=1")
        expect(page.locator("#map.choosing")).to_be_visible()
        expect(page.locator("#credit")).to_have_text(re.compile(r"Photo: who\d, CC-BY-4.0"))
        expect(page.locator("#drawn")).to_be_hidden()
        options = page.locator("#country option").evaluate_all("found => found.map((one) => one.value)")
        assert options == ["", "FR", "JP"]
        box = page.locator("#map").bounding_box()
        assert box
        page.mouse.click(box["x"] + box["width"] * 0.35, box["y"] + box["height"] * 0.5)  # the Atlantic
        expect(page.locator("#guess")).to_be_disabled()
        you = [play_photo(page, "FR")[0] for _ in range(2)]
        assert sorted(you) == [0, 5000]
        squares = page.locator("#pasted").inner_text().split()[1]
        assert squares == "".join("🟩" if points else "🟥" for points in you)
        page.close()


@needs_browser
def test_the_photos_of_the_day_and_their_result_are_the_same_everywhere(visit: Any):
    def play_day(page: Page) -> str:
        for code in ("JP", "US", "DE", "TH", "FR"):
            play_photo(page, code)
        expect(page.locator("#over-round")).to_be_visible()
        return page.locator("#pasted").inner_text()

    page = visit("/play?mode=daily", permissions=["clipboard-read", "clipboard-write"])
    pasted = play_day(page)
    assert re.fullmatch(r"whichland #\d+ [🟩🟨🟥]{5} [\d,]+ · machine [\d,]+", pasted)
    page.click("#share")
    expect(page.locator("#status")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == f"{pasted}\n{page.url}"
    expect(page.locator("#record")).to_contain_text("1 day in a row")
    page.reload()  # there is one try a day
    expect(page.locator("#pasted")).to_have_text(pasted)
    expect(page.locator("#record")).to_contain_text("1 day in a row")
    assert play_day(visit("/play?mode=daily")) == pasted


@needs_browser
def test_a_streak_is_of_countries_and_ends_with_the_first_wrong_one(visit: Any, server: str):
    page = visit("/play?mode=streak&seed=12")
    dealt = httpx.get(f"{server}/api/play/12", timeout=60).json()
    truth = httpx.post(f"{server}/api/play/12/1/guess", json={"country": "FR"}, timeout=60).json()
    expect(page.locator("#map.choosing")).to_be_visible()
    options = page.locator("#country option").evaluate_all("found => found.map((one) => one.value)")
    assert sorted(options) == ["", *sorted(dealt["countries"])]
    you, model = play_photo(page, truth["truth"]["country"])
    assert you == 5000
    expect(page.locator("#tally-you")).to_have_text("1")
    expect(page.locator("#tally-model")).to_have_text("0" if model else "1")
    page.reload()
    expect(page.locator("#round")).to_have_text("Photo 2")
    second = httpx.post(f"{server}/api/play/12/2/guess", json={"country": "FR"}, timeout=60).json()["truth"]["country"]
    page.select_option("#country", next(code for code in dealt["countries"] if code != second))
    page.click("#guess")
    page.click("#next")
    expect(page.locator("#result")).to_contain_text("1 in a row")
    assert page.evaluate("localStorage['whichland.streak']") == ("1" if model else "2")


@needs_browser
def test_a_streak_whose_next_photos_do_not_come_says_so_and_goes_on_when_they_do(visit: Any, server: str):
    def of_one_photo(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"photos": 1})

    page = visit("/play")
    page.route("**/api/play/12", of_one_photo)
    page.goto("/play?mode=streak&seed=12")
    truth = httpx.post(f"{server}/api/play/12/1/guess", json={"country": "FR"}, timeout=60).json()
    page.route("**/api/play/13", lambda route: route.abort())
    page.select_option("#country", truth["truth"]["country"])
    page.click("#guess")
    page.click("#next")
    expect(page.locator("#error-text")).to_contain_text("The server cannot be reached")
    page.unroute("**/api/play/13")
    page.click("#error-again")
    expect(page.locator("#round")).to_have_text("Photo 2")
    expect(page.locator("#error")).to_be_hidden()
    second = httpx.post(f"{server}/api/play/13/1/guess", json={"country": "FR"}, timeout=60).json()
    assert play_photo(page, second["truth"]["country"])[0] == 5000


@needs_browser
def test_a_hint_costs_points_and_the_clock_ends_a_photo(visit: Any):
    page = visit("/play?seed=12")
    page.click("#hint")
    expect(page.locator("#heat")).to_be_visible()
    expect(page.locator("#heat-caption")).to_contain_text("its own answer")
    page.select_option("#country", "JP")
    with page.expect_response("**/guess") as answered:
        page.click("#guess")
    earned = answered.value.json()["you"]["points"]
    expect(page.locator("#both tr").first.locator("td").last).to_have_text(f"{max(0, earned - 1000):,}")
    page.clock.install()
    page.click("#next")
    expect(page.locator("#reveal")).to_be_hidden()
    page.click("#timed")
    expect(page.locator("#clock")).to_contain_text("60 s")
    page.clock.run_for(61_000)
    expect(page.locator("#reveal")).to_be_visible()
    expect(page.locator("#both tr").first.locator("td").last).to_have_text("0")
