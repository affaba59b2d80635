"""Photos to rows on a Ray cluster: each worker opens the bundle once and takes shards of the photos.

The workers must have this package and see the bundle and the photos under the same paths (a shared file system).
"""

from collections.abc import Iterator, Sequence
from contextlib import chdir
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from whichland.allocator import keep_freed_memory
from whichland.bulk.answers import answers
from whichland.bulk.config import PredictConfig
from whichland.bulk.rows import Row, Rows, rows_for, shown
from whichland.images.containers import is_address
from whichland.model.model import Model, load
from whichland.workers import map_on_ray

BATCHES = 16  # of photos, in a shard
WORKER_DIED = "the process reading it died (out of memory?)"


class Shard(NamedTuple):
    """What a worker is given at a time."""

    bundle: Path
    config: PredictConfig
    photos: list[str]
    thumbnails: int
    folder: str  # that relative paths are seen from


def rows_on_ray(
    bundle: Path, photos: Sequence[str], config: PredictConfig, *, address: str, thumbnails: int = 0
) -> Iterator[list[Row]]:
    """Yield the rows of `photos` in order, a shard at a time; `address` is as `map_on_ray` takes it.

    The photos of a shard whose workers keep dying are tried one by one, and the deadly one is reported.
    """
    size, folder, gpu = BATCHES * config.batch_size, str(Path.cwd()), config.engine in ("auto", "torch")

    def shards() -> Iterator[Shard]:
        for start in range(0, len(photos), size):
            yield Shard(bundle, config, list(photos[start : start + size]), max(0, thumbnails - start), folder)

    found = map_on_ray(rows_of_shard, shards(), address=address, retries=2, gpu=gpu)
    for shard, rows in zip(shards(), found, strict=True):
        yield rows if rows is not None else _one_by_one(shard, address, gpu)


def _one_by_one(shard: Shard, address: str, gpu: bool) -> list[Row]:
    singles = [shard._replace(photos=[photo]) for photo in shard.photos]
    found = map_on_ray(rows_of_shard, singles, address=address, retries=0, gpu=gpu)
    return [
        rows[0] if rows else {"path": shown(photo), "error": WORKER_DIED}
        for photo, rows in zip(shard.photos, found, strict=True)
    ]


def rows_of_shard(shard: Shard) -> list[Row]:
    """Answer a shard; the unit of work of a Ray task, in a worker's process."""
    keep_freed_memory()
    model, rows = _opened(shard.bundle, shard.config)
    with chdir(shard.folder):
        found = answers(
            model, shard.photos, shard.config, addresses=any(map(is_address, shard.photos)), thumbnails=shard.thumbnails
        )
        return [row for batch in found for row in rows.of(batch)]


@lru_cache(maxsize=1)
def _opened(bundle: Path, config: PredictConfig) -> tuple[Model, Rows]:
    """The bundle of this worker; Ray gives a task one core, so the network takes no more."""
    model = load(bundle, engine=config.engine, threads=1)
    return model, rows_for(model, config)
