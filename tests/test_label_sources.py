"""Where a bundle's countries are photographed: from training photos where there are enough, else from the land."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from whichland.errors import UserError
from whichland.geo.land import land_points, on_land
from whichland.manifest import Manifest
from whichland.model.label_points import ENOUGH, located
from whichland.model.label_sources import countries
from whichland.model.labels import LabelSpace, labels_text, read_labels

LABELS = ("FR", "JP", "NA")


def places_of(codes: tuple[str, ...], table: Manifest | None = None) -> LabelSpace:
    return located(countries(codes), table)


def manifest(photos: int = 400) -> Manifest:
    """Photos of France along a line, two a group, of Japan too few, of Namibia with a wrong label and at sea."""
    along = np.linspace(0, 1, photos)
    rows = [("FR", 44 + 5 * t, 1 + 3 * t, f"fr{n // 2}", "train") for n, t in enumerate(along)]
    rows += [("JP", 35.5 + 0.01 * n, 138.0, f"jp{n}", "train") for n in range(ENOUGH - 1)]
    rows += [("JP", 36.5 + 0.01 * n, 138.0, f"jpt{n}", "test") for n in range(ENOUGH)]
    rows += [("NA", -20 - 0.1 * n, 5.0, f"sea{n}", "train") for n in range(ENOUGH)]  # in the Atlantic
    rows += [("NA", 50 + 0.1 * n, 10.0, f"de{n}", "train") for n in range(ENOUGH)]  # in Germany
    table = pl.DataFrame(rows, schema=["country", "lat", "lon", "group", "split"], orient="row")
    names = table.with_row_index("n").select(pl.format("p{}", "n").alias("image_id"))["image_id"]
    return Manifest(table.with_columns(names, names.alias("uri"), pl.lit("t").alias("source")))


def test_training_photos_where_there_are_enough_in_the_country() -> None:
    found = places_of(LABELS, manifest())
    assert found.origins == ("photos", "land", "land")
    france, japan, namibia = found.points
    assert len(france) == 100
    # evenly along the line, from its south to its north end, one of each group
    assert np.abs(np.diff(france[:, 0]) - 5 / 99).max() < 0.03
    assert np.abs(france[:, 1] - (1 + 3 * (france[:, 0] - 44) / 5)).max() < 0.02
    for points, code in ((japan, "JP"), (namibia, "NA")):
        np.testing.assert_array_equal(points, land_points([code])[0])


def test_the_order_of_the_rows_does_not_matter() -> None:
    table = manifest()
    turned = Manifest(table.frame.sample(fraction=1, shuffle=True, seed=3))
    for one, other in zip(places_of(LABELS, table).points, places_of(LABELS, turned).points, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_coordinates_all_come_from_the_land() -> None:
    found = places_of(LABELS, Manifest(manifest().frame.drop("lat", "lon")))
    assert found.origins == ("land",) * 3
    assert all(on_land(*points.T).all() for points in found.points)
    assert places_of(LABELS).origins == ("land",) * 3
    with pytest.raises(UserError, match="'QQ' is no country"):
        places_of(("FR", "QQ"))


def test_they_come_back_from_the_bundle_in_the_order_of_its_labels(tmp_path: Path) -> None:
    assert read_labels(tmp_path, LABELS) == countries(LABELS)
    kept = places_of(LABELS, manifest())
    path = tmp_path / "labels.json"
    path.write_text(labels_text(kept), encoding="utf-8")
    again = read_labels(tmp_path, LABELS)
    assert again == kept
    assert again.origins == kept.origins
    for one, other in zip(again.points, kept.points, strict=True):
        np.testing.assert_allclose(one, other, atol=6e-4)
    assert path.stat().st_size < 8000
    for codes in ((*LABELS, "DE"), LABELS[::-1]):
        with pytest.raises(UserError, match="not the labels of this bundle"):
            read_labels(tmp_path, codes)
    written = json.loads(path.read_text())
    for damage in ({"levels": {}}, {"levels": {"country": {"FR": {}}}}, {"kind": "state"}, {"points": {"FR": {}}}):
        path.write_text(json.dumps(written | damage))
        with pytest.raises(UserError, match="not the labels of this bundle"):
            read_labels(tmp_path, LABELS)


def test_the_places_of_an_old_bundle_are_read(tmp_path: Path) -> None:
    kept = places_of(LABELS, manifest())
    written = json.loads(labels_text(kept))["points"]
    (tmp_path / "places.json").write_text(json.dumps(written))
    again = read_labels(tmp_path, LABELS[::-1])
    assert again == countries(LABELS[::-1])
    assert again.origins == kept.origins[::-1]
    for one, other in zip(again.points[::-1], kept.points, strict=True):
        np.testing.assert_allclose(one, other, atol=6e-4)
    with pytest.raises(UserError, match="not the labels of this bundle"):
        read_labels(tmp_path, (*LABELS, "DE"))
    (tmp_path / "places.json").write_text(json.dumps({code: {"from": "land", "points": []} for code in LABELS}))
    with pytest.raises(UserError, match="without places"):
        read_labels(tmp_path, LABELS)
    with pytest.raises(UserError, match=r"labels\.json is missing, and 'QQ' is no country"):
        read_labels(tmp_path, ("FR", "QQ"))


def test_in_order_neighbours_stand_together() -> None:
    space = countries(["US", "DE", "NA", "FR", "JP", "NO", "ZA"])
    assert space.in_order() == ["NA", "ZA", "JP", "NO", "FR", "DE", "US"]
