"""The one artefact: a folder that anyone can load, with timm alone when the head is a plain layer.

config.json         timm's own form: architecture, label_names, pretrained_cfg, model_args
model.safetensors   weights; pickle is never read nor written
whichland.json      version, head widths, training config, manifest sha256, packages, seed
metrics.json        validation scores; README.md is the model card
places.json         where the countries are photographed, see model/places.py
model.onnx          once exported: the network for engines other than torch, see model/runner.py
gallery.parquet     once exported: training photos that may be shown, see model/gallery.py

Torch is imported where weights are read or written, so that a bundle's JSON files can be read without it.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from whichland.errors import UserError
from whichland.images.preprocess import Preprocess
from whichland.whole_file import usual_permissions

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A loaded bundle; the model is in evaluation mode."""

    folder: Path
    model: "nn.Module"
    labels: tuple[str, ...]  # ISO 3166-1 alpha-2, in the order of the logits
    preprocess: Preprocess
    info: dict[str, Any]  # whichland.json
    arch: str = ""  # as timm names it


def save(
    folder: Path,
    *,
    model: "nn.Module",
    arch: str,
    model_args: Mapping[str, Any],
    pretrained_cfg: Mapping[str, Any],
    labels: Sequence[str],
    info: Mapping[str, Any],
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
        "num_classes": len(labels),
        "num_features": int(model.num_features),  # type: ignore[arg-type]
        "label_names": list(labels),
        "model_args": dict(model_args),
        "pretrained_cfg": {k: pretrained_cfg[k] for k in keep if pretrained_cfg.get(k) is not None}
        | {"num_classes": len(labels)},
    }
    try:
        (partial / "config.json").write_text(json_text(config), encoding="utf-8")
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})
        usual_permissions(partial / "model.safetensors")
        (partial / "whichland.json").write_text(json_text(dict(info)), encoding="utf-8")
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
    config, info, labels, preprocess = read_settings(folder)
    arguments = config.get("model_args", {})
    try:
        model = timm.create_model(config["architecture"], num_classes=len(labels), **arguments)
        if info.get("head"):
            replace_head(model, info["head"], len(labels))
    except (KeyError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{folder}/config.json: describes no model of a bundle ({reason})") from None
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{folder}/model.safetensors: {str(error).splitlines()[0]}; train or copy it anew") from None
    arch = str(config["architecture"])
    return Bundle(folder=folder, arch=arch, model=model.eval(), labels=labels, preprocess=preprocess, info=info)


def read_settings(folder: Path) -> tuple[dict[str, Any], dict[str, Any], tuple[str, ...], Preprocess]:
    """Read config.json, whichland.json, and from the former the labels and the preprocessing.

    Raises UserError when the folder is no bundle or one of the files is damaged.
    """
    config = read_json(folder, "config.json")
    info = read_json(folder, "whichland.json")
    try:
        return config, info, tuple(config["label_names"]), Preprocess.from_config(config["pretrained_cfg"])
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{folder}/config.json: describes no model of a bundle ({reason})") from None


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Read one of a bundle's JSON files. Raises UserError when the folder holds no such file."""
    path = folder / name
    if not path.is_file():
        raise UserError(f"{folder} is not a bundle: {name} is missing (train one with `whichland train`)")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: not the file of a bundle (a {type(found).__name__}); train or copy it anew")
    return cast(dict[str, Any], found)


def json_text(values: Mapping[str, Any]) -> str:
    """The text of one of a bundle's JSON files: whoever writes one anew leaves the rest as it was, to the byte."""
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
