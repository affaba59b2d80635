"""Where a report lies: no other one is overwritten, no photo asked twice, and every look at a split is counted."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from whichland.errors import UserError
from whichland.evaluation.predictions import FILE, Identity, Per, identity_of
from whichland.whole_file import whole_file

LOG = "evaluations.jsonl"  # beside the bundle: a line each time that a split was put to it
FILES = ("metrics.json", "predictions.parquet", "confusion.csv", "confusion.svg", "report.html")


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
    parts = ["report", *([] if split == "test" else [split]), *([] if per == "photo" else [per])]
    name, number = "-".join(parts), 1
    while not ours(run / (name if number == 1 else f"{name}-{number}")):
        number += 1
    return run / (name if number == 1 else f"{name}-{number}")


def _per(folder: Path) -> str | None:
    """What the report in a folder counts; None when there is none."""
    path = folder / "metrics.json"
    if not path.is_file():
        return None
    return str(json.loads(path.read_text(encoding="utf-8")).get("per", "photo"))


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


def times(log: Path, identity: Identity, model: str) -> int:
    """How often the model has answered the split, by the log."""
    if not log.is_file():
        return 0
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return sum(
        line["split"] == identity.split
        and (line["bundle_sha256"] == identity.bundle_sha256 or line.get("model_sha256") == model)
        for line in lines
    )
