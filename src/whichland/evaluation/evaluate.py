"""Judge a bundle on a split: the numbers as files, and one HTML page that holds them all.

No other report is overwritten, no photo is asked twice, and every evaluation of a split is counted.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from whichland import manifest as manifests
from whichland.errors import UserError
from whichland.evaluation import metrics, page
from whichland.evaluation.figures import confusion_svg
from whichland.evaluation.neighbours import answer_by_neighbours, judge_neighbours
from whichland.evaluation.page import Picture
from whichland.evaluation.predictions import FILE, Identity, Per, Predictions, collect, identity_of
from whichland.evaluation.report import Report, confusion_csv, numbers
from whichland.manifest import Manifest
from whichland.model import bundle as bundles
from whichland.model.bundle import WEIGHTS, in_hub_cache
from whichland.model.record import keep_record, record_of
from whichland.whole_file import file_sha256, whole_file

LOG = "evaluations.jsonl"  # beside the bundle: a line each time that the model answered a split
FILES = ("metrics.json", "predictions.parquet", "confusion.csv", "confusion.svg", "report.html")


def evaluate(
    bundle: str | Path,
    manifest: Manifest | str | Path,
    split: str = "test",
    out: str | Path | None = None,
    *,
    per: Per = "photo",
    explanations: Sequence[Picture] = (),
    knn: str | Path | None = None,
) -> Report:
    """Judge the bundle in a folder on the kept photos of one split, and write the report.

    Without `out` the report goes beside the bundle, into `report` for the test split and `report-SPLIT` for
    others; when another bundle's or manifest's report lies there, into the next free `report-2`, `report-3`, …
    The same bundle and manifest again: the report is made anew from the answers that lie there. With `per`
    "panorama" the answers for the views of one panorama are combined, and the folder is `report-panorama`.
    With `knn`, a file of features from `whichland embed`, a k-nearest-neighbour head is judged beside the bundle.
    Raises UserError when `out` holds another evaluation, the split has nothing to judge, or features are missing.
    """
    loaded = bundles.load(bundle)
    table = manifest if isinstance(manifest, Manifest) else manifests.read(manifest)
    table.require("split", loaded.space.kind, hint="make it with `whichland data split`")
    if per == "panorama":
        table.require("panorama", hint="`whichland data merge --images views` cuts panoramas into views")
    identity = Identity.of(loaded, table, split)
    place = bundles.home(loaded.folder)
    folder = choose_folder(place, split, Path(out) if out else None, identity, per)
    if per == "panorama":
        borrow(folder, place, identity)
    predictions, asked = collect(loaded, table, identity, folder)
    log, model = place / LOG, file_sha256(loaded.folder / WEIGHTS)
    if asked:
        note(log, identity, model)
    evaluations, elsewhere = times(log, identity, model)
    neighbours = None
    by_photo, combine = predictions, Predictions.per_panorama if per == "panorama" else lambda found: found
    predictions = combine(by_photo)
    if knn:
        others, head = answer_by_neighbours(by_photo, table, Path(knn))
        neighbours = judge_neighbours(predictions, combine(others), head, Path(knn))
    report = Report(
        folder=folder,
        bundle=loaded,
        manifest=table,
        predictions=predictions,
        scores=metrics.judged(predictions.outcomes, predictions.groups),
        floors=metrics.floors(predictions.outcomes),
        evaluations=evaluations,
        elsewhere=elsewhere,
        neighbours=neighbours,
    )
    texts = {
        "metrics.json": json.dumps(numbers(report), indent=2, ensure_ascii=False) + "\n",
        "confusion.csv": confusion_csv(report),
        "confusion.svg": confusion_svg(*page.shown_confusion(report)),
        "report.html": page.render(report, explanations),
    }
    for name, text in texts.items():
        with whole_file(report.folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    if _speaks_for_the_bundle(report):
        found = report.predictions
        keep_record(loaded.folder, record_of(found.space, split, found.probabilities, found.truth, found.groups))
    return report


def _speaks_for_the_bundle(report: Report) -> bool:
    """Whether the bundle keeps how this evaluation went: of test photos that are new to it, where it may be written."""
    identity, folder = report.predictions.identity, report.bundle.folder
    new = identity.split == "test" and report.predictions.per == "photo" and report.doubt is None
    return new and not in_hub_cache(folder) and os.access(folder, os.W_OK)


def choose_folder(run: Path, split: str, out: Path | None, identity: Identity, per: Per = "photo") -> Path:
    """The folder to write to: `out`, or the first beside the bundle that is free or holds this evaluation."""

    def ours(folder: Path) -> bool:
        there = identity_of(folder)
        if there is None:
            return not any((folder / name).exists() for name in FILES)
        return there == identity and _per(folder) in (per, None)

    if out is not None:
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} is a file; --out names a folder")
        if not ours(out):
            raise UserError(f"{out} holds the report of another bundle, manifest, split or --per; choose another --out")
        return out
    name = "-".join(["report", *([] if split == "test" else [split]), *([] if per == "photo" else [per])])
    return next(folder for number in count(1) if ours(folder := run / (name if number == 1 else f"{name}-{number}")))


def _per(folder: Path) -> str | None:
    """What the report in a folder counts; None when there is none."""
    path = folder / "metrics.json"
    return json.loads(path.read_text(encoding="utf-8")).get("per", "photo") if path.is_file() else None


def borrow(folder: Path, run: Path, identity: Identity) -> None:
    """Take the answers for the single photos from a report beside the bundle, so that none is asked again."""
    if identity_of(folder) is None:
        for other in sorted(run.glob("report*")):
            if identity_of(other) == identity:
                folder.mkdir(parents=True, exist_ok=True)
                with whole_file(folder / FILE) as partial:
                    partial.write_bytes((other / FILE).read_bytes())
                return


def note(log: Path, identity: Identity, model: str) -> None:
    """Add a look at a split to the log."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"time": time, **asdict(identity), "model_sha256": model}
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def times(log: Path, identity: Identity, model: str) -> tuple[int, int]:
    """How often the model has answered this manifest's split, by the log, and that split of other manifests."""
    if not log.is_file():
        return 0, 0
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    ours = [
        line["manifest_sha256"] == identity.manifest_sha256
        for line in lines
        if line["split"] == identity.split
        and (line["bundle_sha256"] == identity.bundle_sha256 or line.get("model_sha256") == model)
    ]
    return sum(ours), len(ours) - sum(ours)
