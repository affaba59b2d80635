"""`whichland models`: the families at a glance, any timm name on demand, numbers in JSON. Real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import forked
from curated import measured
from misbehaving_hub import serve
from whichland.curate.clean import clean
from whichland.curate.split import split
from whichland.manifest import write

OFFLINE = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # nothing may be fetched


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "whichland", "models", *arguments], env=OFFLINE)


def test_a_table_of_a_family() -> None:
    command = [sys.executable, "-m", "whichland", "models", "deit"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, env=OFFLINE)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.strip().splitlines()
    assert lines[0] == "3 models"
    assert lines[1].split() == ["family", "tier", "model", "parameters", "input", "GMACs", "licence", "weights"]
    wanted = ["DeiT", "tiny", "deit_tiny_patch16_224.fb_in1k", "5.5", "M", "224×224", "1.3", "apache-2.0", "–"]
    assert lines[2].split() == wanted
    assert len(lines) == 5


def test_numbers_as_json_and_measured() -> None:
    shown = run("test_resnet.*", "--all", "--measure", "--batch-size", "2", "--json")
    assert shown.returncode == 0, shown.stderr
    [found] = json.loads(shown.stdout)
    assert found["arch"] == "test_resnet.r160_in1k"
    assert (found["family"], found["tier"], found["size"]) == (None, None, [160, 160])
    assert found["parameters"] > 100_000
    assert found["images_per_second"] > 1
    unmeasured = json.loads(run("resnet18d", "--json").stdout)
    assert "images_per_second" not in unmeasured[0]
    assert unmeasured[0]["family"] == "ResNet-D"


# Asks for the models and for training with the hub up, with one model's weights fetched, offline, and with both gone.
STATES = """
import json, shutil, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
import huggingface_hub
from huggingface_hub import constants
from whichland.cli.main import main
from whichland.cli.training import TODAY

def ran(*words):
    sys.argv[1:], out, error = words, StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        try:
            main()
        except SystemExit:
            pass
    return out.getvalue(), error.getvalue()

def state():
    marks = {row["arch"].partition(".")[0]: row["weights"] for row in json.loads(ran("models", "dinov3", "--json")[0])}
    print(json.dumps([marks, ran("train", "none.parquet", "--out", "run")[1].splitlines()[0]]), flush=True)

state()
huggingface_hub.hf_hub_download("timm/vit_small_patch16_dinov3.lvd1689m", "model.safetensors")
state()
constants.HF_HUB_OFFLINE = True
state()
huggingface_hub.constants.HF_HUB_OFFLINE = False
huggingface_hub.hf_hub_download("timm/" + TODAY, "model.safetensors")
constants.HF_HUB_OFFLINE = True
state()
"""


def test_weights_are_marked_where_they_can_be_had_and_training_names_a_model_of_today(tmp_path: Path) -> None:
    with serve(b"weights") as hub:
        settings = {"HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-c", STATES]
        write(split(clean(measured(30))), tmp_path / "none.parquet")  # of photos that are not there
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | settings, cwd=tmp_path
        )
    assert ran.returncode == 0, ran.stderr
    up, one, offline, today = (json.loads(line) for line in ran.stdout.splitlines())
    three = ("convnext_tiny", "vit_small_patch16_dinov3", "vit_base_patch16_dinov3")
    assert up[0] == dict.fromkeys(three, "hub")
    assert one[0] == up[0] | {"vit_small_patch16_dinov3": "here"}
    assert offline[0] == dict.fromkeys(three) | {"vit_small_patch16_dinov3": "here"}
    named = "mobilenetv2_100 is a small model of 2018; --recipe cpu, gpu or best takes one of today"
    assert [state[1].startswith(named) for state in (up, one, offline, today)] == [True, True, False, True]
    assert (
        "fetch model.safetensors of timm/convnext_small.dinov3_lvd1689m elsewhere and give --recipe gpu" in offline[1]
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["alexnet"], "no model matches 'alexnet'; see `whichland models --all`"),
        (["alexnet", "--all"], "no model matches 'alexnet'; timm has none of that name with pretrained weights"),
    ],
    ids=["families", "all"],
)
def test_a_filter_that_finds_nothing(arguments: list[str], says: str) -> None:
    shown = run(*arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == f"whichland: {says}\n"
