"""Which photos are of one recording, drive or session: from sub-folders, numbered names, and times in names and EXIF.

Frames of one recording resemble each other, so that a split between them leaks. What ties photos here, and the gaps
in time, are reasoned in docs/decisions/capture-sessions.md.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import NamedTuple, TypeVar

import polars as pl

from whichland.geo.countries import find_country
from whichland.sources.columns import say

T = TypeVar("T", int, float)
STAMP_GAP_S = 60  # between screenshots, which are named after a unix time
CLOCK_GAP_S = 300  # between photos, by a camera's clock
SHOTS_APART = 3  # numbers of a camera's counter; some shots are thrown away

# Folders that say nothing of when a photo was taken: kinds of files, parts of a data set, the camera's own, years.
_PLAIN_FOLDER = re.compile(
    r"(?i)images?|imgs?|photos?|pictures?|pics?|frames?|jpe?gs?|pngs?|raw|originals?|data|train(ing)?|val(id(ation)?)?"
    r"|test(ing)?|dcim|camera|\d{3}[a-z0-9_]{5}|(19|20)\d\d|new|all|misc|other"
)
# What names a still of a video, whichever the video is.
_FRAME = re.compile(r"(?i)(frames?|vlcsnap|video|vid|clip|seq|sequence|still|movie|mov|cam|dashcam)[\W_]*")
# Names that cameras give, in the order of their shots (DCF: four characters and four digits, and their kin).
_COUNTER = re.compile(r"[A-Z_]{2,5}|[A-Z]\d{3}|\d{3}")
_TIME_LAPSE = re.compile(r"G\d{3}")  # GoPro's: the number of the series
_NUMBERED = re.compile(r"(?P<before>.*?)[\s_.-]*(?<!\d)\(?(?P<number>\d{1,8})\)?")
_SERIES = re.compile(r"(?P<before>[A-Z]\d{3})(?P<number>\d{4})")  # P1000123, R0010123, G0010001
_UNIX = re.compile(r"(?:^|[_-])(1\d{9})(?:\d{3}){0,2}$")  # at the end of the stem, 2001 to 2033

# A date and a time, however written: 20210530_120001, 2021-05-30 at 9.00.01 PM, 210530-120001, 30-05-2021 12h00m01
_SIGNS = r"[\s_.:,T-]{0,3}"
_WRITTEN = tuple(
    re.compile(rf"(?i)(?<!\d){form}")
    for form in (
        rf"(?P<year>(?:19|20)\d\d){_SIGNS}(?P<month>\d\d){_SIGNS}(?P<day>\d\d)(?:{_SIGNS}|\s*at\s*)"
        r"(?P<hour>\d\d|(?<=\s)\d(?=[.:]))[\s_.:h-]?(?P<minute>\d\d)[\s_.:m-]?(?P<second>\d\d)(?:\s?(?P<half>[AP]M))?",
        r"(?P<year>[123]\d)(?P<month>\d\d)(?P<day>\d\d)[_-](?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?!\d)",
        r"(?P<day>\d\d)[-._](?P<month>\d\d)[-._](?P<year>20\d\d)[\s_,-]{1,3}"
        r"(?P<hour>\d\d)[-._:h\s](?P<minute>\d\d)[-._:m\s](?P<second>\d\d)",
    )
)
Ties = list[str | None]  # of each photo, the name of what ties it to others of the same name


class _Name(NamedTuple):
    """What the name of a photo says."""

    folder: str
    stem: str
    stamp: float | None  # seconds since 1970, of a unix time
    clock: float | None  # seconds since 1970, of a written time
    before: str | None  # of a number at the end that is no time
    number: int


def sequences(
    photos: Sequence[tuple[str, str | None]],
    source: str,
    *,
    times: Sequence[float | None] | None = None,
    cameras: Sequence[Hashable] | None = None,
) -> Ties:
    """Name the sequence of each photo, given as (path below the folder, country); None: nothing ties it to another.

    `times` are of capture, in seconds since 1970, `cameras` say whose clock they are. A sequence is named by the
    source and by what ties its photos: a folder, a name or the first time.
    """
    names = [_read(path) for path, _ in photos]
    countries = [country for _, country in photos]
    ties = [_folders(names, countries), _numbered(names, countries)]
    ties.append(_sessions([name.stamp for name in names], countries, STAMP_GAP_S, countries))
    ties.append(_sessions([name.clock for name in names], countries, CLOCK_GAP_S + 1, countries))
    if times is not None:
        whose = list(zip(countries, cameras or [None] * len(countries), strict=True))
        ties.append(_sessions(times, whose, CLOCK_GAP_S + 1, countries))
    return _joined(ties, source)


def times_to_sequences(rows: pl.DataFrame, source: str, where: str) -> pl.DataFrame:
    """Fill `sequence` of a table that has none by time of capture, for each creator and country."""
    if "sequence" in rows.columns and rows["sequence"].null_count() < rows.height:
        return rows
    if "captured_at" in rows.columns:
        whose = [rows[name] for name in ("creator", "label_country") if name in rows.columns]
        keys = list(zip(*whose, strict=True)) if whose else [()] * rows.height
        countries = rows["label_country"] if "label_country" in rows.columns else [None] * rows.height
        found = _joined([_sessions(seconds(rows["captured_at"]), keys, CLOCK_GAP_S + 1, countries)], source)
        rows = rows.with_columns(pl.Series("sequence", found, dtype=pl.String))
    warn_untied(rows, where, "add a column `sequence`")
    return rows


def seconds(times: pl.Series) -> list[float | None]:
    """Turn times of the manifest to seconds since 1970; a day without a time of day ties nothing."""
    parsed = times.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms", strict=False)
    known = pl.DataFrame({"at": parsed, "text": times}).select(
        pl.when(~pl.col("text").str.contains("T00:00:00Z")).then(pl.col("at").dt.epoch("ms") / 1000)
    )
    return known.to_series().to_list()


def warn_untied(rows: pl.DataFrame, where: str, remedy: str) -> None:
    """Say so when nothing shows which photos of a source are of one drive."""
    has = {name for name in ("sequence", "lat") if name in rows.columns and rows[name].null_count() < rows.height}
    if not has and rows.height > 1:
        say(
            f"{where}: nothing says which photos are of one drive or recording, so that its frames may lie in train "
            f"and in test; if there are such, {remedy}"
        )


def _read(path: str) -> _Name:
    folder, _, file = path.rpartition("/")
    stem = PurePosixPath(file).stem
    unix = _UNIX.search(stem)
    clock, end = next((found for form in _WRITTEN if (found := _moment(form, stem))), (None, 0))
    stamp = float(unix[1]) if unix and clock is None else None
    numbered = _SERIES.fullmatch(stem) or _NUMBERED.fullmatch(stem)
    # a number that is the time, or a part of it, counts no frames
    frames = numbered if numbered and stamp is None and numbered.start("number") >= end else None
    before, number = (frames["before"], int(frames["number"])) if frames else (None, 0)
    return _Name(folder, stem, stamp, clock, before, number)


def _moment(form: re.Pattern[str], stem: str) -> tuple[float, int] | None:
    """The first date and time of this form that a calendar holds, and where in the stem it ends."""
    for found in form.finditer(stem):
        half = (found.groupdict().get("half") or "").upper()
        values = {name: int(text) for name, text in found.groupdict().items() if text and name != "half"}
        values["year"] += 2000 if values["year"] < 100 else 0
        if half:
            values["hour"] = values["hour"] % 12 + 12 * (half == "PM")
        try:
            return datetime(**values, tzinfo=UTC).timestamp(), found.end()
        except ValueError:
            continue
    return None


def _folders(names: Sequence[_Name], countries: Sequence[str | None]) -> Ties:
    """Tie the photos of a sub-folder below the country's, but for folders that only sort files."""
    subs = ["/".join(_telling(name.folder, country)) for name, country in zip(names, countries, strict=True)]
    inside = defaultdict(set)
    for sub, name, country in zip(subs, names, countries, strict=True):
        if country is not None:
            inside[name.folder.partition("/")[0]].add(sub.partition("/")[2])
    # where every country has the same one folder in it, that is how the set is laid out
    if len(inside) > 1 and len(set.union(*inside.values())) == 1:
        return [None] * len(names)
    return [s if "/" in s or (s and country is None) else None for s, country in zip(subs, countries, strict=True)]


