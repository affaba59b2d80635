"""Train on one source, test on another, for every pair: what a model knows of the world beyond one collection.

Besides each source alone, all sources but one are trained on together and tested on the one left out. The headline
is the worst of the sources that a model had never seen. A cell is judged on the countries that both its training
photos and its test photos show; an answer that names another country is wrong. Every model is trained once, and a
cell whose bundle lies in the folder is not trained again.

    OUT/runs/NAME/                    a run folder for each source, and all-but-NAME
    OUT/cross_source.json, .png       the matrix
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import polars as pl

from whichland import manifest as manifests
from whichland.config import build, read_toml
from whichland.curate.balance import BalanceConfig, balance
from whichland.errors import UserError
from whichland.evaluation.cross_source_matrix import CrossSource, Transfer, cells_of, hardest_first, numbers
from whichland.evaluation.figures import draw_matrix
from whichland.evaluation.predictions import Identity, collect
from whichland.manifest import Manifest
from whichland.model import bundle as bundles
from whichland.model.bundle import read_info
from whichland.sources.columns import slug
from whichland.training.config import TrainConfig
from whichland.training.run import train
from whichland.whole_file import whole_file


def cross_source(manifest: Manifest | str | Path, config: TrainConfig, out: str | Path) -> CrossSource:
    """Train and test every pair of sources of a split manifest; write matrix and runs to `out`.

    The same call resumes where an interrupted one stopped. Raises UserError when there are fewer than two sources,
    or `out` holds runs of other settings or photos.
    """
    table = manifest if isinstance(manifest, Manifest) else manifests.read(manifest)
    table.require("split", config.label, hint="make it with `whichland data split`")
    known, tested = _labels(table, "train", config), list(_labels(table, "test", config))
    trained = [source for source, labels in known.items() if len(labels) > 1]
    untrained = {
        source: f"training photos of {', '.join(known.get(source, ())) or 'no country'} alone; a model needs two"
        for source in tested
        if source not in trained
    }
    if not tested:
        raise UserError("the manifest has no test photos with a country; make some with `whichland data split`")
    if len({*tested, *trained}) < 2 or not trained:
        raise UserError(
            f"the manifest has photos of {', '.join(tested) or 'no source'} alone; bring two or more together "
            "with `whichland data merge`"
        )
    folder, runs = Path(out), _runs(trained, tested)
    jobs = {}
    for name, chosen in runs.items():
        jobs[name] = _only(table, chosen, {label for source in chosen for label in known[source]}, config)
        _check_same(folder / "runs" / name, *jobs[name])
    cells: list[Transfer] = []
    for number, (name, (part, settings)) in enumerate(jobs.items(), start=1):
        print(f"{number} of {len(jobs)}: {name}", file=sys.stderr)
        run = folder / "runs" / name
        if not (run / "bundle").is_dir():
            train(part, settings, run, resume=(run / "config.toml").exists())
        loaded = bundles.load(run / "bundle")
        answers, _ = collect(loaded, table, Identity.of(loaded, table, "test"), run / "answers")
        cells += cells_of(answers, table, runs[name], tested)
    result = CrossSource(folder=folder, sources=hardest_first(tested, cells), cells=tuple(cells), untrained=untrained)
    with whole_file(folder / "cross_source.json") as partial:
        text = numbers(result) | {"train": asdict(config) | {"cache": None, "weights": Path(config.weights).name}}
        partial.write_text(json.dumps(text, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draw_matrix(result, folder / "cross_source.png")
    return result


def _labels(table: Manifest, split: str, config: TrainConfig) -> dict[str, tuple[str, ...]]:
    """The sources with photos of a split, each with the labels they show, of those that are wanted."""
    rows = table.kept.filter(pl.col("split") == split).drop_nulls(config.label).sort("source", config.label)
    shown = rows.group_by("source", maintain_order=True).agg(pl.col(config.label).unique(maintain_order=True))
    return {
        source: tuple(label for label in labels if not config.countries or label in config.countries)
        for source, labels in shown.iter_rows()
    }


def _runs(trained: Sequence[str], tested: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The runs to make by name, each with the sources it learns from; no two learn from the same ones."""
    runs: dict[str, tuple[str, ...]] = {slug(source): (source,) for source in trained}
    if len(runs) < len(trained):
        raise UserError(f"two sources would share a folder: {', '.join(trained)}; ingest one by another --source")
    for left_out in tested:
        others = tuple(source for source in trained if source != left_out)
        if len(others) > 1:
            runs[f"all-but-{slug(left_out)}"] = others
    return runs


def _only(table: Manifest, chosen: Sequence[str], known: set[str], config: TrainConfig) -> tuple[Manifest, TrainConfig]:
    """The manifest with the photos of other sources dropped, balanced anew; and the settings to train it with."""
    dropped = pl.col("drop_reason") if "drop_reason" in table.frame.columns else pl.lit(None, pl.String)
    other = pl.when(~pl.col("source").is_in(list(chosen))).then(pl.lit("other source"))
    frame = table.frame.with_columns(pl.coalesce(dropped, other).alias("drop_reason"))
    part = table.with_step("only", frame, sources=list(chosen))
    settings = table.last("balance")
    if settings is not None:  # weights and ranks were those of all sources together
        part = balance(part, BalanceConfig(**settings))
    return part, replace(config, countries=tuple(code for code in config.countries if code in known))


def _check_same(run: Path, part: Manifest, config: TrainConfig) -> None:
    """Raise UserError when a finished run there is of other settings or photos than the one wanted."""
    if not (run / "bundle").is_dir():
        return
    trained = read_info(run / "bundle").manifest_sha256
    if build(TrainConfig, read_toml(run / "config.toml"), str(run)) != config:
        raise UserError(f"{run} was trained with other settings; choose another --out, or remove it")
    if trained != part.digest(config.label):
        raise UserError(f"{run} was trained on other photos; choose another --out, or remove it")
