"""whichland data ingest | geocode | measure | clean | split | check | balance | prepare

Each step reads one manifest and writes another; what was done is said in a line or two on stderr.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from whichland.cli.commands import require_extra
from whichland.cli.flags import flags
from whichland.cli.output import In, Json, Out, Workers, finish, give, say
from whichland.curate.balance import BalanceConfig
from whichland.curate.clean import CleanConfig
from whichland.curate.geocode import GeocodeConfig
from whichland.curate.prepare import PrepareConfig
from whichland.curate.split import SplitConfig
from whichland.errors import UserError
from whichland.manifest import Manifest, read
from whichland.printed import counted, program
from whichland.sources.ingest import KINDS

KINDS_HELP = "; ".join(f"{name}:{kind.form} ({kind.meaning})" for name, kind in KINDS.items())
Origin = Annotated[str, Argument(metavar="ORIGIN", help=f"A path, recognised by what lies there, or {KINDS_HELP}")]
Source = Annotated[str | None, Option(help="Name of the collection. [default: after the folder or file]")]
SkipUnknown = Annotated[bool, Option("--skip-unknown", help="Leave out what has no known country or no file.")]
Exif = Annotated[bool, Option("--exif/--no-exif", help="Read places and times that cameras wrote into the photos.")]
Keys = Annotated[
    Path | None, Option(help="Table that places the traffic sign set's photos: key, and lat and lon or country.")
]
World = Annotated[Path | None, Option("--folder", help="Where a synthetic world is written. [default: world]")]
Ray = Annotated[str | None, Option(metavar="ADDRESS", help="Spread the work over a Ray cluster: its address, or auto.")]


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

    finish(run(origin, source=source, skip_unknown=skip_unknown, folder=folder, exif=exif, keys=keys), out, json)


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
    table = run(origin, out, config, workers=workers, ray=ray, **how)
    finish(table, out, json)
    countries = counted(table.kept["country"].n_unique(), "country", "countries")
    say(f"{out}: {countries}; next: {program()} train {out} --out runs/mine")


def measure(manifest: In, out: Out, workers: Workers = None, ray: Ray = None, json: Json = False) -> None:
    """Fill in size, hashes, brightness, contrast and sharpness; only rows that have none are read."""
    from whichland.curate.prepare import measure_into

    finish(measure_into(out, read(manifest), workers=workers, ray=ray), out, json)


@flags(GeocodeConfig)
def geocode(config: GeocodeConfig, manifest: In, out: Out, json: Json = False) -> None:
    """Look up each photo's country by its coordinates; find labels that disagree, and swapped coordinates."""
    from whichland.curate.geocode import READ
    from whichland.curate.geocode import geocode as run

    table = run(read(manifest, READ), config)
    found = table.history[-1].params["found"]
    say(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in found.items()))
    finish(table, out, json)


@flags(CleanConfig)
def clean(config: CleanConfig, manifest: In, out: Out, json: Json = False) -> None:
    """Give bad, misplaced and repeated images a reason to be left out; no row is deleted.

    `whichland data stats --examples` then shows what each threshold took, and what it just kept.
    """
    from whichland.curate.clean import READ
    from whichland.curate.clean import clean as run

    finish(run(read(manifest, READ), config), out, json)


@flags(BalanceConfig)
def balance(
    config: BalanceConfig,
    manifest: In,
    out: Out,
    chart: Annotated[
        Path | None, Option(dir_okay=False, help="Draw the training photos before and after (.png, .svg, .pdf).")
    ] = None,
    json: Json = False,
) -> None:
    """Rank, thin out and weigh the training images of each country or other label; val and test stay as they are."""
    from whichland.curate.balance import READ
    from whichland.curate.balance import balance as run

    balanced = run(read(manifest, {*READ, config.label}), config)
    finish(balanced, out, json)
    if chart:
        from whichland.curate import charts

        whole = Manifest(balanced.frame.drop("weight"))
        before, after = (charts.in_use(table, "train", label=config.label) for table in (whole, balanced))
        drawn = charts.before_and_after(before, after, chart, what="Training photos", label=config.label)
        say(f"chart: {drawn}")


@flags(SplitConfig)
def split(
    config: SplitConfig,
    manifest: In,
    out: Out,
    features: Annotated[
        Path | None,
        Option(
            dir_okay=False,
            help="For --near-duplicate-cosine: features by sha256 or image_id (.parquet, .npz) or in the table's order "
            "(.npy). [default: those of --arch, --weights and --size, kept beside OUT]",
        ),
    ] = None,
    report_leak: Annotated[
        bool,
        Option(
            "--report-leak",
            help="Measure what a random split would have claimed, by probes on the frozen features of "
            "--arch, --weights and --size; they are kept beside OUT. Needs the extra train.",
        ),
    ] = False,
    arch: Annotated[str, Option(help="For features: a pretrained model of timm's.")] = "mobilenetv2_100.ra_in1k",
    weights: Annotated[str, Option(help="For features: `hub`, or a .safetensors file.")] = "hub",
    size: Annotated[int, Option(help="For features: pixels a photo is shown at.")] = 224,
    leak_photos: Annotated[int, Option(min=100, help="For the leak: most photos looked at, drawn by groups.")] = 5000,
    json: Json = False,
) -> None:
    """Tie related images into groups, put each whole group into train, val or test, and certify it."""
    from whichland.curate.links import read_features
    from whichland.curate.split import READ
    from whichland.curate.split import split as run

    asked = config.near_duplicate_cosine is not None
    table, vectors = read(manifest, None if asked or report_leak else READ), None
    if features and not asked:
        raise UserError("--features are for --near-duplicate-cosine: say how alike they must be, such as 0.95")
    if report_leak or (asked and not features):
        require_extra("train", "torch")
        from whichland.model.features import BackboneConfig
        from whichland.model.features import features as seen

        backbone = BackboneConfig(arch=arch, weights=weights, size=size)  # before the work
        if asked and not features:
            table.require("sha256", hint="run `whichland data measure` first")
            uris, keys = table.frame["uri"].to_list(), table.frame["sha256"].fill_null("").to_list()
            vectors = seen(uris, keys, backbone, out.with_suffix(".features"))
    if features:
        vectors = read_features(features, table.frame)
    result = run(table, config, vectors)
    finish(result, out, json and not report_leak)
    if report_leak:
        from whichland.evaluation.leak import leak

        found = leak(result, backbone, photos=leak_photos, cache=out.with_suffix(".features"))
        lines = [
            f"logistic regression: {found.linear}",
            f"nearest neighbour:   {found.nearest}",
            f"{found.photos:,} photos, {found.shared:.0%} of them in a group with another; {found.countries} countries",
        ]
        give(asdict(found), lambda: lines, json=json, indent=None)


def check(
    manifest: In,
    files: Annotated[bool, Option("--files", help="Read every file again, not only a sample of 64.")] = False,
    json: Json = False,
) -> None:
    """Re-derive what must hold of a manifest; print what does not and exit with 2."""
    from whichland.curate.check import CHECKS
    from whichland.curate.check import check as run

    table = read(manifest, ["image_id"])
    problems = run(table, all_files=files)
    values = {"rows": len(table), "checks": CHECKS, "problems": problems}
    give(values, lambda: problems or f"ok: {counted(len(table), 'row')}, {CHECKS} checks", json=json, indent=None)
    if problems:
        raise UserError(f"{manifest}: {counted(len(problems), 'problem')} found")
