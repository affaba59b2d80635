"""What `pip install whichland` alone costs: megabytes, seconds, the first answer, and --help.

    .venv/bin/python benchmarks/light_install.py BUNDLE PHOTO --json FILE

Builds the wheel, installs it without extras into a fresh virtual environment, and measures there: the size of the whole
environment, with pip in it; that of the installed files, and of those among them that pip compiled; seconds of the
installation (with what the index must send unless pip has kept it); seconds of `predict` on one photo from an exported
bundle, and of `--help`, each from the start of the process: the first time, and the median of five further ones. The
largest packages are named.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FURTHER = 5
NAMED = 12
LIMIT_MB = 290  # of the environment


def timed(command: list[str]) -> float:
    """Seconds that a command takes; what it prints is not shown unless it fails."""
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - begun


def megabytes(folder: Path, pattern: str = "*") -> float:
    """Size of the files under a folder, 1 MB being a million bytes."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file()) / 1e6


def first_and_further(command: list[str]) -> dict[str, float]:
    """Seconds of the first call and the median of further ones."""
    return {"first": timed(command), "further": statistics.median(timed(command) for _ in range(FURTHER))}


def measure(bundle: Path, photo: Path, scratch: Path) -> dict[str, object]:
    """Build, install and measure."""
    wheels = scratch / "wheels"
    timed([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)])
    (wheel,) = wheels.glob("*.whl")
    place = scratch / "venv"
    venv.create(place, with_pip=True)
    site = next((place / "lib").glob("python*")) / "site-packages"
    before, compiled_before = megabytes(site), megabytes(site, "*.pyc")
    seconds = timed([str(place / "bin" / "pip"), "install", "--quiet", str(wheel)])
    program = str(place / "bin" / "whichland")
    packages = {path.name: megabytes(path) for path in site.iterdir() if path.is_dir()}
    return {
        "wheel_mb": wheel.stat().st_size / 1e6,
        "install_s": seconds,
        "environment_mb": megabytes(place),
        "installed_mb": megabytes(site) - before,
        "of_that_compiled_mb": megabytes(site, "*.pyc") - compiled_before,
        "largest": dict(sorted(packages.items(), key=lambda item: -item[1])[:NAMED]),
        "predict_s": first_and_further([program, "predict", str(bundle), str(photo)]),
        "help_s": first_and_further([program, "--help"]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(given.bundle.resolve(), given.photo.resolve(), Path(scratch))
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if (size := float(found["environment_mb"])) > LIMIT_MB:  # type: ignore[arg-type]
        sys.exit(f"{size:.0f} MB, over the limit of {LIMIT_MB}")


if __name__ == "__main__":
    main()
