"""Which column of somebody's table is what: the names that data sets give to path, country and coordinates."""

import re
from collections.abc import Iterable, Sequence

# Names of a role, the one to prefer first. Compared without case, with spaces and dashes as underscores.
ROLES: dict[str, tuple[str, ...]] = {
    "path": ("uri", "path", "image_path", "file_path", "filepath", "image", "file", "file_name", "filename", "img"),
    "country": (
        *("label_country", "country_iso_alpha2", "country_code", "iso2", "iso_a2", "iso_3166_1", "iso_code"),
        *("iso", "cc", "country", "country_name", "label", "target"),
    ),
    "lat": ("lat", "latitude", "gps_lat", "gpslatitude"),
    "lon": ("lon", "lng", "long", "longitude", "gps_lon", "gpslongitude"),
    "sequence": ("sequence", "sequence_id", "sequence_key", "sequence_uuid", "drive", "pano_id", "panoid"),
    "heading": ("heading", "compass_angle", "bearing", "gpsimgdirection"),
    "projection": ("projection", "camera_type", "projection_type"),
    "captured_at": ("captured_at", "capture_time", "timestamp", "datetime", "date_taken"),
    "creator": ("creator", "creator_username", "username", "author", "photographer"),
    "license": ("license", "licence"),
    "attribution": ("attribution", "credit"),
    "source": ("source", "collection", "provider"),
    "image_id": ("image_id", "id", "key", "img_id", "photo_id"),
}


def find_columns(names: Sequence[str], roles: Iterable[str]) -> dict[str, str]:
    """Map each role to the column that plays it; a role that no column plays is missing."""
    by_plain = {re.sub(r"[\s-]+", "_", name.strip().casefold()): name for name in reversed(names)}
    found = {}
    for role in roles:
        column = next((by_plain[name] for name in ROLES[role] if name in by_plain), None)
        if column is not None:
            found[role] = column
    return found
