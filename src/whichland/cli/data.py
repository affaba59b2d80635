"""whichland data ingest | geocode | measure | clean | split | check | balance | prepare

Each step reads one manifest and writes another; what was done is said in a line or two on stderr.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.main import require_extra
from whichland.cli.output import In, Json, Out, Workers, finish, print_json, say
from whichland.curate.balance import BalanceConfig
from whichland.curate.clean import CleanConfig
from whichland.curate.geocode import GeocodeConfig
from whichland.curate.prepare import PrepareConfig
from whichland.curate.split import SplitConfig
from whichland.errors import UserError
from whichland.manifest import Manifest, read
from whichland.sources.kinds import KINDS

if TYPE_CHECKING:
    from whichland.model.features import BackboneConfig

ARCH = "mobilenetv2_100.ra_in1k"

Origin = Annotated[
    str,
    typer.Argument(
        metavar="ORIGIN",
        help="A path, recognised by what lies there, or "
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
    from whichland.curate.prepare import measure_into

    finish(measure_into(out, read(manifest), workers=workers, ray=ray), out, json)


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
        say(f"chart: {drawn}")


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

    A table that is there is continued: photos that it has keep their measures and splits. Interrupted, the same
    command resumes measuring.
    """
    from whichland.curate.prepare import prepare as run

    how = {"source": source, "skip_unknown": skip_unknown, "folder": folder, "exif": exif, "keys": keys}
    finish(run(origin, out, config, workers=workers, ray=ray, **how), out, json)


@flags(GeocodeConfig)
def geocode(config: GeocodeConfig, manifest: In, out: Out, json: Json = False) -> None:
    """Look up each photo's country by its coordinates; find labels that disagree, and swapped coordinates."""
    from whichland.curate.geocode import geocode as run

    table = run(read(manifest), config)
    found = table.history[-1].params["found"]
    say(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in found.items()))
    finish(table, out, json)


@flags(SplitConfig)
def split(
    config: SplitConfig,
    manifest: In,
    out: Out,
    report_leak: Annotated[
        bool,
        typer.Option(
            "--report-leak",
            help="Measure what a random split would have claimed, by probes on the frozen features of "
            "--arch, --weights and --size; they are kept beside OUT. Needs the extra train.",
        ),
    ] = False,
    arch: Annotated[str, typer.Option(help="For the leak: timm's name of a pretrained model.")] = ARCH,
    weights: Annotated[str, typer.Option(help="For the leak: `hub`, or a .safetensors file.")] = "hub",
    size: Annotated[int, typer.Option(help="For the leak: pixels a photo is shown at.")] = 224,
    leak_photos: Annotated[
        int, typer.Option(min=100, help="For the leak: most photos looked at, drawn by groups.")
    ] = 5000,
    json: Json = False,
) -> None:
    """Tie related images into groups, put each whole group into train, val or test, and certify it."""
    from whichland.curate.split import split as run

    backbone = None
    if report_leak:
        require_extra("train", "torch")
        from whichland.model.features import BackboneConfig

        backbone = BackboneConfig(arch=arch, weights=weights, size=size)
    result = run(read(manifest), config)
    finish(result, out, json and backbone is None)
    if backbone:
        _report_leak(result, out, leak_photos, json, backbone)


def _report_leak(manifest: Manifest, out: Path, photos: int, json: bool, backbone: "BackboneConfig") -> None:
    """Print the leak number on stdout: as lines, or as one JSON object."""
    from whichland.evaluation.leak import leak

    found = leak(manifest, backbone, photos=photos, cache=out.with_suffix(".features"))
    if json:
        print_json(asdict(found))
        return
    print(f"logistic regression: {found.linear}")
    print(f"nearest neighbour:   {found.nearest}")
    print(f"{found.photos:,} photos, {found.shared:.0%} of them in a group with another; {found.countries} countries")


def check(
    manifest: In,
    files: Annotated[bool, typer.Option("--files", help="Read every file again, not only a sample of 64.")] = False,
    json: Json = False,
) -> None:
    """Re-derive what must hold of a manifest; print what does not and exit with 2."""
    from whichland.curate.check import CHECKS
    from whichland.curate.check import check as run

    table = read(manifest)
    problems = run(table, all_files=files)
    result = {"rows": len(table), "checks": CHECKS, "problems": problems}
    lines = problems or [f"ok: {len(table):,} rows, {CHECKS} checks"]
    if json:
        print_json(result)
    else:
        print("\n".join(lines))
    if problems:
        raise UserError(f"{manifest}: {len(problems)} problem{'s' if len(problems) > 1 else ''} found")
