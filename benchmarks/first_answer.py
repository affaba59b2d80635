"""From `pip install` to the first answer of a bundle that lies on the hub, for each kind of bundle, in seconds.

    .venv/bin/python benchmarks/first_answer.py TRAINED EXPORTED PHOTO

TRAINED is a bundle with weights alone, EXPORTED one with model.onnx; the third is a zero-shot bundle made here from a
CLIP ViT-B-32 with random weights for eight countries (its answers mean nothing, its size and work are those of the
real one). The hub stands on loopback, so fetching costs no more than a disk; at 100 Mbit/s a bundle takes its megabytes
/ 12.5 seconds more. Each kind gets a fresh environment of what it needs, a wheel of this checkout and the index that
pip is set up with, then `whichland predict hub:… PHOTO`: the first time, and again with what was kept. A busy machine
takes longer.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import zero_shot as clip
from light_install import ROOT, megabytes, timed
from whichland.model import zero_shot

sys.path.insert(0, str(ROOT / "tests"))
from misbehaving_hub import DataSet, serve


def of_hub(folder: Path) -> DataSet:
    """A bundle's files as a repository."""
    return DataSet(files={path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})


def asked(command: list[str], environment: dict[str, str]) -> float:
    """Seconds of a command, from the start of its process."""
    begun = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print a row a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    parser.add_argument("exported", type=Path)
    parser.add_argument("photo", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        clip.save("ViT-B-32", scratch / "clip")
        untrained = zero_shot.make(str(scratch / "clip"), scratch / "untrained", names=clip.CODES, prompts=clip.PROMPTS)
        timed([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(scratch)])
        (wheel,) = scratch.glob("*.whl")
        kinds = {
            "exported": (given.exported, "hub"),
            "trained": (given.trained, "train"),
            "zero-shot, ViT-B-32": (untrained, "train"),
        }
        repositories = {f"them/{number}": of_hub(folder) for number, (folder, _) in enumerate(kinds.values())}
        print(
            "| bundle | MB | extra | environment, MB | install, s | first answer, s | the next, s |\n"
            + "|---" * 7
            + "|"
        )
        with serve(datasets=repositories) as hub:
            environment = os.environ | {"HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(scratch / "cache")}
            environment |= {"HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
            for number, (kind, (folder, extra)) in enumerate(kinds.items()):
                place = scratch / f"venv{number}"
                begun = time.perf_counter()
                venv.create(place, with_pip=True)
                timed([str(place / "bin" / "pip"), "install", "--quiet", f"{wheel}[{extra}]"])
                install = time.perf_counter() - begun
                predict = [str(place / "bin" / "whichland"), "predict", f"hub:them/{number}", str(given.photo)]
                first, further = asked(predict, environment), asked(predict, environment)
                sizes = f"{megabytes(folder):.0f} | `{extra}` | {megabytes(place):,.0f}"
                print(f"| {kind} | {sizes} | {install:.0f} | {first:.1f} | {further:.1f} |", flush=True)


if __name__ == "__main__":
    main()
