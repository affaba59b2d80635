"""whichland data split|check"""

import json as json_format
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.main import require_extra
from whichland.cli.manifests import In, Json, Out, finish
from whichland.curate.split import SplitConfig
from whichland.errors import UserError
from whichland.manifest import Manifest, read

if TYPE_CHECKING:
    from whichland.model.features import BackboneConfig

ARCH = "mobilenetv2_100.ra_in1k"


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
        print(json_format.dumps(asdict(found)))
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
    print(json_format.dumps(result, ensure_ascii=False) if json else "\n".join(lines))
    if problems:
        raise UserError(f"{manifest}: {len(problems)} problem{'s' if len(problems) > 1 else ''} found")
