"""From a manifest and a configuration to a run folder with a bundle.

runs/NAME/{config.toml, log.jsonl, index.html, checkpoint/last.pt, bundle/}
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree

import polars as pl
from markupsafe import Markup

import whichland
from whichland.curate.certificate import certificate_of
from whichland.manifest import Manifest
from whichland.model import bundle, calibration
from whichland.model.bundle import Info, json_text, keep_calibration
from whichland.model.labels import LabelSpace, labels_text
from whichland.templates import templates_beside
from whichland.training.config import TrainConfig
from whichland.training.prepare import Prepared, prepare
from whichland.training.process import deterministic, partners_watched
from whichland.training.run_log import watching


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    bundle: Path
    scores: dict[str, float]  # on the validation split


def train(manifest: Manifest | str | Path, config: TrainConfig, out: str | Path, *, resume: bool = False) -> Run:
    """Train a model; write `out` with config, log, page, checkpoint and bundle.

    Raises UserError for what the user can mend, and `process.Interrupted` when stopped by Ctrl-C or SIGTERM: the
    checkpoint is then written, and the same call with `resume=True` ends as the uninterrupted run would have. From
    the last checkpoint that also holds for `process.ProcessLost`, raised where another process of the job ended.
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
                bundle.save(
                    out / "bundle",
                    model=model.to("cpu").eval(),
                    arch=ready.made.arch,
                    model_args=ready.made.model_args,
                    pretrained_cfg=ready.pretrained_cfg,
                    space=ready.labels,
                    info=_info(ready, config),
                    metrics={"validation": scores},
                    card=card(ready.labels, config, scores, len(ready.fit.loader.photos)),
                )
                _calibrate(out / "bundle", ready)
        accelerator.wait_for_everyone()
    if accelerator.is_local_main_process and not config.cache:
        rmtree(out / "cache", ignore_errors=True)  # the frozen part's activations, needed no more
    return Run(out, out / "bundle", scores)


def _rehearse(ready: Prepared, config: TrainConfig) -> None:
    """Make every text that is written after the last step once before the first, so that none fails hours later."""
    card(ready.labels, config, {}, len(ready.fit.loader.photos))
    labels_text(ready.labels)
    json_text(_info(ready, config).written)


def card(labels: LabelSpace, config: TrainConfig, scores: Mapping[str, float], photos: int) -> str:
    """The bundle's README.md: what the model is, how it was trained, how good it was, and what it is not for."""
    names = Markup(", ".join(labels.described(code) for code in labels.codes))  # Markdown, not to be escaped
    template = templates_beside(__file__).get_template("card.md.j2")
    return template.render(config=config, labels=labels, names=names, scores=scores, photos=photos) + "\n"


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


def _info(ready: Prepared, config: TrainConfig) -> Info:
    # paths on this machine concern nobody else
    settings = vars(config) | {"weights": Path(config.weights).name, "cache": None}
    return Info(
        version=whichland.__version__,
        temperature=1.0,
        head=ready.made.head,
        train=settings,
        photos=len(ready.fit.loader.photos),
        prior=ready.shares,
        manifest_sha256=ready.digest,
        split_certificate=certificate_of(ready.table),
        history=[asdict(step) for step in ready.table.history],
        packages={name: version(name) for name in ("torch", "timm", "numpy", "pillow", "polars")},
        seed=config.seed,
    )
