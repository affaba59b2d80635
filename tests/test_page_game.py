"""The game in a real browser against a real server."""

import json
import re
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from browsing import browser as browser
from browsing import bundle as bundle
from browsing import needs_browser, play_photo
from browsing import server as server
from browsing import visit as visit


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
