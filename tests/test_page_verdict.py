"""What the page says of an answer is true: verdict, reason, views, pin, and what the model knows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from browsing import PATIENCE_MS, answer_of, findings, needs_browser, upload
from browsing import browser as browser
from browsing import server as server
from browsing import visit as visit
from serving import CALIBRATION, calibrated_bundle, create, running
from tiny_bundle import LABELS, make_bundle, make_photos, pixels
from whichland.geo.countries import country_name
from whichland.model.label_points import located
from whichland.model.label_sources import countries
from whichland.model.labels import labels_text
from whichland.model.record import FILE

pytestmark = needs_browser

RECORD: dict[str, Any] = {
    "split": "test",
    "photos": 40,
    "groups": 20,
    "top1": 0.55,
    "low": 0.4,
    "high": 0.69,
    "named": {code: {"right": 11, "of": 18} for code in LABELS},
    "sure": [{"least": at / 10, "most": (at + 1) / 10, "right": at, "of": 10} for at in range(1, 10)],
    "date": "2026-11-29",
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_photos(tmp_path_factory.mktemp("photos"), 40)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `server` serves here: a model of drawn streets with a record."""
    folder = calibrated_bundle(tmp_path_factory.mktemp("run") / "bundle")
    info = json.loads((folder / "whichland.json").read_text())
    facts = {"sources": {"synthetic": 829}, "photos": 829, "trained": "2026-11-29"}
    (folder / "whichland.json").write_text(json.dumps(info | facts))
    (folder / FILE).write_text(json.dumps(RECORD))
    return folder


