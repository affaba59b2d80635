"""Body limits behind real sockets: what is too large, too slow or one too many is refused, and hears of it."""

import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from serving import bundle as bundle
from serving import connect, create, running, service_of, stalled
from tiny_bundle import make_photos
from whichland.serving import limits, timeouts
from whichland.serving.app import create_app


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_photos(tmp_path_factory.mktemp("photos"), 1)[0].read_bytes()


def url(address: tuple[str, int], path: str = "/api/predict") -> str:
    return f"http://{address[0]}:{address[1]}{path}"


def request(data: bytes, *, length: int | None = None, headers: str = "") -> bytes:
    """A whole request for one photo, as it goes over the wire; `length` is what it states to be long."""
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + data + b"\r\n--x--\r\n"
    head = (
        "POST /api/predict HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"{headers}Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def rest(connection: socket.socket) -> bytes:
    """What still comes until the server ends the connection, politely or not."""
    text = b""
    try:
        while part := connection.recv(65536):
            text += part
    except ConnectionResetError:
        pass
    return text


def answer(connection: socket.socket) -> tuple[int, str]:
    """Read an answer to the end of the connection: its status, and all of it."""
    text = rest(connection).decode()
    return int(text.split(" ", 2)[1]), text


def test_too_much_is_refused_while_the_client_still_sends(bundle: Path):
    with running(create(bundle, bytes=100_000)) as address, connect(address) as connection:
        connection.sendall(request(bytes(2_000_000)))  # far more than the sockets between hold
        status, text = answer(connection)
    assert status == 413
    assert "connection: close" in text
    assert text.rstrip().endswith('limit of 100,000 bytes; send fewer or smaller photos"}')


def test_too_much_that_nobody_announced_is_refused(bundle: Path):
    def pieces():
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        for _ in range(200):
            yield bytes(10_000)

    with running(create(bundle, bytes=100_000)) as address:
        found = httpx.post(url(address), content=pieces(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert found.status_code == 413


def test_who_asks_first_is_refused_before_sending(bundle: Path):
    with running(create(bundle, bytes=1_000)) as address, connect(address) as connection:
        connection.sendall(
            request(bytes(5_000), headers="Expect: 100-continue\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        )
        status, text = answer(connection)
    assert status == 413
    assert "100 Continue" not in text


@pytest.mark.parametrize(("seconds", "pause"), [(60.0, 0.3), (0.5, 60.0)])
def test_a_client_that_dawdles_is_cut_off(bundle: Path, photo: bytes, seconds: float, pause: float):
    whole = request(photo)
    with running(create(bundle, seconds=seconds, pause=pause)) as address, connect(address) as connection:
        started = time.monotonic()
        connection.sendall(whole[:-100])

        def dribble() -> None:
            for byte in whole[-100:-50]:
                time.sleep(0.05)
                connection.sendall(bytes([byte]))

        if pause > 1:  # a byte now and then is no pause, but the whole takes too long
            with ThreadPoolExecutor(1) as pool:
                pool.submit(dribble)
                status, text = answer(connection)
        else:
            status, text = answer(connection)
        assert time.monotonic() - started < 5
        assert httpx.get(url(address, "/metrics")).text.count('whichland_refused_total{reason="slow"} 1.0') == 1
    assert status == 408
    assert '{"error":"the photos took too long to arrive"}' in text


def test_a_head_that_never_ends_is_cut_off(bundle: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timeouts, "HEAD_SECONDS", 1.0)
    with running(create(bundle)) as address:
        for start in (b"", b"GET / HTTP/1.1\r\nX: "):
            with connect(address) as connection:
                connection.sendall(start)
                assert rest(connection) == b"", "an answer to half a request"
        with connect(address) as connection:  # the second request on a connection is not waited for longer
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            text = b""
            while not text.endswith(b'{"status":"ok"}'):
                text += connection.recv(65536)
            connection.sendall(b"GET /healthz")
            started = time.monotonic()
            assert rest(connection) == b""
            assert time.monotonic() - started < 5
        assert httpx.get(url(address, "/healthz")).status_code == 200


def test_an_upload_that_breaks_off_leaves_nothing_behind(bundle: Path, photo: bytes):
    app = create(bundle)
    with running(app) as address:
        for _ in range(5):
            with connect(address) as connection:
                connection.sendall(request(photo)[:-500])
        assert httpx.post(url(address), files={"files": ("a", photo)}).status_code == 200
        load = app.state.whichland.load
        deadline = time.monotonic() + 5
        while (load.uploads or load.bytes) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (load.uploads, load.bytes, load.photos) == (0, 0, 0)


def test_one_too_many_is_told_when_to_come_back(bundle: Path, photo: bytes):
    gate = threading.Event()
    app = create_app(stalled(service_of(bundle, queue=4), gate))
    load = app.state.whichland.load
    with running(app) as address, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(httpx.post, url(address), files={"files": ("a", photo)}, timeout=30) for _ in range(4)]
        while load.photos < 4:
            time.sleep(0.01)
        refused = httpx.post(url(address), files={"files": ("a", photo)})
        assert refused.status_code == 503
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert list(refused.json()) == ["error"]
        assert httpx.get(url(address, "/healthz")).status_code == 200  # what needs no model is still answered
        gate.set()
        assert [one.result().status_code for one in waiting] == [200] * 4
        assert httpx.post(url(address), files={"files": ("a", photo)}).status_code == 200
    assert (load.uploads, load.bytes, load.photos) == (0, 0, 0)


def test_all_uploads_together_hold_no_more_than_their_share(bundle: Path, photo: bytes):
    app = create(bundle, memory=100_000)
    with running(app) as address:
        with connect(address) as first:
            first.sendall(request(bytes(90_000))[:-10])
            while app.state.whichland.load.bytes < 90_000:
                time.sleep(0.01)
            second = httpx.post(url(address), files={"files": ("a", bytes(50_000))})
            assert second.status_code == 503
            assert "retry-after" in second.headers
        deadline = time.monotonic() + 5
        while app.state.whichland.load.bytes and time.monotonic() < deadline:
            time.sleep(0.01)
        assert httpx.post(url(address), files={"files": ("a", photo)}).status_code == 200


def test_told_to_stop_it_answers_what_is_under_way(bundle: Path, photo: bytes):
    gate = threading.Event()
    app = create_app(stalled(service_of(bundle), gate))
    with ThreadPoolExecutor(1) as pool:
        with running(app) as address:
            waiting = pool.submit(httpx.post, url(address), files={"files": ("a", photo)}, timeout=30)
            while not app.state.whichland.load.photos:
                time.sleep(0.01)
            threading.Timer(0.5, gate.set).start()
        assert waiting.result().status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(url(address, "/healthz"))


def test_nothing_is_written_to_the_disk(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "not there"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))
    file = io.BytesIO()
    from PIL import Image

    Image.effect_noise((1200, 1200), 90).save(file, "PNG")
    assert file.tell() > 1_100_000  # where Starlette would have written it to the disk
    with running(create(bundle)) as address:
        found = httpx.post(url(address), files={"files": ("a.png", file.getvalue())}, timeout=30)
    assert found.status_code == 200, found.text


def test_the_log_names_no_file_and_no_query(bundle: Path, photo: bytes, capfd: pytest.CaptureFixture[str]):
    with running(create(bundle, token="hush")) as address:
        bearer = {"Authorization": "Bearer hush"}
        httpx.post(url(address) + "?who=secret", files={"files": ("secret.jpg", photo)}, headers=bearer)
        httpx.get(url(address, "/secret"), headers=bearer)
        httpx.get(url(address, "/api/info"), headers={"Authorization": "Bearer secret"})
    said = capfd.readouterr().err
    assert "POST /api/predict 200" in said
    assert "GET other 404" in said
    assert "secret" not in said
    assert "hush" not in said


def test_many_connections_that_do_nothing_keep_nobody_out(bundle: Path, photo: bytes):
    with running(create(bundle)) as address:
        idle = [connect(address) for _ in range(200)]
        assert httpx.post(url(address), files={"files": ("a", photo)}).status_code == 200
        for connection in idle:
            connection.close()


def test_what_is_no_http_is_answered_in_json(bundle: Path):
    with running(create(bundle)) as address, connect(address) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        status, text = answer(connection)
    assert status == 400
    assert json.loads(text.partition("\r\n\r\n")[2]) == {"error": "this is not a valid HTTP request"}


def test_lingering_has_an_end(bundle: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "LINGER_SECONDS", 0.3)
    with running(create(bundle, bytes=1_000)) as address, connect(address) as connection:
        connection.sendall(request(b"", length=10_000_000))
        started = time.monotonic()
        assert answer(connection)[0] == 413
        assert time.monotonic() - started < 3


def test_bodies_nobody_asked_for_are_kept_within_the_limits_too(bundle: Path):
    with running(create(bundle, bytes=1_000)) as address:
        for method in ("PUT", "GET", "DELETE"):
            found = httpx.request(method, url(address, "/healthz"), content=bytes(5_000))
            assert found.status_code in (405, 413), method
            assert list(json.loads(found.text)) == ["error"]
