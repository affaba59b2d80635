"""What the data commands share: the manifest they read, the one they write, and the lines they say about it."""

import json as json_format
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from whichland.manifest import Manifest, write

In = Annotated[Path, typer.Argument(metavar="MANIFEST", help="The manifest to read.")]
Out = Annotated[
    Path, typer.Option("-o", "--out", dir_okay=False, help="The manifest to write; it may be the one that is read.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def finish(manifest: Manifest, out: Path, json: bool) -> None:
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
        text += f"; {unused:,} of train not used" if unused else ""
    return text
