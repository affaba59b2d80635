"""From a manifest and a configuration to a run folder with a bundle.

runs/NAME/{config.toml, log.jsonl, index.html, checkpoint/last.pt, bundle/}
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import polars as pl
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from markupsafe import Markup

import whichland
from whichland.config import to_toml
from whichland.curate.split import certificate_of
from whichland.errors import UserError
from whichland.images.augment import Augment
from whichland.images.containers import require_files
from whichland.images.preprocess import Preprocess
from whichland.manifest import Manifest, read
from whichland.model import bundle, calibration
from whichland.model.backbone import Backbone, create, rehearse, write_out_attention
from whichland.model.bundle import Info, json_text, keep_calibration
from whichland.model.head import log_shares
from whichland.model.head import shares as shares_of
from whichland.model.input_size import check_size
from whichland.model.labels import LabelSpace, labels_text
from whichland.model.record import keep_record, record_of
from whichland.model.weights import keep_head, weights_file
from whichland.progress import whole
from whichland.statistics import group_numbers
from whichland.templates import templates_beside
from whichland.training.checkpoint import Checkpoint
from whichland.training.config import FEW, TrainConfig, height_width, settled
from whichland.training.data import Loader, Photos, balanced, choose_labels, select
from whichland.training.fit import Fit
from whichland.training.linear_probe import head_first
from whichland.training.objective import Objective, target_table
from whichland.training.packs import decode_once
from whichland.training.process import deterministic, join, partners_watched
from whichland.training.run_folder import check_folder, first_process, passes, photos_of
from whichland.training.run_log import require_tensorboard, watching
from whichland.training.validation import Judge, learn_novelty


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    bundle: Path
    scores: dict[str, float]  # on the validation split


@dataclass(frozen=True)
class Prepared:
    """A run before its first step."""

    table: Manifest
    digest: str
    labels: LabelSpace
    made: Backbone
    pretrained_cfg: dict[str, Any]  # of the bundle
    fit: Fit
    shares: list[float]  # of the labels in training, weighted


def train(manifest: Manifest | str | Path, config: TrainConfig, out: str | Path, *, resume: bool = False) -> Run:
    """Train a model; write `out` with config, log, page, checkpoint and bundle.

    Raises UserError for what the user can mend, and `process.Interrupted` when stopped by Ctrl-C or SIGTERM: the
    checkpoint is then written, and the same call with `resume=True` ends as the uninterrupted run would have. From
    the last checkpoint that also holds for `process.ProcessLost`, raised where another process of the job ended.
    """
    out = Path(out)
    table = manifest if isinstance(manifest, Manifest) else read(manifest)
    labels = choose_labels(table, config)  # what is wrong with them is said before anything is shown
    counts = photos_of(table, config)
    foreseen = passes(counts.get("train", 0), counts.get("val", 0), config)
    one_bar = whole(foreseen, show=first_process())
    with partners_watched(), deterministic(config.deterministic), one_bar:
        ready = prepare(table, config, out, resume=resume, labels=labels)
        config, accelerator = ready.fit.config, ready.fit.accelerator
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
                _calibrate(out / "bundle", ready, config.novelty_photos)
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


def _calibrate(folder: Path, ready: Prepared, most: int) -> None:
    """Keep in the bundle what validation photos show: temperature, sets, abstention, novelty, how often it is right."""
    judge, loader = ready.fit.judge, ready.fit.loader
    if judge.logits is None:
        return
    rows = ready.table.kept.filter(pl.col("split") == "val", pl.col(ready.labels.kind).is_in(ready.labels.codes))
    rows = rows.sort("image_id")
    assert rows["uri"].to_list() == judge.photos.uris
    groups = rows["group"].to_list() if "group" in rows.columns else [None] * len(rows)
    logits_NK, truth_N = judge.logits.numpy(), judge.photos.targets
    fitted = calibration.fit(logits_NK, truth_N, groups)
    keep_calibration(folder, replace(fitted, split="val", manifest_sha256=ready.digest))
    probs_NK = np.exp(calibration.log_softmax(logits_NK, fitted.temperature))
    keep_record(folder, record_of(ready.labels, "val", probs_NK, truth_N, group_numbers(groups)))
    if most:
        learn_novelty(folder, loader.photos, judge.photos, groups, most=most)


def _info(ready: Prepared, config: TrainConfig) -> Info:
    # paths on this machine concern nobody else
    settings = vars(config) | {"weights": Path(config.weights).name, "cache": None}
    settings["features"] = config.features and Path(config.features).name
    return Info(
        version=whichland.__version__,
        temperature=1.0,
        head=ready.made.head,
        cosine=ready.made.cosine,
        train=settings,
        photos=len(ready.fit.loader.photos),
        sources=_sources(ready),
        trained=datetime.now(UTC).date().isoformat(),
        prior=ready.shares,
        manifest_sha256=ready.digest,
        split_certificate=certificate_of(ready.table),
        history=[asdict(step) for step in ready.table.history],
        packages={name: version(name) for name in ("torch", "timm", "numpy", "pillow", "polars")},
        seed=config.seed,
    )


def _sources(ready: Prepared) -> dict[str, int]:
    """How many of the photos of training come from each source."""
    uris = ready.fit.loader.photos.uris
    rows = ready.table.kept.filter(pl.col("uri").is_in(set(uris))).unique("uri")
    return dict(rows["source"].value_counts().sort("source").iter_rows())


def prepare(
    manifest: Manifest | str | Path,
    config: TrainConfig,
    out: Path | None,
    *,
    resume: bool = False,
    labels: LabelSpace | None = None,
) -> Prepared:
    """Do all that comes before the first step; with `out` None nothing is written, and the fit is not to be run.

    `labels` are those of `choose_labels` where they are chosen already.

    Raises UserError for what the user can mend.
    """
    if config.tensorboard:
        require_tensorboard()
    accelerator = join(config.precision)

    def say(text: str) -> None:
        if accelerator.is_main_process:
            print(text, file=sys.stderr)

    table = manifest if isinstance(manifest, Manifest) else read(manifest)
    labels = labels or choose_labels(table, config)
    digest = table.digest(config.label)
    soft = target_table(labels, config, table)
    photos = balanced(select(table, "train", labels, photos=config.photos), config.balance)
    validation = select(table, "val", labels)
    require_files(photos.uris)
    if config.patience and not len(validation):
        raise UserError("patience needs validation photos; the manifest has none of these labels")
    checkpoint = Checkpoint((out or Path()) / "checkpoint" / "last.pt", digest, accelerator)
    saved = _saved(out, config, checkpoint, resume=resume) if out is not None else None

    begun = time.perf_counter()
    torch.manual_seed(config.seed)
    made = create(
        config.arch,
        len(labels),
        weights="none" if saved and not config.keep_start else config.weights,
        partial=config.partial,
        head=config.head,
        head_after=config.head_after,
        dropout=config.dropout,
        size=config.size,
        model_args=config.model_args,
    )
    if file := weights_file(config.weights):
        made = replace(made, cosine=keep_head(made.model, file, labels.codes))
    asked, config = config, settled(config, len(photos), own_head=made.cosine is not None)
    if config.keep_start and not made.cosine:
        raise UserError("keep_start averages with a model that answers already: give --weights a zero-shot bundle")
    cfg = _test_time(made, config)
    write_out_attention(made.model, accelerator.device)
    if out is not None and accelerator.is_main_process:  # what cannot be made or kept leaves no folder behind
        if saved is None:
            rehearse(made, cfg, labels.codes)
        _open_folder(out, asked, fresh=not checkpoint.file.exists())
    accelerator.wait_for_everyone()
    say(f"{len(photos):,} training and {len(validation):,} validation photos of {len(labels)} {labels.nouns}")
    if made.report:
        say(f"{config.weights}: {made.report}")
    if config != asked and config.freeze == "backbone":
        say(f"fewer than {FEW} training photos: the head alone learns; --freeze none lets all learn")
    preprocess = Preprocess.from_config(cfg)
    weights = photos.weights if config.weighting != "none" else np.ones(len(photos))  # how much each photo counts
    head_fitted = (
        saved is None
        and not made.cosine
        and head_first(made.model, photos, weights, preprocess, accelerator, config, soft)
    )
    if head_fitted:
        say("head fitted on the pretrained features")
    loader, judge = _loader(photos, config, accelerator), Judge(validation, preprocess, accelerator)
    decodes_often = not config.views or config.freeze.endswith("none")  # a frozen part sees its photos once
    if config.cache and decodes_often:
        loader, judge.crops = decode_once(loader, validation, preprocess, accelerator, Path(config.cache), say)
    shares = shares_of(photos.targets, weights, len(labels))
    if config.prior == "even":
        judge.log_shares = log_shares(shares)
    fit = Fit(
        config=config,
        model=made.model,
        accelerator=accelerator,
        loader=loader,
        objective=Objective(config, accelerator, preprocess, soft),
        judge=judge,
        folder=out or Path(),
        checkpoint=checkpoint,
        say=say,
        head_fitted=head_fitted or (saved is None and made.cosine is not None),
        clock=begun,
    )
    if saved is not None:
        fit.resume(saved)
        say(f"resumed at epoch {fit.position.epoch + 1}, step {fit.position.step + 1}")
    elif resume:
        say(f"nothing is saved in {out} yet: training begins with the first step")
    return Prepared(table, digest, labels, made, cfg, fit, shares)


def _saved(out: Path, config: TrainConfig, checkpoint: Checkpoint, *, resume: bool) -> dict[str, Any] | None:
    """What the checkpoint of a run to be resumed holds; None where there is none.

    Raises UserError unless the run folder is free, or that of a run with the same settings that is to be resumed. The
    main process may be the only one that sees the run's disk.
    """
    if checkpoint.accelerator.is_main_process:
        check_folder(out, config, resume=resume)
    checkpoint.accelerator.wait_for_everyone()
    (found,) = broadcast_object_list([resume and checkpoint.file.exists()])
    return checkpoint.read() if found else None


def _open_folder(out: Path, config: TrainConfig, *, fresh: bool) -> None:
    """Make the run folder; from now on it can be resumed, with these settings only."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.toml").write_text(to_toml(config), encoding="utf-8")
    if fresh:
        (out / "log.jsonl").write_text("", encoding="utf-8")


