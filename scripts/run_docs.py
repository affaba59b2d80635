"""Run every command of the README, the tutorials and the how-tos as printed, each page in a fresh copy.

    make docs                                            # after the reference
    .venv/bin/python scripts/run_docs.py --full          # with all scenes, as a reader would
    .venv/bin/python scripts/run_docs.py README.md       # some pages

A copy holds what a clone of the working tree would, this environment, and what a reader brings along: `photos/` in
folders by country and `holiday/`, both rendered. Weights come from a hub on loopback that has a MobileNetV2 of random
ones. A how-to goes on where the README ends, in its copy. A block with a placeholder (OWNER/NAME, …) is not run, nor is
`make test`, and a service is stopped once its page has answered. Without --full the worlds of the tutorial and of
the demo are smaller. Each command is named as it begins, with its time as it ends; one that fails does not end
the page, but is repeated at the end with what it said, and makes the exit code 1.
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
README = "README.md"
HOW_TO = ("docs/how-to/static-site.md",)  # after README
PAGES = (README, *HOW_TO, "docs/tutorial/your-own-page.md", "docs/tutorial/synthetic-world.md")
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
PLACEHOLDER = re.compile(r"^[^#\n]*(?:OWNER/NAME|…)", re.MULTILINE)  # not in a comment
SCENES = 96  # of the reader's photos, twelve countries: few, as trainings are at full size
SMALL = 240  # scenes of a world, without --full
# What stands in for the shell's own: nothing is installed anew, and a service is asked for its page and stopped.
SHELL = r"""
set -o pipefail
make() {
  [ "$1" = test ] && return
  [ "$1" = demo ] && [ -n "$SCENES" ] && { .venv/bin/whichland demo --scenes "$SCENES"; return; }
  command make -o .venv/ready -o .venv/train "$@"
}
served() { # PORT COMMAND...
  "${@:2}" & local service=$! status
  for _ in $(seq 240); do
    python -c "import httpx; httpx.get('http://127.0.0.1:$1/').raise_for_status()" 2>/dev/null && break
    kill -0 $service 2>/dev/null || break
    sleep 0.5
  done
  python -c "import httpx; httpx.get('http://127.0.0.1:$1/').raise_for_status()"; status=$?
  kill -TERM $service 2>/dev/null; wait $service
  return $status
}
whichland() {
  if [ "$1" = serve ]; then served "$PORT" .venv/bin/whichland "$@" --port "$PORT"; else command whichland "$@"; fi
}
python() {
  if [[ "$*" = "-m http.server"* ]]; then served "$PORT" .venv/bin/python "$@" "$PORT"; else .venv/bin/python "$@"; fi
}
"""


def blocks(page: Path) -> list[str]:
    """The shell blocks of a page that can be run."""
    found: list[str] = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [block for block in found if not PLACEHOLDER.search(block)]


def commands(page: Path) -> list[str]:
    """Their commands, each with the lines that continue it."""
    lines = re.split(r"(?<!\\)\n", "".join(blocks(page)))
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def run(page: str, folder: Path, environment: dict[str, str], *, full: bool) -> list[str]:
    """Run the commands of a page in one shell, and say how each goes. Returns what is to be said of those that fail."""
    lines, failed = commands(ROOT / page), []
    active = "source .venv/bin/activate\n" if page in HOW_TO else ""
    script = SHELL + active + "".join(f"{line}\necho $? >&3; read -u 4\n" for line in lines)
    if not full:
        script = re.sub(r"scenes=\d+", f"scenes={SMALL}", script)
    ended, end = os.pipe()
    go, going = os.pipe()
    output, said = folder / "output.txt", 0
    with output.open("w") as file, os.fdopen(ended) as statuses:
        shell = ["bash", "-c", f"exec 3>&{end} 4<&{go} {end}>&- {go}<&-\n{script}"]
        process = subprocess.Popen(shell, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=file, stderr=subprocess.STDOUT, pass_fds=(end, go))  # fmt: skip
        os.close(end)
        os.close(go)
        for number, line in enumerate(lines, 1):
            begun, shown = time.monotonic(), re.sub(r"\s+", " ", line.split(" #")[0].replace("\\\n", " "))
            print(f"{page} {number}/{len(lines)}  {shown}", end="", flush=True)
            status = statuses.readline().strip() or "none: the shell ended"
            print(f"  {'FAILED, ' if status != '0' else ''}{time.monotonic() - begun:.0f} s", flush=True)
            whole = output.read_text(encoding="utf-8", errors="replace")
            if status != "0":
                last = "".join(f"    {said}\n" for said in whole[said:].splitlines()[-12:])
                failed.append(f"{page}: exit code {status} of: {shown}\n{last}")
            said = len(whole)
            if process.poll() is not None:
                break
            os.write(going, b"\n")
        os.close(going)
        process.wait()
    return failed


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
def hub(folder: Path, *, full: bool) -> Iterator[dict[str, str]]:
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
            "SCENES": "" if full else str(SMALL),
        }


def main() -> None:
    """Run the pages that are named, or all."""
    full, asked = "--full" in sys.argv, [word for word in sys.argv[1:] if word != "--full"]
    if wrong := [page for page in asked if not (ROOT / page).is_file()]:
        sys.exit(f"no page {wrong[0]}; give its path from the repository, such as {PAGES[-1]}")
    pages = asked or PAGES
    begun, failed = time.monotonic(), []
    with tempfile.TemporaryDirectory() as name, hub(Path(name), full=full) as environment:
        folders: dict[str, Path] = {}
        for page in pages:
            place = README if page in HOW_TO else page
            if place not in folders:
                folders[place] = Path(name) / str(len(folders))
                copy(folders[place])
                if page in HOW_TO:  # asked for alone
                    run(README, folders[place], environment, full=full)
            failed += run(page, folders[place], environment, full=full)
    for line in failed:
        print(f"\n{line}", end="")
    number, minutes = sum(len(commands(ROOT / page)) for page in pages), (time.monotonic() - begun) / 60
    print(f"\n{number} commands of {len(pages)} pages, {len(failed)} failed, {minutes:.0f} minutes")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
