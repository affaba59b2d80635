"""Write the locks from pyproject.toml: exact versions and hashes, no addresses.

    .venv/bin/python scripts/lock.py

requirements.lock is everything, the developers' tools too, but the CUDA libraries that PyPI's Linux build of torch asks
for; those stand in requirements-cuda.lock, so that a machine with a CPU build of torch at hand (pip's or uv's
find-links) never downloads them. requirements-train.txt names those of both that training and the demo need, and what
builds the package. benchmarks/requirements.lock adds the peers that benchmarks run beside ours.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CUDA_NAMES = re.compile(r"^(nvidia-|cuda-|triton\b)")
PINS = "torch==2.13.0\ntorchvision==0.28.0\n"


def compile_lock(requirements: list[str], pinned: str = PINS) -> dict[str, str]:
    """Resolve with uv under the pinned versions; return {requirement line: its hash lines}."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write(pinned)
        pins.flush()
        command = [sys.executable, "-m", "uv", "pip", "compile", *requirements, "--universal",
                   "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate",
                   "--no-emit-index-url", "--no-emit-find-links", "--quiet",
                   "--constraint", pins.name]  # fmt: skip
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    blocks: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", text.strip()):
        head, _, hashes = block.partition(" \\\n")
        blocks[head] = hashes
    return blocks


BUILD = ("uv", "hatchling", "editables")  # what setup.sh works with


def names_for_training(pinned: dict[str, str]) -> list[str]:
    """Names of what `whichland[train]` and the set-up need, among the pinned packages."""
    with tempfile.NamedTemporaryFile("w", suffix=".in") as build:
        build.write("\n".join(BUILD))
        build.flush()
        found = compile_lock(["pyproject.toml", "--extra", "train", build.name], "\n".join(pinned))
    return sorted({head.partition("==")[0] for head in found})


def cpu_builds() -> list[str]:
    """Hash the CPU builds of torch in find-links: the same release from another file."""
    folder = Path(os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "."))
    release = PINS.splitlines()[0].replace("==", "-")
    return [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in folder.glob(f"{release}+cpu-*.whl")]


def main() -> None:
    everything = compile_lock(["pyproject.toml", "--all-extras"])
    torch = next(head for head in everything if head.startswith("torch=="))
    known = [line.strip(" \\") for line in everything[torch].splitlines()]
    known += [f"--hash=sha256:{digest}" for digest in cpu_builds()]
    everything[torch] = " \\\n".join(f"    {line}" for line in sorted(set(known)))
    peers = compile_lock(["benchmarks/requirements.in"], "\n".join(everything))
    ours = {head.split("==")[0] for head in everything}
    locks = {
        "requirements.lock": {h: t for h, t in everything.items() if not CUDA_NAMES.match(h)},
        "requirements-cuda.lock": {h: t for h, t in everything.items() if CUDA_NAMES.match(h)},
        "benchmarks/requirements.lock": {h: t for h, t in peers.items() if h.split("==")[0] not in ours},
    }
    (ROOT / "requirements-train.txt").write_text("\n".join(names_for_training(everything)) + "\n")
    for name, lock in locks.items():
        (ROOT / name).write_text("".join(f"{head} \\\n{text}\n" for head, text in lock.items()))
        print(f"{name}: {len(lock)} packages")


if __name__ == "__main__":
    main()
