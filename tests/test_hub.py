import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from misbehaving_hub import COMMIT, DataSet, serve
from whichland.errors import UserError
from whichland.sources import hub
from whichland.sources.ingest import ingest
from whichland.sources.parquet import Shard, choose, shards_by_name


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    random = np.random.default_rng(shade)
    Image.fromarray(random.integers(0, 256, (160, 240, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def shard(*names: str, **columns: object) -> bytes:
    """A shard as the hub's library writes it; gal_yair's columns: lat, lon and country_code in lower case."""
    buffer = io.BytesIO()
    rows: list[dict[str, Any]] = [
        {
            "image": {"bytes": jpeg(len(name)), "path": f"{name}.jpg"},
            "lat": -22.5,
            "lon": 17.1,
            "country_code": "na",
            **columns,
        }
        for name in names
    ]
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


OLD, NEW = "2023-03-01T10:00:00.000Z", "2023-09-01T10:00:00.000Z"
PANO = {
    **{f"data/train-0000{n}-of-00003-aa0{n}.parquet": shard(f"old{n}") for n in range(3)},
    **{f"data/train-0000{n}-of-00002-bb0{n}.parquet": shard(f"new{n}", f"more{n}") for n in range(2)},
}
DATASETS = {
    "gal_yair/streets": DataSet(
        files={
            "README.md": b"# streets",
            "data/train-00000-of-00002.parquet": shard("a", "b"),
            "data/train-00001-of-00002.parquet": shard("c"),
            "data/test-00000-of-00001.parquet": shard("d", country_code="xk"),
        }
    ),
    "made/twice": DataSet(files=PANO, dates={path: OLD if "-of-00003" in path else NEW for path in PANO}),
    "made/zips": DataSet(files={"train.csv": b"id", "images/00.zip": b"PK"}),
    "made/odd": DataSet(files={"data/train[v1].parquet": shard("a")}),
    "made/two": DataSet(files={"en/train.parquet": shard("a"), "fr/train.parquet": shard("b")}),
}

# Each step sets the hub's mood, may forget the cache or go offline, and ingests; each answer is a line of JSON.
ASK = """
import json, os, shutil, sys, time, urllib.request
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
import huggingface_hub.constants
from whichland.errors import UserError
from whichland.images.containers import read_bytes
from whichland import hub_client
from whichland.sources.ingest import ingest
hub_client.PATIENCE_S = 2.0
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1024  # what is kept of a file that breaks off comes in these
address, cache, steps = sys.argv[1:]
sleep, time.sleep = time.sleep, lambda seconds: sleep(min(seconds, 0.01))  # between the hub client's retries
for step in json.loads(steps):
    urllib.request.urlopen(f"{address}/mood/{step['mood'].replace(' ', '%20')}").read()
    if step.get("forget"):
        shutil.rmtree(cache, ignore_errors=True)
    huggingface_hub.constants.HF_HUB_OFFLINE = step.get("offline", False)
    start, said = time.monotonic(), StringIO()
    try:
        with redirect_stderr(said):
            frame = ingest(step["origin"]).frame
        assert all(read_bytes(uri)[:2] == b"\\xff\\xd8" for uri in frame["uri"])
        answer = {"rows": frame.select("image_id", "country", "official_split").to_dict(as_series=False)}
        answer["inside"] = all(uri.startswith(cache) for uri in frame["uri"])
    except UserError as error:
        answer = {"error": str(error)}
    answer |= {"name": step["name"], "said": said.getvalue(), "seconds": time.monotonic() - start}
    print(json.dumps(answer), flush=True)
"""
STREETS = "hub:gal_yair/streets"
STEPS = [
    {"name": "good", "mood": "good", "origin": STREETS},
    {"name": "again", "mood": "good", "origin": STREETS},
    {"name": "offline", "mood": "good", "origin": f"{STREETS}:test", "offline": True},
    {"name": "silent, cached", "mood": "hangs", "origin": STREETS},
    {"name": "a branch", "mood": "good", "origin": f"{STREETS}@{COMMIT[:2]}", "offline": True},
    {"name": "a commit", "mood": "good", "origin": f"{STREETS}@{COMMIT[:7]}", "offline": True},
    {"name": "one split", "mood": "good", "origin": f"{STREETS}:test", "forget": True},
    {"name": "offline, partly", "mood": "good", "origin": f"{STREETS}:train", "offline": True},
    {"name": "drops once", "mood": "drops once", "origin": f"{STREETS}@main:train", "forget": True},
    {"name": "drops", "mood": "drops", "origin": STREETS, "forget": True},
    {"name": "resumed", "mood": "good", "origin": STREETS},
    {"name": "gated", "mood": "gated", "origin": STREETS, "forget": True},
    {"name": "twice", "mood": "good", "origin": "hub:made/twice"},
    {"name": "silent", "mood": "hangs", "origin": "hub:made/zips"},
    {"name": "503", "mood": "503", "origin": "hub:made/zips"},
    {"name": "zips", "mood": "good", "origin": "hub:made/zips"},
    {"name": "odd", "mood": "good", "origin": "hub:made/odd"},
    {"name": "two", "mood": "good", "origin": "hub:made/two"},
    {"name": "one of two", "mood": "good", "origin": "hub:made/two:fr"},
    {"name": "unknown", "mood": "good", "origin": "hub:made/nothing"},
    {"name": "revision", "mood": "good", "origin": "hub:made/two@v9:fr"},
    {"name": "split", "mood": "good", "origin": f"{STREETS}:dev"},
    {"name": "name", "mood": "good", "origin": "hub:streets"},
]
Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    cache = tmp_path_factory.mktemp("hub")
    with serve(datasets=DATASETS) as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.address,
            "HF_HUB_CACHE": str(cache),
            "HF_TOKEN": "hf_thisMustNeverBeShown",
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
        }
        for name in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
            environment.pop(name, None)
        command = [sys.executable, "-c", ASK, hub.address, str(cache), json.dumps(STEPS)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert "hf_thisMustNeverBeShown" not in done.stdout + done.stderr
    found = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    print(json.dumps(found, indent=1), done.stderr, *hub.asked, sep="\n")  # shown when a test fails
    assert done.returncode == 0, done.stderr
    found["asked"] = {"all": hub.asked}
    return found


def test_shards_come_from_the_hub_once(answers: Answers) -> None:
    rows = answers["good"]["rows"]
    assert rows["image_id"] == ["streets/d", "streets/a", "streets/b", "streets/c"]
    assert rows["country"] == ["XK", "NA", "NA", "NA"]
    assert rows["official_split"] == ["test", "train", "train", "train"]
    assert answers["good"]["inside"]
    assert "fetching 3 of 3 shards" in answers["good"]["said"]
    assert answers["again"]["rows"] == rows
    assert answers["again"]["said"] == ""


def test_the_cache_answers_without_a_network(answers: Answers) -> None:
    assert answers["offline"]["rows"]["image_id"] == ["streets/d"]
    assert answers["silent, cached"]["rows"] == answers["good"]["rows"]
    assert "looking in its cache" in answers["silent, cached"]["said"]
    assert answers["silent, cached"]["seconds"] < 20


def test_a_branch_is_not_taken_for_a_commit(answers: Answers) -> None:
    assert "not in the hub's cache" in answers["a branch"]["error"]
    assert answers["a commit"]["rows"] == answers["good"]["rows"]


def test_names_with_brackets_are_no_patterns(answers: Answers) -> None:
    assert answers["odd"]["rows"]["image_id"] == ["odd/a"]


def test_a_split_is_fetched_alone(answers: Answers) -> None:
    assert answers["one split"]["rows"]["image_id"] == ["streets/d"]
    assert "fetching 1 of 1 shards" in answers["one split"]["said"]
    assert "no split 'train'" in answers["offline, partly"]["error"]


def test_what_was_cut_off_goes_on_where_it_stopped(answers: Answers) -> None:
    assert answers["drops once"]["rows"]["image_id"] == ["streets/a", "streets/b", "streets/c"]
    assert "the same command resumes" in answers["drops"]["error"]
    assert answers["resumed"]["rows"] == answers["good"]["rows"]
    went_on = [line for line in answers["asked"]["all"] if line.startswith("drops once GET") and "bytes=" in line]
    assert len(went_on) == 2, "each of two shards was cut off once and resumed"


def test_the_newer_set_of_shards_is_read(answers: Answers) -> None:
    assert answers["twice"]["rows"]["image_id"] == [*("twice/new0", "twice/more0", "twice/new1", "twice/more1")]
    assert "several sets of shards, of 2 (2 there), of 3 (3 there): reading the one of 2" in answers["twice"]["said"]
    assert not [line for line in answers["asked"]["all"] if "of-00003" in line], "the old set was fetched, too"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("silent", "not in the hub's cache, and the hub cannot be asked"),
        ("503", "not in the hub's cache, and the hub cannot be asked"),
        ("gated", "accept its terms on its page and set HF_TOKEN"),
        ("zips", "no Parquet files among its 2 (.csv, .zip)"),
        ("two", "several configurations, en, fr"),
        ("unknown", "no such data set"),
        ("revision", "no revision 'v9'"),
        ("split", "no split 'dev'; there are test, train"),
        ("name", "expected hub:OWNER/NAME"),
    ],
)
def test_what_cannot_be_had_is_one_clear_line(answers: Answers, name: str, says: str) -> None:
    message = answers[name].get("error")
    assert isinstance(message, str), f"no error: {answers[name]}"
    assert says in message
    assert "\n" not in message
    assert answers[name]["seconds"] < 20


def test_one_configuration_of_two(answers: Answers) -> None:
    assert answers["one of two"]["rows"]["image_id"] == ["two/b"]


# --- which shards belong together ---------------------------------------------------------------------------


def shards(*names: str) -> list[Shard]:
    return shards_by_name(dict.fromkeys(names, 1))


def test_names_tell_the_set() -> None:
    told = shards("data/train-00001-of-00005-0f3a.parquet", "default/test/0002.parquet", "x.parquet", "a.csv")
    assert [(s.config, s.split, s.number, s.total) for s in told] == [
        ("data", "train", 1, 5),
        ("default", "test", 2, None),
        (".", "x", 0, None),
    ]


def test_a_complete_set_goes_before_a_newer_one(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"data/train-0000{n}-of-00002-a.parquet" for n in range(2)]
    newer = "data/train-00000-of-00003-b.parquet"
    dates = {newer: datetime(2024, 1, 1, tzinfo=UTC)}
    assert [s.path for s in choose(shards(newer, *names), None, "hub:x/y", dates)] == names
    assert "reading the one of 2" in capsys.readouterr().err
    with pytest.raises(UserError, match="1 of 3 shards of 'train' are there, and the hub cannot be asked"):
        choose(shards(newer), None, "hub:x/y", {}, whole=True)


def test_of_one_number_the_newest_is_taken() -> None:
    names = [f"data/train-0000{n}-of-00002-{hash_}.parquet" for n in range(2) for hash_ in "ab"]
    dates = {name: datetime(2024 if "-a." in name else 2023, 1, 1, tzinfo=UTC) for name in names}
    chosen = choose(shards(*names), None, "hub:x/y", dates)
    assert [shard.path for shard in chosen] == [name for name in names if "-a." in name]


def test_a_disk_that_is_too_small_is_told_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "not" / "there"))
    huge = [Shard(path="a.parquet", config=".", split="a", number=0, total=None, size=10**18)]
    with pytest.raises(UserError, match=r"1000000000\.0 GB of hub:x/y do not fit"):
        hub._fetch("x/y", "main", COMMIT, huge)


def test_a_process_that_has_used_the_hub_for_nothing_else_says_so_in_one_line(tmp_path: Path) -> None:
    """In a process of its own: the hub's client does not import its own parts."""
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    words = ["data", "ingest", "hub:nobody/nothing", "-o", str(tmp_path / "m.parquet")]
    done = subprocess.run(
        [sys.executable, "-m", "whichland", *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("whichland: hub:nobody/nothing: not in the hub's cache")


def test_without_its_client_the_hub_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "whichland.hub_client", raising=False)
    monkeypatch.delitem(sys.modules, "whichland.sources.hub")
    with pytest.raises(UserError, match=r"needs the extra 'hub': .* -m pip install -e '.*\[hub\]'"):
        ingest("hub:someone/photos")
