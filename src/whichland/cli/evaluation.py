"""whichland evaluate | compare | audit | atlas: how good a bundle is, and what its answers rest on."""

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from whichland.cli.flags import flags
from whichland.cli.output import Bundle, Json, Split, SplitManifest, give, print_table, say
from whichland.errors import UserError
from whichland.evaluation.audit_checks import AuditConfig
from whichland.explanation.atlas_config import AtlasConfig
from whichland.printed import counted, spelled

if TYPE_CHECKING:
    from whichland.evaluation.audit_checks import Audit
    from whichland.evaluation.compare import Comparison
    from whichland.evaluation.report import Report
    from whichland.explanation.atlas import Atlas
    from whichland.statistics import Score

WIDTH = 80  # of lines of text
MOST = 15  # pairs printed; more would be read by nobody


def evaluate(
    bundle: Bundle,
    manifest: SplitManifest,
    split: Split = "test",
    out: Annotated[
        Path | None, Option(help="Folder for the report; beside the bundle when left out, never over another one.")
    ] = None,
    per: Annotated[
        str, Option(metavar="photo|panorama", help="What counts as one; a panorama's views are combined.")
    ] = "photo",
    knn: Annotated[
        Path | None,
        Option(
            metavar="FEATURES.parquet",
            help="Judge a k-nearest-neighbour head, too, on features of all photos from `whichland embed`.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Judge a bundle on a split: scores with 95 % intervals over groups, and a report in one HTML file.

    Writes report.html, metrics.json, predictions.parquet, confusion.csv (pandas reads it right with
    keep_default_na=False: NA is Namibia) and confusion.svg. The same bundle and manifest again: the report is made anew
    without predicting again.
    """
    if per not in ("photo", "panorama"):
        raise UserError(f"--per {per}: choose photo or panorama")
    from whichland.evaluation.evaluate import evaluate as judge
    from whichland.evaluation.report import numbers

    report = judge(bundle, manifest, split, out, per="panorama" if per == "panorama" else "photo", knn=knn)
    give(numbers(report), lambda: _report(report), json=json)


def _report(report: "Report") -> list[str]:
    """The scores with their intervals and floors, what the probabilities are worth, and where the report lies."""
    found, judged = report.predictions, report.probabilities
    space = found.space
    lines = [f"{'':<20}{'score':>8}{'95% interval':>28}{f'largest {space.kind}':>18} {'chance':>8}"]
    for name, score in report.scores.items():
        largest, chance = report.floors["majority"][name], report.floors["chance"][name]
        lines.append(f"{spelled(name):<20}{score.value:>8.1%}{score.within():>28}{largest:>18.1%}{chance:>9.1%}")
    if other := report.neighbours:
        lines.append(f"{other.k} nearest of {other.photos:,} training photos by {other.features}:")
        for name, ahead in other.ahead.items():
            points = f"{ahead.value * 100:+.1f} points ({ahead.within('+.1f', 100)})"
            doubt = "" if ahead.above(0) or ahead.below(0) else ", which may be chance"
            lines.append(f"  {spelled(name)} {other.scores[name]}; this model differs from it by {points}{doubt}")
    left = {
        f"of {space.nouns} the model does not know": sum(found.unknown.values()),
        f"without a {space.kind}": found.unplaced,
        "unreadable": len(found.unreadable),
    }
    groups = int(found.groups.max()) + 1
    lines.append(
        f"{counted(found.frame.height, found.per)} in {counted(groups, 'group')}, split {found.identity.split}"
    )
    lines += [f"left out: {counted(count, 'photo')} {why}" for why, count in left.items() if count]
    lines.append(f"calibration error of the probabilities: {judged.scores.ece}")
    if judged.calibration is None:
        lines.append("not calibrated: `whichland calibrate BUNDLE MANIFEST` fits probabilities, sets and thresholds")
    else:
        lines += [
            f"sets at {row.level * 100:.4g} %: truth inside in {row.coverage}, {row.size.value:.1f} {space.nouns} each"
            for row in judged.sets
        ]
        lines += [
            f"answering from probability {row.threshold:.2f} on: {row.right} right, {row.answered.value:.1%} answered"
            for row in judged.abstention
            if row.threshold is not None and row.right and row.answered
        ]
    if report.evaluations > 1 or report.elsewhere:
        lines.append(f"this model has been put to this split {report.looks}")
    return [*lines, *filter(None, [report.doubt]), f"report: {report.html}"]


def compare(
    models: Annotated[
        list[Path],
        Argument(
            metavar="A B … MANIFEST",
            help="Two or more of bundles, run folders, report folders and tables of answers; then the manifest.",
        ),
    ],
    split: Split = "test",
    template: Annotated[
        Path | None, Option(dir_okay=False, help="Write an empty table of answers to the split here, and end.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare models on one split: differences with 95 % intervals, tests, and tie groups in place of ranks.

    Models that share a letter cannot be distinguished at this test size. A bundle that has answered the split
    already is not run again. A table of answers, such as a CSV file with columns path and country (or lat and lon),
    is compared like a model, whoever made it.
    """
    *places, manifest = models
    if template:
        from whichland.evaluation.outside import write_template
        from whichland.manifest import read

        if places:
            raise UserError("--template FILE wants the manifest alone: whichland compare --template FILE MANIFEST")
        return say(f"{counted(write_template(template, read(manifest), split), 'photo')} to answer: {template}")
    from whichland.evaluation.compare import compare as judge

    if len(places) < 2:
        raise UserError("name two models or more, then the manifest: whichland compare A B MANIFEST")
    found = judge(places, manifest, split)
    give(found.json(), lambda: _show_comparison(found), json=json)


def _show_comparison(found: "Comparison") -> None:
    """Print the models, the pairs, and what the test is large enough for."""
    from whichland.evaluation.compare import POINTS

    def ends(score: "Score", sign: str = "") -> str:
        return score.within(f"{sign}.1f", 100)

    def shown(p: float) -> str:
        return "<0.001" if p < 0.001 else f"{p:.3f}"

    print_table(
        f"{counted(found.photos, 'photo')} in {counted(found.groups, 'group')}, split {found.split}",
        ("model", "macro-F1", "95% interval", "tied", "top-1", "95% interval", "tied", "labels"),
        [
            (m.name, f1.value, ends(f1), m.ties_macro_f1, top1.value, ends(top1), m.ties_top1, m.labels)
            for m, f1, top1 in ((m, m.macro_f1, m.top1) for m in found.models)
        ],
    )
    print("\nmodels that share a letter were not distinguished (p > 5 % after Holm's correction for all pairs)")
    if len(found.pairs) <= MOST:
        print_table(
            "Differences",
            ("pair", "macro-F1", "95% interval", "p, adjusted", "top-1", "95% interval", "p, adjusted", "McNemar"),
            [
                (
                    f"{p.first} – {p.second}",
                    *(f"{p.macro_f1.value * 100:+.1f}", ends(p.macro_f1, "+"), shown(p.p_macro_f1_adjusted)),
                    *(f"{p.top1.value * 100:+.1f}", ends(p.top1, "+"), shown(p.p_top1_adjusted), shown(p.p_mcnemar)),
                )
                for p in found.pairs
            ],
        )
    else:
        print(f"{len(found.pairs)} pairs: --json lists them")
    if found.grouped:
        print("\nMcNemar's test takes the photos of a group for independent, so its p is too small here")
    if found.left_out:
        print(f"left out: {counted(found.left_out, 'photo')} that not all of them answered")
    needed = f"would need about {found.photos_needed:,} test photos (found in 80 % of cases, one pair)"
    print(f"a difference of {POINTS * 100:.0f} points in top-1 {needed}")


@flags(AuditConfig)
def audit(
    config: AuditConfig,
    bundle: Bundle,
    manifest: SplitManifest,
    split: Annotated[str, Option(help="Which part to look at; keep the test for the end.")] = "val",
    out: Annotated[
        Path | None, Option(help="Folder for audit.html and audit.json; `audit` beside the bundle when left out.")
    ] = None,
    json: Json = False,
) -> None:
    """Look for shortcuts: does the model know the rig, the file or the source in place of the label?

    Each check stands against what it would be without a shortcut, with a 95 % interval over groups. Where there
    is no shortcut, at most one audit in twenty says "found" anywhere.
    """
    from whichland.evaluation.audit import audit as look
    from whichland.evaluation.audit_checks import numbers

    found = look(bundle, manifest, split, out, config)
    give(numbers(found), lambda: _show_audit(found), json=json, indent=None)


def _show_audit(found: "Audit") -> None:
    """The checks as a table, and what was found in a line."""
    title = f"{found.photos:,} photos of {len(found.countries)} {found.space.nouns}, split {found.identity.split}"
    rows = []
    for check in found.checks:
        s = check.score
        within = s.within().removeprefix("no interval: ") if s else None
        rows.append((check.title, s.value if s else None, within, check.null, check.answer))
    columns = ("looked at", "measured", "95% interval", "without one", "shortcut")
    print_table(f"{title}; top-1 {found.top1:.1%}", columns, rows)
    print()
    for check in found.checks:
        print(fill(f"{check.title}: {check.says}", WIDTH, subsequent_indent="  "))
    names = ", ".join(check.title for check in found.alarms)
    print(f"\n{found.headline}{': ' if names else ''}{names}\npage: {found.html}")


@flags(AtlasConfig)
def atlas(
    config: AtlasConfig,
    bundle: Bundle,
    manifest: SplitManifest,
    out: Annotated[Path, Option("-o", "--out", file_okay=False, help="Folder for the pages.")],
    json: Json = False,
) -> None:
    """Make a field guide to a model: the clues it knows each label by, each tried on photos of others.

    Writes index.html, a page a label named by its code, and atlas.json. A clue is confirmed when pasting its
    patches into photos of other labels raises the probabilities by more than control patches do; what is not
    confirmed is listed apart. Pages of an earlier atlas in the folder are replaced.
    """
    from whichland import manifest as manifests
    from whichland.explanation.atlas import atlas as make
    from whichland.explanation.atlas_page import numbers, write_atlas
    from whichland.model import bundle as bundles

    made = make(bundles.load(bundle), manifests.read(manifest), config)
    index = write_atlas(made, out)
    give(numbers(made), lambda: _show_atlas(made, index), json=json)


def _show_atlas(made: "Atlas", index: Path) -> None:
    from whichland.explanation.atlas_page import factor

    rows = []
    for chapter in made.chapters:
        best = chapter.confirmed[0].shift if chapter.confirmed else None
        strongest = f"{factor(best.value)} [{factor(best.low)}, {factor(best.high)}]" if best else "–"
        counts = (chapter.looked_at, len(chapter.confirmed), len(chapter.unconfirmed))
        rows.append((made.bundle.space.described(chapter.country), *counts, strongest))
    print_table("Clue atlas", (made.bundle.space.noun, "photos", "confirmed", "not confirmed", "strongest, odds"), rows)
    print(f"\npages: {index}")
