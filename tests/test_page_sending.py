"""What is sent of a photo, and what the page says when that fails."""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from browsing import answer_of, needs_browser, upload
from browsing import browser as browser
from browsing import bundle as bundle
from browsing import photos as photos
from browsing import visit as visit
from serving import create, running
from shown import SECRET, tell_tale_photos
from tiny_bundle import pixels
from whichland.serving import api

pytestmark = needs_browser

SPHERE = (
    b'<x:xmpmeta><rdf:Description GPano:ProjectionType="equirectangular" GPano:FullPanoWidthPixels="4000" '
    b'GPano:FullPanoHeightPixels="2000" GPano:CroppedAreaImageWidthPixels="4000" '
    b'GPano:CroppedAreaImageHeightPixels="1600" GPano:CroppedAreaTopPixels="200" exif:GPSLatitude="60,10N"/>'
    b"</x:xmpmeta>"
)


@pytest.fixture(scope="module")
def sent() -> list[bytes]:
    """What has come of photos, in order."""
    return []


@pytest.fixture(autouse=True)
def nothing_sent(sent: list[bytes]) -> None:
    sent.clear()


@pytest.fixture(scope="module")
def server(bundle: Path, sent: list[bytes]) -> Iterator[str]:
    read_form = api.read_form

    async def noted(*given: Any, **named: Any) -> Any:
        uploads, fields = await read_form(*given, **named)
        sent.extend(data for _, data in uploads)
        return uploads, fields

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "read_form", noted)
        with running(create(bundle, explain="gradcam")) as (host, port):
            yield f"http://{host}:{port}"


def street(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(1).normal(0, 12, (height, width, 3))
    return Image.fromarray((pixels(1, height, width) + noise).clip(0, 255).astype(np.uint8))


def test_a_large_photo_is_sent_as_large_as_the_model_needs_and_without_its_exif(
    visit: Any, server: str, sent: list[bytes], tmp_path: Path
) -> None:
    large, exif = tmp_path / "large.jpg", Image.Exif()
    exif[0x010F], exif[0x0112] = SECRET, 6
    street(3000, 2000).save(large, exif=exif, quality=95)
    page = visit()
    upload(page, [large])
    (data,) = sent
    with Image.open(io.BytesIO(data)) as seen:
        assert seen.size == (134, 201)  # upright; twice the 64/0.95 pixels to which the model's own resizing goes
        assert not seen.getexif()
    assert SECRET.encode() not in data
    assert len(data) < 20_000 < large.stat().st_size
    shown = answer_of(server, large)["probabilities"]
    own = answer_of(server, _written(tmp_path / "seen.jpg", data))["probabilities"]
    assert max(abs(shown[code] - own[code]) for code in own) < 0.05


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_small_photo_is_sent_pixel_for_pixel_without_words(visit: Any, sent: list[bytes], tmp_path: Path) -> None:
    (tell_tale,) = tell_tale_photos(tmp_path, 1)
    small = tmp_path / "small.jpg"
    Image.open(tell_tale).resize((96, 72)).save(small, comment=SECRET, quality=95)
    page = visit()
    upload(page, [small])
    (data,) = sent
    assert SECRET.encode() not in data
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(Image.open(small)))


def test_a_sphere_stays_one_and_says_no_more_than_that(visit: Any, sent: list[bytes], tmp_path: Path) -> None:
    sphere = tmp_path / "sphere.jpg"
    street(2000, 800).save(sphere, xmp=SPHERE)
    page = visit()
    upload(page, [sphere])
    expect(page.locator("#views")).to_contain_text("4 framed views")
    (data,) = sent
    assert b"GPSLatitude" not in data
    assert b'GPano:CroppedAreaTopPixels="200"' in data
    assert Image.open(io.BytesIO(data)).size[0] < 1000


def test_avif_is_opened_by_the_browser_and_what_it_cannot_open_is_sent_as_it_is(
    visit: Any, sent: list[bytes], tmp_path: Path
) -> None:
    avif, tiff = tmp_path / "a.avif", tmp_path / "b.tiff"
    street(400, 300).save(avif)
    street(96, 72).save(tiff)
    page = visit()
    upload(page, [avif])
    assert sent.pop()[:2] == b"\xff\xd8"
    page.set_input_files("#files", [tiff])
    expect(page.locator("#strip button")).to_have_count(2)
    expect(page.locator("#undrawn")).to_be_visible()
    expect(page.locator("#answered")).to_be_visible()
    assert sent.pop() == tiff.read_bytes()


