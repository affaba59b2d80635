"""Who may ask: the token, other sites' pages, names of hosts; the report and the atlas; headers."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from serving import create
from tiny_bundle import make_bundle, make_photos
from whichland.errors import UserError
from whichland.serving.settings import ServeConfig

TOKEN = "a-long-secret"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a bundle, a report and an atlas."""
    folder = tmp_path_factory.mktemp("run")
    make_bundle(folder / "bundle")
    (folder / "report").mkdir()
    (folder / "report" / "report.html").write_text("<p>report</p><script>sort()</script>")
    (folder / "report" / "predictions.parquet").write_text("places of photos")
    (folder / "atlas").mkdir()
    (folder / "atlas" / "index.html").write_text('<a href="FR.html">France</a>')
    (folder / "atlas" / "FR.html").write_text("<p>France</p>")
    (folder / "atlas" / "notes.html").write_text("private")
    return folder


def test_without_the_token_only_what_asks_for_it_is_open(run: Path):
    photo = make_photos(run / "photos", 1)[0].read_bytes()
    with TestClient(create(run / "bundle", token=TOKEN)) as client:
        closed = ("/api/info", "/metrics", "/report/", "/atlas/FR.html", "/api/anything")
        for path in closed:
            answer = client.get(path)
            assert (answer.status_code, list(answer.json())) == (401, ["error"]), path
            assert "www-authenticate" in answer.headers
        sent = {"files": {"files": ("a.jpg", photo)}}
        for wrong in ("", TOKEN, f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", "Bearer ü"):
            headers = {"authorization": wrong.encode()}
            assert client.post("/api/predict", headers=headers, **sent).status_code == 401, wrong
        right = {"authorization": f"Bearer {TOKEN}"}
        assert client.post("/api/predict", headers=right, **sent).status_code == 200
        assert client.get("/healthz").status_code == 200
        assert client.get("/openapi.json").json()["paths"]["/api/predict"]["post"]["security"] == [{"bearer": []}]


def test_a_browser_may_send_the_token_as_a_password_for_reports_alone(run: Path):
    with TestClient(create(run / "bundle", token=TOKEN)) as client:
        assert client.get("/report/", auth=("anyone", TOKEN)).text.startswith("<p>report")
        assert client.get("/report/", auth=("anyone", "wrong")).status_code == 401
        assert client.get("/report/", headers={"authorization": "Basic ###"}).status_code == 401
        assert client.get("/api/info", auth=("anyone", TOKEN)).status_code == 401


def test_reports_and_atlas_show_their_pages_and_nothing_else(run: Path):
    with TestClient(create(run / "bundle")) as client:
        info = client.get("/api/info").json()
        assert (info["report"], info["atlas"]) == (True, True)
        report = client.get("/report")  # follows to /report/
        assert report.url.path == "/report/"
        policy = report.headers["content-security-policy"]
        assert re.search(r"script-src 'sha256-[\w+/=]+';", policy)
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
        for page in ("/atlas/", "/atlas/index.html", "/atlas/FR.html"):
            assert client.get(page).status_code == 200
            assert "script-src 'none'" in client.get(page).headers["content-security-policy"]
        for hidden in ("/report/predictions.parquet", "/atlas/notes.html", "/atlas/../bundle/config.json"):
            assert client.get(hidden).status_code == 404


def test_every_answer_has_the_usual_headers(run: Path):
    with TestClient(create(run / "bundle", token=TOKEN)) as client:
        for path in ("/", "/healthz", "/nothing", "/api/info", "/report/", "/openapi.json"):
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "server" not in headers
        assert "unsafe" not in client.get("/").headers["content-security-policy"]


def test_other_sites_pages_cannot_make_it_work(run: Path):
    photo = make_photos(run / "photos", 1)[0].read_bytes()
    with TestClient(create(run / "bundle")) as client:
        sent = {"files": {"files": ("a.jpg", photo)}}
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
            assert client.post("/api/predict", headers={"sec-fetch-site": site}, **sent).status_code == status


def test_only_names_that_were_given_are_answered_to(run: Path):
    with TestClient(create(run / "bundle", hosts=("example.org",))) as client:
        assert client.get("/api/info", headers={"host": "Example.org:8000"}).status_code == 200
        refused = client.get("/api/info", headers={"host": "evil.example"})
        assert (refused.status_code, list(refused.json())) == (400, ["error"])
        assert client.get("/healthz", headers={"host": "10.0.0.7:8000"}).status_code == 200


@pytest.mark.parametrize(
    "wrong", [{"token": ""}, {"token": "a b"}, {"token": "ü"}, {"port": 70_000}, {"files": 0}, {"set_percent": 100.0}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]):
    with pytest.raises(UserError):
        ServeConfig(**wrong)  # type: ignore[arg-type]
