"""whichland demo | doctor | models: what a newcomer runs first."""

import os
import platform
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from whichland.cli.flags import flags
from whichland.cli.output import Json, give, print_table, say
from whichland.errors import UserError
from whichland.printed import counted, install, near, program, spelled
from whichland.training.config import TrainConfig

if TYPE_CHECKING:
    from whichland.evaluation.report import Report

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)[^;]*(;.*extra == ['\"](?P<extra>\w+)['\"])?")


def demo(
    out: Annotated[Path, Option(help="Folder for everything the demo makes.")] = Path("runs/demo"),
    scenes: Annotated[int, Option(help="How many scenes to render.", min=200)] = 2400,
    epochs: Annotated[int | None, Option(help="Passes over the training scenes.")] = None,
    seed: Annotated[int, Option(help="Which of the possible worlds.")] = 0,
) -> None:
    """Render a world, train on it, evaluate, explain and predict; then the line to type for your own photos."""
    from dataclasses import replace

    from whichland.studies.demo import SETTINGS, run

    config = replace(SETTINGS, seed=seed, epochs=epochs or SETTINGS.epochs)
    made = run(out, scenes=scenes, seed=seed, config=config, say=say)
    _print_scores(made.report)
    clues = []
    for c in made.clues:
        low, high = c.mass_interval
        clues.append(
            (spelled(c.clue), c.photos, f"{c.mass:.1%}", f"{low:.1%} to {high:.1%}", f"{c.area:.1%}", f"{c.gain:.2f}")
        )
    print_table("Heat on the clues", ("clue", "photos", "heat", "95 % interval", "chance", "heat/chance"), clues)
    guesses = [(*guess[:3], f"{guess[3]:.0%}") for guess in made.guesses]
    print_table("A few photos", ("photo", "truth", "guess", "probability"), guesses)
    print(
        f"\nreport      {near(made.report.html)}\n"
        f"heat maps   {made.overlays[0].parent}/\nbundle      {out}/run/bundle\n"
        "\nthe page, where anyone drops a photo, and the game, at http://127.0.0.1:8000:\n"
        f"  {program()} serve {out}/run/bundle --play {out}/world.parquet\n"
        "\nwith your own photos in folders by country, such as photos/Japan/a.jpg:\n"
        f"  {program()} quickstart photos/"
    )


def _print_scores(report: "Report") -> None:
    scores = [(spelled(name), f"{s.value:.1%}", s.within()) for name, s in report.scores.items()]
    print_table("Test scores", ("score", "value", "95 % interval"), scores)


@flags(TrainConfig, recipe=True)
def quickstart(
    config: TrainConfig,
    origin: Annotated[str, Argument(metavar="PHOTOS", help="Photos in folders by country, or any other origin.")],
    out: Annotated[Path, Option(help="Folder for everything that is made.")] = Path("runs/quickstart"),
) -> None:
    """From your photos to a model that answers: prepare, train, evaluate and export; then the line to serve it.

    One bar shows how far all is, and about how long is left. The same command resumes what was interrupted. Each step
    is a command of its own, with more to set: `whichland data prepare`, `train`, `evaluate`, `export`.
    """
    from whichland.studies.quickstart import run
    from whichland.training.process import Interrupted

    try:
        made = run(origin, out, config, say)
    except (Interrupted, KeyboardInterrupt):
        say("stopped; the same command resumes")
        raise Exit(130) from None
    if made.report is None:
        print("not judged: too few photos for a test split")
    else:
        _print_scores(made.report)
        print(f"\nreport  {near(made.report.html)}")
    print(
        f"run     {out / 'run' / 'index.html'}\nbundle  {made.bundle}\n"
        f"\nask it, and open the page, where anyone drops a photo, and the game, at http://127.0.0.1:8000:\n"
        f"  {program()} predict {made.bundle} PHOTO.jpg\n"
        f"  {program()} serve {made.bundle} --play {made.table}"
    )


def doctor(json: Json = False) -> None:
    """What is installed, what is missing, what the machine has."""
    found = {"whichland": _versions(), "machine": _machine(), "torch": _torch()}
    lines = [line for title, facts in found.items() for line in (title, *(f"  {k:<21} {v}" for k, v in facts.items()))]
    give(found, lambda: lines, json=json)


def _versions() -> dict[str, str]:
    """Versions of ourselves, Python and every package that the core and the extras ask for."""
    found = {"version": metadata.version("whichland"), "python": platform.python_version()}
    for line in metadata.requires("whichland") or []:
        wanted = _REQUIREMENT.match(line)
        assert wanted is not None
        extra = f" (extra {wanted['extra']!r}: {install(wanted['extra'])})" if wanted["extra"] else ""
        try:
            found[wanted["name"]] = metadata.version(wanted["name"])
        except metadata.PackageNotFoundError:
            found[wanted["name"]] = f"missing{extra}"
    return found


def _machine() -> dict[str, str]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"system": platform.platform(), "cores": f"{usable} usable of {os.cpu_count()}"}
    if sys.platform != "win32":
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["memory"] = f"{total / 2**30:.1f} GiB"
    return found


