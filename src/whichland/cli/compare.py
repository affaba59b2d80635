"""whichland compare A B … MANIFEST"""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichland.cli.main import require_extra
from whichland.cli.tables import print_table
from whichland.errors import UserError

if TYPE_CHECKING:
    from whichland.evaluation.compare import Comparison
    from whichland.statistics import Score

MOST = 15  # pairs printed; more would be read by nobody


def compare(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B … MANIFEST",
            help="Bundles, run folders or report folders, two or more; then the table of photos, with splits.",
        ),
    ],
    split: Annotated[str, typer.Option(help="Which part to compare on.")] = "test",
    json: Annotated[bool, typer.Option("--json", help="Print all numbers and all pairs as JSON.")] = False,
) -> None:
    """Compare models on one split: differences with 95 % intervals, tests, and tie groups in place of ranks.

    Models that share a letter cannot be told apart at this test size. A bundle that has answered the split
    already is not asked again.
    """
    require_extra("train", "torch")
    from whichland.evaluation.compare import compare as judge

    *places, manifest = models
    if len(places) < 2:
        raise UserError("name two models or more, then the manifest: whichland compare A B MANIFEST")
    found = judge(places, manifest, split)
    if json:
        print(json_format.dumps(found.json(), indent=2, ensure_ascii=False))
    else:
        show(found)


def show(found: "Comparison") -> None:
    """Print the models, the pairs, and what the test is large enough for."""
    from whichland.evaluation.compare import POINTS

    print_table(
        f"{found.photos:,} photos in {found.groups:,} groups, split {found.split}",
        ("model", "macro-F1", "95% interval", "tied", "top-1", "95% interval", "tied", "countries"),
        [
            (m.name, *_scored(m.macro_f1), m.ties_macro_f1, *_scored(m.top1), m.ties_top1, m.labels)
            for m in found.models
        ],
    )
    print("\nmodels that share a letter were not told apart (p > 5 % after Holm's correction for all pairs)")
    if len(found.pairs) <= MOST:
        print_table(
            "Differences",
            ("pair", "macro-F1", "95% interval", "p, adjusted", "top-1", "95% interval", "p, adjusted", "McNemar"),
            [
                (
                    f"{p.first} – {p.second}",
                    *(_points(p.macro_f1), _range(p.macro_f1, "+"), _p(p.p_macro_f1_adjusted)),
                    *(_points(p.top1), _range(p.top1, "+"), _p(p.p_top1_adjusted), _p(p.p_mcnemar)),
                )
                for p in found.pairs
            ],
        )
    else:
        print(f"{len(found.pairs)} pairs: --json lists them")
    if found.grouped:
        print("\nMcNemar's test takes the photos of a group for independent, so its p is too small here")
    if found.left_out:
        print(f"left out: {found.left_out:,} photos that not all of them answered")
    print(
        f"a difference of {POINTS * 100:.0f} points in top-1 would need about {found.photos_needed:,} test photos "
        "(found in 80 % of cases, one pair)"
    )


def _scored(score: "Score") -> tuple[float, str]:
    return score.value, _range(score)


def _points(score: "Score") -> str:
    return f"{score.value * 100:+.1f}"


def _range(score: "Score", sign: str = "") -> str:
    return f"{score.low * 100:{sign}.1f} to {score.high * 100:{sign}.1f}"


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"
