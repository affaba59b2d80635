"""Requests to Mapillary: counted before they are sent, evenly spaced, tried again with growing pauses.

The token goes to the API's host in a header and nowhere else: not into an address, not to the hosts of photos, not
after a redirect, not into an error.
"""

import json
import random
import re
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx

from whichland import __version__
from whichland.errors import UserError
from whichland.images.containers import MAX_BYTES
from whichland.sources.mapillary.config import HarvestConfig
from whichland.sources.mapillary.journal import Journal

API = "https://graph.mapillary.com"

LONGEST_PAUSE_S = 30.0
LONGEST_WAIT_S = 300.0  # asked for by Retry-After; the harvest stops rather than waits longer
MOST_WAITS = 20  # in a row for one request, each because of HTTP 429
MOST_REDIRECTS = 3

# Codes in the body of an error, as Meta's Graph API has them: the token is no good; too many requests.
_BAD_TOKEN = (102, 190)
_TOO_MANY = re.compile(rb'"code"\s*:\s*(4|17|32|613)\b')


class Refused(Exception):
    """The API says that what was asked for cannot be had; asking again does not help."""


class GaveUp(Exception):
    """No good answer came in all the tries there were."""


class Expired(Exception):
    """The address of a photo is not good any more."""


class Trouble(Exception):
    """A try that failed in a way that may pass."""


class StoppedError(UserError):
    """The harvest is being stopped."""


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def check_token(token: str) -> str:
    """Return the token, stripped. Raises UserError, without it, when it cannot be one."""
    token = token.strip()
    if not re.fullmatch(r"[!-~]+", token):
        raise UserError(
            "no usable Mapillary token: put it into the environment as MAPILLARY_TOKEN or into a file given as "
            "--token-file (https://www.mapillary.com/dashboard/developers)"
        )
    return token


def check_address(api: str) -> str:
    """Return the API's address without a trailing slash. Raises UserError for all but https and this machine."""
    try:
        httpx.URL(api)
        parts = urlsplit(api)
    except (httpx.InvalidURL, ValueError):
        parts = urlsplit("")
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or parts.username or not (parts.scheme == "https" or (parts.scheme == "http" and here)):
        raise UserError("the API's address must begin with https:// (http:// only on this machine) and a host")
    return api.rstrip("/")


