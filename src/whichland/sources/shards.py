"""Which Parquet files of a repository belong together, and which set of them to read.

The hub's library writes `data/<split>-<number>-of-<total>[-<hash>].parquet`, and the hub's own conversion, at the
revision refs/convert/parquet, `<configuration>/<split>/<number>.parquet`. A repository may hold the shards of an
older upload beside the newer ones, with the same images in another number of shards.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from whichland.errors import UserError
from whichland.sources.columns import say

_LIBRARY = re.compile(r"(?:(?P<config>.+)/)?(?P<split>[^/]+)-(?P<number>\d{5})-of-(?P<total>\d{5})[^/]*\.parquet")
_CONVERTED = re.compile(r"(?P<config>.+)/(?P<split>[^/]+)/(?P<number>\d{4})\.parquet")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One Parquet file of a repository, by what its name tells."""

    path: str
    config: str
    split: str
    number: int
    total: int | None  # shards of its set, where the name tells
    size: int = 0  # bytes; 0 for one in the cache


def tell_shards(files: dict[str, int]) -> list[Shard]:
    """Tell the Parquet files among `files` (path: bytes) by their names."""
    shards = []
    for path, size in sorted(files.items()):
        if not path.endswith(".parquet"):
            continue
        named = _LIBRARY.fullmatch(path) or _CONVERTED.fullmatch(path)
        parts: dict[str, Any] = named.groupdict() if named else {"split": Path(path).stem, "number": "0"}
        config = parts.get("config") if named else str(Path(path).parent)
        shards.append(
            Shard(
                path=path,
                config=config or ".",
                split=parts["split"],
                number=int(parts["number"]),
                total=int(parts["total"]) if parts.get("total") else None,
                size=size,
            )
        )
    return shards


Sets = dict[tuple[str, str], dict[int | None, list[Shard]]]


def _sets(shards: Sequence[Shard]) -> Sets:
    """Put shards that belong together side by side: by configuration and split, then by the size of the set."""
    sets: Sets = defaultdict(lambda: defaultdict(list))
    for shard in shards:
        sets[shard.config, shard.split][shard.total].append(shard)
    return sets


def ambiguous(shards: Sequence[Shard]) -> bool:
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
    wanted = {
        key: by_total
        for key, by_total in sets.items()
        if split is None or split in (key[0], key[1], f"{key[0]}/{key[1]}")
    }
    if not wanted:
        raise UserError(f"{where}: no split {split!r}; there are {', '.join(sorted({s for _, s in sets}))}")
    configs = sorted({config for config, _ in wanted})
    if len(configs) > 1:
        raise UserError(
            f"{where}: several configurations, {', '.join(configs)}: add one, as :{configs[0]}, or with its split"
        )
    chosen: list[Shard] = []
    for (_, part), by_total in sorted(wanted.items()):
        rival = {total: _newest(members, dates) for total, members in by_total.items()}
        best = max(rival, key=lambda total: (_whole(rival[total]), _written(rival[total], dates), total or 0))
        if len(by_total) > 1 or _repeats(by_total):
            totals = ", ".join(f"of {total} ({len(rival[total])} there)" for total in sorted(rival, key=str))
            say(f"{where}: {part!r} is there in several sets of shards, {totals}: reading the one of {best}")
        if not _whole(rival[best]):
            lacking = f"{where}: {len(rival[best])} of {best} shards of {part!r} are there"
            if whole:
                raise UserError(f"{lacking}, and the hub cannot be asked; connect and try again")
            say(lacking)
        chosen += rival[best]
    return chosen


def _newest(shards: Sequence[Shard], dates: Mapping[str, datetime]) -> list[Shard]:
    """Keep the newest of the shards that bear one number."""
    by_number: dict[int, Shard] = {}
    for shard in sorted(shards, key=lambda shard: (_written([shard], dates), shard.path)):
        by_number[shard.number] = shard
    return [by_number[number] for number in sorted(by_number)]


def _whole(shards: Sequence[Shard]) -> bool:
    return shards[0].total is None or len(shards) == shards[0].total


def _written(shards: Sequence[Shard], dates: Mapping[str, datetime]) -> float:
    return max((dates[shard.path].timestamp() for shard in shards if shard.path in dates), default=0.0)
