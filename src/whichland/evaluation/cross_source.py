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
from whichland.evaluation.cross_source_matrix import CrossSource, cells_of, hardest_first, numbers
from whichland.evaluation.figures import draw_matrix
from whichland.evaluation.predictions import Identity, Predictions, collect
from whichland.manifest import Manifest
from whichland.model import bundle as bundles
from whichland.model.bundle import read_info
from whichland.sources.columns import slug
from whichland.training.config import TrainConfig
from whichland.training.run import train
from whichland.whole_file import whole_file


def cross_source(manifest: Manifest | str | Path, config: TrainConfig, out: str | Path) -> CrossSource:
    """Train and test every pair of sources of a split manifest; write matrix and runs to `out`.

    The same call goes on where an interrupted one stopped. Raises UserError when there are fewer than two sources,
    or `out` holds runs of other settings or photos.
    """
    table = manifest if isinstance(manifest, Manifest) else manifests.read(manifest)
    table.require("split", config.label, hint="make it with `whichland data split`")
    tested = _sources(table, "test", config.label)
    known = {source: _countries(table, source, config) for source in _sources(table, "train", config.label)}
    untrained = {
        source: f"training photos of {', '.join(known.get(source, ())) or 'no country'} alone; a model needs two"
        for source in tested
        if len(known.get(source, ())) < 2
    }
    trained = [source for source in known if len(known[source]) > 1]
    if not tested:
        raise UserError("the manifest has no test photos with a country; make some with `whichland data split`")
    if len(set(tested) | set(trained)) < 2 or not trained:
        raise UserError(
            f"the manifest has photos of {', '.join(tested) or 'no source'} alone; bring two or more together "
            "with `whichland data merge`"
        )
    runs = _runs(trained, tested)
    folder = Path(out)
    jobs = {name: _only(table, chosen, config) for name, chosen in runs.items()}
    for name, (part, settings) in jobs.items():
        _check_same(folder / "runs" / name, part, settings)
    cells = []
    for number, (name, (part, settings)) in enumerate(jobs.items(), start=1):
        print(f"{number} of {len(jobs)}: {name}", file=sys.stderr)
        answers = _answers(folder / "runs" / name, part, settings, table)
        cells += cells_of(answers, table, runs[name], tested)
    result = CrossSource(folder=folder, sources=hardest_first(tested, cells), cells=tuple(cells), untrained=untrained)
    _write(result, config)
    return result


def _sources(table: Manifest, split: str, column: str) -> list[str]:
    rows = table.kept.filter(pl.col("split") == split).drop_nulls(column)
    return rows["source"].unique().sort().to_list()


def _countries(table: Manifest, source: str, config: TrainConfig) -> tuple[str, ...]:
    """The countries of which a source has training photos, of those that are wanted."""
    rows = table.kept.filter(pl.col("split") == "train", pl.col("source") == source)
    found = rows[config.label].drop_nulls().unique().sort()
    return tuple(code for code in found if not config.countries or code in config.countries)


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


def _only(table: Manifest, chosen: Sequence[str], config: TrainConfig) -> tuple[Manifest, TrainConfig]:
    """The manifest with the photos of other sources dropped, balanced anew; and the settings to train it with."""
    dropped = pl.col("drop_reason") if "drop_reason" in table.frame.columns else pl.lit(None, pl.String)
    other = pl.when(~pl.col("source").is_in(list(chosen))).then(pl.lit("other source"))
    frame = table.frame.with_columns(pl.coalesce(dropped, other).alias("drop_reason"))
    part = table.with_step("only", frame, sources=list(chosen))
    settings = table.last("balance")
    if settings is not None:  # weights and ranks were those of all sources together
        part = balance(part, BalanceConfig(**settings))
    known = {code for source in chosen for code in _countries(table, source, config)}
    wanted = tuple(code for code in config.countries if code in known)
    return part, replace(config, countries=wanted)


def _check_same(run: Path, part: Manifest, config: TrainConfig) -> None:
    """Raise UserError when a finished run there is of other settings or photos than the one wanted."""
    if not (run / "bundle").is_dir():
        return
    trained = read_info(run / "bundle").manifest_sha256
    if build(TrainConfig, read_toml(run / "config.toml"), str(run)) != config:
        raise UserError(f"{run} was trained with other settings; choose another --out, or remove it")
    if trained != part.digest(config.label):
        raise UserError(f"{run} was trained on other photos; choose another --out, or remove it")


def _answers(run: Path, part: Manifest, config: TrainConfig, table: Manifest) -> Predictions:
    """Train unless done; answer the test photos of all sources."""
    if not (run / "bundle").is_dir():
        train(part, config, run, resume=(run / "config.toml").exists())
    loaded = bundles.load(run / "bundle")
    identity = Identity.of(loaded, table, "test")
    return collect(loaded, table, identity, run / "answers")[0]


def _write(result: CrossSource, config: TrainConfig) -> None:
    with whole_file(result.folder / "cross_source.json") as partial:
        text = numbers(result) | {"train": asdict(config) | {"cache": None, "weights": Path(config.weights).name}}
        partial.write_text(json.dumps(text, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draw_matrix(result, result.folder / "cross_source.png")
