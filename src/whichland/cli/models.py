"""whichland models"""

import json as json_format
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichland.cli.main import require_extra
from whichland.cli.tables import print_table
from whichland.errors import UserError
from whichland.progress import Progress

if TYPE_CHECKING:
    from whichland.model.families import Member

Filter = Annotated[
    str, typer.Argument(metavar="[FILTER]", help="Part of a name or family, or a glob such as 'resnet*'.")
]
All = Annotated[bool, typer.Option("--all", help="Look among all models that timm has pretrained weights of.")]
Measure = Annotated[
    bool, typer.Option("--measure", help="Measure here how many images a second each judges; takes seconds each.")
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images at once when measuring.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


def models(
    filter: Filter = "", all: All = False, measure: Measure = False, batch_size: BatchSize = 16, json: Json = False
) -> None:
    """List models to train, by family and tier: parameters, input size, multiply-adds an image, licence.

    Any of timm's names works as `whichland train --arch`; the families' are worth comparing first, and --all lists
    the others (which takes minutes without a FILTER). No weights are fetched; their licence is as timm states it.
    """
    require_extra("train", "torch")
    from whichland.model import families

    members = families.matching(filter, every=all)
    if not members:
        none = "timm has none of that name with pretrained weights"
        hint = none if all else "see `whichland models --all`"
        raise UserError(f"no model matches {filter!r}; {hint}")
    rows = _rows(members, batch_size if measure else None)
    if json:
        print(json_format.dumps(rows, indent=2))
    else:
        _print(rows)


def _rows(members: list["Member"], batch_size: int | None) -> list[dict[str, Any]]:
    """What is known of each model, with its speed here where a batch size is given."""
    from whichland.model import families

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


def _print(rows: list[dict[str, Any]]) -> None:
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
