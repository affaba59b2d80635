"""The page as a folder without a server: the model in a real browser answers as `predict` and the service do."""

import base64
import functools
import gzip
import io
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from browsing import PATIENCE_MS, findings, needs_browser
from browsing import browser as browser
from serving import calibrated_bundle, create
from test_faces import KINDS, sideways
from tiny_bundle import make_bundle, pixels
from whichland.cli.commands import load
from whichland.cli.main import COMMANDS
from whichland.errors import UserError
from whichland.images.photo import open_photo
from whichland.images.preprocess import Filter, Preprocess
from whichland.model.views import cut_views
from whichland.serving.site import write_site

BROKEN = "Image corrupt or truncated"  # what Firefox says of a photo that the page says it of
UNDER = "some/path"  # of the host
LARGE = {  # decoded at half their size, or at less
    "large.jpg": {},
    "whole.jpg": {"subsampling": "4:4:4", "progressive": True},
    "half.jpg": {"subsampling": "4:2:2", "exif": sideways()["exif"]},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calibrated_bundle(tmp_path_factory.mktemp("run") / "bundle")


@pytest.fixture(scope="module")
def folder(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a host, in which the command has put the site under a path."""
    folder = tmp_path_factory.mktemp("host")
    command = load("export", COMMANDS["export"])
    command.main([str(bundle), "--site", str(folder / UNDER)], standalone_mode=False)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("kinds")
    for name, make, how, _ in KINDS:
        make().save(folder / name, **how)
    noise = np.random.default_rng(0).integers(0, 64, (601, 703, 3), np.uint8)
    for name, how in LARGE.items():
        Image.fromarray(pixels(11, 601, 703) // 2 + noise).save(folder / name, **how)
    return [folder / name for name in (*(name for name, *_ in KINDS), *LARGE)]


class Plain(SimpleHTTPRequestHandler):
    """`python -m http.server`, which writes no log here and counts what it is asked for."""

    def __init__(self, *given: Any, asked: list[str], **named: Any) -> None:
        self.asked = asked
        super().__init__(*given, **named)

    def log_message(self, *_: Any) -> None:
        self.asked.append(f"{self.command} {self.path}")


class Host:
    """A plain host of a folder: where the site is, what it was asked for, and its end."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        serve = functools.partial(Plain, directory=str(folder), asked=self.asked)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), serve)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/{UNDER}/"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def host(folder: Path) -> Iterator[Host]:
    """A host that shows the site."""
    host = Host(folder)
    yield host
    if host.thread.is_alive():
        host.stop()


@contextmanager
def opened(browser: Browser, address: str) -> Iterator[Page]:
    """A visitor's page, which may meet no defect and ask no other host."""
    context = browser.new_context(viewport={"width": 1366, "height": 768}, locale="en-GB")
    page, complaints, hosts = context.new_page(), [], set()
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    context.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    expect.set_options(timeout=PATIENCE_MS)
    page.goto(address)
    yield page
    context.close()
    assert [one for one in complaints if BROKEN not in one] == []
    assert hosts <= {urlsplit(address).netloc, ""}


def ask(page: Page, work: str, photo: Path, *more: Any) -> dict[str, Any]:
    """What the worker says of a photo."""
    found: dict[str, Any] = page.evaluate(
        """async ([work, name, data, more]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const answers = await import(new URL("static/site/answers.js", document.baseURI));
            return answers[work](new File([bytes], name), ...more);
        }""",
        [work, photo.name, base64.b64encode(photo.read_bytes()).decode(), list(more)],
    )
    return found


def alpha(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))[..., 3].astype(int)


@needs_browser
def test_the_browser_answers_and_explains_as_the_service_does(
    browser: Browser, bundle: Path, host: Host, photos: list[Path]
) -> None:
    with TestClient(create(bundle)) as service, opened(browser, host.address) as page:
        expect(page.locator("#foot-model")).to_contain_text("7 countries")
        sent = [("files", (photo.name, photo.read_bytes())) for photo in photos]
        expected = service.post("/api/predict", files=sent).json()["results"]
        among = service.post("/api/predict", files=sent[:1], data={"among": "Europe"}).json()["results"]
        asked = [(photo, {}) for photo in photos] + [(photos[0], {"among": "Europe"})]
        for (photo, how), own in zip(asked, expected + among, strict=True):
            found = ask(page, "predict", photo, how)
            assert set(found) == set(own)
            for said in ("probabilities", "levels"):
                assert flat(found[said]) == pytest.approx(flat(own[said]), abs=1e-3), photo.name
            for said in ("name", "width", "height", "words", "set", "abstained"):
                assert found[said] == own[said], photo.name
            assert (found["certain"] or {}) == pytest.approx(own["certain"] or {}, abs=1e-3)
            assert found["outside"] == pytest.approx(own["outside"], abs=1e-3)
            assert [one["country"] for one in found["guesses"]] == [one["country"] for one in own["guesses"]]
            assert found["pin"] == pytest.approx(own["pin"], abs=2)
        for photo, why in ((photos[0], None), (photos[2], ["JP", "FR"])):
            asked = {"country": why[0], "against": why[1]} if why else {}
            own = service.post("/api/explain", files={"file": photo.read_bytes()}, data=asked).json()
            found = ask(page, "explain", photo, why)
            assert (found["country"], found["against"], found["method"]) == (
                own["country"],
                own["against"],
                "occlusion",
            )
            for view, other in zip(found["views"], own["views"], strict=True):
                assert view["box"] == pytest.approx(other["box"], abs=1e-9)
                assert np.abs(alpha(view["png"]) - alpha(other["png"])).max() <= 2


@needs_browser
@pytest.mark.parametrize(
    ("size", "share", "how"), [((64, 64), 0.875, "bilinear"), ((30, 30), 1.0, "bicubic"), ((12, 16), 0.9, "bicubic")]
)
def test_the_browser_cuts_the_same_pixels(
    browser: Browser, host: Host, photos: list[Path], size: tuple[int, int], share: float, how: Filter
) -> None:
    preprocess = Preprocess(size=size, crop_pct=share, interpolation=how, mean=(0.5,) * 3, std=(0.5,) * 3)
    with opened(browser, host.address) as page:
        for photo in photos:
            crops = page.evaluate(
                """async ([data, preprocess, limits]) => {
                    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                    const load = (name) => import(new URL(`static/site/${name}.js`, document.baseURI));
                    const [{ openPhoto }, { cutViews }] = [await load("pixels"), await load("views")];
                    const views = await cutViews(await openPhoto(bytes, limits), bytes, preprocess);
                    return views.map(({ crop }) => btoa(String.fromCharCode(...crop.data)));
                }""",
                [base64.b64encode(photo.read_bytes()).decode(), asdict(preprocess), {"bytes": 1e8, "pixels": 1e8}],
            )
            most = 2 if photo.name in LARGE and browser.browser_type.name == "firefox" else 0  # where all is decoded
            for found, own in zip(crops, cut_views(open_photo(photo), preprocess).crops, strict=True):
                there = np.frombuffer(base64.b64decode(found), np.uint8).reshape(own.shape)
                assert np.abs(there.astype(int) - own).max() <= most, photo.name


def flat(values: dict[str, Any]) -> dict[str, float]:
    """Nested probabilities by their whole names."""
    return {
        f"{name} {inner}": share
        for name, of in values.items()
        for inner, share in (of.items() if isinstance(of, dict) else [("", of)])
    }


@needs_browser
def test_a_visitor_gets_all_of_it_and_comes_back_without_a_network(
    browser: Browser, host: Host, photos: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[-1].read_bytes()[:4000])
    with opened(browser, host.address) as page:
        expect(page.locator("#hero")).to_contain_text("no photo leaves this device")
        page.set_input_files("#files", [photos[0], broken])
        expect(page.locator("#answered")).to_be_visible()
        expect(page.locator("#failed")).to_contain_text("the end of the image is missing")
        page.click("#heat-toggle")
        expect(page.locator("#stage .heat")).to_have_count(5)  # a wide photo's views
        expect(page.locator("#heat-caption")).to_contain_text("by covering parts")
        expect(page.locator("#map .pin.best")).to_be_visible()
        verdict = page.locator("#verdict").inner_text()
        expect(page.locator("#right-title")).to_be_visible()
        expect(page.locator("#right-consent")).to_be_hidden()  # there is nobody to keep the photo
        assert findings(page) == []
        page.wait_for_function("navigator.serviceWorker.controller?.state === 'activated'")
        assert {line.split()[0] for line in host.asked} == {"GET"}  # nothing was sent
        large = [line for line in host.asked if line.endswith((".wasm.gz", ".onnx.gz"))]
        assert len(large) == len(set(large)) == 3  # once each
        host.stop()
        page.reload()
        expect(page.locator("#verdict")).to_have_text(verdict)  # the photo outlives it
        page.set_input_files("#files", photos[:1])
        expect(page.locator("#status")).to_contain_text("2 of 3")
        expect(page.locator("#verdict")).to_have_text(verdict)
        expect(page.locator("#map path").first).to_be_attached()


@needs_browser
def test_a_model_that_is_missing_is_said(browser: Browser, folder: Path, photos: list[Path], tmp_path: Path) -> None:
    shutil.copytree(folder / UNDER, tmp_path / UNDER)
    (tmp_path / UNDER / "model.onnx.gz").unlink()
    host, said = Host(tmp_path), "model.onnx.gz: 404"
    try:
        page = browser.new_page(base_url=host.address)
        page.goto("./")
        page.set_input_files("#files", photos[:1])
        expect(page.locator("#failed")).to_contain_text(said)
        page.close()
    finally:
        host.stop()


@needs_browser
def test_a_page_that_is_opened_straight_from_a_disk_says_that_it_cannot_work(browser: Browser, folder: Path) -> None:
    page = browser.new_page()
    page.goto((folder / UNDER / "index.html").as_uri())
    expect(page.locator("#main .note").first).to_contain_text("Opened straight from a disk, this page cannot work")
    page.close()


def test_every_file_of_the_folder_is_kept_and_its_version_is_of_them(
    bundle: Path, folder: Path, tmp_path: Path
) -> None:
    site = folder / UNDER
    keeper, facts = (site / "sw.js").read_text(), json.loads((site / "site.json").read_text())
    (names,) = re.findall(r"const FILES = (\[.*\]);", keeper)
    there = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    licences = {name for name in there if "/LICENSES/" in name}
    assert set(json.loads(names)) == there - licences - {"index.html", "sw.js"} | {"./"}
    assert len(licences) == 5
    assert f'"{facts["version"]}"' in keeper
    write_site(bundle, tmp_path / "again")
    assert (tmp_path / "again/sw.js").read_text() == keeper  # so that browsers keep what they have
    info = json.loads((bundle / "whichland.json").read_text())
    (bundle / "whichland.json").write_text(json.dumps(info | {"temperature": 0.6}))
    try:
        write_site(bundle, tmp_path / "again")  # which is its own and may be replaced
    finally:
        (bundle / "whichland.json").write_text(json.dumps(info))
    assert (tmp_path / "again/sw.js").read_text() != keeper


def test_the_beginning_of_the_network_is_small_and_runs(bundle: Path, folder: Path) -> None:
    first = gzip.decompress((folder / UNDER / "beginning.onnx.gz").read_bytes())
    assert len(first) < 0.1 * (bundle / "model.onnx").stat().st_size
    session = onnxruntime.InferenceSession(first, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pixels": np.full((1, 64, 64, 3), 9, np.uint8)})
    assert found.shape[0] == 1
    assert np.isfinite(found).all()


def test_what_is_no_site_is_not_written_over_and_what_was_not_exported_makes_none(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(UserError, match="holds something else than a site"):
        write_site(bundle, tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        write_site(bundle, tmp_path / "file")
    with pytest.raises(UserError, match=r"holds no model.onnx"):
        write_site(make_bundle(tmp_path / "plain"), tmp_path / "site")
    with pytest.raises(UserError, match=r"holds no model.int8.onnx"):
        write_site(bundle, tmp_path / "site", network="int8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine", "plain"]