def test_what_did_not_reach_the_server_is_said_and_sent_again(visit: Any, photos: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:400])
    page = visit()
    upload(page, photos[:1])
    page.context.set_offline(True)
    page.set_input_files("#files", [*photos[1:3], broken])
    expect(page.locator("#status")).to_have_text("1 of 4 photos answered; 3 not, see above")
    expect(page.locator("#failed li")).to_have_count(3)
    expect(page.locator("#failed li").first).to_contain_text("The server cannot be reached")
    expect(page.locator("#strip button").nth(1)).to_have_attribute("aria-label", re.compile("not sent"))
    page.click("#retry")
    expect(page.locator("#failed li")).to_have_count(3)
    page.context.set_offline(False)  # the page notices
    expect(page.locator("#status")).to_have_text("3 of 4 photos answered; 1 not, see above")
    expect(page.locator("#failed li")).to_have_text(re.compile(r"^broken\.jpg Could not be read"))
    expect(page.locator("#retry")).to_be_hidden()
    page.locator("#strip button").nth(3).click()
    page.click("#remove")
    expect(page.locator("#strip button")).to_have_count(3)
    expect(page.locator("#failures")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("3 of 3 photos answered")


def test_a_map_that_did_not_come_is_asked_for_again_with_the_next_answer(
    visit: Any, server: str, photos: list[Path]
) -> None:
    known = len(answer_of(server, photos[0])["probabilities"])
    page = visit()
    page.route("**/world.json", lambda route: route.abort())
    upload(page, photos[:1])
    expect(page.locator("#map-pin")).not_to_be_empty()
    expect(page.locator("#map .pin.best")).to_be_visible()
    expect(page.locator("#map path.leaflet-interactive")).to_have_count(0)
    expect(page.locator("#right-names option")).to_have_count(known)  # those of the model
    page.unroute("**/world.json")
    page.set_input_files("#files", photos[1:2])
    expect(page.locator("#map path.leaflet-interactive").nth(200)).to_be_attached()
    expect(page.locator("#right-names option").nth(200)).to_be_attached()


def test_photos_and_answers_outlive_a_reload_until_they_are_removed(
    visit: Any, sent: list[bytes], photos: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:400])
    page = visit()
    upload(page, [photos[0], broken, photos[1]])
    expect(page.locator("#status")).to_have_text("2 of 3 photos answered; 1 not, see above")
    thumbs = page.locator("#strip button")
    thumbs.nth(2).click()
    if page.locator("#right-no").is_visible():
        page.click("#right-no")
    page.fill("#right-where", "Norway")
    page.keyboard.press("Enter")
    expect(page.locator("#right-said")).to_contain_text("Norway")
    said, verdict = page.locator("#right-said").inner_text(), page.locator("#verdict").inner_text()
    sent.clear()
    page.goto("/play")
    page.go_back()
    expect(thumbs).to_have_count(3)
    expect(page.locator("#photo")).to_have_attribute("alt", "Photo photo_0001.jpg")
    expect(page.locator("#verdict")).to_have_text(verdict)
    expect(page.locator("#right-said")).to_have_text(said)
    expect(page.locator("#failed li")).to_have_text(re.compile(r"^broken\.jpg Could not be read"))
    assert sent == [broken.read_bytes()]  # what had an answer is not sent again
    page.click("#remove")
    page.set_input_files("#files", photos[2:3])
    expect(thumbs).to_have_count(3)
    expect(page.locator("#status")).to_contain_text("2 of 3")
    page.reload()
    expect(thumbs).to_have_count(3)
    names = [f"photo_0000.jpg, broken.jpg, {photos[2].name}".split(", ")[at] for at in range(3)]
    for at, name in enumerate(names):
        expect(thumbs.nth(at)).to_have_attribute("aria-label", re.compile(re.escape(name)))
    page.route("**/api/info", lambda route: route.abort())
    page.reload()
    expect(page.locator("#hero")).to_be_visible()  # with nobody to ask, there is the first screen
    page.unroute("**/api/info")
    page.click("#error-again")
    expect(thumbs).to_have_count(3)
    page.route("**/api/info", lambda route: None)  # no answer yet
    page.reload()
    expect(page.locator("#hero")).to_be_hidden()
    page.unroute("**/api/info")
    page.reload()
    expect(thumbs).to_have_count(3)
    other = page.context.new_page()
    other.goto("/")
    expect(other.locator("#hero")).to_be_visible()  # photos are a tab's
    expect(other.locator("#foot-model")).to_contain_text("countries")
    expect(other.locator("#work")).to_be_hidden()
    other.close()
    page.click("#clear")
    page.reload()
    expect(page.locator("#foot-model")).to_contain_text("countries")
    expect(page.locator("#hero")).to_be_visible()
    assert kept_in_browser(page) == 0


def kept_in_browser(page: Page) -> int:
    """How many photos the browser keeps, of all tabs."""
    count: int = page.evaluate(
        """new Promise((done) => {
            const asked = indexedDB.open("whichland", 1);
            asked.onsuccess = () => {
                const counted = asked.result.transaction("photos").objectStore("photos").count();
                counted.onsuccess = () => done(counted.result);
            };
        })"""
    )
    return count


def test_what_a_closed_tab_left_goes_a_day_later(visit: Any, photos: list[Path]) -> None:
    page = visit()
    upload(page, photos[:1])
    context = page.context
    page.close()
    for hours, left in ((23, 1), (25, 0)):
        page = context.new_page()
        page.clock.install(time=datetime.now(UTC) + timedelta(hours=hours))
        page.goto("/")
        upload(page, photos[1:2])  # which begins once the photos of before have been looked at
        page.click("#clear")
        expect(page.locator("#hero")).to_be_visible()
        assert kept_in_browser(page) == left
        page.close()
