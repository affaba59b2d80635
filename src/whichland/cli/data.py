"""whichland data ingest|measure|clean|balance|prepare

Each step reads one manifest and writes another; what was done is said in a line or two on stderr.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from whichland.cli.flags import flags
from whichland.cli.manifests import In, Json, Out, finish
from whichland.curate.balance import BalanceConfig
from whichland.curate.clean import CleanConfig
from whichland.curate.geocode import GeocodeConfig
from whichland.curate.split import SplitConfig
from whichland.manifest import Manifest, read, write
from whichland.sources.kinds import KINDS

Origin = Annotated[
    str,
    typer.Argument(
        metavar="ORIGIN",
        help="A path, told by what lies there, or "
        + "; ".join(f"{name}:{kind.form} ({kind.meaning})" for name, kind in KINDS.items()),
    ),
]
Source = Annotated[str | None, typer.Option(help="Name of the collection. [default: after the folder or file]")]
SkipUnknown = Annotated[bool, typer.Option("--skip-unknown", help="Leave out what has no known country or no file.")]
Exif = Annotated[
    bool, typer.Option("--exif/--no-exif", help="Read coordinates and times that cameras wrote into the photos.")
]
Keys = Annotated[
    Path | None,
    typer.Option(help="Table that places the traffic sign set's photos: key and lat and lon, or key and country."),
]
World = Annotated[Path | None, typer.Option("--folder", help="Where a synthetic world is written. [default: world]")]
Workers = Annotated[int | None, typer.Option("-j", "--workers", min=1, help="Processes. [default: one a core]")]
Ray = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Spread the work over a Ray cluster: its address, or auto.")
]


def ingest(
    origin: Origin,
    out: Out,
    source: Source = None,
    skip_unknown: SkipUnknown = False,
    exif: Exif = True,
    keys: Keys = None,
    folder: World = None,
    json: Json = False,
) -> None:
    """Make a manifest of photos from any origin."""
    from whichland.sources.ingest import ingest as run

    made = run(origin, source=source, skip_unknown=skip_unknown, folder=folder, exif=exif, keys=keys)
    finish(made, out, json)


def measure(manifest: In, out: Out, workers: Workers = None, ray: Ray = None, json: Json = False) -> None:
    """Fill in size, hashes, brightness, contrast and sharpness; only rows that have none are read."""
    finish(_measured(read(manifest), out, workers, ray), out, json)


@flags(CleanConfig)
def clean(config: CleanConfig, manifest: In, out: Out, json: Json = False) -> None:
    """Give bad, misplaced and repeated images a reason to be left out; no row is deleted.

    `whichland data stats --examples` then shows what each threshold took, and what it just kept.
    """
    from whichland.curate.clean import clean as run

    finish(run(read(manifest), config), out, json)


@flags(BalanceConfig)
def balance(
    config: BalanceConfig,
    manifest: In,
    out: Out,
    chart: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw the training photos before and after (.png, .svg, .pdf).")
    ] = None,
    json: Json = False,
) -> None:
    """Rank, thin out and weigh the training images of each country; validation and test stay as they are."""
    from whichland.curate.balance import balance as run

    balanced = run(read(manifest), config)
    finish(balanced, out, json)
    if chart:
        from whichland.curate import charts

        before = charts.in_use(Manifest(balanced.frame.drop("weight")), "train")
        drawn = charts.before_and_after(before, charts.in_use(balanced, "train"), chart, what="Training photos")
        print(f"chart: {drawn}", file=sys.stderr)


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(GeocodeConfig, CleanConfig, SplitConfig, BalanceConfig):
    """The settings of all steps."""

    seed: Annotated[int, "which of the possible splits, and orders within a country"] = 0


@flags(PrepareConfig)
def prepare(
    config: PrepareConfig,
    origin: Origin,
    out: Out,
    source: Source = None,
    skip_unknown: SkipUnknown = False,
    exif: Exif = True,
    keys: Keys = None,
    folder: World = None,
    workers: Workers = None,
    ray: Ray = None,
    json: Json = False,
) -> None:
    """Ingest, geocode what has coordinates, measure, clean, split and balance in one go.

    Interrupted, the same command goes on measuring.
    """
    from whichland.curate.balance import balance
    from whichland.curate.clean import clean
    from whichland.curate.geocode import geocode
    from whichland.curate.split import split
    from whichland.sources.ingest import ingest

    settings = config.part(CleanConfig), config.part(SplitConfig), config.part(BalanceConfig)
    places = config.part(GeocodeConfig)
    known = {"origin": origin, "skip_unknown": skip_unknown, "exif": exif} | ({"source": source} if source else {})
    known["keys"] = None if keys is None else str(keys)
    begun = _unfinished(out, {"ingest": known, "geocode": asdict(places)})
    if begun is None:
        begun = ingest(origin, source=source, skip_unknown=skip_unknown, folder=folder, exif=exif, keys=keys)
        if begun.frame["lat"].count():
            begun = geocode(begun, places)
    measured = _measured(begun, out, workers, ray)
    finish(balance(split(clean(measured, settings[0]), settings[1]), settings[2]), out, json)


def _measured(manifest: Manifest, out: Path, workers: int | None, ray: str | None) -> Manifest:
    """Measure, keeping what is done in `out` so that an interrupted run can go on."""
    from whichland.curate.measure import measure as run

    def checkpoint(so_far: Manifest) -> None:
        write(so_far, out)

    try:
        return run(manifest, workers=workers, ray=ray, checkpoint=checkpoint)
    except KeyboardInterrupt:
        print(f"what is measured is in {out}: `whichland data measure {out} -o {out}` goes on", file=sys.stderr)
        raise


def _unfinished(out: Path, asked: dict[str, dict[str, Any]]) -> Manifest | None:
    """Return the manifest at `out` when it was made as `asked` (by step) and left in the middle of measuring."""
    if not out.is_file():
        return None
    manifest = read(out)
    steps = {line.step: line.params for line in manifest.history}
    if set(steps) - {"geocode"} != {"ingest", "measure"} or not steps["measure"]["waiting"]:
        return None
    same = all(params.items() <= steps[step].items() for step, params in asked.items() if step in steps)
    return manifest if same else None
