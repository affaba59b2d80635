"""The kinds of origin: what to write, where it must lie, and which function reads it. Imports nothing heavy."""

from typing import Literal, NamedTuple


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
