"""whichland calibrate | export | zero-shot | push: bundles made, added to and given away."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from whichland.cli.commands import require_extra
from whichland.cli.flags import flags
from whichland.cli.output import Json, give
from whichland.evaluation.calibration import CalibrateConfig
from whichland.model.export import ExportConfig
from whichland.printed import counted

if TYPE_CHECKING:
    from whichland.evaluation.calibration import Calibrated
    from whichland.model.export import Exported


Written = Annotated[Path, Argument(help="Folder of a trained model; what is found is written into it.")]
SAID = {"ece": "calibration error", "brier": "Brier score", "nll": "log-likelihood, negative"}


@flags(CalibrateConfig)
def calibrate(
    bundle: Written,
    manifest: Annotated[Path, Argument(help="The table of photos, with splits; val is used.")],
    config: CalibrateConfig,
    json: Json = False,
) -> None:
    """Make a bundle's probabilities honest: fit temperature and thresholds on the validation photos.

    The temperature makes probabilities mean what they say. The thresholds give prediction sets ("one of HU, SK, RO
    at 90 %", `whichland predict --sets 90`), and probabilities below which to say nothing so that a stated share
    of answers is right. No answer changes but its probabilities. Test photos are never used.
    """
    from whichland.evaluation.calibration import calibrate as fit_and_keep
    from whichland.model.hub_bundles import check_own

    check_own(bundle)
    found = fit_and_keep(bundle, manifest, config)
    scores = {name: asdict(getattr(found, name)) for name in ("temperature", "plain", "fitted", "change")}
    values = {"bundle": str(found.bundle), **scores, **found.calibration.facts, "doubt": found.doubt}
    give(values, lambda: _calibrated(found), json=json)


def _calibrated(found: "Calibrated") -> list[str]:
    """The scores before and after, and what the thresholds promise."""
    kept, at = found.calibration, found.temperature
    sure = "too sure" if at.above(1) else "not sure enough" if at.below(1) else "about as sure as it should be"
    lines = [
        f"{counted(kept.photos, 'validation photo')} in {counted(kept.groups, 'group')}",
        f"temperature {at.value:.3f} ({at.within('.3f')}): the model was {sure}",
        f"{'':<26}{'before':>8}{'95% interval':>28}{'after':>9}{'95% interval':>28}{'change':>9}",
    ]
    for name, title in SAID.items():
        before, after, change = (getattr(scores, name) for scores in (found.plain, found.fitted, found.change))
        line = f"{title:<26}{before.value:>8.3f}{before.within('.3f'):>28}"
        lines.append(f"{line}{after.value:>9.3f}{after.within('.3f'):>28}{change.value:>+9.3f}")
    for level, threshold in kept.sets.items():
        lines.append(
            f"sets at {level * 100:.4g} %: the {found.space.nouns} with probabilities of {threshold:.4f} or more"
        )
    for share, abstention in kept.abstain.items():
        if abstention.threshold is None:
            lines.append(f"no threshold keeps {share * 100:.4g} % of the answers right on these photos")
        else:
            lines.append(
                f"answer from probabilities of {abstention.threshold:.3f} on: {abstention.right:.1%} right on "
                f"{abstention.answered:.1%} of these photos (asked for: {share * 100:.4g} %)"
            )
    return [*lines, *filter(None, [found.doubt]), f"kept in {found.bundle / 'whichland.json'}"]


@flags(ExportConfig)
def export(
    bundle: Written,
    config: ExportConfig,
    photos: Annotated[
        Path | None,
        Option(help="The table of photos, with splits: train fits int8 and is shown in a gallery, val judges."),
    ] = None,
    site: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="Also the page as a folder for any static host; with --int8 of that network."),
    ] = None,
    json: Json = False,
) -> None:
    """Write the network as ONNX into the bundle, so that prediction needs no torch and is faster.

    The logits are held against torch's before the file is kept. With --int8 a version in 8-bit integers is fitted
    on training photos and kept only if it gives the same answers on validation photos; else the figures are printed,
    the exit code is 2, and the rest stays. Where the photos are too few to show it, int8 is left out and a line says
    so. With --int8 or --openvino, what agrees is timed, and `--engine auto` takes the fastest. Export again after
    `calibrate`, when the bundle has changed, or on the machine that will answer.

    With --gallery the bundle also gets thumbnails of training photos, which the page shows beside an answer that
    is like theirs: "open" takes those whose licence lets anybody show them, "any" all, for who has the right to.
    Whoever gets the bundle gets them too; delete gallery.parquet and they are gone.

    With --site the page becomes a folder that needs no server of its own: the model runs in the visitor's browser, and
    no photo leaves it. Any static host shows it, under any path; try it with `python -m http.server -d FOLDER`.
    """
    from whichland import manifest as manifests
    from whichland.model.export import export as write
    from whichland.model.hub_bundles import check_own

    check_own(bundle)
    done = write(bundle, manifests.read(photos) if photos else None, config)
    values = {"bundle": str(done.bundle), "written": done.written, "skipped": done.skipped, **done.record}
    lines = _exported(done)
    if site is not None:
        from whichland.serving.site import write_site

        made = write_site(bundle, site, network="int8" if config.int8 and not done.skipped else "onnx")
        values["site"] = {"folder": str(made.folder), "files": made.files, "bytes": made.bytes}
        size = f"{made.files} files, {made.bytes / 1e6:.1f} MB"
        lines.append(f"{made.folder}: {size}; look at it with python -m http.server -d {made.folder}")
    give(values, lambda: lines, json=json)


def _exported(done: "Exported") -> list[str]:
    """What was written and how well it agrees."""
    from whichland.model.export import Agreement

    def figures_of(found: dict[str, Any]) -> str:
        return str(Agreement(**{key: found[key] for key in Agreement.__annotations__}))

    lines = [] if done.written else ["all is there and up to date"]
    for name, file in done.record["files"].items():
        if not (done.bundle / name).is_file():
            continue  # removed since
        lines.append(f"{done.bundle / name}: {(done.bundle / name).stat().st_size / 1e6:.1f} MB")
        if "difference" in file:
            lines.append(f"  logits differ from torch's by {file['difference']:.1e} (largest: {file['largest']:.2g})")
        elif "unreadable" in file:
            lines.append(f"  {counted(file['photos'], 'training photo')}: {file['licenses']}")
            lines += [f"  {file['unreadable']:,} more could not be read"] if file["unreadable"] else []
        else:
            layers = f"{file['float_layers']} of {file['layers']}"
            lines += [f"  {figures_of(file)}", f"  the first {layers} layers and the last in floating point"]
    if found := done.record.get("openvino"):
        front = f", behind {found['float_layers']} layers in f32" if found.get("float_layers") else ""
        lines.append(f"OpenVINO computes in {found['precision']}; bf16{front}: {figures_of(found['bf16'])}")
    if speeds := done.record.get("photos_per_second"):
        ranked = ", ".join(f"{name} {speeds[name]:,.0f}" for name in sorted(speeds, key=lambda name: -speeds[name]))
        lines.append(f"photos a second on this machine: {ranked}; `--engine auto` takes the first that is installed")
    return [*lines, *filter(None, [done.skipped])]


def zero_shot(
    model: Annotated[str, Option("--model", help="A model of image and text: a folder, or hub:OWNER/NAME[@REVISION].")],
    out: Annotated[Path, Option("--out", "-o", help="Folder for the bundle.")],
    countries: Annotated[
        str, Option("--countries", help="What it may answer: codes or names, separated by commas.")
    ] = "all",
    prompts: Annotated[
        Path | None, Option("--prompts", help="Prompts of your own, one a line, each with {country}.")
    ] = None,
) -> None:
    """Make a bundle that answers without training, from a CLIP or SigLIP model.

    The names of the countries, in ten prompts, become the head of the image tower: OpenCLIP's models (such as
    hub:timm/ViT-B-16-SigLIP) and those in the layout of transformers' CLIPModel (such as hub:geolocal/StreetCLIP).
    Every other command takes the bundle as one that was trained. Its probabilities are the model's own until
    `whichland calibrate` has seen photos whose country is known.
    """
    require_extra("clip", "open_clip")
    from whichland.model.zero_shot import PROMPTS, make, read_prompts

    chosen = tuple(part.strip() for part in countries.split(",") if part.strip())
    print(make(model, out, names=chosen, prompts=read_prompts(prompts) if prompts else PROMPTS))


def push(
    bundle: Annotated[Path, Argument(help="Folder of a trained model.")],
    repository: Annotated[str, Argument(metavar="OWNER/NAME", help="Where on the hub; made if it is not there.")],
    private: Annotated[bool, Option("--private", help="Make a new repository for your eyes alone.")] = False,
) -> None:
    """Put a bundle on the Hugging Face hub, with its card; others then name it as hub:OWNER/NAME.

    HF_TOKEN says who writes, and is never shown. Photos in a gallery go along only where their licences let anybody
    show them.
    """
    require_extra("hub", "huggingface_hub")
    from whichland.model.hub_bundles import publish

    print(publish(bundle, repository, private=private))
