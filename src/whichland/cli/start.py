"""whichland demo | doctor | models: what a newcomer runs first."""

import os
import platform
import re
import sys
from dataclasses import asdict
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichland.cli.output import Json, print_json, print_table, say
from whichland.errors import UserError

if TYPE_CHECKING:
    from whichland.model.families import Member

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)[^;]*(;.*extra == ['\"](?P<extra>\w+)['\"])?")


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything the demo makes.")] = Path("runs/demo"),
    scenes: Annotated[int, typer.Option("--scenes", help="How many scenes to render.", min=200)] = 2400,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the training scenes.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which of the possible worlds.")] = 0,
) -> None:
    """Render a world, train on it, evaluate, explain and predict; then the line to type for your own photos."""
    from dataclasses import replace

    from whichland.studies.demo import SETTINGS, run

    config = replace(SETTINGS, seed=seed, epochs=epochs or SETTINGS.epochs)
    made = run(out, scenes=scenes, seed=seed, config=config, say=say)
    scores = [(name, f"{s.value:.1%}", f"{s.low:.1%} – {s.high:.1%}") for name, s in made.report.scores.items()]
    print_table("Test scores", ("score", "value", "95 % interval"), scores)
    clues = [
        (
            c.clue,
            c.photos,
            f"{c.mass:.1%}",
            f"{c.mass_interval[0]:.1%} – {c.mass_interval[1]:.1%}",
            f"{c.area:.1%}",
            f"{c.gain:.2f}",
        )
        for c in made.clues
    ]
    print_table("Heat on the clues", ("clue", "photos", "heat", "95 % interval", "chance", "heat/chance"), clues)
    print_table(
        "A few photos", ("photo", "truth", "guess", "probability"), [(*g[:3], f"{g[3]:.0%}") for g in made.guesses]
    )
    print(f"\nreport      {made.report.html}\nheat maps   {made.overlays[0].parent}/\nbundle      {out}/run/bundle")
    print(
        "\nnext, with your own photos in folders by country:\n"
        "  whichland data prepare photos/ -o photos.parquet && whichland train photos.parquet --out runs/mine"
    )


def doctor(json: Json = False) -> None:
    """What is installed, what is missing, what the machine has."""
    found = {"whichland": _versions(), "machine": _machine(), "torch": _torch()}
    if json:
        print_json(found, indent=2)
        return
    for title, lines in found.items():
        print(title)
        for name, value in lines.items():
            print(f"  {name:<20}{value}")


def _versions() -> dict[str, str]:
    """Versions of ourselves, Python and every package that the core and the extras ask for."""
    found = {"version": metadata.version("whichland"), "python": platform.python_version()}
    for line in metadata.requires("whichland") or []:
        wanted = _REQUIREMENT.match(line)
        assert wanted is not None
        extra = f" (extra {wanted['extra']!r}: pip install 'whichland[{wanted['extra']}]')" if wanted["extra"] else ""
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
        found["bf16"] = "yes" if torch.cuda.is_bf16_supported() else "no"
    else:
        found["gpu"] = "none"
        # without one of these, bf16 on a CPU is slower than fp32
        fast = [name for name in ("avx512_bf16", "amx_bf16", "bf16") if name in _cpu_flags()]
        found["bf16"] = f"yes ({', '.join(fast)})" if fast else "no instructions for it: fp32 is faster"
    return found


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return set(file.read().split())
    except OSError:  # not Linux
        return set()


def models(
    filter: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="Part of a name or family, or a glob such as 'resnet*'.")
    ] = "",
    all: Annotated[
        bool, typer.Option("--all", help="Look among all models that timm has pretrained weights of.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure here how many images a second each judges; takes seconds each.")
    ] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images at once when measuring.")] = 16,
    json: Json = False,
) -> None:
    """List models to train, by family and tier: parameters, input size, multiply-adds an image, licence.

    Any of timm's names works as `whichland train --arch`; the families' are worth comparing first, and --all lists
    the others (which takes minutes without a FILTER). No weights are fetched; their licence is as timm states it.
    """
    from whichland.model import families

    members = families.matching(filter, every=all)
    if not members:
        none = "timm has none of that name with pretrained weights"
        hint = none if all else "see `whichland models --all`"
        raise UserError(f"no model matches {filter!r}; {hint}")
    rows = _rows_of(members, batch_size if measure else None)
    if json:
        print_json(rows, indent=2)
    else:
        _print_models(rows)


def _rows_of(members: list["Member"], batch_size: int | None) -> list[dict[str, Any]]:
    """What is known of each model, with its speed here where a batch size is given."""
    from whichland.model import families
    from whichland.progress import Progress

    rows = []
    long = batch_size is not None or len(members) > 50
    with Progress("measuring" if batch_size else "listing", len(members), show=long) as bar:
        for member in members:
            fact = families.facts(member)
            rows.append(asdict(fact))
            if batch_size is not None:
                speed = families.images_per_second(fact.arch, fact.size, batch_size=batch_size)
                rows[-1]["images_per_second"] = speed
            bar.advance()
    return rows


def _print_models(rows: list[dict[str, Any]]) -> None:
    columns = ["family", "tier", "model", "parameters", "input", "GMACs", "licence"]
    cells = [
        [
            row["family"],
            row["tier"],
            row["arch"],
            f"{row['parameters'] / 1e6:7.1f} M",
            f"{row['size'][0]}×{row['size'][1]}",
            None if row["gmacs"] is None else f"{row['gmacs']:6.1f}",
            row["license"],
        ]
        for row in rows
    ]
    if "images_per_second" in rows[0]:
        columns.append("images/s")
        cells = [[*cell, f"{row['images_per_second']:8.1f}"] for cell, row in zip(cells, rows, strict=True)]
    print_table(f"{len(rows)} models", columns, cells)
