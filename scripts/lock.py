"""Write requirements.lock and requirements-cuda.lock from pyproject.toml: versions and hashes, no addresses.

    .venv/bin/python scripts/lock.py

The first file is everything but the CUDA libraries that PyPI's Linux build of torch asks for; those stand in
the second, so that a machine with a CPU build of torch at hand (pip's or uv's find-links) never downloads them.
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


def compile_lock(requirements: list[str]) -> dict[str, str]:
    """Resolve with uv; return {requirement line: its hash lines}."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write(PINS)
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


def cpu_builds() -> list[str]:
    """Hash the CPU builds of torch in find-links: the same release from another file."""
    folder = Path(os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "."))
    release = PINS.splitlines()[0].replace("==", "-")
    return [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in folder.glob(f"{release}+cpu-*.whl")]


def main() -> None:
    everything = compile_lock(["pyproject.toml", "--extra", "train", "--extra", "dev"])
    torch = next(head for head in everything if head.startswith("torch=="))
    known = [line.strip(" \\") for line in everything[torch].splitlines()]
    known += [f"--hash=sha256:{digest}" for digest in cpu_builds()]
    everything[torch] = " \\\n".join(f"    {line}" for line in sorted(set(known)))
    for name, wanted in (("requirements.lock", False), ("requirements-cuda.lock", True)):
        lines = [f"{head} \\\n{text}" for head, text in everything.items() if bool(CUDA_NAMES.match(head)) is wanted]
        (ROOT / name).write_text("\n".join(lines) + "\n")
        print(f"{name}: {len(lines)} packages")


if __name__ == "__main__":
    main()
