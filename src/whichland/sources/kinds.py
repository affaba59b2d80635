"""The kinds of origin: what to write, where it must lie, and which function reads it. Imports nothing heavy."""

from typing import Literal, NamedTuple


class Kind(NamedTuple):
    """One kind of origin. `reader` is `module:function`, called as read(place, source=…, skip_unknown=…)."""

    reader: str
    form: str  # what follows `kind:`
    meaning: str
    place: Literal["folder", "file", "text"]  # what must lie there; text is left to the reader
    options: tuple[str, ...] = ()  # what else of ingest's settings the reader takes


KINDS = {
    "folder": Kind(
        "whichland.sources.folder:read_folder",
        "FOLDER",
        "photos, in a folder a country or without one; coordinates from their EXIF",
        "folder",
        ("exif",),
    ),
    "table": Kind(
        "whichland.sources.table:read_table",
        "FILE.csv|.parquet",
        "a path on each row, and a country or coordinates",
        "file",
    ),
    "parquet": Kind("whichland.sources.parquet:read_parquet", "GLOB_OR_FOLDER", "shards with embedded images", "text"),
    "hub": Kind(
        "whichland.sources.hub:read_hub",
        "OWNER/NAME[@REVISION][:SPLIT]",
        "a data set on the Hugging Face hub, as Parquet shards",
        "text",
    ),
    "osv5m": Kind("whichland.sources.osv5m:read_osv5m", "FOLDER", "OpenStreetView-5M, its zips as they are", "folder"),
    "country211": Kind(
        "whichland.sources.folder:read_country211",
        "FOLDER",
        "Country211, or any train|valid|test folders of country folders",
        "folder",
        ("exif",),
    ),
    "im2gps3k": Kind(
        "whichland.sources.im2gps3k:read_im2gps3k", "FOLDER", "Im2GPS3k: its table and its photos", "folder"
    ),
    "kartaview": Kind(
        "whichland.sources.kartaview:read_kartaview",
        "LIST.json|.jsonl",
        "answers of KartaView's API, the photos beside them by id",
        "file",
    ),
    "traffic-signs": Kind(
        "whichland.sources.traffic_signs:read_traffic_signs",
        "FOLDER",
        "the Mapillary Traffic Sign Dataset, which has no places: see --keys",
        "folder",
        ("keys",),
    ),
    "points": Kind(
        "whichland.sources.table:read_points",
        "FILE.csv|.parquet",
        "places without photos, to be geocoded and split",
        "file",
    ),
    "synthetic": Kind(
        "whichland.sources.ingest:read_synthetic",
        "scenes=2400,seed=0,…",
        "the synthetic world, rendered now",
        "text",
        ("folder",),
    ),
}


def forms() -> str:
    """List what can be written as an origin, in one line."""
    return ", ".join(f"{name}:{kind.form}" for name, kind in KINDS.items())
