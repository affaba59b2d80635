"""From a manifest and a configuration to a run folder with a bundle.

runs/NAME/{config.toml, log.jsonl, index.html, curve.png, checkpoint/last.pt, bundle/}
"""

import sys
import time
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import polars as pl
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor, nn

import whichland
from whichland.config import build, differences, read_toml, to_toml
from whichland.curate.certificate import certificate_of
from whichland.errors import UserError
from whichland.images.augment import Augment
from whichland.images.preprocess import Preprocess
from whichland.manifest import Manifest, read
from whichland.model import bundle, calibration, prior
from whichland.model.backbone import Backbone, create
from whichland.model.freezing import train_mode
from whichland.model.head import get_head
from whichland.model.info import Info, json_text, keep_calibration
from whichland.model.input_size import check_size
from whichland.model.labels import LabelSpace, labels_text
from whichland.model.unfused_attention import write_out_attention
from whichland.training.card import card
from whichland.training.config import TrainConfig, height_width
from whichland.training.curve import draw_curve
from whichland.training.data import Loader, Photos, choose_labels, select
from whichland.training.determinism import deterministic
from whichland.training.evaluation import features_of
from whichland.training.fit import Fit
from whichland.training.linear_probe import fit_head
from whichland.training.pixel_cache import decode_once
from whichland.training.sampling import balanced
from whichland.training.stopping import partners_watched
from whichland.training.targets import target_table
from whichland.training.tensorboard import require_tensorboard
from whichland.training.watching import watching


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    bundle: Path
    scores: dict[str, float]  # on the validation split


@dataclass(frozen=True)
class Prepared:
    """A run before its first step: the data chosen, the model made, its head fitted, what is frozen frozen."""

    table: Manifest
    digest: str
    labels: LabelSpace
    photos: Photos
    made: Backbone
    pretrained_cfg: dict[str, Any]  # of the bundle
    fit: Fit
    shares: list[float]  # of the labels in training, weighted


def train(manifest: Manifest | str | Path, config: TrainConfig, out: str | Path, *, resume: bool = False) -> Run:
    """Train a model; write `out` with config, log, page, curve, checkpoint and bundle.

    Raises UserError for what the user can mend, and `stopping.Interrupted` when stopped by Ctrl-C or SIGTERM: the
    checkpoint is then written, and the same call with `resume=True` ends as the uninterrupted run would have. From
    the last checkpoint that also holds for `stopping.ProcessLost`, raised where another process of the job ended.
    """
    out = Path(out)
    with partners_watched():
        return _train(manifest, config, out, resume=resume)


def _train(manifest: Manifest | str | Path, config: TrainConfig, out: Path, *, resume: bool) -> Run:
    with deterministic(config.deterministic):
        ready = prepare(manifest, config, out, resume=resume)
    accelerator = ready.fit.accelerator
    _rehearse(ready, config)
    with deterministic(config.deterministic), watching(ready.fit, config, out):
        scores = ready.fit.run(train_mode)
        model = ready.fit.finished_model()
        if accelerator.is_main_process:
            _write_bundle(out / "bundle", model, ready, config, scores)
            _calibrate(out / "bundle", ready)
            draw_curve(out / "log.jsonl", out / "curve.png")
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
    if ready.fit.validated is None:
        return
    logits, targets = (part.numpy() for part in ready.fit.validated)
    rows = ready.table.kept.filter(pl.col("split") == "val", pl.col(ready.labels.kind).is_in(ready.labels.codes))
    rows = rows.sort("image_id")
    assert rows["uri"].to_list() == ready.fit.validation.uris
    groups = rows["group"].to_list() if "group" in rows.columns else [None] * len(rows)
    fitted = calibration.fit(logits, targets, groups)
    keep_calibration(folder, replace(fitted, split="val", manifest_sha256=ready.digest))


def prepare(
    manifest: Manifest | str | Path, config: TrainConfig, out: Path | None, *, resume: bool = False
) -> Prepared:
    """Do all that comes before the first step; with `out` None nothing is written, and the fit is not to be run.

    Raises UserError for what the user can mend.
    """
    if config.tensorboard:
        require_tensorboard()
    accelerator = _accelerator(config.precision)
    table = manifest if isinstance(manifest, Manifest) else read(manifest)
    labels = choose_labels(table, config)
    digest = table.digest(config.label)
    soft = target_table(labels, config, table)
    photos = balanced(select(table, "train", labels, photos=config.photos), config.balance)
    validation = select(table, "val", labels)
    if config.patience and not len(validation):
        raise UserError("patience needs validation photos; the manifest has none of these labels")
    if out is not None and accelerator.is_main_process:
        _check_folder(out, config, resume)
    accelerator.wait_for_everyone()

    started = time.perf_counter()
    torch.manual_seed(config.seed)
    found = [resume and out is not None and (out / "checkpoint" / "last.pt").exists()]
    (resuming,) = broadcast_object_list(found)  # the main process may be the only one that sees its disk
    made = create(
        config.arch,
        len(labels),
        weights="none" if resuming else config.weights,
        partial=config.partial,
        head=config.head,
        head_after=config.head_after,
        dropout=config.dropout,
        size=config.size,
        model_args=config.model_args,
    )
    cfg = _test_time(made, config)
    preprocess = Preprocess.from_config(cfg)
    write_out_attention(made.model, accelerator.device)
    if out is not None and accelerator.is_main_process:  # what cannot be made leaves no folder behind
        _open_folder(out, config)
    accelerator.wait_for_everyone()

    def say(text: str) -> None:
        if accelerator.is_main_process:
            print(text, file=sys.stderr)

    say(f"{len(photos)} training and {len(validation)} validation photos of {len(labels)} labels of {labels.kind}")
    if made.report:
        say(f"{config.weights}: {made.report}")
    # A head after the logits begins with the pretrained classifier, which the fit would overwrite.
    fresh = config.head_after == "features"
    linear = any(isinstance(module, nn.Linear) for module in get_head(made.model).modules())
    head_fitted = config.head_first and fresh and linear and config.weights != "none" and not resuming
    if head_fitted:
        _fit_head_first(made, photos, preprocess, accelerator, config, soft)
        say("head fitted on the pretrained features")
    loader = _loader(photos, config, accelerator)
    folder = out or Path()
    crops = None
    decodes_often = not config.views or config.freeze.endswith("none")  # a frozen part sees its photos once
    if config.cache and decodes_often:
        loader, crops = decode_once(loader, validation, preprocess, accelerator, Path(config.cache), say)
    if out is None:  # what is not run may be copied, which a model that is shared out cannot be
        config = replace(config, shard=False)
    fit = Fit(config, made.model, accelerator, loader, validation, preprocess, folder, soft, clock=started)
    fit.crops, fit.head_fitted = crops, head_fitted
    shares = prior.shares(photos.targets, _weights(photos, config), len(labels))
    if config.prior == "even":
        fit.log_shares = prior.log_shares(shares)
    if resuming:
        fit.resume()
        say(f"resumed at epoch {fit.position.epoch + 1}, step {fit.position.step + 1}")
    return Prepared(table, digest, labels, photos, made, cfg, fit, shares)


