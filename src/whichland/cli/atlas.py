"""whichland atlas BUNDLE MANIFEST --out DIR"""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.main import require_extra
from whichland.cli.tables import print_table
from whichland.explanation.atlas_config import AtlasConfig

if TYPE_CHECKING:
    from whichland.explanation.atlas import Atlas


@flags(AtlasConfig)
def atlas(
    config: AtlasConfig,
    bundle: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    manifest: Annotated[Path, typer.Argument(help="The table of photos, with splits.")],
    out: Annotated[Path, typer.Option("-o", "--out", file_okay=False, help="Folder for the pages.")],
    json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Make a field guide to a model: the clues it knows each country by, each tried on photos of others.

    Writes index.html, a page a country named by its code, and atlas.json. A clue is confirmed when pasting its
    patches into photos of other countries raises the probabilities by more than control patches do; what is not
    confirmed is listed apart. Pages of an earlier atlas in the folder are replaced.
    """
    require_extra("train", "torch")
    from whichland import manifest as manifests
    from whichland.explanation.atlas import atlas as make
    from whichland.explanation.atlas_page import numbers, write_atlas
    from whichland.model import bundle as bundles

    made = make(bundles.load(bundle), manifests.read(manifest), config)
    index = write_atlas(made, out)
    if json:
        print(json_format.dumps(numbers(made), indent=2))
    else:
        _print(made)
        print(f"\npages: {index}")


def _print(made: "Atlas") -> None:
    from whichland.explanation.atlas_page import factor
    from whichland.geo.countries import country_name

    rows = []
    for chapter in made.chapters:
        best = chapter.confirmed[0].shift if chapter.confirmed else None
        strongest = f"{factor(best.value)} [{factor(best.low)}, {factor(best.high)}]" if best else "–"
        name = f"{country_name(chapter.country)} ({chapter.country})"
        counts = (chapter.looked_at, len(chapter.confirmed), len(chapter.unconfirmed))
        rows.append((name, *counts, strongest))
    print_table("Clue atlas", ("country", "photos", "confirmed", "not confirmed", "strongest, odds"), rows)