def _torch() -> dict[str, str]:
    """Threads, devices and bf16, as torch sees them; without torch, that it is missing."""
    if find_spec("torch") is None:
        return {"torch": "missing: training, evaluation and prediction need the extra 'train'"}
    import torch

    found = {"threads": str(torch.get_num_threads())}
    if torch.cuda.is_available():
        for at in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(at)
            found[f"gpu {at}"] = f"{device.name}, {device.total_memory / 2**30:.0f} GiB"
        return found | {"bf16": "yes" if torch.cuda.is_bf16_supported() else "no"}
    cpu = Path("/proc/cpuinfo")  # of Linux
    known = set(cpu.read_text(encoding="utf-8").split()) if cpu.exists() else set()
    fast = ", ".join(name for name in ("avx512_bf16", "amx_bf16", "bf16") if name in known)
    return found | {"gpu": "none", "bf16": f"yes ({fast})" if fast else "no instructions for it: fp32 is faster"}


def models(
    filter: Annotated[
        str, Argument(metavar="[FILTER]", help="Part of a name or family, or a glob such as 'resnet*'.")
    ] = "",
    all: Annotated[bool, Option("--all", help="Look among all models that timm has pretrained weights of.")] = False,
    measure: Annotated[
        bool, Option("--measure", help="Measure how many images a second each judges; takes seconds each.")
    ] = False,
    batch_size: Annotated[int, Option(min=1, help="Images at once when measuring.")] = 16,
    json: Json = False,
) -> None:
    """List models to train, by family and tier: parameters, input size, multiply-adds an image, licence.

    Any of timm's names works as `whichland train --arch`; the families' are worth comparing first, and --all lists
    the others (which takes minutes without a FILTER). No weights are fetched; their licence is as timm states it.
    Weights are `here` where the hub's cache holds them, else those of the `hub` where it answers now.
    """
    from whichland.model import families
    from whichland.progress import Progress

    members = families.matching(filter, every=all)
    if not members:
        none = "timm has none of that name with pretrained weights"
        raise UserError(f"no model matches {filter!r}; {none if all else 'see `whichland models --all`'}")
    rows: list[dict[str, Any]] = []
    with Progress(
        "measuring" if measure else "listing", len(members), show=measure or len(members) > 50, unit="models"
    ) as bar:
        for member in members:
            fact = families.facts(member)
            rows.append(asdict(fact))
            if measure:
                rows[-1]["images_per_second"] = families.images_per_second(fact.arch, fact.size, batch_size=batch_size)
            bar.advance()
    for row, place in zip(rows, families.at_hand([row["arch"] for row in rows]), strict=True):
        row["weights"] = place
    give(rows, lambda: _print_models(rows), json=json)


def _print_models(rows: list[dict[str, Any]]) -> None:
    shown: dict[str, Callable[[dict[str, Any]], object]] = {
        "family": lambda row: row["family"],
        "tier": lambda row: row["tier"],
        "model": lambda row: row["arch"],
        "parameters": lambda row: f"{row['parameters'] / 1e6:7.1f} M",
        "input": lambda row: f"{row['size'][0]}×{row['size'][1]}",
        "GMACs": lambda row: None if row["gmacs"] is None else f"{row['gmacs']:6.1f}",
        "licence": lambda row: row["license"],
        "weights": lambda row: row["weights"],
    }
    if "images_per_second" in rows[0]:
        shown["images/s"] = lambda row: f"{row['images_per_second']:8.1f}"
    print_table(counted(len(rows), "model"), list(shown), [[cell(row) for cell in shown.values()] for row in rows])