def _accelerator(precision: str) -> Accelerator:
    use_bf16 = precision == "bf16"
    if precision == "auto":
        use_bf16 = (
            torch.cuda.is_bf16_supported()
            if torch.cuda.is_available()
            else torch.ops.mkldnn._is_mkldnn_bf16_supported()
        )
    AcceleratorState._reset_state()  # else the precision of an earlier run in this process would be kept
    return Accelerator(mixed_precision="bf16" if use_bf16 else "no")


def _check_folder(out: Path, config: TrainConfig, resume: bool) -> None:
    """Check that the run folder is free, or that the one to resume was started with the same settings."""
    file = out / "config.toml"
    if (out / "bundle").exists():
        raise UserError(f"{out} is a finished run; choose another --out")
    if file.exists() and not resume:
        raise UserError(f"{out} holds an unfinished run: add --resume to go on, or choose another --out")
    if file.exists() and (changed := differences(build(TrainConfig, read_toml(file), str(file)), config)):
        raise UserError(f"{out} was started with other settings; resume without: {', '.join(changed)}")


def _open_folder(out: Path, config: TrainConfig) -> None:
    """Make the run folder; from now on it can be resumed, with these settings only."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.toml").write_text(to_toml(config), encoding="utf-8")
    if not (out / "checkpoint" / "last.pt").exists():
        (out / "log.jsonl").write_text("", encoding="utf-8")


def _test_time(made: Backbone, config: TrainConfig) -> dict[str, Any]:
    """The pretrained_cfg of the bundle: trained at `size`, judged somewhat larger where the model allows."""
    cfg = dict(made.pretrained_cfg)
    fixed = "img_size" in made.model_args or cfg.get("fixed_input_size")
    sides = height_width(config.size)
    larger = sides if fixed else [max(32, round(side * 1.5 / 32) * 32) for side in sides]
    test = height_width(config.test_size) if config.test_size else larger
    if test != sides:
        check_size(made.arch, (test[0], test[1]), made.model_args)
    cfg |= {"input_size": (3, *sides), "test_input_size": (3, *test)}
    cfg |= {"crop_pct": 1.0, "test_crop_pct": 1.0, "crop_mode": "center"}
    return cfg


def _fit_head_first(
    made: Backbone,
    photos: Photos,
    preprocess: Preprocess,
    accelerator: Accelerator,
    config: TrainConfig,
    soft: Tensor | None,
) -> None:
    made.model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    features, targets = features_of(made.model, photos, preprocess, accelerator)
    weights = torch.from_numpy(_weights(photos, config))
    made.model.to("cpu")
    smoothing = config.smoothing
    if soft is not None:
        targets, smoothing = soft[targets], 0.0
    fit_head(made.model, features, targets, weights.float(), decay=config.head_decay, smoothing=smoothing)


def _weights(photos: Photos, config: TrainConfig) -> NDArray[np.float64]:
    """How much each photo counts in training."""
    return photos.weights if config.weighting != "none" else np.ones(len(photos))


def _loader(photos: Photos, config: TrainConfig, accelerator: Accelerator) -> Loader:
    batch = min(config.batch_size, len(photos))
    if batch % accelerator.num_processes:
        raise UserError(f"--batch-size {batch} does not divide over {accelerator.num_processes} processes")
    height, width = height_width(config.size)
    augment = Augment(
        size=(height, width),
        min_area=config.min_area,
        max_stretch=config.max_stretch,
        brightness=config.brightness,
        contrast=config.contrast,
        saturation=config.saturation,
        flip=config.flip,
    )
    rank, world = accelerator.process_index, accelerator.num_processes
    own = config.own_photos and world > 1
    return Loader(
        photos=photos.take(range(rank, len(photos), world)) if own else photos,
        own_of=len(photos) if own else None,
        augment=augment,
        batch_size=batch,
        seed=config.seed,
        weighting=config.weighting,
        rank=rank,
        world=world,
        workers=config.workers,
    )


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
