"""The page for everybody: by keyboard, on a phone, in the dark, in German, and read aloud."""

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from browsing import PHONE, findings, needs_browser, play_photo, sideways, upload
from browsing import browser as browser
from browsing import bundle as bundle
from browsing import photos as photos
from browsing import server as server
from browsing import visit as visit
from serving import create, running
from whichland.geo.countries import COUNTRIES
from whichland.geo.territories import disputed
from whichland.serving import pages as page_module
from whichland.serving.answers import WORDS


@needs_browser
def test_both_pages_go_by_keyboard_alone(visit: Any, photos: list[Path]):
    def tab_to(page: Page, wanted: str, steps: int = 40) -> None:
        for _ in range(steps):
            page.keyboard.press("Tab")
            if page.evaluate("wanted => document.activeElement.matches(wanted)", wanted):
                return
        raise AssertionError(f"Tab does not come to {wanted}")

    page = visit()
    expect(page.locator("#foot-model")).to_contain_text("countries")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    tab_to(page, "#choose")
    chosen = []
    page.on("filechooser", lambda chooser: chosen.append(chooser))
    for _ in range(5):  # now and then Chromium does not count a key from a program as the user's
        page.keyboard.press("Enter")
        page.wait_for_timeout(1_000)
        if chosen:
            break
    chosen[0].set_files(photos[:2])
    expect(page.locator("#answered")).to_be_visible()
    tab_to(page, "#strip li:nth-child(2) button")
    page.keyboard.press("Enter")
    expect(page.locator("#strip li:nth-child(2) button")).to_have_attribute("aria-current", "true")
    tab_to(page, "#heat-toggle")
    page.keyboard.press("Space")
    expect(page.locator("#heat-toggle")).to_have_attribute("aria-checked", "true")
    tab_to(page, "#opacity")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#opacity")).to_have_value("74")
    tab_to(page, "#map")
    tab_to(page, "#world summary")
    page.keyboard.press("Enter")
    expect(page.locator("#table")).to_be_visible()

    page = visit("/play?seed=5")
    expect(page.locator("#map path").first).to_be_attached()
    expect(page.locator("#pin-form")).to_be_visible()  # the round is open
    tab_to(page, "#map")
    page.keyboard.press("Enter")
    expect(page.locator("#pinned")).to_contain_text("Your pin")
    tab_to(page, "#guess")
    page.keyboard.press("Enter")
    expect(page.locator("#truth")).to_be_focused()
    tab_to(page, "#next")
    page.keyboard.press("Enter")
    expect(page.locator("#round")).to_be_focused()
    expect(page.locator("#round")).to_have_text("Photo 2 of 5")


@needs_browser
def test_a_phone_has_all_of_it_without_scrolling_sideways(visit: Any, photos: list[Path]):
    phone = {"viewport": PHONE, "is_mobile": True, "has_touch": True}
    page = visit(**phone)
    expect(page.locator("#camera")).to_be_visible()
    expect(page.locator("#shot")).to_have_attribute("capture", "environment")
    assert sideways(page) == 0
    upload(page, photos)
    box = page.locator("#verdict").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < PHONE["height"], "the verdict is seen without scrolling"
    page.tap("#heat-toggle")
    expect(page.locator("#heat")).to_be_visible()
    assert sideways(page) == 0
    page = visit("/play?seed=5", **phone)
    expect(page.locator("#photo")).to_have_attribute("src", re.compile("^blob:"))
    assert sideways(page) == 0
    page.select_option("#country", "JP")
    page.tap("#guess")
    expect(page.locator("#reveal")).to_be_visible()
    assert sideways(page) == 0


@needs_browser
def test_nothing_that_is_seen_moves_when_an_answer_comes(visit: Any, photos: list[Path]):
    page = visit(viewport=PHONE, is_mobile=True, has_touch=True)
    expect(page.locator("#foot-model")).not_to_be_empty()
    page.route("**/api/predict", lambda route: (page.wait_for_timeout(700), route.continue_()))
    page.set_input_files("#files", photos[:1])
    expect(page.locator("#waiting")).to_be_visible()
    expect(page.locator("#answered")).to_be_visible()
    moved = page.evaluate(
        """async () => {
            const shifts = [];
            const note = (list) => shifts.push(...list.getEntries());
            new PerformanceObserver(note).observe({ type: "layout-shift", buffered: true });
            await new Promise((done) => setTimeout(done, 500));
            return shifts.filter((one) => !one.hadRecentInput).reduce((sum, one) => sum + one.value, 0);
        }"""
    )
    assert moved < 0.05


