"""Data sets on the Hugging Face hub, as Parquet shards in the hub's own cache: `OWNER/NAME[@REVISION][:SPLIT]`.

Of several sets of shards one is chosen (`sources.parquet`). HF_ENDPOINT names a mirror, HF_HUB_CACHE where the
shards are kept, HF_TOKEN who asks for a private set.
"""

import re
import shutil
from collections.abc import Sequence
from datetime import datetime
from glob import escape
from pathlib import Path

import polars as pl

from whichland import hub_client
from whichland.errors import UserError, first_line
from whichland.hub_client import client, constants, errors, quiet_where_no_terminal, refusal
from whichland.printed import size_said
from whichland.sources.columns import say, slug
from whichland.sources.parquet import Shard, ambiguous, choose, read_shards, shards_by_name

SHORTEST_COMMIT = 7  # digits; a branch may be called `de`, with which many commits begin
_ORIGIN = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:\s]+))?(?::(?P<split>[\w./-]+))?")


def read_hub(place: str, *, source: str | None = None, skip_unknown: bool = False) -> pl.DataFrame:
    """List the images of a data set, after fetching the shards that the cache lacks.

    What has to be fetched is said before. Without a network the cache answers, when it holds a whole set. Raises
    UserError for an unknown data set, one without Parquet shards, a full disk, and a hub that does not answer.
    """
    asked = _ORIGIN.fullmatch(place)
    if asked is None:
        raise UserError(f"hub:{place}: expected hub:OWNER/NAME, hub:OWNER/NAME@REVISION or hub:OWNER/NAME:SPLIT")
    name, revision, split = asked["name"], asked["revision"] or "main", asked["split"]
    quiet_where_no_terminal()
    listed = _list(name, revision)
    if listed is None:
        folder, shards = _cached(name, revision)
        chosen = choose(shards, split, f"hub:{place}", {}, whole=True)
    else:
        commit, shards = listed
        dates = _dates(name, commit, shards) if ambiguous(shards) else {}
        chosen = choose(shards, split, f"hub:{place}", dates)
        folder = _fetch(name, revision, commit, chosen)
    paths, splits = [folder / shard.path for shard in chosen], [shard.split for shard in chosen]
    source = source or slug(name.partition("/")[2])
    return read_shards(paths, splits, f"hub:{place}", source=source, skip_unknown=skip_unknown)


def _list(name: str, revision: str) -> tuple[str, list[Shard]] | None:
    """Return the commit and the Parquet files of a revision; None when there is no way to the hub.

    Raises UserError when the hub answers that there is no such data set, or that it holds no Parquet files.
    """
    try:
        info = client.HfApi().dataset_info(name, revision=revision, files_metadata=True, timeout=hub_client.PATIENCE_S)
    except Exception as error:
        if refused := refusal(error, f"hub:{name}", "data set", revision):
            raise refused from None
        say(f"hub:{name}: the hub cannot be asked ({first_line(error)}); looking in its cache")
        return None
    files = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    shards = shards_by_name(files)
    if not shards:
        kinds = sorted({Path(file).suffix for file in files} - {""})
        raise UserError(
            f"hub:{name}: no Parquet files among its {len(files):,} ({', '.join(kinds[:6])}); the hub's own "
            f"conversion may be at hub:{name}@refs/convert/parquet, else fetch the files and ingest their folder"
        )
    return str(info.sha), shards


def _dates(name: str, commit: str, shards: Sequence[Shard]) -> dict[str, datetime]:
    """Ask when each shard was last written."""
    paths = [shard.path for shard in shards]
    try:
        found = client.HfApi().get_paths_info(name, paths, expand=True, revision=commit, repo_type="dataset")
    except Exception as error:
        raise UserError(f"hub:{name}: the hub does not say how old its shards are ({first_line(error)})") from None
    return {file.path: file.last_commit.date for file in found if file.last_commit}


def _fetch(name: str, revision: str, commit: str, shards: Sequence[Shard]) -> Path:
    """Fetch what the cache lacks, after saying how much, and return the folder of the commit there.

    Raises UserError when the disk cannot hold it.
    """

    def cached(path: str) -> bool:
        return isinstance(client.try_to_load_from_cache(name, path, revision=commit, repo_type="dataset"), str)

    missing = [shard for shard in shards if not cached(shard.path)]
    if missing:
        cache = Path(constants.HF_HUB_CACHE)
        there = next(folder for folder in (cache, *cache.parents) if folder.exists())
        size, free = sum(shard.size for shard in missing), shutil.disk_usage(there).free
        room = f"{cache} ({size_said(free)} free)"
        say(f"hub:{name}: fetching {len(missing)} of {len(shards)} shards, {size_said(size)}, to {room}")
        if size > free:
            raise UserError(
                f"{cache}: {size_said(size)} of hub:{name} do not fit into {size_said(free)}; "
                "set HF_HUB_CACHE elsewhere"
            )
    patterns = [escape(shard.path) for shard in shards]
    try:
        folder = client.snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=patterns)
    except Exception as error:  # the client has tried several times, each from where it stopped
        raise refusal(error, f"hub:{name}", "data set", revision) or UserError(
            f"hub:{name}: not all could be fetched ({first_line(error)}); the same command resumes where this one "
            "stopped"
        ) from None
    return Path(folder)


def _cached(name: str, revision: str) -> tuple[Path, list[Shard]]:
    """Return the folder of a revision in the cache and its Parquet files. Raises UserError when there is none."""
    try:
        repositories = client.scan_cache_dir().repos
    except errors.CacheNotFound:
        repositories = frozenset()
    named = (repo for repo in repositories if (repo.repo_id, repo.repo_type) == (name, "dataset"))
    for snapshot in (snapshot for repository in named for snapshot in repository.revisions):
        short = len(revision) >= SHORTEST_COMMIT and snapshot.commit_hash.startswith(revision)
        if revision in snapshot.refs or short:
            folder = Path(snapshot.snapshot_path)
            files = {path.relative_to(folder).as_posix(): 0 for path in folder.rglob("*.parquet")}
            if files:
                return folder, shards_by_name(files)
    raise UserError(f"hub:{name}: not in the hub's cache, and the hub cannot be asked; connect and try again")
