"""Photos from the web: what a host may do to us, and where a name may not lead."""

import io
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from curated import photo
from misbehaving_host import Host, misbehaving_host
from whichland.images import fetch
from whichland.images.decode import ImageError, decode
from whichland.images.fetch import Fetcher, is_public

SECONDS = 0.5


def jpeg() -> bytes:
    file = io.BytesIO()
    photo(3, size=(400, 300)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with misbehaving_host(jpeg()) as running:
        yield running


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    made = Fetcher(allow_local=True, seconds=SECONDS, most_bytes=1_000_000)
    yield made
    made.close()


def test_a_photo_is_read_also_after_a_redirect_and_a_busy_moment(host: Host, fetcher: Fetcher) -> None:
    for path in ("/good/a.jpg", "/good/b?c=d#e", "/good/ü ö.jpg", "/onwards", "/busy-once"):
        assert decode(fetcher.fetch(host.address + path)).shape == (300, 400, 3), path


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/gone.jpg", "the server answers 404"),
        ("/page", "sends text/html, not an image"),
        ("/busy", "the server answers 503, 3 times"),
        ("/round", "sent on more than 5 times"),
        ("/to-file", "sent on to what is no web address"),
        ("/large", r"more than 1,000,000 bytes \(--fetch-bytes\)"),
        ("/endless", r"more than 1,000,000 bytes \(--fetch-bytes\)"),
        ("/silent", "not there within 0.5 seconds"),
        ("/drip", "not there within 0.5 seconds"),
        ("/drip-headers", "not there within 0.5 seconds"),
        ("/cut", r"the connection failed .*, 3 times"),
    ],
)
def test_what_a_host_does_wrong_is_one_line_and_takes_no_longer_than_allowed(
    host: Host, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, path: str, complaint: str
) -> None:
    monkeypatch.setattr(fetch, "LONGEST_PAUSE_S", 0.0)
    begun = time.monotonic()
    with pytest.raises(ImageError, match=complaint) as raised:
        fetcher.fetch(host.address + path)
    assert time.monotonic() - begun < 20 * SECONDS  # the silent one would take 60
    assert str(raised.value).startswith(f"{host.address}{path}: ")
    assert "\n" not in str(raised.value)


def test_what_is_no_photo_is_for_the_decoder_to_tell(host: Host, fetcher: Fetcher) -> None:
    for path in ("/garbage", "/gzip"):  # never unpacked, so it cannot be a bomb
        with pytest.raises(ImageError):
            decode(fetcher.fetch(host.address + path))


def test_this_machine_and_its_network_are_refused_by_number_by_name_and_after_a_redirect(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = Fetcher(seconds=SECONDS)
    before = sum(host.asked.values())
    port = host.address.rpartition(":")[2]
    for name in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0"):
        with pytest.raises(ImageError, match=r"which is not on the public internet \(--allow-local\)"):
            refusing.fetch(f"http://{name}:{port}/good/a.jpg")
    assert sum(host.asked.values()) == before  # nothing was sent

    # a host that is let pass, for the test, until it sends on to one that is not
    monkeypatch.setattr(fetch, "is_public", lambda number: host.asked["/home"] == 0)
    with pytest.raises(ImageError, match="not on the public internet"):
        refusing.fetch(f"{host.address}/home")
    assert host.asked["/home"] == 1
    refusing.close()


def test_a_name_that_means_something_else_a_moment_later_is_connected_to_as_it_was_looked_at(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first answer is public, every later one is this machine."""
    port = int(host.address.rpartition(":")[2])
    asked, connected = [], []
    look_up, connect = socket.getaddrinfo, socket.create_connection

    def resolve(name: str, port: int, *rest: object, **named: object) -> object:
        if name != "photos.example":
            return look_up(name, port, *rest, **named)
        asked.append(name)
        number = "203.0.113.9" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port))]

    def elsewhere(address: tuple[str, int], *rest: object, **named: object) -> object:
        connected.append(address[0])
        return connect(("127.0.0.1", port), *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", elsewhere)
    monkeypatch.setattr(fetch, "is_public", lambda number: number == "203.0.113.9")
    fetcher = Fetcher(seconds=SECONDS)
    decode(fetcher.fetch(f"http://photos.example:{port}/good/a.jpg"))
    assert (asked, connected) == (["photos.example"], ["203.0.113.9"])
    fetcher.close()


@pytest.mark.parametrize(
    "address", ["http://", "http://a b/", "http://user:word@example.org/a.jpg", "http://exa mple.org:port/"]
)
def test_what_is_no_address_is_told(fetcher: Fetcher, address: str) -> None:
    with pytest.raises(ImageError, match=r"^http.*: not a"):
        fetcher.fetch(address)


def test_which_numbers_are_public() -> None:
    public = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1")
    local = (
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "2001:db8::1"),
    )
    assert [number for number in public if not is_public(number)] == []
    assert [number for number in local if is_public(number)] == []


def test_a_fetcher_that_is_stopped_lets_go_of_a_slow_host(host: Host) -> None:
    patient = Fetcher(allow_local=True, seconds=60)
    raised: list[ImageError] = []

    def wait() -> None:
        try:
            patient.fetch(f"{host.address}/silent?patience")
        except ImageError as error:
            raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not host.asked["/silent?patience"]:
        time.sleep(0.01)
    patient.stop()
    waiting.join(3)
    assert not waiting.is_alive()
    assert raised
    patient.close()