def _test_time(made: Backbone, config: TrainConfig) -> dict[str, Any]:
    """The pretrained_cfg of the bundle: trained at `size`, judged somewhat larger where the model allows."""
    sides = height_width(config.size)
    fixed = "img_size" in made.model_args or made.pretrained_cfg.get("fixed_input_size")
    larger = sides if fixed else tuple(max(32, round(side * 1.5 / 32) * 32) for side in sides)
    test = height_width(config.test_size) if config.test_size else larger
    if test != sides:
        check_size(made.arch, (test[0], test[1]), made.model_args)
    sizes = {"input_size": (3, *sides), "test_input_size": (3, *test)}
    return made.pretrained_cfg | sizes | {"crop_pct": 1.0, "test_crop_pct": 1.0, "crop_mode": "center"}


def _loader(photos: Photos, config: TrainConfig, accelerator: Accelerator) -> Loader:
    batch = min(config.batch_size, len(photos))
    if batch % accelerator.num_processes:
        raise UserError(f"--batch-size {batch} does not divide over {accelerator.num_processes} processes")
    return Loader(
        photos=photos,
        augment=Augment(
            size=height_width(config.size),
            min_area=config.min_area,
            max_stretch=config.max_stretch,
            brightness=config.brightness,
            contrast=config.contrast,
            saturation=config.saturation,
            flip=config.flip,
        ),
        batch_size=batch,
        seed=config.seed,
        weighting=config.weighting,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        workers=config.workers,
    )
