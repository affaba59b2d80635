"""whichland embed PHOTO… -o INDEX.parquet --bundle BUNDLE, and whichland search INDEX PHOTO"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from whichland.bulk.config import EmbedConfig
from whichland.cli.flags import flags
from whichland.cli.output import Json, give, say
from whichland.errors import UserError
from whichland.images.containers import ImageError
from whichland.printed import counted


@flags(EmbedConfig)
def embed(
    photos: Annotated[list[str], Argument(help="Photos, folders, archives, shards, lists, or a manifest.")],
    config: EmbedConfig,
    out: Annotated[Path, Option("-o", "--out", help="The Parquet file to write.")],
    ray: Annotated[str | None, Option(metavar="ADDRESS", help="Spread the work over a Ray cluster.")] = None,
) -> None:
    """Write what a model's head sees of photos, a vector each: to search, to cluster, or to train on.

    Of a manifest, country, place, licence and credit come along. The same command again resumes a run that
    was stopped. A photo that cannot be read has an error in place of a vector.
    """
    from whichland.bulk.embeddings import embed_to

    count, unreadable = embed_to(photos, out, config, ray=ray)
    say(f"{out}: {counted(count - unreadable, 'photo')} embedded, {unreadable:,} unreadable")


def search(
    index: Annotated[Path, Argument(help="A file that `whichland embed` made.")],
    photo: Annotated[str, Argument(help="A photo: a path, an address, a row of a shard or a member of an archive.")],
    count: Annotated[int, Option("-k", "--count", min=1, help="How many photos to name.")] = 5,
    json: Json = False,
) -> None:
    """Name the photos of an index that lie nearest to another one, with country, distance and credit.

    The distance is 1 minus the cosine: 0 for the same picture. The search is exact.
    """
    from whichland.bulk.embeddings import search as nearest_to

    try:
        found = nearest_to(index, photo, count)
    except ImageError as error:
        raise UserError(f"{photo}: {error}") from None

    def lines() -> list[str]:
        named = []
        for one in found:
            credit = " · ".join(filter(None, (one.row.get(name) for name in ("attribution", "creator", "license"))))
            named.append(f"{one.distance:.4f}  {one.row.get('country') or '–':<3} {one.row['path']}  {credit}".rstrip())
        return named

    give([asdict(one) for one in found], lines, json=json)
