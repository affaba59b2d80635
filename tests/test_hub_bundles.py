"""Bundles by their name on the hub: published, fetched once, opened without a network, and one line when not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from misbehaving_hub import TOKEN, serve
from saved_bundle import save_bundle
from whichland.model.backbone import create

pytest.importorskip("huggingface_hub")

# Each step sets the hub's mood, may forget the cache, go offline or change the token, and runs one command.
RUN = """
import json, os, shutil, sys, time, urllib.request
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
import huggingface_hub.constants
from whichland import hub_client
from whichland.cli.main import main
hub_client.PATIENCE_S = 5.0
address, cache, steps = sys.argv[1:]
sleep, time.sleep = time.sleep, lambda seconds: sleep(min(seconds, 0.01))  # between the hub client's retries
for step in json.loads(steps):
    urllib.request.urlopen(f"{address}/mood/{step.get('mood', 'good').replace(' ', '%20')}").read()
    if step.get("forget"):
        shutil.rmtree(cache, ignore_errors=True)
    os.environ["HF_TOKEN"] = step.get("token", "hf_thisMustNeverBeShown")
    huggingface_hub.constants.HF_HUB_OFFLINE = step.get("offline", False)
    sys.argv[1:] = step["command"]
    out, error, code = TextIOWrapper(BytesIO()), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(error):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    out.flush()
    said = {"out": out.buffer.getvalue().decode(), "error": error.getvalue()}
    print(json.dumps({"name": step["name"], "code": code} | said), flush=True)
"""

OURS = "hub:them/streets"
Ran = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    for name in ("bundle", "shown"):
        save_bundle(folder / name, create("test_efficientnet", 3, weights="none"))
    photos = {"license": ["CC-BY-4.0", "CC0-1.0", "all rights reserved"], "credit": ["A", None, "B"]}
    pl.DataFrame(photos).write_parquet(folder / "shown" / "gallery.parquet")
    (folder / "empty").mkdir()
    Image.new("RGB", (300, 200), (90, 120, 60)).save(folder / "a.png")
    return folder


@pytest.fixture(scope="module")
def ran(folder: Path) -> Ran:
    bundle, photo, cache = str(folder / "bundle"), str(folder / "a.png"), folder / "cache"
    predict = ["predict", OURS, photo]
    steps = [
        {"name": "held back", "command": ["push", str(folder / "shown"), "them/streets"]},
        {"name": "stranger", "command": ["push", bundle, "them/streets"], "token": "hf_ofSomebodyElse"},
        {"name": "refused", "command": ["push", bundle, "them/streets"], "mood": "503"},
        {"name": "no bundle", "command": ["push", str(folder / "empty"), "them/streets"]},
        {"name": "unknown", "command": predict},
        {"name": "pushed", "command": ["push", bundle, "them/streets"]},
        {"name": "damaged", "command": predict, "mood": "damages"},
        {"name": "drops", "command": predict, "mood": "drops"},
        {"name": "resumed", "command": predict},
        {"name": "offline", "command": predict, "offline": True},
        {"name": "silent, cached", "command": predict, "mood": "hangs"},
        {"name": "local", "command": ["predict", bundle, photo]},
        {"name": "written to", "command": ["export", OURS]},
        {"name": "silent", "command": predict, "mood": "hangs", "forget": True},
        {"name": "nowhere", "command": predict, "offline": True, "forget": True},
        {"name": "gated", "command": predict, "mood": "gated", "forget": True},
        {"name": "revision", "command": ["predict", f"{OURS}@v9", photo]},
        {"name": "name", "command": ["predict", "hub:streets", photo]},
    ]
    with serve() as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.address,
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
        }
        for name in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
            environment.pop(name, None)
        command = [sys.executable, "-c", RUN, hub.address, str(cache), json.dumps(steps)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
        held = hub.repositories["them/streets"].files if "them/streets" in hub.repositories else {}
    print(done.stdout, done.stderr, *hub.asked, sep="\n")  # shown when a test fails
    assert TOKEN not in done.stdout + done.stderr
    assert done.returncode == 0
    found = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    return found | {"held": {name: content.decode() for name, content in held.items() if name.endswith(".md")}}


def test_fetching_a_bundle_asks_for_no_polars() -> None:
    """The extra `hub` alone is enough: Polars comes with the extra `tables`."""
    asked = "import sys; sys.modules['polars'] = None; import whichland.model.hub_bundles, whichland.hub_client"
    subprocess.run([sys.executable, "-c", asked], check=True)


def test_a_bundle_is_published_with_its_card(ran: Ran) -> None:
    assert ran["pushed"]["code"] == 0
    assert ran["pushed"]["out"].rstrip().endswith("them/streets")
    assert ran["held"]["README.md"].startswith("---\nlibrary_name: whichland\n")


def test_it_is_fetched_once_and_answers_as_the_folder_does(ran: Ran) -> None:
    assert ran["resumed"]["code"] == 0, ran["resumed"]["error"]
    assert ran["resumed"]["out"] == ran["offline"]["out"] == ran["silent, cached"]["out"] == ran["local"]["out"] != ""


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("held back", "no licence lets anybody show 1 of its 3 photos"),
        ("stranger", "no right to write"),
        ("refused", "503"),
        ("no bundle", "not a bundle"),
        ("unknown", "no such model"),
        ("damaged", "arrived damaged"),
        ("drops", "could not be fetched"),
        ("written to", "hub's cache"),
        ("silent", "could not be fetched"),
        ("nowhere", "could not be fetched"),
        ("gated", "gated"),
        ("revision", "no revision 'v9'"),
        ("name", "expected hub:OWNER/NAME"),
    ],
)
def test_what_fails_is_one_line(step: str, line: str, ran: Ran) -> None:
    assert ran[step]["code"] == 2
    assert line in ran[step]["error"]
    assert len(ran[step]["error"].strip().splitlines()) == 1
