"""The whole way on the synthetic world: scenes, manifest, model, report, explanations, predictions.

Every step leaves its result under one folder and is skipped when that is already there, so an interrupted demo
resumes where it was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from whichland.curate.balance import balance
from whichland.curate.clean import clean
from whichland.curate.measure import measure
from whichland.curate.split import split
from whichland.evaluation.evaluate import evaluate
from whichland.evaluation.report import Report
from whichland.explanation.clues import ClueShare, clue_shares
from whichland.explanation.explain import explain
from whichland.explanation.verify import Verifier
from whichland.manifest import Manifest, read, write
from whichland.model import bundle as bundles
from whichland.model.model import model_of
from whichland.sources.ingest import ingest
from whichland.training.config import TrainConfig
from whichland.training.run import train

SHOWN = 8  # photos with a heat map in the report

SETTINGS = TrainConfig(
    arch="resnet10t",
    weights="none",
    epochs=10,
    size=128,
    test_size=160,
    lr=4e-3,
    body_lr=1.0,
    ema=0.98,
    min_area=0.5,
    validate_every=2,
)


@dataclass(frozen=True)
class Demo:
    """What the demo made."""

    report: Report
    clues: list[ClueShare]
    overlays: list[Path]
    guesses: list[tuple[str, str, str, float]]  # photo, truth, guess, probabilities


def run(folder: Path, *, scenes: int, seed: int, config: TrainConfig, say: Callable[[str], None] = print) -> Demo:
    """Go the whole way under `folder`; `say` gets a line for each step."""
    say(f"1/5  rendering {scenes} scenes of the synthetic world")
    table = world(folder, scenes, seed)
    say("2/5  training")
    bundle = folder / "run" / "bundle"
    if not bundle.is_dir():
        train(table, config, folder / "run", resume=(folder / "run" / "config.toml").exists())
    say("3/5  explaining")
    loaded = bundles.load(bundle)
    test = table.kept.filter(pl.col("split") == "test").sort("image_id")
    uris, masks, groups = (test[name].to_list() for name in ("uri", "mask_uri", "group"))
    shares = clue_shares(loaded, uris, masks, groups)
    shown = test.unique("country", keep="first", maintain_order=True).head(SHOWN)
    overlays, pictures = [], []
    verifier = Verifier(loaded.model)
    for uri, truth in shown.select("uri", "country").iter_rows():
        explanation = explain(loaded, uri, verifier=verifier)
        overlays.append(explanation.save(folder / "explained" / f"{Path(uri).stem}.png"))
        guess = explanation.guesses[0]
        said = f"{loaded.space.name(truth)}: guessed {guess.name}, {guess.probability:.0%}"
        pictures.append((explanation.overlay(), said + explanation.doubt))
    say("4/5  evaluating on the test split")
    report = evaluate(bundle, table, explanations=pictures)
    say("5/5  predicting")
    answers = zip(model_of(loaded).predict(shown["uri"].to_list()), shown["country"], strict=True)
    guesses = [(Path(str(a.path)).name, truth, a.label, a.probability) for a, truth in answers]
    return Demo(report, shares, overlays, guesses)


def world(folder: Path, scenes: int, seed: int) -> Manifest:
    """The demo's manifest, made or read again."""
    path = folder / "world.parquet"
    if path.exists():
        return read(path)
    scenery = ingest(f"synthetic:scenes={scenes},seed={seed}", folder=folder / "world")
    write(table := balance(split(clean(measure(scenery)))), path)
    return table
