"""whichland export BUNDLE [--int8] [--openvino] [--gallery open|any] [--photos MANIFEST]"""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.main import require_extra
from whichland.cli.output import Json

require_extra("train", "onnxscript")
from whichland.model.export import ExportConfig  # noqa: E402

if TYPE_CHECKING:
    from whichland.model.export import Exported


@flags(ExportConfig)
def export(
    bundle: Annotated[Path, typer.Argument(help="Folder of a trained model; the files are written into it.")],
    config: ExportConfig,
    photos: Annotated[
        Path | None,
        typer.Option(help="The table of photos, with splits: train fits int8 and is shown in a gallery, val judges."),
    ] = None,
    json: Json = False,
) -> None:
    """Write the network as ONNX into the bundle, so that prediction needs no torch and is faster.

    The logits are held against torch's before the file is kept. With --int8 a version in 8-bit integers is fitted
    on training photos and kept only if it gives the same answers on validation photos; else the figures are printed,
    the exit code is 2, and the rest stays. Export again after `calibrate` or when the bundle has changed.

    With --gallery the bundle also gets thumbnails of training photos, which the page shows beside an answer that
    is like theirs: "open" takes those whose licence lets anybody show them, "any" all, for who has the right to.
    Whoever gets the bundle gets them too; delete gallery.parquet and they are gone.
    """
    from whichland import manifest as manifests
    from whichland.model.export import export as write

    done = write(bundle, manifests.read(photos) if photos else None, config)
    record = {"bundle": str(done.bundle), "written": done.written, **done.record}
    print(json_format.dumps(record, indent=2, ensure_ascii=False) if json else in_words(done))


def in_words(done: "Exported") -> str:
    """What was written and how well it agrees, as text."""
    from whichland.model.agreement import Agreement

    def figures_of(found: dict[str, object]) -> str:
        return str(Agreement(**{key: found[key] for key in Agreement.__annotations__}))  # type: ignore[arg-type]

    lines = [] if done.written else ["all is there and up to date"]
    for name, file in done.record["files"].items():
        if not (done.bundle / name).is_file():
            continue  # removed since
        size = (done.bundle / name).stat().st_size / 1e6
        lines.append(f"{done.bundle / name}: {size:.1f} MB")
        if "difference" in file:
            lines.append(f"  logits differ from torch's by {file['difference']:.1e} (largest: {file['largest']:.2g})")
        elif "unreadable" in file:
            lines.append(f"  {file['photos']:,} training photos: {file['licenses']}")
            if file["unreadable"]:
                lines.append(f"  {file['unreadable']:,} more could not be read")
        else:
            lines.append(f"  {figures_of(file)}")
            lines.append(
                f"  the first {file['float_layers']} of {file['layers']} layers and the last in floating point"
            )
    if "openvino" in done.record:
        found = done.record["openvino"]
        lines.append(f"OpenVINO computes in {found['precision']}; bf16: {figures_of(found['bf16'])}")
    return "\n".join(lines)