class Client:
    """Talks to the API and to the hosts of photos; every method may be called from several threads."""

    def __init__(self, api: str, token: str, config: HarvestConfig, journal: Journal) -> None:
        self.config, self.journal = config, journal
        self._api, self._token = check_address(api), check_token(token)
        self._schemes = ("https", "http") if self._api.startswith("http:") else ("https",)
        try:
            self._http = httpx.Client(
                timeout=config.timeout_s,
                headers={"User-Agent": f"whichland/{__version__}"},
                limits=httpx.Limits(max_connections=config.workers + 2, max_keepalive_connections=config.workers),
            )
        except (ImportError, ValueError, OSError) as error:  # the environment's proxies and certificates
            raise UserError(
                f"no connection can be made as the environment asks for it ({error}); look at ALL_PROXY, "
                "HTTPS_PROXY and SSL_CERT_FILE"
            ) from None
        self._turn, self.stopped = threading.Lock(), threading.Event()
        self._gap = 60.0 / config.rate
        self._next_at = journal.next_at()  # seconds since 1970
        self._not_before = 0.0  # monotonic; set by answers of 429

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def api(self, path: str, params: Mapping[str, str], *, tries: int | None = None) -> dict[str, Any]:
        """Ask the API. Raises Refused, GaveUp, or UserError when the harvest cannot continue."""
        trouble = "no answer"
        for attempt in range(tries or self.config.tries):
            if attempt:
                self.back_off(attempt)
            try:
                return self._read(self._send("api", f"{self._api}/{path}", params))
            except Trouble as caught:
                trouble = str(caught)
        raise GaveUp(trouble)

    def _read(self, answer: _Answer) -> dict[str, Any]:
        try:
            content = json.loads(answer.body)
        except (ValueError, RecursionError):
            content = None
        error = content.get("error") if isinstance(content, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        if answer.status in (401, 403) or code in _BAD_TOKEN:
            raise UserError(f"Mapillary does not accept the token (HTTP {answer.status}); make a new one")
        if answer.status in (400, 404):
            raise Refused(f"HTTP {answer.status}")
        if answer.status != 200:
            raise Trouble(f"HTTP {answer.status}")
        if not isinstance(content, dict) or error:
            raise Trouble("the answer is not the JSON it should be")
        return content

    def photo(self, url: str) -> bytes:
        """Fetch a photo, once. Raises Expired, as a new address may be good, and Trouble."""
        for _ in range(MOST_REDIRECTS + 1):
            try:
                good = httpx.URL(url).scheme in self._schemes
            except (httpx.InvalidURL, ValueError):
                good = False
            if not good:
                raise Expired("the photo's address is not one")
            answer = self._send("photo", url)
            if answer.status == 200:
                return answer.body
            if answer.status in (401, 403, 404, 410):
                raise Expired(f"HTTP {answer.status}")
            target = answer.headers.get("location")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                raise Trouble(f"HTTP {answer.status}")
            try:
                url = urljoin(url, target)
            except ValueError:
                raise Trouble("a redirect to what is no address") from None
        raise Trouble("too many redirects")

    def back_off(self, attempt: int) -> None:
        """Wait before a further try: twice as long each time, and a random half of that less."""
        longest = min(self.config.backoff_s * 2 ** (attempt - 1), LONGEST_PAUSE_S)
        self._sleep(longest * random.uniform(0.5, 1))

    def _send(self, kind: str, url: str, params: Mapping[str, str] | None = None) -> _Answer:
        """Send one request, and again as long as the answer is to wait. Raises Trouble."""
        headers = {"Authorization": f"OAuth {self._token}"} if kind == "api" else {}
        for wait in range(1, MOST_WAITS + 1):
            self._take_turn(kind)
            try:
                answer = self._receive(url, params, headers)
            except httpx.HTTPError as error:
                raise Trouble(_in_words(error)) from None
            asked_to_wait = answer.status in (400, 403) and _TOO_MANY.search(answer.body[:2000])
            if answer.status != 429 and not asked_to_wait:
                return answer
            # hold all requests back: as long as Retry-After says, else twice as long each time
            stated = answer.headers.get("retry-after", "")
            seconds = float(stated) if stated.isdecimal() else min(self.config.backoff_s * 2**wait, LONGEST_PAUSE_S)
            if seconds > LONGEST_WAIT_S:
                raise UserError(f"Mapillary asks to wait for {seconds:.0f} s; run the same command again then")
            self._not_before = max(self._not_before, time.monotonic() + seconds)
        raise UserError("Mapillary keeps answering that these are too many requests; try again later, or lower --rate")

    def _receive(self, url: str, params: Mapping[str, str] | None, headers: dict[str, str]) -> _Answer:
        """Read an answer to its end, within time and size."""
        deadline = time.monotonic() + 4 * self.config.timeout_s
        body = bytearray()
        with self._http.stream("GET", url, params=params, headers=headers, follow_redirects=False) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if self.stopped.is_set():
                    raise StoppedError("stopped")
                if time.monotonic() > deadline:
                    raise Trouble("too slow")
                if len(body) > MAX_BYTES:
                    raise Trouble("larger than any photo")
            return _Answer(response.status_code, response.headers, bytes(body))

    def _take_turn(self, kind: str) -> None:
        """Wait for this request's time, then count it. One request waits here at a time, the others behind it."""
        with self._turn:
            # never further ahead than a gap, lest a clock set back hold everything up
            self._next_at = min(self._next_at, time.time() + self._gap)
            while (pause := max(self._next_at - time.time(), self._not_before - time.monotonic())) > 0:
                self._sleep(pause)
            self._sleep(0)
            next_at = max(self._next_at, time.time()) + self._gap
            self.journal.spend(kind, self.config.budget, next_at)
            self._next_at = next_at

    def _sleep(self, seconds: float) -> None:
        if self.stopped.wait(seconds):
            raise StoppedError("stopped")


def _in_words(error: httpx.HTTPError) -> str:
    """Say what went wrong without the request, which carries the token."""
    kinds = {
        httpx.ConnectError: "no connection",
        httpx.TimeoutException: "no answer in time",
        httpx.DecodingError: "broken compression",
    }
    return next((words for kind, words in kinds.items() if isinstance(error, kind)), "the connection broke")
