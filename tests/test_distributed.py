"""Two processes under the real torchrun, in the environment of a user: who opens what, a lost process, one line."""

import json
import os
import time
from pathlib import Path
from signal import SIGKILL

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from forked import Started, run, torchrun
from tinted import tinted
from whichland.config import to_toml
from whichland.training.config import TrainConfig
from whichland.training.run import train

HERE = Path(__file__).parent
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
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


@pytest.fixture(scope="module")
def undisturbed(manifest: Path) -> list[float]:
    """The losses of the same training in one process."""
    out = manifest.with_name("whole")
    train(manifest, QUICK, out)
    return losses(out)


def command(manifest: Path, out: Path, settings: TrainConfig = QUICK) -> list[str]:
    recipe = out.with_suffix(".toml")
    recipe.write_text(to_toml(settings))
    return ["-m", "whichland", "train", str(manifest), "--recipe", str(recipe), "--out", str(out)]


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "step"]


@pytest.mark.slow
def test_each_photo_is_opened_by_one_process(manifest: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    done = torchrun(2, [HERE / "two_processes.py", manifest, tmp_path])
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"opened-{rank}.json").read_text()) for rank in (0, 1))
    counts = {"head": 42, "epoch": STEPS * 8, "validation": 6}
    for name, opened in first.items():
        both = [*opened, *second[name]]
        assert not set(opened) & set(second[name]), name
        assert len(both) == len(set(both)) == counts[name.split()[0]], name
    assert first["epoch 0"] != first["epoch 1"]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_job_and_resuming_finishes_it(
    manifest: Path, undisturbed: list[float], tmp_path: Path, rank: int
) -> None:
    out = tmp_path / "run"
    job = Started([*TORCHRUN, *command(manifest, out)])
    deadline = time.monotonic() + 400
    while not (out / "log.jsonl").exists() or len(losses(out)) < STEPS + 2:
        assert time.monotonic() < deadline, "training did not start"
        assert Path(f"/proc/{job.pid}").exists(), job.wait().stderr
        time.sleep(0.01)
    workers = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    os.kill(int(workers[rank]), SIGKILL)
    killed = time.monotonic()
    ended = job.wait(200)
    assert time.monotonic() - killed < 60
    assert ended.returncode != 0
    (line,) = [line for line in ended.stderr.splitlines() if "--resume" in line]
    assert "has ended before its time" in line or "stopped" in line
    assert f"checkpoint in {out}" in line
    assert "]: Traceback" not in ended.stderr  # of a process of ours; torchrun's own report follows
    position = torch.load(out / "checkpoint" / "last.pt", weights_only=True)["position"]
    assert position["step"] > 0 or position["epoch"] > 1  # within an epoch
    done = torchrun(2, [*command(manifest, out), "--resume"])
    assert done.returncode == 0, done.stderr[-3000:]
    assert "resumed at epoch" in done.stderr
    assert done.stdout.split() == [str(out / "bundle")]  # said once
    np.testing.assert_allclose(losses(out), undisturbed, rtol=2e-3)


@pytest.mark.slow
def test_what_the_user_can_mend_in_one_process_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    manifest = tinted(tmp_path / "photos", 48)
    (tmp_path / "photos" / "003.jpg").write_bytes(b"\xff\xd8\xff broken")
    done = run([*TORCHRUN, *command(manifest, tmp_path / "run")])
    lines = [line for line in done.stderr.splitlines() if line.startswith("whichland:") or "--resume" in line]
    assert len(lines) == 1, done.stderr
    assert "003.jpg" in lines[0]
    assert "exitcode  : 2" in done.stderr
    assert "]: Traceback" not in done.stderr
