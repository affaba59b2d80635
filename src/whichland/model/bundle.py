"""The one artefact: a folder that anyone can load, with timm alone when the head is a plain layer.

config.json         timm's own form: architecture, label_names, pretrained_cfg, model_args
model.safetensors   weights; pickle is never read nor written
whichland.json      version, head widths, training config, manifest sha256, packages, seed: see model/info.py
labels.json         names of the labels, what they lie in, where they are photographed: see model/labels.py
metrics.json        validation scores; README.md is the model card
model.onnx          once exported: the network for engines other than torch, see model/runner.py
gallery.parquet     once exported: training photos that may be shown, see model/gallery.py

Torch is imported where weights are read or written, so that a bundle's JSON files can be read without it.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichland.errors import UserError
from whichland.images.preprocess import Preprocess
from whichland.model.info import FILE as INFO
from whichland.model.info import Info, json_text, read_info, read_json
from whichland.model.labels import FILE as LABELS
from whichland.model.labels import OLD_FILE as OLD_LABELS
from whichland.model.labels import LabelSpace, labels_text, read_labels
from whichland.whole_file import file_sha256, usual_permissions

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A loaded bundle; the model is in evaluation mode."""

    folder: Path
    model: "nn.Module"
    space: LabelSpace
    preprocess: Preprocess
    info: Info  # whichland.json
    arch: str = ""  # as timm names it

    @property
    def labels(self) -> tuple[str, ...]:
        """The codes of the labels, in the order of the logits."""
        return self.space.codes

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax; 1 where the bundle was not calibrated."""
        return self.info.temperature


def save(
    folder: Path,
    *,
    model: "nn.Module",
    arch: str,
    model_args: Mapping[str, Any],
    pretrained_cfg: Mapping[str, Any],
    space: LabelSpace,
    info: Info,
    metrics: Mapping[str, Any],
    card: str,
) -> Path:
    """Write a bundle; the folder appears whole or not at all, and an existing one is never overwritten."""
    from safetensors.torch import save_file

    if folder.exists():
        raise UserError(f"{folder} already exists; choose another --out")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    partial.mkdir(parents=True)
    keep = ("input_size", "test_input_size", "fixed_input_size", "interpolation", "crop_pct", "test_crop_pct",
            "crop_mode", "mean", "std", "pool_size", "first_conv", "classifier", "license")  # fmt: skip
    config = {
        "architecture": arch.split(".")[0],
        "num_classes": len(space),
        "num_features": int(model.num_features),  # type: ignore[arg-type]
        "label_names": list(space.codes),
        "model_args": dict(model_args),
        "pretrained_cfg": {k: pretrained_cfg[k] for k in keep if pretrained_cfg.get(k) is not None}
        | {"num_classes": len(space)},
    }
    try:
        (partial / "config.json").write_text(json_text(config), encoding="utf-8")
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
        usual_permissions(partial / WEIGHTS)
        (partial / INFO).write_text(json_text(info.written), encoding="utf-8")
        (partial / LABELS).write_text(labels_text(space), encoding="utf-8")
        (partial / "metrics.json").write_text(json_text(dict(metrics)), encoding="utf-8")
        (partial / "README.md").write_text(card, encoding="utf-8")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def load(folder: str | Path) -> Bundle:
    """Load a bundle for prediction. Raises UserError when the folder is no bundle or a file of it is damaged."""
    import timm
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from whichland.model.head import replace_head

    folder = Path(folder)
    read = read_settings(folder)
    arguments = read.config.get("model_args", {})
    try:
        model = timm.create_model(read.config["architecture"], num_classes=len(read.space), **arguments)
        if read.info.head:
            replace_head(model, read.info.head, len(read.space))
    except (KeyError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise _no_model(folder, error) from None
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{folder / WEIGHTS}: {str(error).splitlines()[0]}; train or copy it anew") from None
    return Bundle(
        folder=folder,
        arch=str(read.config["architecture"]),
        model=model.eval(),
        space=read.space,
        preprocess=read.preprocess,
        info=read.info,
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a bundle's JSON files say."""

    config: dict[str, Any]  # timm's
    info: Info
    space: LabelSpace
    preprocess: Preprocess


def read_settings(folder: Path) -> Settings:
    """Read config.json, whichland.json and labels.json.

    Raises UserError when the folder is no bundle or one of the files is damaged.
    """
    config, info = read_json(folder, "config.json"), read_info(folder)
    try:
        codes, preprocess = tuple(config["label_names"]), Preprocess.from_config(config["pretrained_cfg"])
    except (KeyError, TypeError, ValueError) as error:
        raise _no_model(folder, error) from None
    return Settings(config=config, info=info, space=read_labels(folder, codes), preprocess=preprocess)


def _no_model(folder: Path, error: Exception) -> UserError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return UserError(f"{folder}/config.json: describes no model of a bundle ({reason})")


def bundle_hash(folder: Path, *networks: str) -> str:
    """SHA-256 over what decides a bundle's answers: configuration, whichland.json, labels, and the files `networks`.

    Those are the weights where none are named. What `export` recorded about its files does not count.
    """
    info = read_json(folder, INFO)
    info.pop("export", None)
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    digest.update(json_text(info).encode())
    labels = [name for name in (LABELS, OLD_LABELS) if (folder / name).is_file()]
    for name in (*labels, *(networks or (WEIGHTS,))):
        digest.update(f"{name} {file_sha256(folder / name)}".encode())
    return digest.hexdigest()
