"""Run the real command against the misbehaving Mapillary, kill it again and again, and look at what is left."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from misbehaving_mapillary import BOX, TOKEN, Mapillary

ORIGIN = f"mapillary:bbox={','.join(map(str, BOX))}"


@dataclass
class Harvest:
    """What a harvest left behind, and what it took."""

    files: dict[str, bytes]  # by path below its folder
    manifest: bytes
    journal: bytes = b""
    kills: int = 0
    kills_at_work: int = 0  # after the process had sent requests; the others hit it before
    over_budget: int = 0  # times the servers had seen more requests than the budget of the moment
    budget_ends: int = 0  # times the command ended because the budget was spent
    budget: int = 0
    said: list[str] = field(default_factory=list)


def command(folder: Path, server: Mapillary, budget: int, rate: int, timeout_s: float = 1.0) -> subprocess.Popen[str]:
    """Start `whichland data fetch`, which writes to `folder`."""
    words = [sys.executable, "-m", "whichland", "data", "fetch", ORIGIN, "-o", str(folder / "m.parquet")]
    words += ["--per-sequence", "25", "--budget", str(budget), "--rate", str(rate), "--workers", "8"]
    words += ["--set", f"timeout_s={timeout_s}", "--set", "backoff_s=0.02", "--json"]
    hidden = ("http_proxy", "https_proxy", "all_proxy")
    environment = {name: value for name, value in os.environ.items() if name.lower() not in hidden}
    environment |= {"MAPILLARY_TOKEN": TOKEN, "MAPILLARY_API": server.api.address, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=environment, stdout=pipe, stderr=pipe, text=True, preexec_fn=_heed_ctrl_c)


def _heed_ctrl_c() -> None:
    """What a shell starts in the background ignores Ctrl-C, and hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def harvest(
    folder: Path,
    server: Mapillary,
    *,
    kills: int = 0,
    seed: int = 0,
    budget: int = 100_000,
    rate: int = 60_000,
    life_s: float = 1.0,
    timeout_s: float = 1.0,
) -> Harvest:
    """Harvest the server's world to its end, killed `kills` times at random moments before.

    A tenth of the kills come at any time from the start of the process, the others up to `life_s` after its first
    request: most of a short life is the interpreter's. A budget that is spent is raised by its first amount, so
    that it binds again and again. While there are kills to come the rate is `rate`, then as fast as it goes. The
    folder is emptied before.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    moments, step = random.Random(seed), budget
    left = Harvest({}, b"", budget=budget)
    while True:
        killing, asked = left.kills < kills, sum(server.asked.values())
        process = command(folder, server, left.budget, rate if killing else 60_000, timeout_s)
        if killing and moments.random() >= 0.1:
            while process.poll() is None and sum(server.asked.values()) == asked:
                time.sleep(0.005)
        try:
            out, err = process.communicate(timeout=moments.uniform(0, life_s) if killing else 300)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
            if not killing:
                raise
            left.kills += 1
            left.kills_at_work += sum(server.asked.values()) > asked
        left.said += [out, err]
        left.over_budget += sum(server.asked.values()) > left.budget
        if process.returncode == 2 and "budget" in err:
            left.budget_ends += 1
            left.budget += step
        elif process.returncode == 0:
            break
        elif process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"exit code {process.returncode}: {err}")
    photos = folder / "m-photos"
    left.files = {str(path.relative_to(photos)): path.read_bytes() for path in sorted(photos.glob("*/*"))}
    left.manifest = (folder / "m.parquet").read_bytes()
    left.journal = b"".join(path.read_bytes() for path in photos.glob("*.sqlite3*"))
    return left
