"""whichland data split|check"""

import json as json_format
from typing import Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.manifests import In, Json, Out, finish
from whichland.curate.split import SplitConfig
from whichland.errors import UserError
from whichland.manifest import read


@flags(SplitConfig)
def split(config: SplitConfig, manifest: In, out: Out, json: Json = False) -> None:
    """Tie related images into groups and put each whole group into train, val or test."""
    from whichland.curate.split import split as run

    finish(run(read(manifest), config), out, json)


def check(
    manifest: In,
    files: Annotated[
        bool, typer.Option("--files", help="Read every file again, not only a sample of 64.")
    ] = False,
    json: Json = False,
) -> None:
    """Re-derive what must hold of a manifest; print what does not and exit with 2."""
    from whichland.curate.check import CHECKS
    from whichland.curate.check import check as run

    table = read(manifest)
    problems = run(table, all_files=files)
    result = {"rows": len(table), "checks": CHECKS, "problems": problems}
    lines = problems or [f"ok: {len(table):,} rows, {CHECKS} checks"]
    print(json_format.dumps(result, ensure_ascii=False) if json else "\n".join(lines))
    if problems:
        raise UserError(f"{manifest}: {len(problems)} problem{'s' if len(problems) > 1 else ''} found")
