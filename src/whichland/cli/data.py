"""whichland data ingest|measure|clean|split|balance|prepare|stats|check

Each step reads one manifest and writes another; what was done is said in a line or two on stderr.
"""

import json as json_format
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from whichland.cli.flags import flags
from whichland.cli.tables import print_table
from whichland.curate.balance import BalanceConfig
from whichland.curate.clean import CleanConfig
from whichland.curate.split import SplitConfig
from whichland.errors import UserError
from whichland.manifest import Manifest, read, write

Config = TypeVar("Config")

Origin = Annotated[
    str,
    typer.Argument(
        help="A folder by country, parquet:GLOB_OR_FOLDER, table:FILE.csv|.parquet, or "
        "synthetic:scenes=2400,seed=0; a path alone is told by what lies there.",
    ),
]
In = Annotated[Path, typer.Argument(metavar="MANIFEST", help="The manifest to read.")]
Out = Annotated[
    Path,
    typer.Option(
        "-o", "--out", dir_okay=False, help="The manifest to write; it may be the one that is read."
    ),
]
Source = Annotated[
    str | None, typer.Option(help="Name of the collection. [default: after the folder or file]")
]
SkipUnknown = Annotated[
    bool, typer.Option("--skip-unknown", help="Leave out what has no known country or no file.")
]
World = Annotated[
    Path | None, typer.Option("--folder", help="Where a synthetic world is written. [default: world]")
]
Workers = Annotated[
    int | None, typer.Option("-j", "--workers", min=1, help="Processes. [default: one a core]")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def ingest(
    origin: Origin,
    out: Out,
    source: Source = None,
    skip_unknown: SkipUnknown = False,
    folder: World = None,
    json: Json = False,
) -> None:
    """Make a manifest of photos by country, shards, a table, or the synthetic world."""
    from whichland.sources.ingest import ingest as run

    _finish(run(origin, source=source, skip_unknown=skip_unknown, folder=folder), out, json)


def measure(manifest: In, out: Out, workers: Workers = None, json: Json = False) -> None:
    """Fill in size, hashes, brightness, contrast and sharpness; only rows that have none are read."""
    _finish(_measured(read(manifest), out, workers), out, json)


@flags(CleanConfig)
def clean(config: CleanConfig, manifest: In, out: Out, json: Json = False) -> None:
    """Give bad images and repeated bytes a reason to be left out; no row is deleted."""
    from whichland.curate.clean import clean as run

    _finish(run(read(manifest), config), out, json)


@flags(SplitConfig)
def split(config: SplitConfig, manifest: In, out: Out, json: Json = False) -> None:
    """Tie related images into groups and put each whole group into train, val or test."""
    from whichland.curate.split import split as run

    _finish(run(read(manifest), config), out, json)


@flags(BalanceConfig)
def balance(config: BalanceConfig, manifest: In, out: Out, json: Json = False) -> None:
    """Rank, cap and weigh the training images of each country."""
    from whichland.curate.balance import balance as run

    _finish(run(read(manifest), config), out, json)


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(CleanConfig, SplitConfig, BalanceConfig):
    """The settings of all steps."""

    seed: Annotated[int, "which of the possible splits, and orders within a country"] = 0

    def part(self, kind: type[Config]) -> Config:
        """Return the settings of one step."""
        return kind(**{field.name: getattr(self, field.name) for field in fields(kind)})  # type: ignore[arg-type]


@flags(PrepareConfig)
def prepare(
    config: PrepareConfig,
    origin: Origin,
    out: Out,
    source: Source = None,
    skip_unknown: SkipUnknown = False,
    folder: World = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Ingest, measure, clean, split and balance in one go; interrupted, the same command goes on measuring."""
    from whichland.curate.balance import balance
    from whichland.curate.clean import clean
    from whichland.curate.split import split
    from whichland.sources.ingest import ingest

    settings = config.part(CleanConfig), config.part(SplitConfig), config.part(BalanceConfig)
    begun = _unfinished(out, origin) or ingest(
        origin, source=source, skip_unknown=skip_unknown, folder=folder
    )
    measured = _measured(begun, out, workers)
    _finish(balance(split(clean(measured, settings[0]), settings[1]), settings[2]), out, json)


def stats(
    manifest: In,
    chart: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Draw the photos by country and split (.png, .svg, .pdf)."),
    ] = None,
    json: Json = False,
) -> None:
    """Count by country, split, source and drop reason."""
    from whichland.curate import stats as counting

    found = counting.stats(read(manifest))
    if chart:
        print(f"chart: {counting.chart(found, chart)}", file=sys.stderr)
    if json:
        print(json_format.dumps(found.as_dict(), ensure_ascii=False))
        return
    print(f"{found.rows:,} rows, {found.kept:,} kept")
    for title, table in found.tables().items():
        if table.height:
            print_table(f"By {title}", table.columns, table.rows())


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


def _measured(manifest: Manifest, out: Path, workers: int | None) -> Manifest:
    """Measure, keeping what is done in `out` so that an interrupted run can go on."""
    from whichland.curate.measure import measure as run

    def checkpoint(so_far: Manifest) -> None:
        write(so_far, out)

    try:
        return run(manifest, workers=workers, checkpoint=checkpoint)
    except KeyboardInterrupt:
        print(
            f"what is measured is in {out}: `whichland data measure {out} -o {out}` goes on", file=sys.stderr
        )
        raise


def _unfinished(out: Path, origin: str) -> Manifest | None:
    """Return the manifest at `out` when it is this origin's, left in the middle of measuring."""
    if not out.is_file():
        return None
    manifest = read(out)
    steps = {line.step: line.params for line in manifest.history}
    same = set(steps) == {"ingest", "measure"} and steps["ingest"].get("origin") == origin
    return manifest if same and steps["measure"]["waiting"] else None


def _finish(manifest: Manifest, out: Path, json: bool) -> None:
    """Write the manifest and say what it holds."""
    write(manifest, out)
    step = manifest.history[-1]
    summary: dict[str, Any] = {"step": step.step, "out": str(out), "rows": len(manifest)}
    summary |= {"kept": manifest.kept.height, "dropped": step.dropped}
    print(_in_words(manifest), file=sys.stderr)
    if json:
        print(json_format.dumps(summary, ensure_ascii=False))


def _in_words(manifest: Manifest) -> str:
    frame, step = manifest.frame, manifest.history[-1]
    words = [f"{len(manifest):,} rows"]
    if step.step == "measure":
        words.append(f"{frame['unreadable'].drop_nulls().len():,} unreadable")
    if "drop_reason" in frame.columns:
        words.append(f"{manifest.kept.height:,} kept")
        words += [f"{count:,} {reason}" for reason, count in step.dropped.items()]
    text = f"{step.step}: {', '.join(words)}"
    if "split" in frame.columns:
        counts = dict(frame["split"].drop_nulls().value_counts().iter_rows())
        parts = ", ".join(f"{part} {counts.get(part, 0):,}" for part in ("train", "val", "test"))
        text += f"\n{frame['group'].drop_nulls().n_unique():,} groups: {parts}"
    if "weight" in frame.columns:
        unused = frame.filter(frame["weight"] == 0).height
        text += f"; {unused:,} of train over the cap" if unused else ""
    return text