@needs_browser
def test_dark_and_german_are_chosen_and_kept(visit: Any, photos: list[Path]):
    def paper(page: Page) -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    assert paper(visit(color_scheme="dark")) < 150
    page = visit()
    assert paper(page) > 600
    page.click("#theme")  # light
    page.click("#theme")  # dark
    assert paper(page) < 150
    page.select_option("#language", "de")
    expect(page.locator("#hero-title")).to_have_text("Welches Land ist das?")
    page.goto("/play?seed=5")
    assert paper(page) < 150
    assert page.locator("html").get_attribute("lang") == "de"
    expect(page.locator("h1")).to_have_text("Du gegen das Modell")
    page.goto("/")
    page.set_input_files("#files", photos[:1])
    expect(page.locator("#answered")).to_be_visible()
    expect(page.locator("#verdict-words")).not_to_have_text(re.compile("likely|certain"))
    assert visit(locale="de-AT").locator("html").get_attribute("lang") == "de"


@needs_browser
def test_axe_has_nothing_serious_to_say(visit: Any, photos: list[Path]):
    page = visit(reduced_motion="reduce")
    expect(page.locator("#foot-model")).to_contain_text("countries")
    assert findings(page) == []
    upload(page, photos[:2])
    page.click("#heat-toggle")
    expect(page.locator("#heat")).to_be_visible()
    for summary in page.locator("#work summary:visible").all():
        summary.click()
    assert findings(page) == []
    page = visit("/play?seed=5", reduced_motion="reduce")
    expect(page.locator("#photo")).to_have_attribute("src", re.compile("^blob:"))
    assert findings(page) == []
    page.select_option("#country", "JP")
    page.click("#guess")
    expect(page.locator("#heat")).to_be_visible()
    assert findings(page) == []
    page.click("#next")
    for code in ("US", "DE", "NA", "FR"):
        play_photo(page, code)
    expect(page.locator("#over-round")).to_be_visible()
    assert findings(page) == []


@needs_browser
def test_both_languages_say_the_same_things(visit: Any):
    page = visit()
    words = page.evaluate("import('/static/words.js').then(({WORDS}) => WORDS)")
    service = {word for _, word in WORDS} | {name for of in COUNTRIES.values() for name in (of.continent, of.region)}
    service |= {place.name for place in disputed()}
    assert set(words["de"]) - set(words["en"]) == service
    assert set(words["en"]) <= set(words["de"])
    for key, text in words["en"].items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", words["de"][key])), key
    used = set()
    for file in (*page_module.STATIC.glob("*.*"), *page_module.STATIC.parent.glob("*.j2")):
        source = file.read_text(encoding="utf-8")
        used |= set(re.findall(r'data-t(?:-label)?="([^"]+)"', source))
        used |= set(re.findall(r'\bt\("([^"]+)"', source))
    assert used <= set(words["en"])


@needs_browser
def test_a_narrow_phone_shows_every_link_and_what_is_touched_is_as_large_as_a_finger(
    browser: Browser, bundle: Path, photos: list[Path], tmp_path: Path
):
    for name in ("report.html", "index.html"):
        (tmp_path / name).write_text("<html><body></body></html>")
    beside = {"report": str(tmp_path / "report.html"), "atlas": str(tmp_path / "index.html")}
    with running(create(bundle, **beside)) as (host, port):
        context = browser.new_context(
            viewport=PHONE, is_mobile=True, has_touch=True, locale="en-GB", base_url=f"http://{host}:{port}"
        )
        page = context.new_page()
        for path in ("/play", "/"):
            page.goto(path)
            expect(page.locator("#foot-model")).to_contain_text("countries")
            for language in ("de", "en"):
                page.select_option("#language", language)
                assert page.locator(".top nav a").count() == 4
                assert page.locator(".top nav").evaluate("nav => nav.scrollWidth - nav.clientWidth") <= 0
                assert sideways(page) == 0
        upload(page, photos[:1])
        touched = "button, select, summary, nav a, .foot a, [role=button], input[type=range], input[type=text]"
        low = page.locator(touched).evaluate_all(
            """all => all.map((one) => [one.id || one.textContent, one.getBoundingClientRect().height])
                .filter(([, height]) => height > 0 && height < 44)"""
        )
        assert low == []
        context.close()
