"""Photos from anywhere to the manifest: recognise the kind of origin and hand it to the source that reads it."""

from importlib import import_module
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

from whichland.errors import UserError
from whichland.images.containers import passed_over
from whichland.manifest import Manifest, problems
from whichland.sources.files import walk
from whichland.sources.folder import PARTS, has_parts
from whichland.sources.im2gps3k import is_im2gps3k
from whichland.sources.parquet import holds_images
from whichland.sources.sidecars import MAPILLARY
from whichland.sources.table import JSON_SUFFIXES
from whichland.sources.traffic_signs import is_traffic_signs


class Kind(NamedTuple):
    """One kind of origin. `reader` is `module:function`, called as read(place, source=…, skip_unknown=…)."""

    reader: str
    form: str  # what follows `kind:`
    place: Literal["folder", "file", "text"]  # what must lie there; text is left to the reader
    meaning: str
    options: tuple[str, ...] = ()  # what else of ingest's settings the reader takes


_COUNTRY211 = "Country211, or any train|valid|test folders of country folders"
_FOLDER = "photos, in a folder a country or without one; coordinates from their EXIF"
_KARTAVIEW = "answers of KartaView's API, the photos beside them by id"
_SIGNS = "the Mapillary Traffic Sign Dataset, which has no places: see --keys"
_HUB = "a data set on the Hugging Face hub, as Parquet shards"
_TABLE, _POINTS = "a path on each row, and a country or coordinates", "places without photos, to be geocoded and split"

KINDS = {
    "folder": Kind("folder:read_folder", "FOLDER", "folder", _FOLDER, ("exif",)),
    "table": Kind("table:read_table", "FILE.csv|.parquet", "file", _TABLE),
    "parquet": Kind("parquet:read_parquet", "GLOB_OR_FOLDER", "text", "shards with embedded images"),
    "hub": Kind("hub:read_hub", "OWNER/NAME[@REVISION][:SPLIT]", "text", _HUB),
    "osv5m": Kind("osv5m:read_osv5m", "FOLDER", "folder", "OpenStreetView-5M, its zips as they are"),
    "country211": Kind("folder:read_country211", "FOLDER", "folder", _COUNTRY211, ("exif",)),
    "im2gps3k": Kind("im2gps3k:read_im2gps3k", "FOLDER", "folder", "Im2GPS3k: its table and its photos"),
    "kartaview": Kind("kartaview:read_kartaview", "LIST.json|.jsonl", "file", _KARTAVIEW),
    "traffic-signs": Kind("traffic_signs:read_traffic_signs", "FOLDER", "folder", _SIGNS, ("keys",)),
    "points": Kind("table:read_points", "FILE.csv|.parquet", "file", _POINTS),
    "synthetic": Kind(
        "ingest:read_synthetic", "scenes=2400,seed=0,…", "text", "the synthetic world, rendered now", ("folder",)
    ),
}


def forms() -> str:
    """List what can be written as an origin, in one line."""
    return ", ".join(f"{name}:{kind.form}" for name, kind in KINDS.items())


