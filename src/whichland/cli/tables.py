"""Print a table: ruled on a terminal, plain aligned columns when piped."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under a title on stdout; numbers are set right, fractions as percentages."""
    rows = list(rows)
    cells = [[_text(value) for value in row] for row in rows]
    numeric = [any(isinstance(row[at], (int, float)) for row in rows) for at in range(len(columns))]
    heads = [name.replace("_", " ") for name in columns]
    if sys.stdout.isatty():
        _print_ruled(title, heads, cells, numeric)
        return
    widths = [max([len(head), *(len(row[at]) for row in cells)]) for at, head in enumerate(heads)]
    print(f"\n{title}")
    for row in [heads, *cells]:
        aligned = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        print("  ".join(aligned).rstrip())


def _print_ruled(title: str, heads: list[str], cells: list[list[str]], numeric: list[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for head, right in zip(heads, numeric, strict=True):
        table.add_column(head, justify="right" if right else "left")
    for row in cells:
        table.add_row(*row)
    Console().print(table)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else str(value)
