"""whichland audit BUNDLE MANIFEST"""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.main import require_extra
from whichland.cli.manifests import Json
from whichland.cli.tables import print_table
from whichland.evaluation.audit_config import AuditConfig

if TYPE_CHECKING:
    from whichland.evaluation.audit import Audit


@flags(AuditConfig)
def audit(
    config: AuditConfig,
    bundle: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    manifest: Annotated[Path, typer.Argument(help="The table of photos, with splits.")],
    split: Annotated[str, typer.Option(help="Which part to look at; keep the test for the end.")] = "val",
    out: Annotated[
        Path | None, typer.Option(help="Folder for audit.html and audit.json; `audit` beside the bundle when left out.")
    ] = None,
    json: Json = False,
) -> None:
    """Look for shortcuts: does the model know the rig, the file or the source in place of the country?

    Each check stands against what it would be without a shortcut, with a 95 % interval over groups. Where there
    is no shortcut, at most one audit in twenty says "found" anywhere.
    """
    require_extra("train", "torch")
    from whichland.evaluation.audit import audit as look
    from whichland.evaluation.audit import numbers

    found = look(bundle, manifest, split, out, config)
    print(json_format.dumps(numbers(found), ensure_ascii=False)) if json else show(found)


def show(found: "Audit") -> None:
    """The checks as a table, and what was found in a line."""
    rows = []
    for check in found.checks:
        score = check.score
        cells = (score.value, score.low, score.high) if score else (None, None, None)
        rows.append((check.title, check.measure, *cells, check.null, check.verdict, check.says))
    columns = ("check", "measure", "value", "low", "high", "null", "verdict", "what")
    title = f"{found.photos:,} photos of {len(found.countries)} countries, split {found.identity.split}"
    print_table(f"{title}; top-1 {found.top1:.1%}", columns, rows)
    names = ", ".join(check.title for check in found.alarms)
    print(f"\nshortcuts found: {names or 'none'}\npage: {found.html}")
