"""What becomes of bad files: each is put through ingest, measure and predict, one process a file for its memory.

    .venv/bin/python benchmarks/bad_inputs.py FOLDER BUNDLE --out docs/bad-inputs.csv

A line a file: how decoding ended (size, or the one line why not), whether measure and predict agree with that,
and the peak memory of the process that decoded it. Fails when a file crashes, prints more than a line, disagrees,
or takes more than 1 GB.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from whichland.curate.measure import measure_image
from whichland.model import bundle
from whichland.model.model import predict

LIMIT_MB = 1000
CHILD = """
import sys
from whichland.images.decode import ImageError, load
try:
    image = load(sys.argv[1])
    print(f"{image.shape[1]}x{image.shape[0]}")
except ImageError as error:
    print(error)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


def decode_alone(path: Path) -> tuple[str, int]:
    """Decode in a process of its own: the outcome in one line, and the process's peak memory in MB."""
    done = subprocess.run([sys.executable, "-c", CHILD, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{path}: crashed: {done.stderr[-300:]}"
    assert not done.stderr, f"{path}: printed to stderr: {done.stderr[-300:]}"
    outcome, peak = done.stdout.strip().splitlines()
    return outcome.removeprefix(f"{path}: "), int(peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    files = sorted(path for path in args.folder.rglob("*") if path.is_file())
    answers = {answer.path: answer for answer in predict(bundle.load(args.bundle), [str(path) for path in files])}
    rows, opened, most = [], 0, 0
    for path in files:
        outcome, peak = decode_alone(path)
        readable = outcome.replace("x", "").isdigit()
        measured = measure_image(str(path))
        answer = answers[str(path)]
        assert (measured.unreadable is None) == readable, f"{path}: measure disagrees: {measured.unreadable}"
        assert (answer.error is None) == readable, f"{path}: predict disagrees"
        assert peak < LIMIT_MB, f"{path}: {peak} MB"
        opened, most = opened + readable, max(most, peak)
        name = path.relative_to(args.folder)
        rows.append({"file": str(name), "opened": readable, "outcome": outcome})
    with args.out.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} files: {opened} opened, {len(rows) - opened} refused in one line; peak memory {most} MB")


if __name__ == "__main__":
    main()