def _telling(folder: str, country: str | None) -> Iterator[str]:
    """The folders of a path, the country's own first, without those that say nothing."""
    for depth, part in enumerate(folder.split("/")):
        own = depth > 0 and country is not None and find_country(part) == country
        if (depth == 0 and country is not None) or not (_PLAIN_FOLDER.fullmatch(part) or own):
            yield part


def _numbered(names: Sequence[_Name], countries: Sequence[str | None]) -> Ties:
    """Tie photos of one folder whose names differ in a number at their end alone.

    A name that stands under several countries, or says "photo", numbers the photos of a collection, not those of a
    recording. Of the numbers that cameras give, those that follow each other are tied.
    """
    where = defaultdict(set)
    for name, country in zip(names, countries, strict=True):
        where[name.stem.casefold()].add(country)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for at, name in enumerate(names):
        if name.before is not None:
            groups[name.folder, name.before].append(at)
    per_folder = Counter(folder for folder, _ in groups)
    tied: Ties = [None] * len(names)
    for (folder, before), members in groups.items():
        listed = any(len(where[names[at].stem.casefold()]) > 1 for at in members)
        label = f"{folder}/{before}".strip("/")
        kind = "frames" if _FRAME.fullmatch(before) else _kind(before, alone=per_folder[folder] == 1)
        if kind is None or (listed and kind != "frames"):
            continue
        gap = SHOTS_APART + 1 if kind == "shots" else math.inf
        for at, first in _chained({at: names[at].number for at in members}, gap):
            tied[at] = f"{label}{first:04d}" if kind == "shots" else label
    return tied


