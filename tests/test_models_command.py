"""`whichland models`: the families at a glance, any timm name on demand, numbers in JSON. Real processes."""

import json
import os
import subprocess
import sys

import pytest

import forked

OFFLINE = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # nothing may be fetched


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "whichland", "models", *arguments], env=OFFLINE)


def test_a_table_of_a_family() -> None:
    command = [sys.executable, "-m", "whichland", "models", "deit"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, env=OFFLINE)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.strip().splitlines()
    assert lines[0] == "3 models"
    assert lines[1].split() == ["family", "tier", "model", "parameters", "input", "GMACs", "licence"]
    wanted = ["DeiT", "tiny", "deit_tiny_patch16_224.fb_in1k", "5.5", "M", "224×224", "1.3", "apache-2.0"]
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
