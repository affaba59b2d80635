"""Kill a harvest a hundred times, with every kind of fault in the answers, and compare what is left.

    .venv/bin/python benchmarks/harvest_faults.py                 # 100 kills, about four minutes
    .venv/bin/python benchmarks/harvest_faults.py --kills 10

The real command runs against a real HTTP server on loopback (tests/misbehaving_mapillary.py) and gets SIGKILL at
random moments, nine times in ten within a second of its first request. The same world is then harvested from a
server without faults, in one go, into the same folder: photos and manifest must be the same to the byte. Exit
code 1 when they are not, or when the budget was exceeded as the server counts. Prints a Markdown table, then the
faults as JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from killed_harvest import Harvest, harvest
from misbehaving_mapillary import TOKEN, World, serve

WORLD = {"drives": 56, "frames": 25, "long_drive": 2100}
LOST = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--faults", type=float, default=0.35, help="chance that an answer is a fault")
    parser.add_argument("--budget", type=int, default=400, help="requests, and as many more when they are spent")
    parser.add_argument("--rate", type=int, default=3000, help="requests a minute while there are kills to come")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        with serve(World(**WORLD), faults=asked.faults, seed=asked.seed, lost=LOST) as server:
            killed = harvest(
                Path(folder) / "harvest", server, kills=asked.kills, seed=asked.seed, budget=asked.budget,
                rate=asked.rate,
            )  # fmt: skip
        took = time.monotonic() - begun
        with serve(World(**WORLD), seed=asked.seed, lost=LOST) as calm_server:
            calm = harvest(Path(folder) / "harvest", calm_server)
    checks = compare(killed, calm)
    checks["requests over the budget"] = killed.over_budget
    checks["token outside the API's header, or in any output"] = len(server.wrongs) + _leaks(killed)
    rows = {
        "kills": killed.kills,
        "of them after a request had been sent": killed.kills_at_work,
        "faults injected": sum(server.injected.values()),
        "kinds of fault": len(server.injected),
        "photos": len(calm.files),
        "requests, undisturbed": sum(calm_server.asked.values()),
        "requests, killed and with faults": sum(server.asked.values()),
        "budget at the end": killed.budget,
        "times the budget ended a run": killed.budget_ends,
        "seconds": round(took),
        **checks,
    }
    print("| | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value:,} |")
    print(json.dumps(dict(server.injected.most_common())))
    sys.exit(1 if any(checks.values()) or killed.kills < asked.kills else 0)


def compare(killed: Harvest, calm: Harvest) -> dict[str, int]:
    """Count what differs; all zero when nothing does."""
    shared = killed.files.keys() & calm.files.keys()
    return {
        "photos lost": len(calm.files.keys() - killed.files.keys()),
        "photos too many, or left half-written": len(killed.files.keys() - calm.files.keys()),
        "photos that differ": sum(killed.files[name] != calm.files[name] for name in shared),
        "manifests that differ": int(killed.manifest != calm.manifest),
    }


def _leaks(killed: Harvest) -> int:
    secret = TOKEN.encode()
    stored = (*killed.files.values(), killed.manifest, killed.journal, *(text.encode() for text in killed.said))
    return sum(secret in data for data in stored)


if __name__ == "__main__":
    main()
