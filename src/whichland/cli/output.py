"""What commands share: arguments that many take, tables and JSON on stdout, lines on stderr."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from whichland.printed import counted, spelled

if TYPE_CHECKING:
    from whichland.manifest import Manifest

In = Annotated[Path, Argument(metavar="MANIFEST", help="The manifest to read.")]
Out = Annotated[
    Path, Option("-o", "--out", dir_okay=False, help="The manifest to write; it may be the one that is read.")
]
Workers = Annotated[int | None, Option("-j", "--workers", min=1, help="Processes. [default: one a core]")]
BUNDLE = "Folder of a trained model or of its run, or hub:OWNER/NAME."
Bundle = Annotated[Path, Argument(help=BUNDLE)]
SplitManifest = Annotated[
    Path, Argument(metavar="MANIFEST", help="The table of photos, with splits, from `whichland data prepare`.")
]
Split = Annotated[str, Option("--split", help="Which part to judge on.")]
Json = Annotated[bool, Option("--json", help="Print the result as JSON on stdout.")]


def print_json(values: Any, *, indent: int | None = None) -> None:
    """Print JSON on stdout, letters as they are."""
    print(json.dumps(values, indent=indent, ensure_ascii=False))


def give(values: Any, shown: Callable[[], object], *, json: bool, indent: int | None = 2) -> None:
    """Print a command's result on stdout: `values` as JSON where that is asked for, else what `shown` gives or prints.

    A list from `shown` is lines, a text is printed, and None has been printed already.
    """
    if json:
        print_json(values, indent=indent)
    elif (found := shown()) is not None:
        print("\n".join(found) if isinstance(found, list) else found)


def say(text: object) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)


def finish(manifest: "Manifest", out: Path, json: bool) -> None:
    """Write the manifest and say what it holds."""
    from whichland.manifest import write

    step, words = manifest.history[-1], _in_words(manifest)
    write(manifest, out)
    say(words)
    if json:
        summary: dict[str, Any] = {"step": step.step, "out": str(out), "rows": len(manifest)}
        print_json(summary | {"kept": manifest.kept_count, "dropped": step.dropped})


def _in_words(manifest: "Manifest") -> str:
    from whichland.manifest import with_empty

    step, words = manifest.history[-1], [counted(len(manifest), "row")]
    failed = with_empty(manifest.whole, "unreadable").select("unreadable", "uri").drop_nulls("unreadable").collect()
    unreadable = failed.height
    if step.step == "measure":
        words.append(f"{unreadable:,} unreadable")
    if "drop_reason" in manifest.columns:
        words.append(f"{manifest.kept_count:,} kept")
        words += [f"{count:,} {reason}" for reason, count in step.dropped.items()]
    text = f"{step.step}: {', '.join(words)}"
    if unreadable:
        from whichland.curate.stats import unreadable as by_reason

        for reason, count, first in by_reason(failed).head(3).iter_rows():
            text += f"\n{count:,} cannot be read: {reason} ({first}{' first' if count > 1 else ''})"
    named = {"split", "group", "weight"} & set(manifest.columns)
    frame = manifest.whole.select(sorted(named)).collect()
    if "split" in frame.columns:
        counts = dict(frame["split"].drop_nulls().value_counts().iter_rows())
        parts = ", ".join(f"{part} {counts.get(part, 0):,}" for part in ("train", "val", "test"))
        text += f"\n{counted(frame['group'].drop_nulls().n_unique(), 'group')}: {parts}"
    if "weight" in frame.columns:
        unused = frame.filter(frame["weight"] == 0).height
        text += f"; {unused:,} of train not used" if unused else ""
    return text


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under a title on stdout; numbers are set right, fractions as percentages."""
    rows = list(rows)
    cells = [[_text(value) for value in row] for row in rows]
    numeric = [any(isinstance(row[at], (int, float)) for row in rows) for at in range(len(columns))]
    heads = [spelled(name) for name in columns]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for head, right in zip(heads, numeric, strict=True):
            table.add_column(head, justify="right" if right else "left")
        for row in cells:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    print(f"\n{title}")
    for row in [heads, *cells]:
        aligned = zip(row, numeric, widths, strict=True)
        print("  ".join(f"{text:{'>' if right else '<'}{width}}" for text, right, width in aligned).rstrip())


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1%}".replace("-0.0%", "0.0%")
    return f"{value:,}" if isinstance(value, int) else str(value)
