"""From a folder of photos to a model that answers, in one go: prepare, train, evaluate, export.

Every step leaves its result under one folder and is skipped or resumed when that is there, as in the demo.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from whichland.curate.prepare import PrepareConfig, prepare
from whichland.evaluation.evaluate import evaluate
from whichland.evaluation.report import Report
from whichland.images.containers import PHOTO_SUFFIXES
from whichland.manifest import Manifest, write
from whichland.model.export import export
from whichland.progress import Passes, Progress, whole
from whichland.training.config import TrainConfig
from whichland.training.run import train
from whichland.training.run_folder import passes, photos_of

# What steps cost, in photos that a network judges.
MEASURED = 0.05  # a photo
EXPORTED = 150.0  # a network
UNKNOWN = 1000  # photos of an origin that is no folder, until it has been read


@dataclass(frozen=True)
class Quickstart:
    """What lies under the folder now."""

    table: Path
    manifest: Manifest
    bundle: Path
    report: Report | None  # None: no photo fell to the test split


def run(origin: str, folder: Path, config: TrainConfig, say: Callable[[str], None] = print) -> Quickstart:
    """Go the whole way from the photos at `origin`; `say` gets a line for each step, and one bar shows them all."""
    table, bundle = folder / "photos.parquet", folder / "run" / "bundle"
    files = sum(path.suffix.lower() in PHOTO_SUFFIXES for path in Path(origin).rglob("*")) or UNKNOWN
    guessed = {"train": round(0.7 * files), "val": round(0.15 * files), "test": round(0.15 * files)}
    with whole({"measuring": Passes(1, MEASURED * files)} | _to_come(guessed, config)) as bar:
        say("1/4  preparing the photos")
        manifest = prepare(origin, table, PrepareConfig())
        write(manifest, table)
        say(f"     {manifest.summary}")
        counts = photos_of(manifest, config)
        bar.foresee(_to_come(counts, config))
        say("2/4  training")
        if not bundle.is_dir():
            train(manifest, config, folder / "run", resume=(folder / "run" / "config.toml").exists())
        say("3/4  evaluating on the test photos")
        report = evaluate(bundle, manifest) if counts.get("test") else None
        say("4/4  exporting")
        with Progress("exporting", 1, unit="networks"):
            export(bundle)
    return Quickstart(table, manifest, bundle, report)


def _to_come(counts: dict[str, int], config: TrainConfig) -> dict[str, Passes]:
    """The parts that follow on preparing, from how many photos each split has."""
    judged = {"predicting": Passes(1, counts.get("test", 0)), "exporting": Passes(1, EXPORTED)}
    return passes(counts.get("train", 0), counts.get("val", 0), config) | judged
