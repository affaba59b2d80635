"""Photos from the web, with distrust: which hosts may be asked, how much is read, how long it may take.

A list of addresses comes from anywhere. A name in it may lead to this machine or its network, by itself or after a
redirect, so each connection is made to an address that has been looked at, not to whatever the name means a moment
later. No cookies, no credentials; compressed answers are not asked for.
"""

import ipaddress
import re
import socket
import threading
import time
from typing import Any
from urllib.parse import urljoin

import httpcore
import httpx

from whichland import __version__
from whichland.images.containers import ImageError, is_address

TRIES = 3
MOST_REDIRECTS = 5
LONGEST_PAUSE_S = 10.0
LOOK_UP_S = 0.5  # how long a thread waits for a host before it looks whether it is to stop
MAY_PASS = frozenset((429, 500, 502, 503, 504))
REDIRECTS = frozenset((301, 302, 303, 307, 308))
NO_PHOTO = ("text/", "video/", "audio/", "application/json", "application/pdf")

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 behind NAT64, RFC 6052
_HEADERS = {"User-Agent": f"whichland/{__version__}", "Accept": "image/*", "Accept-Encoding": "identity"}


class Passing(Exception):
    """A try that failed in a way that may pass; the argument says how long to wait, in seconds."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class Fetcher:
    """Fetches photos; may be used from several threads."""

    def __init__(
        self, *, allow_local: bool = False, at_once: int = 8, most_bytes: int = 50_000_000, seconds: float = 30.0
    ) -> None:
        """`most_bytes` are read of a photo, and one try takes `seconds` at most."""
        self._most_bytes, self._seconds = most_bytes, seconds
        self._guard = _Guard(allow_local)
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=2 * at_once,
            max_keepalive_connections=at_once,
            keepalive_expiry=10.0,
            network_backend=self._guard,
        )

    def stop(self) -> None:
        """Let what is under way in other threads fail soon; nothing can be fetched any more."""
        self._guard.stopped.set()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def fetch(self, address: str) -> bytes:
        """Read what lies at a web address. Raises ImageError."""
        pause = 1.0
        for tried in range(1, TRIES + 1):
            self._guard.start(self._seconds)
            try:
                return self._follow(address)
            except Passing as error:
                if tried == TRIES:
                    raise ImageError(f"{address}: {error}, {TRIES} times") from None
                if self._guard.stopped.wait(min(pause if error.pause is None else error.pause, LONGEST_PAUSE_S)):
                    raise ImageError(f"{address}: stopped") from None
                pause *= 3
            except httpcore.TimeoutException:
                raise ImageError(f"{address}: not there within {self._seconds:g} seconds") from None
            except RefusedAddress as error:
                raise ImageError(f"{address}: {error}") from None
        raise AssertionError("the last try returns or raises")

    def _follow(self, address: str) -> bytes:
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._get(address)
            if isinstance(answer, bytes):
                return answer
            address = urljoin(address, answer)
            if not is_address(address):
                raise RefusedAddress("sent on to what is no web address")
        raise RefusedAddress(f"sent on more than {MOST_REDIRECTS} times")

    def _get(self, address: str) -> bytes | str:
        """The body, or the address that the server sends on to."""
        try:
            url = httpx.URL(address)
        except (httpx.InvalidURL, ValueError) as error:
            raise RefusedAddress(f"not a web address ({error})") from None
        if url.userinfo or not re.fullmatch(rb"[\w.:-]+", url.raw_host):
            raise RefusedAddress("not an address of a host alone, without a user's name")
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path or b"/")
        headers = _HEADERS | {"Host": url.netloc.decode("ascii")}
        try:
            with self._pool.stream("GET", target, headers=list(headers.items())) as response:
                return self._read(response)
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise Passing(f"the connection failed ({' '.join(str(error).split()) or 'closed'})") from None

    def _read(self, response: httpcore.Response) -> bytes | str:
        headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status in REDIRECTS and b"location" in headers:
            return headers[b"location"]
        if response.status in MAY_PASS:
            wait = headers.get(b"retry-after", "")
            raise Passing(f"the server answers {response.status}", float(wait) if wait.isdecimal() else None)
        if response.status != 200:
            raise RefusedAddress(f"the server answers {response.status}")
        kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        if kind.startswith(NO_PHOTO):
            raise RefusedAddress(f"the server sends {kind}, not an image")
        length, body = headers.get(b"content-length", ""), bytearray()
        too_long = length.isdecimal() and int(length) > self._most_bytes
        for part in () if too_long else response.iter_stream():
            body += part
            if too_long := len(body) > self._most_bytes:
                break
        if too_long:
            raise RefusedAddress(f"more than {self._most_bytes:,} bytes (--fetch-bytes)")
        return bytes(body)


class RefusedAddress(Exception):
    """What an address leads to is not taken; asking again does not help."""


def public_addresses(host: str, port: int, *, allow_local: bool) -> list[str]:
    """The numbers behind a host's name. Raises RefusedAddress when one of them is not of the public internet."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) == socket.EAI_AGAIN:
            raise httpcore.ConnectError("its name cannot be looked up now") from None
        raise RefusedAddress("no such host") from None
    numbers = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_local:
        local = next((number for number in numbers if not is_public(number)), None)
        if local is not None:
            raise RefusedAddress(f"leads to {local}, which is not on the public internet (--allow-local)")
    return numbers


def is_public(number: str) -> bool:
    """Whether an IP address is one of the public internet, also where an IPv6 address stands for an IPv4 one."""
    address = ipaddress.ip_address(number.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if address in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast


class _Guard(httpcore.NetworkBackend):
    """Connects to public addresses alone, and lets no try of a thread take longer than it may in all."""

    def __init__(self, allow_local: bool) -> None:
        self._allow_local, self._plain = allow_local, httpcore.SyncBackend()
        self._clock = threading.local()
        self.stopped = threading.Event()

    def start(self, seconds: float) -> None:
        """Give this thread so long for what it does next."""
        self._clock.end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that this thread has left. Raises TimeoutException when there are none."""
        seconds: float = self._clock.end - time.monotonic()
        if seconds <= 0 or self.stopped.is_set():
            raise httpcore.PoolTimeout("too slow")
        return seconds

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *options: Any, **more: Any
    ) -> httpcore.NetworkStream:
        failed: httpcore.NetworkError = httpcore.ConnectError(f"no address of {host}")
        for number in public_addresses(host, port, allow_local=self._allow_local):
            try:
                return _Timed(self._plain.connect_tcp(number, port, self.left()), self)
            except httpcore.ConnectError as error:
                failed = error
        raise failed

    def sleep(self, seconds: float) -> None:
        self._plain.sleep(seconds)


class _Timed(httpcore.NetworkStream):
    """A connection whose every wait ends with the time of the thread that waits."""

    def __init__(self, stream: httpcore.NetworkStream, guard: _Guard) -> None:
        self._stream, self._guard = stream, guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        while True:
            try:
                return self._stream.read(max_bytes, min(LOOK_UP_S, self._guard.left()))
            except httpcore.ReadTimeout:
                continue  # until no time is left

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._guard.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, self._guard.left()), self._guard)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
