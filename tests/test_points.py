from pathlib import Path

import pytest

from whichland.errors import UserError
from whichland.sources.ingest import ingest

SHARED = Path(__file__).parent.parent.parent / "shared/data/points"


def test_places_without_photos(tmp_path: Path) -> None:
    (tmp_path / "drives.csv").write_text(
        "source,key,country_name,lat,lon,captured_at,sequence_id\n"
        "Mapillary,818,Namibia,-22.5,17.1,2017-05-22 04:29:46.932000-05:00,s1\n"
        "KartaView,37/311,Slovenia,46.05,14.52,2020-09-18 07:19:10+02:00,37\n"
    )
    frame = ingest(f"points:{tmp_path}/drives.csv").frame
    assert frame["uri"].to_list() == ["mapillary:818", "kartaview:37/311"]
    assert frame["image_id"].to_list() == ["mapillary/818", "kartaview/37/311"]
    assert frame["country"].to_list() == ["NA", "SI"]
    assert frame["captured_at"].to_list() == ["2017-05-22T09:29:46.932Z", "2020-09-18T05:19:10Z"]
    one = ingest(f"points:{tmp_path}/drives.csv", source="mine").frame
    assert one["source"].to_list() == ["mine", "mine"]


def test_rows_without_a_key_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("country,lat,lon\nTR,40.8,43.0\nIT,38.2,15.4\n")
    assert ingest(f"points:{tmp_path}/p.csv").frame["uri"].to_list() == ["p:1", "p:2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("country,lat\nTR,4\n", "no latitude and longitude"),
        ("country,lat,lon\nTR,99,4\n", r"row 1: \(99, 4\)"),
        ("country,lat,lon\nOz,9,4\n", "not a country: 'Oz'"),
        ("", "not a readable table"),
        ("country,lat,lon\n", "nothing is left"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(UserError, match=says):
        ingest(f"points:{tmp_path}/p.csv")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/points")
def test_real_points() -> None:
    drives = ingest(f"points:{SHARED}/mapillary_points.csv").frame
    assert dict(drives["source"].value_counts().iter_rows()) == {"mapillary": 5152, "kartaview": 1000}
    assert drives.select("captured_at", "sequence", "country").null_count().row(0) == (0, 0, 0)
    assert ingest(f"points:{SHARED}/streetview_points.csv").frame.height == 42776
