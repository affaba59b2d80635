"""Photos from anywhere to the manifest: tell the kind of origin and hand it to the source that reads it."""

from pathlib import Path

import polars as pl

from whichland.errors import UserError
from whichland.manifest import Manifest, problems

KINDS = ("folder", "parquet", "table", "synthetic")


def ingest(
    origin: str, *, source: str | None = None, skip_unknown: bool = False, folder: Path | None = None
) -> Manifest:
    """Make a manifest of the photos at `origin`.

    `origin` is a folder by country, `parquet:GLOB_OR_FOLDER`, `table:FILE.csv|.parquet`, or
    `synthetic:scenes=2400,seed=0,…`; a path without a kind is told by what lies there. `source` names the
    collection (default: after the folder or file). `skip_unknown` leaves out what has no known country, or no
    file, instead of refusing. `folder` is where the synthetic world is written. Raises UserError.
    """
    kind, place = _kind(origin)
    frame = _read(kind, place, source, skip_unknown, folder)
    if not frame.height:
        raise UserError(f"{origin}: nothing is left to ingest")
    found = problems(frame)
    if found:
        raise UserError(f"{origin}: {found[0]}")
    return Manifest(frame.head(0)).with_step(
        "ingest", frame, origin=origin, kind=kind, source=frame["source"][0], skip_unknown=skip_unknown
    )


def _read(kind: str, place: str, source: str | None, skip_unknown: bool, folder: Path | None) -> pl.DataFrame:
    if kind == "synthetic":
        from whichland.sources.synthetic.world import parse, write

        made: pl.DataFrame = write(parse(f"synthetic:{place}"), folder or Path("world"))
        named = pl.lit(source) if source else pl.col("source")
        return made.with_columns(named.alias("source"), pl.col("label_country").alias("country"))
    if kind == "parquet":
        from whichland.sources.parquet import read_parquet

        return read_parquet(place, source=source, skip_unknown=skip_unknown)
    if kind == "table":
        from whichland.sources.table import read_table

        return read_table(_file(place), source=source, skip_unknown=skip_unknown)
    from whichland.sources.folder import read_folder

    return read_folder(Path(place), source=source, skip_unknown=skip_unknown)


def _kind(origin: str) -> tuple[str, str]:
    """Split `origin` into its kind and place, telling the kind by what lies there when it is not given."""
    kind, colon, place = origin.partition(":")
    if colon and kind in KINDS:
        return kind, place
    if origin in ("synthetic", "synthetic:"):
        return "synthetic", ""
    path = Path(origin)
    if path.is_dir():
        return ("parquet" if _holds_shards(path) else "folder"), origin
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv"):
        return "table", origin
    if path.is_file() and path.suffix.lower() == ".parquet":
        return ("parquet" if _embeds_images(path) else "table"), origin
    if not path.exists() and any(sign in origin for sign in "*?["):
        return "parquet", origin
    if path.is_file():
        raise UserError(
            f"{origin}: not a folder, CSV or Parquet file; known origins are {', '.join(KINDS)}:…"
        )
    raise UserError(f"{origin}: no such folder or file; known origins are {', '.join(KINDS)}:…")


def _file(place: str) -> Path:
    if not Path(place).is_file():
        raise UserError(f"{place}: no such file")
    return Path(place)


def _holds_shards(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in ("*.parquet", "data/*.parquet"))


def _embeds_images(file: Path) -> bool:
    try:
        image = pl.read_parquet_schema(file).get("image")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{file}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    return isinstance(image, pl.Struct) or image == pl.Binary
