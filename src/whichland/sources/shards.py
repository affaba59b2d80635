"""Which Parquet files belong together, on the disk and on the hub, and which set of them to read.

The hub's library writes `data/<split>-<number>-of-<total>[-<hash>].parquet`, and the hub's own conversion, at the
revision refs/convert/parquet, `<configuration>/<split>/<number>.parquet`. A repository may hold the shards of an
older upload beside the newer ones, with the same images in another number of shards.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import polars as pl

from whichland.errors import UserError
from whichland.images.containers import passed_over
from whichland.sources.columns import say
from whichland.sources.files import absolute

_LIBRARY = re.compile(r"(?:(?P<config>.+)/)?(?P<split>[^/]+)-(?P<number>\d{5})-of-(?P<total>\d{5})[^/]*\.parquet")
_CONVERTED = re.compile(r"(?P<config>.+)/(?P<split>[^/]+)/(?P<number>\d{4})\.parquet")


class Shard(NamedTuple):
    """One Parquet file of a repository or a folder, by what its name says."""

    path: str
    config: str
    split: str
    number: int
    total: int | None  # shards of its set, where the name says
    size: int = 0  # bytes; 0 for one on the disk


def shards_by_name(files: Mapping[str, int]) -> list[Shard]:
    """The Parquet files among `files` (path: bytes), by what their names say."""
    shards = []
    for path, size in sorted(files.items()):
        if not path.endswith(".parquet"):
            continue
        named = _LIBRARY.fullmatch(path) or _CONVERTED.fullmatch(path)
        own = {"config": str(PurePath(path).parent), "split": PurePath(path).stem, "number": "0"}
        parts: dict[str, Any] = named.groupdict() if named else own
        total, config = parts.get("total"), parts["config"] or "."
        shards.append(Shard(path, config, parts["split"], int(parts["number"]), int(total) if total else None, size))
    return shards


Sets = dict[tuple[str, str], dict[int | None, list[Shard]]]


def _sets(shards: Iterable[Shard]) -> Sets:
    """Put shards that belong together side by side: by configuration and split, then by the size of the set."""
    sets: Sets = defaultdict(lambda: defaultdict(list))
    for shard in shards:
        sets[shard.config, shard.split][shard.total].append(shard)
    return sets


def ambiguous(shards: Iterable[Shard]) -> bool:
    """Whether there is more than one set of shards of a split, or a shard twice."""
    return any(len(by_total) > 1 or _repeats(by_total) for by_total in _sets(shards).values())


def _repeats(by_total: dict[int | None, list[Shard]]) -> bool:
    return any(len({shard.number for shard in shards}) < len(shards) for shards in by_total.values())


def choose(
    shards: Sequence[Shard], split: str | None, where: str, dates: Mapping[str, datetime], *, whole: bool = False
) -> list[Shard]:
    """Choose one set of shards for each split: a complete one before others, among these the newest.

    `split` is the name of a split or configuration, or `configuration/split`. `dates` says when each path was
    last written; it is needed only where there is more than one set. Raises UserError for a split that is not
    there, for several configurations, which as a rule hold the same images, and with `whole` for a set of which a
    part is missing, which else is said.
    """
    sets = _sets(shards)
    wanted = {key: found for key, found in sets.items() if split in (None, *key, "/".join(key))}
    if not wanted:
        raise UserError(f"{where}: no split {split!r}; there are {', '.join(sorted({s for _, s in sets}))}")
    configs = sorted({config for config, _ in wanted})
    if len(configs) > 1:
        raise UserError(
            f"{where}: several configurations, {', '.join(configs)}: add one, as :{configs[0]}, or with its split"
        )

    def written(shards: Iterable[Shard]) -> float:
        return max((dates[shard.path].timestamp() for shard in shards if shard.path in dates), default=0.0)

    def newest(shards: Iterable[Shard]) -> list[Shard]:
        """Of the shards that bear one number, the newest."""
        by_number = {s.number: s for s in sorted(shards, key=lambda shard: (written([shard]), shard.path))}
        return [by_number[number] for number in sorted(by_number)]

    def is_whole(shards: Sequence[Shard]) -> bool:
        return shards[0].total in (None, len(shards))

    chosen: list[Shard] = []
    for (_, part), by_total in sorted(wanted.items()):
        rival = {total: newest(members) for total, members in by_total.items()}
        best = max(rival, key=lambda total: (is_whole(rival[total]), written(rival[total]), total or 0))
        if len(by_total) > 1 or _repeats(by_total):
            totals = ", ".join(f"of {total} ({len(rival[total])} there)" for total in sorted(rival, key=str))
            say(f"{where}: {part!r} is there in several sets of shards, {totals}: reading the one of {best}")
        if not is_whole(rival[best]):
            lacking = f"{where}: {len(rival[best])} of {best} shards of {part!r} are there"
            if whole:
                raise UserError(f"{lacking}, and the hub cannot be asked; connect and try again")
            say(lacking)
        chosen += rival[best]
    return chosen


def find_shards(pattern: str) -> list[Path]:
    """List the shards that a file, folder or glob names, sorted. Raises UserError when two sets are mixed."""
    path = Path(pattern)
    if path.is_dir():
        found = [shard for shard in sorted(path.rglob("*.parquet")) if not passed_over(shard.name)]
        paths = [shard for shard in found if holds_images(shard, unreadable=True)] or found
    elif path.is_file():
        paths = [path]
    else:
        try:
            paths = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        except ValueError as error:
            raise UserError(f"{pattern}: not a glob ({error})") from None
    if not paths:
        raise UserError(f"{pattern}: no Parquet files there")
    named = shards_by_name({str(path): 0 for path in paths})
    for (folder, split), by_total in _sets(shard for shard in named if shard.total is not None).items():
        if len(by_total) > 1:
            names = [f"{split}-*-of-{total:05}*.parquet" for total in sorted(by_total, key=lambda total: total or 0)]
            raise UserError(
                f"{folder}: two sets of shards of one split, {' and '.join(names)}, hold the same images: "
                f"choose one with 'parquet:{folder}/{names[-1]}'"
            )
        ((total, shards),) = by_total.items()
        numbers = [shard.number for shard in shards]
        twice = next((PurePath(shard.path).name for shard in shards if numbers.count(shard.number) > 1), None)
        if twice is not None:
            raise UserError(f"{folder}: shard {twice} is there twice under different hashes: move one away")
        if total is not None and len(shards) < total:
            say(f"{folder}: {len(shards)} of {total} shards of {split!r} are here")
    return [absolute(path) for path in paths]


def holds_images(file: Path, *, unreadable: bool | None = None) -> bool:
    """Whether a Parquet file has embedded images; one that cannot be read raises UserError or is `unreadable`."""
    try:
        image = pl.scan_parquet(file, glob=False).collect_schema().get("image")
    except (pl.exceptions.PolarsError, OSError) as error:
        if unreadable is not None:
            return unreadable
        raise UserError(f"{file}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    return isinstance(image, pl.Struct) or image == pl.Binary
