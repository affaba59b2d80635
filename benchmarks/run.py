"""Run benchmarks beside their peers, and say how busy the machine was meanwhile: `make bench`, `make bench-NAME`.

    .venv/bin/python benchmarks/run.py decode step --quick
    .venv/bin/python benchmarks/run.py predict -- BUNDLE MANIFEST --photos 1000 --rounds 3

Peers are installed at the versions and hashes of benchmarks/requirements.lock into .peers/, which benchmarks alone see;
the project's own environment stays as it is. With --quick each takes at most two minutes, and prints the table of
the same form over less. What follows -- goes to the benchmark in place of the arguments below. Those that look at
photos take the drawn world of `whichland demo` and its model. A peer that is missing or a benchmark that ends with
an error is one line, and exit code 2 at once.
"""

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PEERS, LOCK = ROOT / ".peers", ROOT / "benchmarks" / "requirements.lock"
QUICK_S = 120
DEMO = ROOT / "runs" / "demo"
BUNDLE, WORLD = DEMO / "run" / "bundle", DEMO / "world.parquet"


class Benchmark(NamedTuple):
    """What a benchmark is run with."""

    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()  # modules
    demo: bool = False  # it needs the demo's model, exported


BENCHMARKS = {
    "decode": Benchmark(quick=("--rounds", "3")),
    "measure": Benchmark(quick=("--rounds", "1")),
    "synthetic": Benchmark(quick=("--scenes", "60")),
    "step": Benchmark(quick=("--turns", "1", "--batch", "8")),
    "scale": Benchmark(quick=("--rows", "100000")),
    "geocode": Benchmark(peers=("reverse_geocoder", "tzfpy")),
    "train": Benchmark(quick=("--photos", "32", "--turns", "1"), peers=("fastai",)),
    "predict": Benchmark(
        full=(str(BUNDLE), str(WORLD)),
        quick=(str(BUNDLE), str(WORLD), "--photos", "96", "--rounds", "2"),
        peers=("transformers",),
        demo=True,
    ),
    "gpu": Benchmark(quick=("--quick",), peers=("fastai",)),
}


def end(line: str) -> None:
    """Say in one line why it ends, with exit code 2."""
    print(f"bench: {line}", file=sys.stderr, flush=True)
    sys.exit(2)


def install() -> None:
    """Bring the peers to .peers/, where they are not there yet as the lock has them."""
    done = PEERS / "requirements.lock"
    if done.is_file() and done.read_bytes() == LOCK.read_bytes():
        return
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    if subprocess.run([*command, "--target", str(PEERS), "-r", str(LOCK)], check=False).returncode:
        end(f"the peers of {LOCK.relative_to(ROOT)} could not be installed; the reason stands above")
    done.write_bytes(LOCK.read_bytes())


def make_demo() -> None:
    """The demo's world and model, exported, where they are not there yet."""
    program = [sys.executable, "-m", "whichland"]
    if not BUNDLE.is_dir() and subprocess.run([*program, "demo"], cwd=ROOT, check=False).returncode:
        end("`whichland demo`, whose model this needs, ended with an error")
    export = [*program, "export", str(BUNDLE), "--openvino", "--photos", str(WORLD)]
    if subprocess.run(export, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode:
        end(f"{BUNDLE} could not be exported; the reason stands above")


@contextmanager
def busyness() -> Iterator[None]:
    """Print, at the end, how much of the machine others took: under load ratios flatter whoever waits less."""
    begun, total, idle, own = time.monotonic(), *_jiffies(), _own_s()
    yield
    seconds = time.monotonic() - begun
    then, still = _jiffies()
    if then > total:
        cores = os.cpu_count() or 1
        busy = cores * (1 - (still - idle) / (then - total))
        others = max(0.0, busy - (_own_s() - own) / seconds)
        print(f"{seconds:.0f} s; others took {others:.1f} of {cores} cores on average, load {os.getloadavg()[0]:.1f}")


def _jiffies() -> tuple[int, int]:
    """All time that the cores have counted, and what of it they were idle (Linux; 0 elsewhere)."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return 0, 0
    fields = [int(field) for field in stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def _own_s() -> float:
    """Processor seconds of the benchmarks that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(name: str, arguments: list[str], limit: float | None) -> None:
    """Run one benchmark; end where it ends with an error, or goes on for too long."""
    print(f"== {name} {' '.join(arguments)}", flush=True)
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")]), str(PEERS)]
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments]
    with busyness():
        try:
            done = subprocess.run(
                command, check=False, timeout=limit, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
            )
        except subprocess.TimeoutExpired:
            end(f"{name}: not done after {limit:.0f} s")
    if done.returncode:
        end(f"{name}: ended with exit code {done.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all when left out")
    parser.add_argument("--quick", action="store_true", help="at most two minutes each")
    ours, _, theirs = " ".join(sys.argv[1:]).partition(" -- ")
    given = parser.parse_args(ours.split())
    names = given.names or [name for name in BENCHMARKS if name != "gpu"]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        end(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}, and others to be called by themselves")
    if theirs and len(names) != 1:
        end("arguments behind -- are those of one benchmark; name it")
    if any(BENCHMARKS[name].peers for name in names):
        install()
    sys.path.append(str(PEERS))
    for name in names:
        benchmark = BENCHMARKS[name]
        if missing := [peer for peer in benchmark.peers if importlib.util.find_spec(peer) is None]:
            end(f"{name}: its peer {missing[0]} is not installed; remove {PEERS.name}/ to install all anew")
        if benchmark.demo and not theirs:
            make_demo()
        own = list(benchmark.quick if given.quick else benchmark.full)
        run(name, theirs.split() or own, QUICK_S if given.quick else None)


if __name__ == "__main__":
    main()
