import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import forked
from whichland.curate import geocode as module
from whichland.curate.geocode import GeocodeConfig, geocode
from whichland.errors import UserError
from whichland.manifest import Manifest, problems, read, write
from whichland.sources.columns import complete

OSLO, PARIS, ROME, SAN_JUAN = (59.91, 10.75), (48.8566, 2.3522), (41.9, 12.5), (18.465, -66.106)
STRASBOURG, KEHL = (48.583, 7.745), (48.578, 7.815)  # 2 km from the Rhine, on either side
NULL_ISLAND, NOWHERE = (0.0, 0.0), (None, None)


def made(*rows: tuple[tuple[float | None, float | None], str | None]) -> Manifest:
    """A manifest of photos that do not exist, each with its place and label."""
    frame = pl.DataFrame(
        {
            "image_id": [f"made/{number}" for number in range(len(rows))],
            "uri": [f"/nowhere/{number}.jpg" for number in range(len(rows))],
            "source": ["made"] * len(rows),
            "lat": pl.Series([place[0] for place, _ in rows], dtype=pl.Float64),
            "lon": pl.Series([place[1] for place, _ in rows], dtype=pl.Float64),
            "label_country": pl.Series([label for _, label in rows], dtype=pl.String),
        }
    )
    return Manifest(frame.head(0)).with_step("ingest", complete(frame))


def row(place: tuple[float | None, float | None], label: str | None, **settings: object) -> tuple[object, ...]:
    """(country, conflict, swapped) of one photo."""
    found = geocode(made((place, label)), GeocodeConfig(**settings)).frame
    return found.select("country", "country_conflict", "swapped_country").row(0)


@pytest.mark.parametrize(
    ("place", "label", "expected"),
    [
        (PARIS, "FR", ("FR", False, None)),
        (PARIS, None, ("FR", None, None)),
        (NOWHERE, "FR", ("FR", None, None)),
        (NOWHERE, None, (None, None, None)),
        (PARIS, "JP", ("FR", True, None)),
        (NULL_ISLAND, "GH", ("GH", None, None)),  # no country there, so nothing to hold the label against
        (NULL_ISLAND, None, (None, None, None)),
        (SAN_JUAN, "US", ("PR", False, None)),  # the label is right, only less exact
        (SAN_JUAN, "GB", ("PR", True, None)),
        (OSLO[::-1], "NO", ("NO", None, "NO")),  # swapped, Oslo lies in the Arabian Sea
        (ROME[::-1], "IT", ("IT", True, "IT")),  # and Rome in Ethiopia
        (ROME[::-1], "FR", ("ET", True, None)),
    ],
)
def test_one_photo(place: tuple[float | None, float | None], label: str | None, expected: tuple[object, ...]) -> None:
    assert row(place, label) == expected


def test_a_swapped_pair_off_the_globe() -> None:
    assert row((139.69, 35.68), "JP") == ("JP", None, "JP")
    assert row((139.69, 35.68), "CN") == ("CN", None, None)


def test_trusting_labels() -> None:
    assert row(PARIS, "JP", trust="label") == ("JP", True, None)
    assert row(SAN_JUAN, "US", trust="label") == ("US", False, None)
    assert row(PARIS, None, trust="label") == ("FR", None, None)


def test_near_the_border_the_label_is_believed() -> None:
    for place, country, neighbour in ((STRASBOURG, "FR", "DE"), (KEHL, "DE", "FR")):
        assert row(place, neighbour, tolerance_km=0) == (country, True, None)
        assert row(place, neighbour, tolerance_km=8) == (neighbour, False, None)
        assert row(place, "CH", tolerance_km=8) == (country, True, None)  # that border is elsewhere


def test_dependencies_as_their_state() -> None:
    for label in ("US", "PR"):
        assert row(SAN_JUAN, label, territories="sovereign") == ("US", False, None)
    assert row(NOWHERE, "PR", territories="sovereign") == ("US", None, None)
    assert row(PARIS, "RE", territories="sovereign") == ("FR", False, None)


def test_the_table_and_its_history() -> None:
    before = made((PARIS, "FR"), (PARIS, "JP"), (NULL_ISLAND, None), (NOWHERE, "NA"), (ROME[::-1], "IT"))
    after = geocode(before)
    assert problems(after.frame) == []
    assert after.frame.select("image_id", "lat", "lon", "label_country").equals(
        before.frame.select("image_id", "lat", "lon", "label_country")
    )
    assert after.frame["country"].to_list() == ["FR", "FR", None, "NA", "IT"]
    assert after.frame["border_km"].is_null().to_list() == [False, False, False, True, False]
    step = after.history[-1]
    assert (step.step, step.params["tolerance_km"]) == ("geocode", 2.5)
    assert step.params["found"] == {
        "with_coordinates": 4,
        "in_no_country": 1,
        "conflicts": 2,
        "near_their_border": 0,
        "look_swapped": 1,
        "without_country": 1,
    }
    assert geocode(after).frame.equals(after.frame)


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    lat, lon = random.uniform(-60, 70, 500).tolist(), random.uniform(-180, 180, 500).tolist()
    table = made(*(((y, x), "FR" if n % 3 else None) for n, (y, x) in enumerate(zip(lat, lon, strict=True))))
    whole = geocode(table)
    monkeypatch.setattr(module, "BATCH", 37)
    assert geocode(table).frame.equals(whole.frame)


def test_empty() -> None:
    assert geocode(made()).frame.height == 0


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="0 or more"):
        GeocodeConfig(tolerance_km=-1)
    with pytest.raises(UserError, match="0 or more"):
        GeocodeConfig(coast_km=float("nan"))


def test_command(tmp_path: Path) -> None:
    file, out = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write(made((PARIS, "JP"), (SAN_JUAN, None)), file)
    command = ["-m", "whichland", "data", "geocode", file, "-o", out, "--json"]
    done = forked.run([*command, "--territories", "sovereign"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 2
    assert "conflicts 1" in done.stderr
    assert read(out).frame["country"].to_list() == ["FR", "US"]
    failed = forked.run([*command, "--territories", "nowhere.csv"])
    assert failed.returncode == 2
    assert "nowhere.csv" in failed.stderr
    assert "Traceback" not in failed.stderr