@pytest.fixture(scope="module")
def answered(server: str, photos: list[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """The photos with their answers by the API."""
    return [(photo, answer_of(server, photo)) for photo in photos]


def first(answered: list[tuple[Path, dict[str, Any]]], **wanted: bool) -> tuple[Path, dict[str, Any]]:
    return next((photo, answer) for photo, answer in answered if all(answer[key] is it for key, it in wanted.items()))


def test_an_answer_below_the_threshold_names_no_country_and_says_why(visit: Any, answered: Any) -> None:
    photo, answer = first(answered, abstained=True)
    page = visit()
    upload(page, [photo])
    guesses = answer["guesses"]
    expect(page.locator("#verdict")).to_have_text(re.compile(f"^Can’t say: {guesses[0]['name']}"))
    expect(page.locator("h2.verdict")).to_have_count(1)
    expect(page.locator("#verdict-flag img")).to_have_count(0)
    expect(page.locator("#sure")).to_be_hidden()
    threshold = CALIBRATION["abstain"]["0.8"]
    reason = page.locator("#reason")
    expect(reason).to_contain_text(f"from {threshold['threshold']:.0%} on, where {threshold['right']:.0%} of its")
    least = int(guesses[0]["probability"] * 10)
    expect(reason).to_contain_text(f"({least}0% to {least + 1}0%) were right on {least} of 10 test photos")
    expect(page.locator("#spoken")).to_contain_text("Can’t say")
    page.select_option("#language", "de")
    expect(page.locator("#verdict")).to_have_text(re.compile("^Nicht zu sagen: "))


def test_an_answer_above_it_is_a_heading_with_flag_probability_and_record(visit: Any, answered: Any) -> None:
    photo, answer = first(answered, abstained=False)
    page = visit()
    upload(page, [photo])
    best = answer["guesses"][0]
    expect(page.get_by_role("heading", name=best["name"], exact=True)).to_be_visible()
    expect(page.locator("#verdict-flag img")).to_have_attribute("src", re.compile(f"{best['country']}.svg"))
    expect(page.locator("#reason")).to_be_hidden()
    expect(page.locator("#record")).to_have_text(f"When it says {best['name']}: right on 11 of 18 test photos.")
    assert not page.get_by_text("not sure enough").count()


def test_a_model_that_never_reached_the_share_is_what_is_blamed(browser: Browser, tmp_path: Path, photos: Any) -> None:
    never = CALIBRATION | {"abstain": {"0.8": {"threshold": None, "answered": 0.0, "right": 0.0}}}
    bundle = make_bundle(tmp_path / "bundle", temperature=0.01, calibration=never)  # sure of everything
    with running(create(bundle)) as (host, port):
        page = browser.new_page(locale="en-GB", base_url=f"http://{host}:{port}")
        page.set_default_timeout(PATIENCE_MS)
        page.goto("/")
        upload(page, photos[:1])
        expect(page.locator("#verdict")).to_contain_text("Can’t say: perhaps ")
        expect(page.locator("#reason")).to_contain_text("never reached the 80% of right answers")
        expect(page.locator("#caution")).to_be_hidden()
        expect(page.locator("#record")).to_contain_text("has not been measured")
        page.close()


def test_what_the_model_knows_is_one_click_away(visit: Any, photos: list[Path]) -> None:
    page = visit()
    caution = "Trained on drawn streets alone: what it says of a real photo means nothing."
    for where in ("#hero", "#answer"):
        knows = page.locator(f"{where} .knows")
        expect(knows.locator("summary")).to_have_text(
            f"It must answer one of these {len(LABELS)} countries, even if the truth is none"
        )
        knows.locator("summary").click()
        assert sorted(knows.locator(".chips li").all_inner_texts()) == sorted(map(country_name, LABELS))
        facts = knows.locator(".facts")
        expect(facts).to_contain_text("Trained on 829 photos: 829 from the synthetic world, drawn.")
        expect(facts).to_contain_text("29 November 2026")
        expect(facts).to_contain_text("Right on 55% of 40 test photos (95% interval: 40% to 69%).")
        assert findings(page) == []
        if where == "#hero":
            upload(page, photos[:1])
    expect(page.locator("#caution")).to_have_text(caution)
    expect(page.locator("#spoken")).to_contain_text(caution)


def frames(page: Page) -> list[tuple[float, float]]:
    """Left and width of the frames that are seen, as shares of the photo's width."""
    photo = page.locator("#photo").bounding_box()
    assert photo is not None
    boxes = [frame.bounding_box() for frame in page.locator(".frame:visible").all()]
    return sorted(((box["x"] - photo["x"]) / photo["width"], box["width"] / photo["width"]) for box in boxes if box)


def test_all_views_of_a_wide_photo_are_framed_and_explained(visit: Any, server: str, tmp_path: Path) -> None:
    wide = tmp_path / "wide.jpg"
    Image.fromarray(pixels(3, 80, 400)).save(wide)
    answer = answer_of(server, wide)
    wanted = sorted((view["box"][0], view["box"][2] - view["box"][0]) for view in answer["views"])
    assert len(wanted) == 5
    page = visit()
    upload(page, [wide])
    expect(page.locator("#views")).to_have_text("The model saw the photo in 5 framed views; its answer combines them.")
    assert frames(page) == [pytest.approx(box, abs=0.01) for box in wanted]
    page.click("#heat-toggle")
    expect(page.locator(".heat:visible")).to_have_count(5)
    assert frames(page) == [pytest.approx(box, abs=0.01) for box in wanted]


def test_a_pin_outside_the_headlines_country_says_why(browser: Browser, tmp_path: Path, photos: list[Path]) -> None:
    sure = CALIBRATION | {"abstain": {"0.8": {"threshold": 0.05, "answered": 1.0, "right": 0.8}}}
    labels = ("BE", "DE", "FR", "LU", "NL", "US")
    bundle = make_bundle(tmp_path / "bundle", labels, temperature=4.0, calibration=sure)
    (bundle / "labels.json").write_text(labels_text(located(countries(labels))), encoding="utf-8")
    with running(create(bundle)) as (host, port):
        address = f"http://{host}:{port}"
        found = [(photo, answer_of(address, photo)) for photo in photos]
        named = [(photo, answer) for photo, answer in found if not answer["abstained"]]
        page = browser.new_page(locale="en-GB", base_url=address)
        page.set_default_timeout(PATIENCE_MS)
        for elsewhere in (True, False):
            photo, answer = next(
                (photo, answer)
                for photo, answer in named
                if (answer["pin"]["country"] != answer["guesses"][0]["country"]) is elsewhere
            )
            page.goto("/")
            upload(page, [photo])
            expect(page.locator("#map-pin")).to_contain_text(f"lies in {country_name(answer['pin']['country'])}, at ")
            said = f"It is not in {answer['guesses'][0]['name']}, as it weighs the distances"
            assert (said in page.locator("#map-pin").inner_text()) is elsewhere
        page.close()


def test_lines_and_views_of_the_map_go_the_shorter_way_round(visit: Any, photos: list[Path]) -> None:
    page = visit()
    upload(page, photos[:1])
    together = "lons => import('/static/map.js').then(({together}) => together(lons))"
    for given, wanted in (([170, -170], 20), ([-10, 20], 30), ([179, -179, -150], 31), ([-100, 100], 160)):
        lons = page.evaluate(together, given)
        assert max(lons) - min(lons) == wanted, given
        assert [(lon - own) % 360 for lon, own in zip(lons, given, strict=True)] == [0] * len(given)
    # Russia's Chukotka is drawn at both ends, so that nothing is cut off where the world is joined
    box = page.locator("#map").bounding_box()
    assert box is not None
    assert page.locator("#map path").count() > 250


def test_the_map_leaves_the_wheel_to_the_page_and_can_be_set_back(visit: Any, photos: list[Path]) -> None:
    page = visit()
    upload(page, photos[:1])
    land = page.locator("#map path").nth(5)
    expect(land).to_be_attached()
    page.locator("#map").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    shape, at = land.get_attribute("d"), page.evaluate("scrollY")
    page.locator("#map").hover()
    page.mouse.wheel(0, -200)
    page.wait_for_function("at => scrollY < at", arg=at)
    assert land.get_attribute("d") == shape
    page.locator("#map").hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    page.wait_for_function("([path, shape]) => path.getAttribute('d') !== shape", arg=[land.element_handle(), shape])
    page.get_by_role("button", name="Whole map").click()
    page.wait_for_function("([path, shape]) => path.getAttribute('d') === shape", arg=[land.element_handle(), shape])
    expect(page.locator(".leaflet-control-zoom-in")).to_have_attribute("aria-label", "Zoom in")
    page.select_option("#language", "de")
    expect(page.locator(".leaflet-control-zoom-in")).to_have_attribute("aria-label", "Vergrößern")


def test_disputed_places_of_the_named_country_are_noted_with_whom_they_are_counted(
    visit: Any, answered: list[tuple[Path, dict[str, Any]]]
) -> None:
    photo, answer = answered[0]
    for country, places in (("RU", 5), ("TW", 3), ("LU", 0)):
        guess = answer["guesses"][0] | {"country": country, "name": country_name(country)}
        changed = answer | {"guesses": [guess, *answer["guesses"][1:]], "pin": None}
        page = visit()
        page.route("**/api/predict", lambda route, _, given=changed: route.fulfill(json={"results": [given]}))
        upload(page, [photo])
        expect(page.locator("#disputed")).to_be_visible(visible=places > 0)
        expect(page.locator("#disputed-places tr")).to_have_count(places)
        if country == "TW":
            page.click("#disputed summary")
            expect(page.locator("#disputed-places tr").last).to_have_text(re.compile(r"Taiwan\s*Taiwan\s*China"))
            assert findings(page) == []
            page.select_option("#language", "de")
            expect(page.locator("#disputed summary")).to_contain_text("Umstrittene Orte")
