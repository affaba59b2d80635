"""The harvester against a server on loopback that behaves, and one that misbehaves; killed, cut short, refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from killed_harvest import command, harvest
from misbehaving_mapillary import BOX, TOKEN, Mapillary, World, jpeg, serve
from whichland.errors import UserError
from whichland.manifest import problems
from whichland.sources.mapillary import search
from whichland.sources.mapillary.client import Client, Expired, Trouble, _Answer
from whichland.sources.mapillary.config import HarvestConfig
from whichland.sources.mapillary.harvest import Harvested, fetch
from whichland.sources.mapillary.journal import Journal
from whichland.sources.mapillary.places import Area
from whichland.sources.mapillary.records import iso, to_record, verified

QUICK = HarvestConfig(rate=120_000, timeout_s=1.0, backoff_s=0.01, budget=100_000)
ALL = f"mapillary:bbox={','.join(map(str, BOX))}"


def small() -> World:
    return World(drives=6, frames=8, long_drive=0)


@pytest.fixture
def server() -> Iterator[Mapillary]:
    with serve(small()) as mapillary:
        yield mapillary


@pytest.fixture
def run(server: Mapillary, tmp_path: Path) -> Callable[..., Harvested]:
    def run(origin: str = ALL, folder: str = "photos", **settings: Any) -> Harvested:
        config = replace(QUICK, **settings)
        return fetch(origin, tmp_path / folder, config, token=TOKEN, api=server.api.address)

    return run


# -- what comes ---------------------------------------------------------------------------------------------------


def test_every_image_comes_with_its_coordinates_creator_and_licence(
    run: Callable[..., Harvested], server: Mapillary
) -> None:
    frame = run().manifest.frame
    assert frame["image_id"].to_list() == [f"mapillary/{native}" for native in sorted(server.world.images)]
    assert problems(frame) == []
    assert server.wrongs == []
    for row in frame.iter_rows(named=True):
        image = server.world.images[row["image_id"].removeprefix("mapillary/")]
        lon, lat = (image.get("computed_geometry") or image["geometry"])["coordinates"]
        assert (row["lat"], row["lon"]) == (lat, lon)
        assert row["sequence"] == image["sequence"]
        assert row["label_country"] is None
        assert row["license"] == "CC-BY-SA-4.0"
        name = (image.get("creator") or {}).get("username")
        assert row["creator"] == name
        assert row["attribution"] == (f"© {name}, " if name else "") + "Mapillary, CC BY-SA 4.0"
        assert row["captured_at"] == (iso(image["captured_at"]) if image.get("captured_at") else None)
        assert Path(row["uri"]).read_bytes() == verified(jpeg(image["id"]))


def test_a_full_answer_and_a_refused_box_are_cut_up(tmp_path: Path) -> None:
    world = World(drives=2, frames=5, long_drive=2100)
    with serve(world) as server:
        found = fetch(
            "mapillary:bbox=9.5,58.5,10.7,59.5", tmp_path, replace(QUICK, per_sequence=10), token=TOKEN,
            api=server.api.address,
        )  # fmt: skip
    assert found.summary["stored"] == 20
    assert found.summary["left_out"] == {"more of one drive than per_sequence": 2090}


def test_empty_places_are_no_error(run: Callable[..., Harvested]) -> None:
    found = run("mapillary:bbox=-30,10,-29.95,10.05")
    assert len(found.manifest) == 0
    assert found.unfinished is None


def test_polygon_ids_and_sequence(run: Callable[..., Harvested], server: Mapillary, tmp_path: Path) -> None:
    images = server.world.images
    lon, lat = next(iter(images.values()))["geometry"]["coordinates"]
    triangle = [[lon - 0.004, lat - 0.004], [lon + 0.004, lat - 0.004], [lon, lat + 0.004]]
    file = tmp_path / "area, small.geojson"
    geometry = {"type": "Polygon", "coordinates": [[*triangle, triangle[0]]]}
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": geometry}]}))
    frame = run(f"mapillary:polygon={file}", "polygon").manifest.frame
    inside = frame.filter(
        (pl.col("lat") >= lat - 0.004) & (pl.col("lat") <= lat + 0.004 - 2 * (pl.col("lon") - lon).abs() + 1e-9)
    )
    assert 0 < frame.height == inside.height < len(images)

    wanted = sorted(images)[3:6]
    (tmp_path / "ids.txt").write_text("# mine\n" + "\n".join([*wanted, "404404404", wanted[0]]) + "\n")
    found = run(f"mapillary:ids={tmp_path / 'ids.txt'}", "ids")
    assert found.manifest.frame["image_id"].to_list() == [f"mapillary/{native}" for native in wanted]
    assert found.summary["reasons"] == {"Mapillary has it no more (HTTP 400)": 1}

    found = run("mapillary:sequence=drive0001,drive0003", "sequence", per_sequence=4)
    counts = dict(found.manifest.frame["sequence"].value_counts().iter_rows())
    assert counts == {"drive0001": 4, "drive0003": 4}


def test_a_country_is_sampled_with_few_photos_of_a_drive(tmp_path: Path) -> None:
    world = World(drives=8, frames=12, long_drive=0, west=1.45, south=42.45)  # Andorra and around
    with serve(world) as server:
        origin = "mapillary:country=Andorra,quota=18"
        config = replace(QUICK, per_sequence=3)
        first, again = (
            fetch(origin, tmp_path / name, config, token=TOKEN, api=server.api.address).manifest.frame
            for name in ("first", "again")
        )
        other = fetch(
            origin, tmp_path / "other", replace(config, seed=1), token=TOKEN, api=server.api.address
        ).manifest.frame
    from whichland.geo.borders import country_of

    assert first.height == 18
    assert set(country_of(first["lat"].to_numpy(), first["lon"].to_numpy())) == {"AD"}
    assert max(count for _, count in first["sequence"].value_counts().iter_rows()) <= 3
    assert first["image_id"].equals(again["image_id"])
    assert not first["image_id"].equals(other["image_id"])


@pytest.mark.parametrize(
    ("settings", "keep"),
    [
        ({"panoramas": "only"}, lambda i: bool(i.get("is_pano")) or i.get("camera_type") == "spherical"),
        ({"after": "2017-09-01"}, lambda i: (i.get("captured_at") or 0) >= 1504224000000),
        ({"before": "2017-09-01T00:00+02:00"}, lambda i: 0 < (i.get("captured_at") or 0) < 1504216800000),
        ({"min_size": 3000}, lambda i: min(i.get("width") or 0, i.get("height") or 0) >= 3000),
    ],
)
def test_what_the_settings_leave_out(
    run: Callable[..., Harvested], server: Mapillary, settings: dict[str, Any], keep: Callable[[Any], bool]
) -> None:
    for image in server.world.images.values():  # the API filters panoramas by this field alone
        image["is_pano"] = image.get("camera_type") == "spherical"
    wanted = [f"mapillary/{native}" for native, image in sorted(server.world.images.items()) if keep(image)]
    assert run(**settings).manifest.frame["image_id"].to_list() == wanted
    assert 0 < len(wanted) < len(server.world.images)


# -- faults -------------------------------------------------------------------------------------------------------


def test_killed_and_lied_to_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    world = {"drives": 7, "frames": 10, "long_drive": 0}
    with serve(World(**world), faults=0.3, lost=4, seed=3) as server:
        killed = harvest(
            tmp_path / "harvest", server, kills=4, budget=120, rate=3000, life_s=0.5, seed=1, timeout_s=0.4
        )
        assert sum(server.injected.values()) > 20
    with serve(World(**world), lost=4, seed=3) as calm_server:
        calm = harvest(tmp_path / "harvest", calm_server)
    assert killed.kills == 4
    assert killed.kills_at_work >= 3
    assert killed.files == calm.files
    assert len(calm.files) == 66
    assert killed.manifest == calm.manifest
    assert killed.over_budget == 0
    assert killed.budget_ends > 0
    assert server.wrongs == []
    secret = TOKEN.encode()
    assert all(secret not in data for data in (killed.journal, killed.manifest, *killed.files.values()))
    assert all(TOKEN not in text for text in killed.said)


def test_the_budget_holds_over_runs_and_is_counted_as_the_server_does(
    run: Callable[..., Harvested], server: Mapillary
) -> None:
    found = run(budget=20)
    assert "budget of 20" in str(found.unfinished)
    assert sum(server.asked.values()) == 20
    assert run(budget=20).unfinished is not None
    assert sum(server.asked.values()) == 20
    assert 0 < len(found.manifest) < len(server.world.images)
    found = run(budget=1000)
    assert found.unfinished is None
    assert len(found.manifest) == len(server.world.images)
    assert sum(found.summary["requests"].values()) == sum(server.asked.values())
    asked = sum(server.asked.values())
    run(budget=1000)
    assert sum(server.asked.values()) == asked, "nothing is asked for twice"


def test_requests_are_evenly_spaced(run: Callable[..., Harvested], server: Mapillary) -> None:
    run(rate=3000, budget=40)
    times = np.diff(np.sort(server.times))
    assert np.sum(times) >= 39 * 60 / 3000 * 0.95


def test_photos_that_vanish_come_again(run: Callable[..., Harvested], tmp_path: Path) -> None:
    frame = run().manifest.frame
    gone, emptied = (Path(uri) for uri in frame["uri"][:2])
    before = gone.read_bytes()
    gone.unlink()
    emptied.write_bytes(b"")
    (gone.parent / f".{gone.name}.1.part").write_bytes(b"half")
    assert run().manifest.frame.equals(frame)
    assert gone.read_bytes() == before
    assert emptied.stat().st_size > 0
    assert not list((tmp_path / "photos").glob("*/.*.part"))


def test_a_host_that_is_down_ends_the_harvest_with_a_way_on(tmp_path: Path) -> None:
    with serve(small()) as server:
        address = server.api.address
    with pytest.raises(UserError, match=r"failed, the last with: no connection; run the same command") as caught:
        fetch("mapillary:bbox=10,59,14,61", tmp_path, replace(QUICK, tries=2), token=TOKEN, api=address)
    assert TOKEN not in str(caught.value)


def test_searches_that_are_all_refused_do_not_eat_the_budget(run: Callable[..., Harvested], server: Mapillary) -> None:
    server.deny = True
    with pytest.raises(UserError, match="in a row failed, the last with: HTTP 400"):
        run()
    assert sum(server.asked.values()) < 250


def test_another_harvest_may_not_use_the_folder(run: Callable[..., Harvested], server: Mapillary) -> None:
    run(per_sequence=2)
    with pytest.raises(UserError, match="per_sequence differ"):
        run(per_sequence=3)


def test_two_at_once_may_not_use_the_folder(server: Mapillary, tmp_path: Path) -> None:
    slow = command(tmp_path, server, 1000, 60)
    journal = tmp_path / "m-photos" / "harvest.sqlite3"
    while not journal.exists() or not server.times:
        time.sleep(0.05)
    with pytest.raises(UserError, match="another harvest is using this folder"):
        fetch(ALL, tmp_path / "m-photos", QUICK, token=TOKEN, api=server.api.address)
    slow.send_signal(signal.SIGINT)
    _, told = slow.communicate(timeout=60)
    assert slow.returncode == 130
    assert "the same command resumes" in told


def test_a_refused_token_is_said_without_it(server: Mapillary, tmp_path: Path) -> None:
    secret = "MLY|wrong|secret"
    (tmp_path / "token").write_text(secret + "\n")
    server.refuse = True
    words = [sys.executable, "-m", "whichland", "data", "fetch", ALL, "-o", str(tmp_path / "m.parquet")]
    environment = {**os.environ, "MAPILLARY_API": server.api.address}
    done = subprocess.run(
        [*words, "--token-file", str(tmp_path / "token")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "does not accept the token" in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("url", ["http://[::bad", "file:///etc/passwd", "not an address", "", "ftp://127.0.0.1/a.jpg"])
def test_what_is_no_address_of_a_photo_is_not_asked_for(server: Mapillary, tmp_path: Path, url: str) -> None:
    journal = Journal(tmp_path)
    client = Client(server.api.address, TOKEN, QUICK, journal)
    with pytest.raises(Expired):
        client.photo(url)
    assert journal.count("requests") == {}
    client.close()
    journal.close()


def test_a_redirect_to_what_is_no_address_is_tried_again(server: Mapillary, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    client = Client(server.api.address, TOKEN, QUICK, journal)
    client._send = lambda *_: _Answer(302, {"location": "//[bad"}, b"")  # type: ignore[method-assign]
    with pytest.raises(Trouble, match="redirect"):
        client.photo("http://127.0.0.1/a.jpg")
    with pytest.raises(Trouble):
        client._read(_Answer(200, {}, b"[" * 100_000))
    client.close()
    journal.close()


def test_proxies_that_cannot_be_used_are_told(run: Callable[..., Harvested], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://localhost:1")
    with pytest.raises(UserError, match="ALL_PROXY"):
        run()


def test_a_list_of_ids_may_be_mended(run: Callable[..., Harvested], server: Mapillary, tmp_path: Path) -> None:
    file, native = tmp_path / "ids.txt", min(server.world.images)
    file.write_text(f"{native}\nnot an id\n")
    with pytest.raises(UserError, match="entry 2"):
        run(f"mapillary:ids={file}")
    file.write_text(f"{native}\n")
    assert len(run(f"mapillary:ids={file}").manifest) == 1


def test_an_empty_area_is_searched_to_its_last_box(
    run: Callable[..., Harvested], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_IDLE", 3)
    noted: list[tuple[int, bool]] = []
    choose = Journal.choose

    def note(self: Journal, *words: Any) -> None:
        noted.append((words[3].idle, words[3].finished))
        choose(self, *words)

    monkeypatch.setattr(Journal, "choose", note)
    found = run("mapillary:bbox=-30,10,-29.8,10.2,quota=5")
    assert noted == [(idle, False) for idle in range(1, 17)] + [(16, True)]
    assert found.unfinished is None
    assert found.summary["short"] == {"bbox": 0}


def test_a_sparse_area_comes_after_the_others_and_is_searched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of areas follows from what is noted alone: whoever is killed after any answer goes on alike."""
    monkeypatch.setattr(search, "MOST_IDLE", 3)

    def part(name: str, west: float) -> Area:
        def contains(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
            return np.asarray((lon >= west) & (lon < west + 0.3) & (lat >= 0) & (lat < 0.3))

        return Area(name=name, bounds=np.array([[west, 0, west + 0.3, 0.3]]), contains=contains, quota=1)

    areas, config = [part("sparse", 10.0), part("rich", 20.0)], replace(QUICK, workers=1)

    def image(job: search.BoxJob) -> Any:
        lon, lat = job.box[0] + 0.01, job.box[1] + 0.01
        return to_record({"id": f"{job.area}{job.cell}", "geometry": {"coordinates": [lon, lat]}}, "url")

    asked: dict[int, list[tuple[int, int]]] = {}
    for restart in (1000, 1):  # in one go, and killed after every answer
        journal = Journal(tmp_path / str(restart))
        looking, answers = search.Search(areas, journal, config), 0
        while (job := looking.next_job()) is not None:
            asked.setdefault(restart, []).append((job.area, job.cell))
            looking.answer(job, [image(job)] if job.area == 1 or job.cell == 20 else [])
            answers += 1
            if answers % restart == 0:
                looking = search.Search(areas, journal, config)
        assert journal.counts(0)[0] == journal.counts(1)[0] == 1
        assert [wanted.id for wanted in journal.wanted()] == ["020", "10"]
        journal.close()
    order = [area for area, _ in asked[1]]
    assert order.index(1) < order[::-1].index(1) + len(order)
    assert set(order[:3]) == {0}
    assert order[-1] == 0


def test_one_sequence_twice_is_fetched_once(run: Callable[..., Harvested], server: Mapillary) -> None:
    found = run("mapillary:sequence=drive0001,drive0001")
    assert len(found.manifest) == 8
    assert server.asked["api"] == 1 + 8
    assert server.asked["photo"] == 8
