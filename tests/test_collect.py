"""Photos that visitors let the server keep: from the page to a folder that `data ingest` reads."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from playwright.sync_api import Page, expect

from browsing import answer_of, findings, needs_browser, upload
from browsing import browser as browser
from browsing import bundle as bundle
from browsing import photos as photos
from browsing import visit as visit
from serving import create, running
from shown import SECRET, tell_tale_photos
from test_page_sending import SPHERE
from tiny_bundle import make_bundle, pixels
from whichland.errors import UserError
from whichland.geo.countries import country_name
from whichland.model.labels import Label, LabelSpace, labels_text
from whichland.sources.ingest import ingest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "photos"


@pytest.fixture(scope="module")
def server(bundle: Path, folder: Path) -> Iterator[str]:
    with running(create(bundle, collect=str(folder))) as (host, port):
        yield f"http://{host}:{port}"


def send(client: TestClient, data: bytes, **fields: str) -> httpx.Response:
    named = {"country": "NO", "consent": "yes"} | fields
    return client.post("/api/collect", files={"file": ("../../etc/secret place.jpg", data)}, data=named)


def kept_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def said_in(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("JSON.parse(localStorage.getItem('whichland.said') ?? '[]')")
    return found


@needs_browser
def test_from_a_tick_on_the_page_to_a_row_of_a_manifest(
    visit: Any, server: str, folder: Path, photos: list[Path]
) -> None:
    page = visit()
    expect(page.locator("#hero")).to_contain_text("The server keeps a photo only where you tick that it may")
    sure, unsure = (_photo_of(server, photos, abstained) for abstained in (False, True))
    upload(page, [sure])
    guess = answer_of(server, sure)["guesses"][0]
    expect(page.locator("#consent")).not_to_be_checked()
    page.click("#right-yes")
    expect(page.locator("#right-said")).to_have_text(f"You say that it is right: {guess['name']}.")
    assert kept_in(folder) == []  # said, but not ticked
    page.check("#consent")
    expect(page.locator("#right-sent")).to_contain_text("has kept the photo")
    (kept,) = kept_in(folder)
    assert kept.parent.name == guess["country"]
    page.uncheck("#consent")
    expect(page.locator("#right-sent")).to_contain_text("has removed the photo")
    assert kept_in(folder) == []
    page.check("#consent")
    expect(page.locator("#right-sent")).to_contain_text("has kept the photo")
    page.click("#right-undo")
    expect(page.locator("#right-sent")).to_contain_text("has removed the photo")
    page.click("#right-no")
    page.fill("#right-where", "Atlantis")
    page.keyboard.press("Enter")
    expect(page.locator("#right-unknown")).to_be_visible()
    page.fill("#right-where", "bolivia")  # which the model does not know
    page.keyboard.press("Enter")
    expect(page.locator("#right-said")).to_have_text("You say that it is Bolivia.")
    expect(page.locator("#right-sent")).to_contain_text("has kept the photo")
    page.set_input_files("#files", [unsure])
    expect(page.locator("#right-title")).to_have_text("Do you know where it was taken?")
    expect(page.locator("#consent")).not_to_be_checked()  # asked for every photo
    page.check("#consent")
    page.fill("#right-where", "Norway")
    page.click("#right-form button")
    expect(page.locator("#right-sent")).to_contain_text("has kept the photo")
    expect(page.locator("#right-count")).to_contain_text(re.compile(r"\d of 2 right"))
    assert findings(page) == []
    assert [one["truth"] for one in said_in(page)] == ["BO", "NO"]
    with page.expect_download() as saved:
        page.click("#save-json")
    answers = json.loads(Path(saved.value.path()).read_text("utf-8"))["answers"]
    assert [one["said"] for one in answers] == ["BO", "NO"]
    page.click("#right-forget")
    assert said_in(page) == []

    rows = ingest(str(folder)).frame.sort("country")
    assert rows["country"].to_list() == ["BO", "NO"]
    for uri, photo in zip(rows["uri"], (sure, unsure), strict=True):
        seen, own = (np.asarray(Image.open(path), dtype=float) for path in (uri, photo))
        assert seen.shape == own.shape
        assert np.abs(seen - own).mean() < 4


def _photo_of(server: str, photos: list[Path], abstained: bool) -> Path:
    return next(photo for photo in photos if answer_of(server, photo)["abstained"] == abstained)


@needs_browser
def test_without_a_folder_it_is_kept_in_the_browser_alone(browser: Any, bundle: Path, photos: list[Path]) -> None:
    with running(create(bundle)) as (host, port):
        page = browser.new_page(locale="de-DE", base_url=f"http://{host}:{port}")
        held: list[Any] = []  # the countries of the map, which are slow to come
        page.route("**/world.json", lambda route: held.append(route))
        page.goto("/")
        expect(page.locator("#hero")).to_contain_text("Der Server behält kein Foto")
        upload(page, photos[:1])
        expect(page.locator("#right-consent")).to_be_hidden()
        if page.locator("#right-no").is_visible():
            page.click("#right-no")
        page.fill("#right-where", country_name("FR"))
        page.fill("#right-where", "Frankreich")
        page.keyboard.press("Enter")
        expect(page.locator("#right-unknown")).to_be_hidden()
        for route in held:
            route.continue_()
        expect(page.locator("#right-said")).to_have_text(re.compile("Frankreich"))
        assert [one["truth"] for one in said_in(page)] == ["FR"]
        assert httpx.post(f"http://{host}:{port}/api/collect").status_code in (404, 405)
        page.close()


def test_a_kept_photo_is_its_pixels_alone_upright_and_of_a_limited_size(bundle: Path, tmp_path: Path) -> None:
    (tell_tale,) = tell_tale_photos(tmp_path, 1)
    large, exif = io.BytesIO(), Image.Exif()
    exif[0x010F], exif[0x0112] = SECRET, 6
    Image.fromarray(pixels(1, 1200, 3200)).save(large, "JPEG", exif=exif, comment=SECRET, xmp=SECRET.encode())
    folder = tmp_path / "kept"
    with TestClient(create(bundle, collect=str(folder))) as client:
        for data in (tell_tale.read_bytes(), large.getvalue()):
            answer = send(client, data)
            assert answer.status_code == 200
            (path,) = folder.glob(f"*/{answer.json()['receipt']}.jpg")
            assert path.parent.name == "NO"
            assert SECRET.encode() not in path.read_bytes()
            with Image.open(path) as kept:
                assert not kept.getexif()
                assert set(kept.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
                size = kept.size
        assert size == (600, 1600)
        assert len(kept_in(folder)) == 2
        assert client.delete(f"/api/collect/{answer.json()['receipt']}").status_code == 204
        assert client.delete(f"/api/collect/{answer.json()['receipt']}").status_code == 404
        assert client.delete("/api/collect/..%2f..%2fbundle").status_code in (404, 422)
        assert len(kept_in(folder)) == 1


def test_what_is_not_agreed_to_no_photo_or_over_a_limit_is_not_kept(
    bundle: Path, photos: list[Path], tmp_path: Path
) -> None:
    sphere = io.BytesIO()
    Image.fromarray(pixels(2, 400, 1000)).save(sphere, "JPEG", xmp=SPHERE)
    photo, folder = photos[0].read_bytes(), tmp_path / "kept"
    with TestClient(create(bundle, collect=str(folder), collect_photos=2, token="hush")) as client:
        assert send(client, photo).status_code == 401
        client.headers["Authorization"] = "Bearer hush"
        for fields, data, why in (
            ({"consent": "no"}, photo, "consent: no photo is kept without it"),
            ({"country": "../NO"}, photo, "country: not an ISO"),
            ({}, b"<html>", "web page"),
            ({}, sphere.getvalue(), "a sphere"),
        ):
            answer = send(client, data, **fields)
            assert answer.status_code == 422
            assert why in answer.json()["error"]
        assert kept_in(folder) == []
        assert [send(client, photo).status_code for _ in range(3)] == [200, 200, 507]
        assert len(kept_in(folder)) == 2
    with TestClient(create(bundle, collect=str(folder), collect_bytes=100)) as client:
        assert send(client, photo).status_code == 507
    other = tmp_path / "other"
    with TestClient(create(bundle, collect=str(other))) as client:
        other.write_text("in the way")
        answer = send(client, photo)
        assert answer.status_code == 507
        assert str(tmp_path) not in answer.text


def test_a_folder_that_cannot_be_written_and_labels_that_are_no_countries_are_refused_at_the_start(
    bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        create(bundle, collect=str(tmp_path / "file"))
    states = make_bundle(tmp_path / "states", ("CA", "GA"))
    labels = {code: Label(code, None) for code in ("CA", "GA")}
    (states / "labels.json").write_text(labels_text(LabelSpace(kind="state", tree={"state": labels})))
    with pytest.raises(UserError, match="by country, and this model's labels are state"):
        create(states, collect=str(tmp_path / "kept"))
