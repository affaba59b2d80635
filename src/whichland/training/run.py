"""From a manifest and a configuration to a run folder with a bundle.

runs/NAME/{config.toml, log.jsonl, index.html, checkpoint/last.pt, bundle/}
"""

from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree

import polars as pl
from torch import nn

import whichland
from whichland.curate.certificate import certificate_of
from whichland.manifest import Manifest
from whichland.model import bundle, calibration
from whichland.model.bundle import Info, json_text, keep_calibration
from whichland.model.labels import labels_text
from whichland.training.arithmetic import deterministic
from whichland.training.card import card
from whichland.training.config import TrainConfig
from whichland.training.prepare import Prepared, prepare
from whichland.training.run_log import watching
from whichland.training.stopping import partners_watched


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    bundle: Path
    scores: dict[str, float]  # on the validation split


def train(manifest: Manifest | str | Path, config: TrainConfig, out: str | Path, *, resume: bool = False) -> Run:
    """Train a model; write `out` with config, log, page, checkpoint and bundle.

    Raises UserError for what the user can mend, and `stopping.Interrupted` when stopped by Ctrl-C or SIGTERM: the
    checkpoint is then written, and the same call with `resume=True` ends as the uninterrupted run would have. From
    the last checkpoint that also holds for `stopping.ProcessLost`, raised where another process of the job ended.
    """
    out = Path(out)
    with partners_watched(), deterministic(config.deterministic):
        ready = prepare(manifest, config, out, resume=resume)
        accelerator = ready.fit.accelerator
        _rehearse(ready, config)
        with watching(ready.fit):
            scores = ready.fit.run()
            model = ready.fit.finished_model()
            if accelerator.is_main_process:
                _write_bundle(out / "bundle", model, ready, config, scores)
                _calibrate(out / "bundle", ready)
        accelerator.wait_for_everyone()
    if accelerator.is_local_main_process and not config.cache:
        rmtree(out / "cache", ignore_errors=True)  # the frozen part's activations, needed no more
    return Run(out, out / "bundle", scores)


def _rehearse(ready: Prepared, config: TrainConfig) -> None:
    """Make every text that is written after the last step once before the first, so that none fails hours later."""
    card(ready.labels, config, {}, len(ready.photos))
    labels_text(ready.labels)
    json_text(_info(ready, config).written)


def _calibrate(folder: Path, ready: Prepared) -> None:
    """Fit temperature, country sets and abstention on the validation photos, and keep them in the bundle."""
    judge = ready.fit.judge
    if judge.logits is None:
        return
    rows = ready.table.kept.filter(pl.col("split") == "val", pl.col(ready.labels.kind).is_in(ready.labels.codes))
    rows = rows.sort("image_id")
    assert rows["uri"].to_list() == judge.photos.uris
    groups = rows["group"].to_list() if "group" in rows.columns else [None] * len(rows)
    fitted = calibration.fit(judge.logits.numpy(), judge.photos.targets, groups)
    keep_calibration(folder, replace(fitted, split="val", manifest_sha256=ready.digest))


def _write_bundle(
    folder: Path, model: nn.Module, ready: Prepared, config: TrainConfig, scores: dict[str, float]
) -> None:
    made = ready.made
    bundle.save(
        folder,
        model=model.to("cpu").eval(),
        arch=made.arch,
        model_args=made.model_args,
        pretrained_cfg=ready.pretrained_cfg,
        space=ready.labels,
        info=_info(ready, config),
        metrics={"validation": scores},
        card=card(ready.labels, config, scores, len(ready.photos)),
    )


def _info(ready: Prepared, config: TrainConfig) -> Info:
    settings = {field.name: getattr(config, field.name) for field in fields(config)}
    settings["weights"] = Path(config.weights).name  # the path on this machine concerns nobody else
    settings["cache"] = None
    return Info(
        version=whichland.__version__,
        temperature=1.0,
        head=ready.made.head,
        train=settings,
        photos=len(ready.photos),
        prior=ready.shares,
        manifest_sha256=ready.digest,
        split_certificate=certificate_of(ready.table),
        history=[asdict(step) for step in ready.table.history],
        packages={name: version(name) for name in ("torch", "timm", "numpy", "pillow", "polars")},
        seed=config.seed,
    )