def ingest(
    origin: str,
    *,
    source: str | None = None,
    skip_unknown: bool = False,
    folder: Path | None = None,
    exif: bool = True,
    keys: Path | None = None,
) -> Manifest:
    """Make a manifest of the photos at `origin`.

    `origin` is `kind:place`, the kinds being those of `KINDS`; a path without a kind is recognised by what lies
    there. `source` names the collection (default: after the folder or file). `skip_unknown` leaves out what has no
    known country, or no file, instead of refusing. `folder` is where the synthetic world is written. `exif` reads
    the coordinates and times that cameras wrote into the photos of a folder. `keys` is a table that places the
    photos of the traffic sign set. Raises UserError.
    """
    kind, place = _kind(origin)
    for option, given in (("keys", keys), ("folder", folder)):
        if given is not None and option not in KINDS[kind].options:
            taking = ", ".join(f"{name}:" for name, entry in KINDS.items() if option in entry.options)
            raise UserError(f"{origin}: --{option} belongs to {taking} and this is read as {kind}:")
    reader = KINDS[kind]
    if reader.place == "folder" and not Path(place).is_dir():
        raise UserError(f"{place}: no such folder")
    if reader.place == "file" and not Path(place).is_file():
        raise UserError(f"{place}: no such file")
    module, _, function = reader.reader.partition(":")
    settings = {"folder": folder, "exif": exif, "keys": keys}
    frame: pl.DataFrame = getattr(import_module(f"whichland.sources.{module}"), function)(
        place if reader.place == "text" else Path(place),
        source=source,
        skip_unknown=skip_unknown,
        **{name: settings[name] for name in reader.options},
    )
    if not frame.height:
        raise UserError(f"{origin}: nothing is left to ingest")
    found = problems(frame)
    if found:
        raise UserError(f"{origin}: {found[0]}")
    asked = {"skip_unknown": skip_unknown, "exif": exif, "keys": None if keys is None else str(keys)}
    return Manifest(frame.head(0)).with_step(
        "ingest", frame, origin=origin, kind=kind, source=frame["source"][0], **asked
    )


def read_synthetic(
    place: str, *, source: str | None = None, skip_unknown: bool = False, folder: Path | None = None
) -> pl.DataFrame:
    """Render the synthetic world below `folder`; all of its countries are known."""
    from whichland.sources.synthetic.files import write
    from whichland.sources.synthetic.world import parse

    made: pl.DataFrame = write(parse(f"synthetic:{place}"), folder or Path("world"))
    named = pl.lit(source) if source else pl.col("source")
    return made.with_columns(named.alias("source"), pl.col("label_country").alias("country"))


def _kind(origin: str) -> tuple[str, str]:
    """Split `origin` into its kind and place, telling the kind by what lies there when it is not given."""
    kind, colon, place = origin.partition(":")
    if colon and kind in KINDS:
        return kind, place
    if origin == "synthetic":
        return "synthetic", ""
    if kind == "mapillary":
        raise UserError(f"{origin}: photos of Mapillary are fetched first: whichland data fetch {origin} -o FILE")
    path = Path(origin)
    if path.is_dir():
        return _kind_of_folder(path), origin
    suffix = path.suffix.lower()
    if path.is_file() and suffix in (".csv", ".tsv", *JSON_SUFFIXES):
        if path.name == MAPILLARY:
            raise UserError(f"{origin}: it describes the photos beside it: ingest their folder, {path.parent}")
        return "table", origin
    if path.is_file() and suffix == ".parquet":
        return ("parquet" if holds_images(path) else "table"), origin
    if path.is_file() and suffix in (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar"):
        raise UserError(f"{origin}: an archive: unpack it and ingest the folder, or name its photos in a table")
    if not path.exists() and any(sign in origin for sign in "*?["):
        return "parquet", origin
    if path.is_file():
        raise UserError(f"{origin}: not a folder, CSV or Parquet file; known origins are {forms()}")
    raise UserError(f"{origin}: no such folder or file; known origins are {forms()}")


def _kind_of_folder(folder: Path) -> str:
    if any((folder / "images" / part).is_dir() and (folder / f"{part}.csv").is_file() for part in PARTS):
        return "osv5m"
    if is_traffic_signs(folder):
        return "traffic-signs"
    if is_im2gps3k(folder):
        return "im2gps3k"
    if _holds_shards(folder):
        return "parquet"
    return "country211" if has_parts(folder) else "folder"


def _holds_shards(folder: Path) -> bool:
    """Whether Parquet files with images lie here; a table, such as a manifest, may lie beside photos."""
    shards = [file for pattern in ("*.parquet", "data/*.parquet") for file in sorted(folder.glob(pattern))]
    shards = [file for file in shards if not passed_over(file.name)]
    photos = next(iter(walk(folder, skip_unknown=True)[0]), None) if shards else None
    if photos is None:
        return bool(shards)
    if any(holds_images(file) for file in shards[:20]):
        raise UserError(f"{folder}: both photos and shards of photos: write folder:{folder} or parquet:{folder}")
    return False
