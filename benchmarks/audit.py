"""Does the audit find what is planted, and leave clean worlds alone?

    .venv/bin/python benchmarks/audit.py [--clean 20] [--folder FOLDER] [--worlds watermark,border]

Renders small synthetic worlds: one for each shortcut, planted in Japan, one of two sources that share no country,
and clean ones of other seeds. On each a small network is trained from nothing and audited on its validation
photos. A row a world: the model's top-1, what the mark is worth to it (the probabilities of Japan lost when the
same scenes are rendered without it: the truth that the audit cannot see), and what was found where. Then the
number of clean audits with an alarm. Exit code 1 when a planted mark that is worth `USED` or more to its model,
or that is in the files alone, was not found, or more than one clean audit in twenty raised an alarm. Worlds and
runs are kept in FOLDER; an interrupted benchmark goes on there.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from whichland.curate.clean import clean
from whichland.curate.measure import measure
from whichland.curate.merge import merge
from whichland.curate.split import SplitConfig, split
from whichland.evaluation.audit import Audit, audit
from whichland.evaluation.audit_checks import AuditConfig
from whichland.manifest import Manifest, read, write
from whichland.model import bundle as bundles
from whichland.model.model import model_of
from whichland.sources.ingest import ingest
from whichland.sources.synthetic.world import WorldConfig, describe, render
from whichland.training.config import TrainConfig
from whichland.training.run import train

COUNTRIES = ("BR", "DE", "GB", "JP", "NA", "US")
MARKED = "JP"
USED = 0.2  # of the probabilities
EXPECTED = {
    "blurred_bottom": {"bottom"},
    "hood": {"bottom"},
    "watermark": {"corners", "bottom"},
    "border": {"frame"},
    "jpeg": {"file"},
    "sources": {"source"},
}
IN_FILES = ("jpeg", "sources")
TRAINING = TrainConfig(
    arch="test_resnet",
    weights="none",
    epochs=24,
    size=64,
    test_size=64,
    batch_size=32,
    lr=6e-3,
    body_lr=1.0,
    ema=0.97,
    min_area=0.8,
    validate_every=100,
    workers=1,
)


def made(folder: Path, name: str, scenes: int, seed: int) -> Manifest:
    """The split manifest of a world, kept in the folder."""
    path = folder / "world.parquet"
    if path.exists():
        return read(path)
    look = f"scenes={scenes // 2 if name == 'sources' else scenes},seed={seed},frames_per_drive=1"
    if name == "sources":
        halves = ("+".join(COUNTRIES[:3]), "+".join(COUNTRIES[3:]))
        parts = [
            ingest(f"synthetic:{look},size={side}x{side},countries={half}", folder=folder / "world", source=who)
            for side, half, who in ((64, halves[0], "north"), (80, halves[1], "south"))
        ]
        table = merge([measure(part, workers=1) for part in parts])
    else:
        plant = f",plant={MARKED}:{name}" if name in EXPECTED else ""
        origin = f"synthetic:{look},size=64x64,countries={'+'.join(COUNTRIES)}{plant}"
        table = measure(ingest(origin, folder=folder / "world"), workers=1)
    table = split(clean(table), SplitConfig(val=0.4, test=0.02))
    write(table, path)
    return table


def worth(bundle: Path, table: Manifest, config: WorldConfig) -> float:
    """Probabilities of the marked country that its validation photos lose when rendered without the mark."""
    loaded = bundles.load(bundle)
    names = set(table.kept.filter(pl.col("split") == "val")["image_id"].str.split("/").list.last())
    facts = [describe(config, at) for at in range(config.scenes)]
    places = [at for at, fact in enumerate(facts) if fact.country == MARKED and fact.name in names]
    own = loaded.labels.index(MARKED)
    seen = []
    for world in (config, replace(config, plant={})):
        crops = [loaded.preprocess.crop(render(world, at).image) for at in places]
        seen.append(model_of(loaded).probabilities(np.stack(crops))[:, own].mean())
    return float(seen[0] - seen[1])


def look(folder: Path, name: str, scenes: int, seed: int) -> tuple[Audit, float | None]:
    table = made(folder, name, scenes, seed)
    if not (folder / "run" / "bundle").is_dir():
        train(table, TRAINING, folder / "run", resume=(folder / "run" / "config.toml").exists())
    found = audit(folder / "run" / "bundle", table, config=AuditConfig())
    if name in IN_FILES or name not in EXPECTED:
        return found, None
    config = WorldConfig(
        scenes=scenes, seed=seed, width=64, height=64, frames_per_drive=1, countries=COUNTRIES, plant={MARKED: name}
    )
    return found, worth(folder / "run" / "bundle", table, config)


def row(name: str, seed: int, found: Audit, mark: float | None, seconds: float) -> dict:
    return {
        "planted": name,
        "seed": seed,
        "photos": found.photos,
        "top1": round(found.top1, 3),
        "mark_worth": None if mark is None else round(mark, 3),
        "found": {check.name: check.countries for check in found.alarms},
        "inconclusive": [check.name for check in found.checks if check.verdict == "inconclusive"],
        "mirror": next(round(c.score.value, 2) for c in found.checks if c.name == "mirror" and c.score),
        "seconds": round(seconds),
    }


def missed(line: dict) -> bool:
    """Whether a mark that is used was not found, or found for another country alone."""
    name = line["planted"]
    if name not in IN_FILES and line["mark_worth"] < USED:
        return False
    hits = EXPECTED[name] & set(line["found"])
    return not any(name == "sources" or MARKED in line["found"][check] for check in hits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", type=int, default=20, help="clean worlds")
    parser.add_argument("--scenes", type=int, default=720)
    parser.add_argument("--worlds", default=",".join(EXPECTED), help="which shortcuts to plant; - for none")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = args.folder or Path(tempfile.mkdtemp(prefix="audit-"))
    planted = [name for name in args.worlds.split(",") if name in EXPECTED]
    lines = []
    for name, seed in [*((name, 0) for name in planted), *(("clean", 1 + seed) for seed in range(args.clean))]:
        started = time.perf_counter()
        found, mark = look(folder / f"{name}-{seed}", name, args.scenes, seed)
        lines.append(row(name, seed, found, mark, time.perf_counter() - started))
        print(json.dumps(lines[-1]), flush=True)
    lost = [line["planted"] for line in lines if line["planted"] in EXPECTED and missed(line)]
    clean_lines = [line for line in lines if line["planted"] == "clean"]
    alarms = sum(bool(line["found"]) for line in clean_lines)
    print(json.dumps({"missed": lost, "clean": len(clean_lines), "clean_with_alarm": alarms}))
    sys.exit(bool(lost) or alarms > 0.05 * len(clean_lines))


if __name__ == "__main__":
    main()
