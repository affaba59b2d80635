"""whichland models"""

import json as json_format
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.main import require_extra
from whichland.cli.tables import print_table
from whichland.errors import UserError
from whichland.progress import Progress

if TYPE_CHECKING:
    from whichland.model.families import Facts

Filter = Annotated[
    str, typer.Argument(metavar="[FILTER]", help="Part of a name or family, or a glob such as 'resnet*'.")
]
All = Annotated[
    bool, typer.Option("--all", help="Look among all models that timm has pretrained weights of.")
]
Measure = Annotated[
    bool,
    typer.Option("--measure", help="Measure here how many images a second each judges; takes seconds each."),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images at once when measuring.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


def models(
    filter: Filter = "",
    all: All = False,
    measure: Measure = False,
    batch_size: BatchSize = 16,
    json: Json = False,
) -> None:
    """List models to train, by family and tier: parameters, input size, multiply-adds an image, licence.

    Any of timm's names works as `whichland train --arch`; the families' are worth comparing first, and --all lists
    the others (which takes minutes without a FILTER). No weights are fetched; their licence is as timm states it.
    """
    require_extra("train", "torch")
    from whichland.model import families

    members = families.matching(filter, every=all)
    if not members:
        hint = (
            "see `whichland models --all`"
            if not all
            else "timm has none of that name with pretrained weights"
        )
        raise UserError(f"no model matches {filter!r}; {hint}")
    found, speeds = [], []
    with Progress(
        "measuring" if measure else "listing", len(members), show=measure or len(members) > 50
    ) as bar:
        for member in members:
            found.append(families.facts(member))
            if measure:
                fact = found[-1]
                speeds.append(families.images_per_second(fact.arch, fact.size, batch_size=batch_size))
            bar.advance(1)
    if json:
        rows = [asdict(fact) for fact in found]
        for row, speed in zip(rows, speeds, strict=False):
            row["images_per_second"] = speed
        print(json_format.dumps(rows, indent=2))
        return
    _print(found, speeds)


def _print(found: list["Facts"], speeds: list[float]) -> None:
    columns = ["family", "tier", "model", "parameters", "input", "GMACs", "licence"]
    rows = [
        [
            fact.family,
            fact.tier,
            fact.arch,
            f"{fact.parameters / 1e6:7.1f} M",
            f"{fact.size[0]}×{fact.size[1]}",
            None if fact.gmacs is None else f"{fact.gmacs:6.1f}",
            fact.license,
        ]
        for fact in found
    ]
    if speeds:
        columns.append("images/s")
        rows = [[*row, f"{speed:8.1f}"] for row, speed in zip(rows, speeds, strict=True)]
    print_table(f"{len(rows)} models", columns, rows)
