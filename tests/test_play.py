"""The game over HTTP: rounds by seed, photos that tell nothing, and the truth only after a pin."""

import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from serving import bundle as bundle
from serving import create
from tiny_bundle import LABELS, make_photos
from whichland.errors import UserError
from whichland.geo.countries import country_name
from whichland.geo.distance import geoguessr_score, haversine_km
from whichland.images.decode import decode
from whichland.manifest import Manifest, write
from whichland.model.bundle import load
from whichland.model.labels import read_labels
from whichland.model.model import predict
from whichland.model.pins import pin_table, pins
from whichland.serving.rounds import LONG_SIDE, Truth, judge, number_of_day, open_deck, seed_of_day

PLACES = {"DE": (52.52, 13.4), "FR": (48.85, 2.35), "JP": (35.68, 139.7), "NO": (59.91, 10.75), "SE": (59.33, 18.07)}
GPS = {1: "N", 2: (48.0, 51.0, 0.0), 3: "E", 4: (2.0, 21.0, 0.0)}


def tell_all(path: Path) -> None:
    """Write into a photo what must not come out again."""
    picture = Image.open(path)
    exif = picture.getexif()
    exif[0x010E] = "taken in France, Paris"
    exif.get_ifd(0x8825).update(GPS)
    picture.resize((2000, 1500)).save(path, exif=exif, comment=b"France")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of eight photos a country; three of them are test photos, one of those is left out."""
    folder = tmp_path_factory.mktemp("played")
    photos = make_photos(folder / "secret-FR-Paris", 40)
    rows = []
    for number, path in enumerate(photos):
        code = list(PLACES)[number // 8]
        place = PLACES[code] if code != "NO" else (None, None)
        test = number % 8 in (0, 3, 5)
        rows.append(
            {
                "image_id": f"made/{code}-{number}",
                "uri": str(path),
                "source": "made",
                "lat": place[0],
                "lon": place[1],
                "country": code,
                "creator": f"who{number}",
                "license": "CC-BY-SA-4.0",
                "drop_reason": "blurred" if number % 8 == 5 else None,
                "split": "test" if test else "train",
            }
        )
        if test:
            tell_all(path)
    return write(Manifest(pl.DataFrame(rows)), folder / "world.parquet")


@pytest.fixture(scope="module")
def client(bundle: Path, table: Path) -> Iterator[TestClient]:
    with TestClient(create(bundle, play=str(table))) as client:
        yield client


def test_a_seed_deals_the_same_photos_to_everybody_and_no_country_twice(table: Path):
    first, second = open_deck(table), open_deck(table)
    assert [first.deal(seed) for seed in range(50)] == [second.deal(seed) for seed in range(50)]
    assert len({tuple(first.deal(seed)) for seed in range(50)}) > 40
    for seed in range(50):
        assert {first.truth(row).country for row in first.deal(seed)} == set(PLACES)


def test_only_test_photos_that_were_kept_are_dealt(table: Path):
    deck = open_deck(table)
    dealt = {deck.truth(row).credit for seed in range(200) for row in deck.deal(seed)}
    assert dealt == {f"who{number}, CC-BY-SA-4.0" for number in range(40) if number % 8 in (0, 3)}


def test_a_round_of_few_countries_takes_more_photos_of_each_but_none_twice(table: Path, tmp_path: Path):
    rows = pl.read_parquet(table).filter(pl.col("country").is_in(["DE", "FR"]))
    deck = open_deck(write(Manifest(rows), tmp_path / "two.parquet"))
    for seed in range(20):
        assert sorted(deck.deal(seed)) == [0, 1, 2, 3]


def test_a_photo_says_nothing_but_its_pixels(client: TestClient, table: Path):
    for number in range(1, 6):
        answer = client.get(f"/api/play/3/{number}/photo")
        assert answer.headers["content-type"] == "image/jpeg"
        shown = Image.open(io.BytesIO(answer.content))
        assert not shown.getexif()
        assert "comment" not in shown.info
        assert max(shown.size) == LONG_SIDE  # of 2,000
        told = answer.content + json.dumps(dict(answer.headers)).encode()
        assert b"France" not in told
        assert b"Exif" not in told
        assert b"secret" not in told


def test_nothing_that_is_answered_before_a_pin_holds_the_truth(client: TestClient):
    dealt = client.get("/api/play/3").json()
    assert {name: dealt.pop(name) for name in ("seed", "photos", "drawn")} == {"seed": 3, "photos": 5, "drawn": False}
    assert dealt.pop("countries") == list(PLACES)  # of the whole deck, in the order of their codes
    assert sorted(dealt.pop("placed")) == [False, True, True, True, True]
    assert all(re.fullmatch(r"who\d+, CC-BY-SA-4.0", credit) for credit in dealt.pop("credits"))
    assert list(dealt) == ["deck"]
    heat = client.get("/api/play/3/1/heat").json()
    assert set(heat) == {"views", "method", "evidence"}
    assert {name for view in heat["views"] for name in view} == {"box", "heading", "fov", "png"}
    schema = client.get("/openapi.json").json()
    assert {"/api/play/{seed}", "/api/play/{seed}/{number}/guess"} <= set(schema["paths"])


def test_the_answer_to_a_pin_is_scored_as_the_game_does_and_the_model_by_its_own_pin(
    client: TestClient, bundle: Path, tmp_path: Path
):
    places = read_labels(bundle, LABELS)
    assert places.points is not None
    seen = {}
    for number in range(1, 6):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(client.get(f"/api/play/3/{number}/photo").content)
        end = client.post(f"/api/play/3/{number}/guess", json={"lat": 50.0, "lon": 10.0}).json()
        truth = end["truth"]
        seen[truth["country"]] = end
        assert truth["name"] == country_name(truth["country"])
        assert truth["known"] == (truth["country"] in LABELS)
        assert end["you"]["country"] == "DE"
        probs_K = predict(load(bundle), path).probabilities
        assert isinstance(probs_K, np.ndarray)
        assert end["guesses"][0]["country"] == LABELS[probs_K.argmax()]
        assert end["guesses"][0]["probability"] == pytest.approx(probs_K.max(), abs=1e-3)
        if truth["lat"] is None:
            assert end["you"]["km"] is end["model"]["km"] is None
        else:
            best = pins(probs_K[None], pin_table(places.points))[0][0]
            assert (end["model"]["lat"], end["model"]["lon"]) == pytest.approx(tuple(best), abs=1e-3)
            km = haversine_km(50.0, 10.0, truth["lat"], truth["lon"])
            assert end["you"]["km"] == pytest.approx(km, abs=0.1)
            assert end["you"]["points"] == round(float(geoguessr_score(km)))
    assert set(seen) == set(PLACES)
    assert not seen["SE"]["truth"]["known"]
    assert seen["NO"]["truth"]["lat"] is None


NORWAY = Truth(country="NO", lat=None, lon=None, credit=None)
FRANCE = Truth(country="FR", lat=None, lon=None, credit=None)


@pytest.mark.parametrize(
    ("truth", "lat", "lon", "country"),
    [
        (NORWAY, 69.6, 18.9, "NO"),
        (NORWAY, 59.33, 18.07, "SE"),
        (FRANCE, 48.573, 7.815, "DE"),  # Kehl, across the Rhine from Strasbourg
        (FRANCE, 11.0, -109.0, None),  # the Pacific, in the waters of Clipperton
        (FRANCE, 30.0, -45.0, None),
    ],
)
def test_without_coordinates_a_country_is_right_or_wrong(truth: Truth, lat: float, lon: float, country: str | None):
    right = country == truth.country
    pinned = judge(truth, lat=lat, lon=lon)
    assert (pinned.country, pinned.right, pinned.km, pinned.points) == (country, right, None, 5000 if right else 0)
    named = judge(truth, country=truth.country)
    assert (named.right, named.points, named.lat) == (True, 5000, None)


def test_a_country_is_played_against_the_likeliest_country_of_the_model(client: TestClient):
    for number in range(1, 6):
        end = client.post(f"/api/play/3/{number}/guess", json={"country": "DE"}).json()
        truth = end["truth"]
        for who, country in (("you", "DE"), ("model", end["guesses"][0]["country"])):
            right = country == truth["country"]
            expected = {"lat": None, "lon": None, "country": country, "right": right, "km": None}
            assert end[who] == expected | {"points": 5000 if right else 0}
        guessed = {guess["country"]: (at, guess["probability"]) for at, guess in enumerate(end["guesses"], 1)}
        passed = client.post(f"/api/play/3/{number}/guess", json={}).json()
        assert (passed["you"]["right"], passed["you"]["points"]) == (False, 0)
        if truth["known"]:
            assert (truth["rank"], pytest.approx(truth["probability"], abs=1e-6)) == guessed[truth["country"]]
        else:
            assert (truth["rank"], truth["probability"]) == (None, None)


def test_the_day_deals_the_same_photos_to_everybody_with_the_same_deck(client: TestClient, table: Path, tmp_path: Path):
    before = datetime.now(UTC).date()
    daily = client.get("/api/play/daily").json()
    deck, day = open_deck(table), datetime.now(UTC).date()
    assert daily["number"] in {number_of_day(before), number_of_day(day)}
    dealt = client.get(f"/api/play/{daily['seed']}").json()
    assert dealt == {name: value for name, value in daily.items() if name != "number"}
    later = [day + timedelta(days=ahead) for ahead in range(100)]
    seeds = [seed_of_day(deck, at, 10**9) for at in later]
    assert len(set(seeds)) == len(later)
    # the same photos elsewhere, in another order of the rows
    moved = write(Manifest(pl.read_parquet(table).reverse().with_columns(uri=pl.lit("x"))), tmp_path / "moved.parquet")
    assert [seed_of_day(open_deck(moved), at, 10**9) for at in later] == seeds
    fewer = write(Manifest(pl.read_parquet(table).head(30)), tmp_path / "fewer.parquet")
    assert not set(seeds) & {seed_of_day(open_deck(fewer), at, 10**9) for at in later}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/play/3/6/guess", {"lat": 0, "lon": 0}, 422),
        ("/api/play/3/0/guess", {"lat": 0, "lon": 0}, 422),
        ("/api/play/-1/1/guess", {"lat": 0, "lon": 0}, 422),
        ("/api/play/3/1/guess", {"lat": 91, "lon": 0}, 422),
        ("/api/play/3/1/guess", {"lat": 0}, 422),
        ("/api/play/3/1/guess", {"lat": "NaN", "lon": 0}, 422),
        ("/api/play/3/1/guess", {"lat": 0, "lon": 0, "country": "DE"}, 422),
        ("/api/play/3/1/guess", {"country": "Germany"}, 422),
    ],
)
def test_what_is_no_round_or_no_place_is_one_line(client: TestClient, path: str, body: object, status: int):
    answer = client.post(path, json=body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]


def test_a_round_shorter_than_five_has_no_fifth_photo(bundle: Path, table: Path, tmp_path: Path):
    rows = pl.read_parquet(table).filter((pl.col("split") == "test") & (pl.col("country") == "JP"))
    path = write(Manifest(rows), tmp_path / "few.parquet")
    with TestClient(create(bundle, play=str(path))) as client:
        assert client.get("/api/play/0").json()["photos"] == 2
        assert client.get("/api/play/0/2/photo").status_code == 200
        assert client.get("/api/play/0/3/photo").status_code == 404


def test_a_photo_that_is_gone_is_said_without_its_path(bundle: Path, table: Path, tmp_path: Path):
    rows = pl.read_parquet(table).with_columns(uri=pl.lit(str(tmp_path / "gone.jpg")))
    path = write(Manifest(rows), tmp_path / "gone.parquet")
    with TestClient(create(bundle, play=str(path))) as client:
        for answer in (
            client.get("/api/play/1/1/photo"),
            client.post("/api/play/1/1/guess", json={"lat": 0, "lon": 0}),
        ):
            assert answer.status_code == 422
            assert answer.json() == {"error": "this photo cannot be read"}


def test_a_crowd_is_told_when_to_come_again(client: TestClient):
    load_now = client.app.state.whichland.load  # type: ignore[attr-defined]
    before, load_now.photos = load_now.photos, load_now.settings.queue
    try:
        answer = client.get("/api/play/3/1/photo")
    finally:
        load_now.photos = before
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


def test_without_a_manifest_drawn_streets_are_played_with(bundle: Path):
    with TestClient(create(bundle)) as client:
        dealt = client.get("/api/play/9").json()
        assert (dealt["photos"], dealt["drawn"], set(dealt["placed"])) == (5, True, {True})
        data = client.get("/api/play/9/1/photo").content
        assert data == client.get("/api/play/9/1/photo").content
        assert decode(data).shape == (480, 640, 3)
        end = client.post("/api/play/9/1/guess", json={"lat": 0, "lon": 0}).json()
        assert "CC0" in end["truth"]["credit"]


def test_a_manifest_that_cannot_be_played_with_is_refused_at_the_start(table: Path, tmp_path: Path):
    rows = pl.read_parquet(table)
    with pytest.raises(UserError, match="split"):
        open_deck(write(Manifest(rows.drop("split")), tmp_path / "unsplit.parquet"))
    with pytest.raises(UserError, match="no test photos"):
        open_deck(write(Manifest(rows.filter(pl.col("split") == "train")), tmp_path / "train.parquet"))