def _chained(values: Mapping[int, T], gap: float) -> Iterator[tuple[int, T]]:
    """Walk keys by their values; each comes with the first value of its chain, in which steps are less than `gap`."""
    first = last = None
    for key, value in sorted(values.items(), key=lambda item: item[1]):
        if first is None or last is None or value - last >= gap:
            first = value
        last = value
        yield key, first


def _kind(before: str, *, alone: bool) -> str | None:
    """Say what numbers behind `before` count: photos of what it names, shots of a camera; None: of a collection.

    `alone` says that no other name before a number stands in the folder.
    """
    letters = before.strip("_- ")
    if _TIME_LAPSE.fullmatch(letters):
        return "named"
    if _COUNTER.fullmatch(letters):
        return "shots"
    if not re.search(r"[^\W\d_]", before) or _PLAIN_FOLDER.fullmatch(letters) or find_country(letters):
        return None
    return None if alone and not re.search(r"\d", before) else "named"


def _sessions(
    times: Sequence[float | None], whose: Sequence[Hashable], gap_s: float, countries: Iterable[str | None]
) -> Ties:
    """Tie photos of one owner less than `gap_s` apart; a chain of such photos is one session."""
    owned: dict[Hashable, dict[int, float]] = defaultdict(dict)
    for at, (time, owner) in enumerate(zip(times, whose, strict=True)):
        if time is not None:
            owned[owner][at] = time
    tied: Ties = [None] * len(times)
    labels = list(countries)
    for number, members in enumerate(owned.values()):
        for at, first in _chained(members, gap_s):
            other = f"-{number}" if whose[at] != labels[at] else ""  # two owners may begin in the same second
            tied[at] = f"{labels[at] or 'unknown'}/session-{int(first)}{other}"
    return tied


def _joined(ties: Sequence[Ties], source: str) -> Ties:
    """Give photos that are tied by anything, also by way of others, one name: that of the first kind of tie."""
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def root(node: tuple[int, str]) -> tuple[int, str]:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    rows = [[(kind, tie) for kind, tie in enumerate(found) if tie is not None] for found in zip(*ties, strict=True)]
    for nodes in rows:
        for other in nodes[1:]:
            low, high = sorted((root(nodes[0]), root(other)))
            parent[high] = low
    named = [root(nodes[0]) if nodes else None for nodes in rows]
    counts = Counter(named)
    # a folder or a name of a single photo ties nothing; a session of one is kept, as more may come
    alone = {node for node, count in counts.items() if node is not None and count == 1 and node[0] < 2}
    return [None if node is None or node in alone else f"{source}/{node[1]}" for node in named]
