"""Two processes under the real torchrun: models shared out, own photos, a lost process, one clear line."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGKILL
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tinted import tinted
from two_processes import VIT, config
from whichland.config import to_toml
from whichland.model import bundle
from whichland.model.backbone import create
from whichland.training.config import TrainConfig
from whichland.training.run import train
from whichland.training.sharding import blocks

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
STEPS = 5  # an epoch
QUICK = TrainConfig(
    arch="test_resnet",
    weights="none",
    size=64,
    test_size=64,
    batch_size=8,
    precision="fp32",
    epochs=3,
    checkpoint_minutes=1e-6,  # after every step
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinted(tmp_path_factory.mktemp("photos"), 48)


def part(name: str, manifest: Path, folder: Path) -> None:
    command = [*TORCHRUN, str(HERE / "two_processes.py"), str(manifest), str(folder), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def command(manifest: Path, out: Path, settings: TrainConfig = QUICK) -> list[str]:
    recipe = out.with_suffix(".toml")
    recipe.write_text(to_toml(settings))
    given = ["train", str(manifest), "--recipe", str(recipe), "--out", str(out)]
    return [*TORCHRUN, "-m", "whichland", *given]


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "step"]


def form(value: Any) -> Any:
    """Names, shapes and types of a checkpoint, without its values."""
    if isinstance(value, dict):
        return {name: form(item) for name, item in value.items()}
    if isinstance(value, list):
        return [form(item) for item in value]
    return (type(value), *((value.shape, value.dtype) if isinstance(value, torch.Tensor) else ()))


@pytest.mark.slow
def test_a_model_shared_out_learns_what_it_does_whole(manifest: Path, tmp_path: Path) -> None:
    part("models", manifest, tmp_path)
    a, b = losses(tmp_path / "whole"), losses(tmp_path / "shared")
    np.testing.assert_allclose(b, a, rtol=1e-4)
    one, two = (load_file(tmp_path / name / "bundle" / "model.safetensors") for name in ("whole", "shared"))
    assert one.keys() == two.keys()
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-3
    assert bundle.load(tmp_path / "shared" / "bundle").model(torch.zeros(1, 3, 160, 160)).shape == (1, 3)
    file = Path("checkpoint", "last.pt")
    saved = [torch.load(tmp_path / name / file, weights_only=True) for name in ("whole", "shared")]
    assert form(saved[0]) == form(saved[1])
    here = [json.loads((tmp_path / f"parameters-{rank}.json").read_text()) for rank in (0, 1)]
    assert sum(here) == sum(p.numel() for p in create("test_vit", 3, weights="none").model.parameters())
    assert max(here) < 0.55 * sum(here)
    before = losses(tmp_path / "stopped")
    assert before == b[: len(before)] != b
    train(manifest, config(**VIT, shard=True), tmp_path / "stopped", resume=True)  # in this process alone
    np.testing.assert_allclose(losses(tmp_path / "stopped"), b, rtol=1e-4)


@pytest.mark.parametrize(
    ("arch", "kind", "count"),
    [
        ("test_vit", "Block", 6),
        ("resnet50", "Bottleneck", 13),  # of 16: the first stage's are small
        ("convnext_tiny", "ConvNeXtBlock", 15),  # of 18
        ("swinv2_tiny_window8_256", "SwinTransformerV2Block", 10),  # of 12
        ("mobilenetv2_100", "InvertedResidual", 11),  # of 17
    ],
)
def test_what_is_put_together_at_once_is_a_block(arch: str, kind: str, count: int) -> None:
    with torch.device("meta"):
        model = timm.create_model(arch)
    found = blocks(model)
    assert [type(block).__name__ for block in found].count(kind) == count
    sizes = [sum(p.numel() for p in block.parameters()) for block in found]
    assert max(sizes) < 0.3 * sum(p.numel() for p in model.parameters())


@pytest.mark.slow
def test_each_photo_is_opened_by_one_process(manifest: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    part("opened", manifest, tmp_path)
    first, second = (json.loads((tmp_path / f"opened-{rank}.json").read_text()) for rank in (0, 1))
    counts = {"head": 42, "epoch": STEPS * 8, "validation": 6}
    for name, opened in first.items():
        both = [*opened, *second[name]]
        assert not set(opened) & set(second[name]), name
        if not name.startswith("cached"):
            assert len(both) == len(set(both)) == counts[name.split()[0]], name
    train_photos = sorted({*first["head True"], *second["head True"]})
    own = {name for number, name in enumerate(train_photos) if number % 2 == 0}
    for epoch in range(3):
        assert set(first[f"epoch {epoch} True"]) <= own
        assert not set(first[f"epoch {epoch} False"]) <= own
    assert first["epoch 0 True"] != first["epoch 1 True"]
    numbers = [[train_photos.index(name) // 2 for name in each["epoch 0 True"]] for each in (first, second)]
    assert numbers[0] != numbers[1]  # else neighbours would come together


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_job_and_resuming_finishes_it(manifest: Path, tmp_path: Path, rank: int) -> None:
    out = tmp_path / "run"
    job = subprocess.Popen(command(manifest, out), stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    deadline = time.monotonic() + 400
    while not (out / "log.jsonl").exists() or len(losses(out)) < STEPS + 2:
        assert time.monotonic() < deadline, "training did not start"
        assert job.poll() is None, job.communicate()[1]
        time.sleep(0.01)
    workers = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    os.kill(int(workers[rank]), SIGKILL)
    killed = time.monotonic()
    said = job.communicate(timeout=200)[1]
    assert time.monotonic() - killed < 60
    assert job.returncode != 0
    (line,) = [line for line in said.splitlines() if "--resume" in line]
    assert "has ended before its time" in line or "stopped" in line
    assert f"checkpoint in {out}" in line
    assert "]: Traceback" not in said  # of a process of ours; torchrun's own report follows
    position = torch.load(out / "checkpoint" / "last.pt", weights_only=True)["position"]
    assert position["step"] > 0 or position["epoch"] > 1  # within an epoch
    again = [*command(manifest, out), "--resume"]
    done = subprocess.run(again, capture_output=True, text=True, timeout=400, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "resumed at epoch" in done.stderr
    assert done.stdout.split() == [str(out / "bundle")]  # said once
    train(manifest, QUICK, tmp_path / "whole")
    np.testing.assert_allclose(losses(out), losses(tmp_path / "whole"), rtol=2e-3)


@pytest.mark.slow
def test_what_the_user_can_mend_in_one_process_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    manifest = tinted(tmp_path / "photos", 48)
    (tmp_path / "photos" / "003.jpg").write_bytes(b"\xff\xd8\xff broken")
    done = subprocess.run(
        command(manifest, tmp_path / "run"), capture_output=True, text=True, timeout=400, env=ENVIRONMENT, check=False
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("whichland:") or "--resume" in line]
    assert len(lines) == 1, done.stderr
    assert "003.jpg" in lines[0]
    assert "exitcode  : 2" in done.stderr
    assert "]: Traceback" not in done.stderr
