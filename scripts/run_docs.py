"""Run every command of the README and the tutorials as printed, one page after the other, each in a fresh copy.

    make docs                                            # after the reference
    .venv/bin/python scripts/run_docs.py --quick         # with a tenth of the scenes
    .venv/bin/python scripts/run_docs.py README.md       # some pages

A copy holds what a clone of the working tree would, this environment, and what a reader brings along: `photos/` in
folders by country and `holiday/`, both rendered. Weights come from a hub on loopback that has a MobileNetV2 of random
ones. A block with a placeholder (OWNER/NAME, …) is not run, nor is `make test`, and a service is stopped
once its page has answered. The first command that fails ends it, with what it said and exit code 1.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/tutorial/your-own-page.md", "docs/tutorial/synthetic-world.md")
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
PLACEHOLDER = re.compile(r"^[^#\n]*(?:OWNER/NAME|…)", re.MULTILINE)  # not in a comment
SCENES = 96  # of the reader's photos, twelve countries: few, as trainings are at full size
# What stands in for the shell's own: nothing is installed anew, and a service is asked for its page and stopped.
SHELL = r"""
set -euo pipefail
make() { [ "$1" = test ] || command make -o .venv/ready -o .venv/train "$@"; }
whichland() {
  [ "$1" = serve ] || { command whichland "$@"; return; }
  command whichland "$@" --port "$PORT" & service=$!
  for _ in $(seq 240); do
    python -c "import httpx; httpx.get('http://127.0.0.1:$PORT/').raise_for_status()" 2>/dev/null && break
    kill -0 $service; sleep 0.5
  done
  python -c "import httpx; httpx.get('http://127.0.0.1:$PORT/').raise_for_status()"
  kill -TERM $service; wait $service
}
"""


def blocks(page: Path) -> list[str]:
    """The shell blocks of a page that can be run."""
    found: list[str] = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [block for block in found if not PLACEHOLDER.search(block)]


def run(page: str, folder: Path, environment: dict[str, str], *, quick: bool) -> None:
    """Run the blocks of a page in one shell. Exits when a command fails."""
    copy(folder)
    script = SHELL + "\n".join(blocks(ROOT / page))
    if quick:
        script = script.replace("scenes=2400", "scenes=240")
    begun = time.monotonic()
    done = subprocess.run(["bash", "-xc", script], cwd=folder, env=environment, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    commands = re.findall(r"^\+ ((?:command )?(?:whichland|make) .*)$", done.stdout, re.MULTILINE)
    if done.returncode:
        sys.exit(f"{done.stdout[-4000:]}\n{page}: exit code {done.returncode} of: {commands[-1]}")
    print(f"{page}: {len(commands)} commands ran as printed in {time.monotonic() - begun:.0f} s", flush=True)


def copy(folder: Path) -> None:
    """What a clone of the working tree would hold, with this environment and a reader's photos."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    photos(folder)


def photos(folder: Path) -> None:
    """Render `photos/` by country and drive, and `holiday/`."""
    from whichland.geo.countries import country_name
    from whichland.sources.synthetic.files import write
    from whichland.sources.synthetic.world import WorldConfig

    table = write(WorldConfig(scenes=SCENES, seed=5, frames_per_drive=2), folder / "rendered", progress=False)
    for at, (uri, code, drive) in enumerate(table.select("uri", "label_country", "sequence").iter_rows()):
        to = folder / "photos" / country_name(code) / drive.replace("/", "-")
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy(uri, to)
        if at < 3:
            (folder / "holiday").mkdir(exist_ok=True)
            shutil.copy(uri, folder / "holiday" / f"{'abc'[at]}.jpg")
    shutil.rmtree(folder / "rendered")


@contextmanager
def hub(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a reader, and a hub that has the default model with random weights."""
    sys.path.insert(0, str(ROOT / "tests"))
    import timm
    import torch
    from safetensors.torch import save

    from misbehaving_hub import serve

    torch.manual_seed(0)
    weights = save(timm.create_model("mobilenetv2_100", pretrained=False).state_dict())
    with serve(weights) as there, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        yield os.environ | {
            "HF_ENDPOINT": there.address,
            "HF_HUB_CACHE": str(folder / "cache"),
            "PORT": str(port),
            "PYTHONPATH": str(ROOT / "src"),
        }


def main() -> None:
    """Run the pages that are named, or all."""
    asked = [word for word in sys.argv[1:] if word != "--quick"]
    with tempfile.TemporaryDirectory() as name, hub(Path(name)) as environment:
        for number, page in enumerate(asked or PAGES):
            run(page, Path(name) / str(number), environment, quick="--quick" in sys.argv)


if __name__ == "__main__":
    main()
