"""Under a path of a proxy, a process of its own: links, files, calls, redirects, and the pages in a real browser."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, expect

from browsing import browser as browser
from browsing import needs_browser, play_photo, upload
from serving import bundle as bundle
from serving import create, running
from serving import photos as photos
from whichland.errors import UserError
from whichland.serving.settings import ServeConfig

PREFIX = "/some/where"
# what the service is told, and what the proxy does
WAYS = {
    "cut off in silence": ({}, ["--strip"]),
    "cut off and named": ({}, ["--strip", "--forwarded"]),
    "cut off, known": ({"prefix": PREFIX}, ["--strip"]),
    "passed on": ({"prefix": PREFIX}, []),
    "passed on and named": ({"prefix": PREFIX}, ["--forwarded"]),
}


@pytest.fixture(scope="module", params=WAYS)
def proxied(request: pytest.FixtureRequest, bundle: Path) -> Iterator[str]:
    """The address of the service behind a proxy."""
    settings, flags = WAYS[request.param]
    report = bundle.parent / "report.html"
    report.write_text("<p>report")
    with running(create(bundle, report=str(report), **settings)) as (host, port):
        command = [sys.executable, str(Path(__file__).with_name("reverse_proxy.py"))]
        command += [f"http://{host}:{port}", PREFIX, *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
            assert proxy.stdout is not None
            yield proxy.stdout.readline().strip() + PREFIX
            proxy.kill()


def test_every_link_and_file_of_the_pages_is_there(proxied: str) -> None:
    seen: set[str] = set()
    with httpx.Client() as client:
        for page in ("/", "/play"):
            answer = client.get(proxied + page)
            assert answer.status_code == 200
            links = {urljoin(proxied + page, link) for link in re.findall(r'(?:src|href)="([^"#]+)"', answer.text)}
            assert len(links) > 10
            for link in links - seen:
                found = client.get(link)
                assert found.status_code == 200, link
                assert str(found.url).startswith(proxied), link
            seen |= links
        styles = client.get(f"{proxied}/static/style.css").text
    assert not re.search(r"url\(['\"]?/", styles)


def test_calls_are_answered(proxied: str, photos: list[Path]) -> None:
    sent = {"files": (photos[0].name, photos[0].read_bytes())}
    assert httpx.post(f"{proxied}/api/predict", files=sent, timeout=60).json()["results"][0]["guesses"]
    assert httpx.get(f"{proxied}/healthz").json() == {"status": "ok"}
    assert httpx.head(f"{proxied}/").status_code == 200


@pytest.mark.parametrize(
    ("path", "to"), [("", "/"), ("/play/", "/play"), ("/play/?seed=3", "/play?seed=3"), ("/report", "/report/")]
)
def test_redirects_keep_path_name_and_scheme(proxied: str, path: str, to: str) -> None:
    answer = httpx.get(proxied + path)
    assert answer.is_redirect
    public = f"https://example.org{PREFIX}"
    assert urljoin(public + path, answer.headers["location"]) == public + to
    assert httpx.get(proxied + path, follow_redirects=True).status_code == 200


@needs_browser
def test_the_pages_work_in_a_browser(proxied: str, photos: list[Path], browser: Browser) -> None:
    asked: list[str] = []
    failed: list[Any] = []
    page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page.set_default_timeout(30_000)
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: failed.append((answer.status, answer.url)) if answer.status >= 400 else None)
    page.on("pageerror", lambda error: failed.append(error))
    page.goto(f"{proxied}/")
    upload(page, photos[:1])
    expect(page.locator("#map path").first).to_be_attached()
    assert page.locator("#guesses img").first.evaluate("(flag) => flag.decode().then(() => flag.naturalWidth)") > 0
    page.click("nav >> text=Play")
    expect(page.locator("#map.pinning")).to_be_visible()
    play_photo(page, "FR")
    page.click("nav >> text=Photos")
    expect(page.locator("#answered")).to_be_visible()  # the photo is there again
    assert page.url == f"{proxied}/"
    page.close()
    assert {url for url in asked if not url.startswith((proxied, "blob:", "data:"))} == set()
    assert failed == []


def test_only_known_proxies_are_believed(bundle: Path) -> None:
    headers = {"x-forwarded-prefix": PREFIX}
    for proxies, believed in ((("10.0.0.0/8",), False), (("127.0.0.1",), True), (("0.0.0.0/0",), True)):
        with TestClient(create(bundle, proxies=proxies), client=("127.0.0.1", 1)) as client:
            servers = client.get("/openapi.json", headers=headers).json().get("servers", [])
            assert ({"url": PREFIX} in servers) is believed
            for wrong in ("//evil.example", "/a b", "evil", "/<script>"):
                answer = client.get("/play/", headers={"x-forwarded-prefix": wrong}, follow_redirects=False)
                assert answer.headers["location"] == "../play"


@pytest.mark.parametrize(
    "wrong",
    [{"prefix": "photos"}, {"prefix": "/photos/"}, {"prefix": "/play"}, {"prefix": "/a//b"}, {"proxies": ("nginx",)}],
)
def test_a_prefix_or_proxy_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        ServeConfig(**wrong)
