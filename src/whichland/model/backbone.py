"""One string names a model: timm's, with weights from the hub, from a local safetensors file, or none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, cast

import safetensors.torch
import timm
import torch
from torch import nn

from whichland.errors import UserError, first_line
from whichland.images.preprocess import Preprocess
from whichland.model.bundle import WEIGHTS, Info, config_of, json_text, model_of_config, tensors_of
from whichland.model.choices import Cosine, HeadAfter
from whichland.model.engines import PARITY
from whichland.model.head import replace_head
from whichland.model.input_size import Size, as_size, fit_size
from whichland.model.weights import LoadReport, beside_weights, load_weights, weights_file

MOST_PATCHES = 256  # written out, attention keeps a matrix of tokens × tokens a head: beyond this it fills the memory


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A timm model, with a fresh head or its own, and what must be known to make it again."""

    model: nn.Module
    arch: str
    model_args: dict[str, Any]
    pretrained_cfg: dict[str, Any]
    report: LoadReport | None
    head: tuple[int, ...] = ()  # widths of the hidden layers of the head
    cosine: Cosine | None = None  # the head's form where it is a zero-shot bundle's


def create(
    arch: str,
    labels: int,
    *,
    weights: str = "hub",
    partial: bool = False,
    head: Sequence[int] = (),
    head_after: HeadAfter = "features",
    dropout: float = 0.0,
    size: int | Size | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> Backbone:
    """Create a timm model with a head for `labels` classes.

    `weights` is "hub", "none", or a safetensors file or its folder; a JSON file of the same name beside it may say
    `timm_kwargs` and `preprocessing` (mean, std, interpolation). `size` is the input side, or height and width,
    in pixels; models with fixed positions or windows are adapted to it. `head_after` says what the head follows
    (see `head.replace_head`). Raises UserError for an unknown architecture, a size that it does not take, weights
    that cannot be had or do not fit, and (unless `partial`) weights that leave backbone tensors random.
    """
    loaded = pretrained(arch, weights, partial=partial, size=size, model_args=model_args)
    if size:
        loaded.pretrained_cfg["input_size"] = (3, *as_size(size))
    if head_after == "logits" and loaded.report and not loaded.report.classifier:
        raise UserError(f"{weights} holds no classifier for the head to follow; use --set model.head_after=features")
    widths = replace_head(loaded.model, head, labels, dropout, after=head_after)
    return replace(loaded, head=widths)


def pretrained(
    arch: str,
    weights: str = "hub",
    *,
    partial: bool = False,
    size: int | Size | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> Backbone:
    """Create a timm model as it was trained, its classifier included; otherwise as `create`."""
    file = weights_file(weights)
    beside, source = beside_weights(file, arch) if file else ({}, None)
    arguments = dict(beside.get("timm_kwargs", {}))
    if size:
        arguments.pop("img_size", None)  # a bundle's own
    arguments |= dict(model_args or {})
    check_known(arch)
    for name in ("num_classes", "in_chans"):
        if name in (model_args or {}):
            raise UserError(f"model_args {name} cannot be chosen: it follows from the photos")
    if size:
        arguments |= fit_size(arch, size, arguments)
    model, report = _create(arch, weights == "hub", arguments), None
    if file:
        fixed = as_size(arguments["img_size"]) if "img_size" in arguments else None
        report = load_weights(model, file, partial=partial, size=fixed, source=source)
    cfg = dict(cast(Any, model).pretrained_cfg)
    stated = beside.get("preprocessing", {})
    cfg |= {name: stated[name] for name in ("mean", "std", "interpolation") if name in stated}
    # the classes of the weights, which may lie beside them, are not those of a model that is made from them
    arguments.pop("num_classes", None)
    return Backbone(model=model, arch=arch, model_args=arguments, pretrained_cfg=cfg, report=report)


def rehearse(made: Backbone, pretrained_cfg: Mapping[str, Any], labels: Sequence[str]) -> None:
    """Raise UserError unless a bundle of this model could be written, and would load and give the same logits.

    To be asked before training: some architectures change with use, or cannot be made again from their arguments.
    Nothing is written, and neither the model nor the state of the random numbers changes.
    """
    model, training = made.model, made.model.training
    try:
        size = Preprocess.from_config(pretrained_cfg).size
        x_BCHW = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
        config = json.loads(json_text(config_of(model, made.arch, made.model_args, pretrained_cfg, labels)))
        with torch.random.fork_rng(devices=()), torch.no_grad():
            again = model_of_config(config, Info(head=made.head, cosine=made.cosine), len(labels)).eval()
            again.load_state_dict(safetensors.torch.load(safetensors.torch.save(tensors_of(model))))
            wanted_BK, found_BK = model.eval()(x_BCHW), again(x_BCHW)
        off = float((found_BK - wanted_BK).abs().max())
        if found_BK.shape != (2, len(labels)) or off > PARITY * float(wanted_BK.abs().max()):
            raise ValueError(f"it gives logits of shape {tuple(found_BK.shape)} that differ by {off:.2g}")
    except Exception as error:  # each family fails in its own way
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"{made.arch} could not be kept as a bundle ({reason}); choose another --arch") from None
    finally:
        model.train(training)


def check_known(arch: str) -> None:
    """Raise UserError when timm has no model of that name, or no weights under the tag after its dot."""
    name, _, tag = arch.partition(".")
    if name not in timm.list_models():
        near = get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        near = near or timm.list_models(f"*{arch.split('_')[0]}*")[:5]
        raise UserError(
            f"timm has no model {arch!r}; " + (f"near: {', '.join(near)}" if near else "`whichland models` lists some")
        )
    try:
        timm.get_pretrained_cfg(arch)
    except RuntimeError:
        tags = [known.partition(".")[2] for known in timm.list_models(f"{name}.*", pretrained=True)]
        had = ", ".join(tags) or "none"
        raise UserError(f"timm has no weights {tag!r} of {name}; it has {had}") from None


def _create(arch: str, pretrained: bool, arguments: Mapping[str, Any]) -> nn.Module:
    overlay = {}
    try:
        cfg = timm.get_pretrained_cfg(arch, allow_unregistered=True) if pretrained else None
        if cfg and cfg.hf_hub_id and not cfg.custom_load:  # an ordinary file on the hub
            from whichland.hub_client import check_reachable

            check_reachable(cfg.hf_hub_id, WEIGHTS)
            overlay["hf_hub_filename"] = WEIGHTS  # else timm falls back to a pickled file
        return timm.create_model(arch, pretrained=pretrained, pretrained_cfg_overlay=overlay, **arguments)
    except Exception as error:  # the hub's client lets its transport's errors through, whichever that is
        if isinstance(error, TypeError | AssertionError) or (arguments and not pretrained):
            raise UserError(f"{arch} cannot be made with {dict(arguments)}: {first_line(error)}") from None
        if not pretrained:
            raise
        raise UserError(
            f"pretrained weights of {arch} could not be fetched from the hub ({first_line(error)}); "
            f'fetch {WEIGHTS} of {_home(arch)} elsewhere and give it (--weights FILE, in Python weights="FILE"), '
            "or none to start at random"
        ) from None


def _home(arch: str) -> str:
    """Where the hub has the pretrained weights of a model of timm's."""
    cfg = timm.get_pretrained_cfg(arch, allow_unregistered=True)
    return f"huggingface.co/{cfg.hf_hub_id}" if cfg and cfg.hf_hub_id else "the model"


def write_out_attention(model: nn.Module, device: torch.device) -> bool:
    """Switch timm's fused attention off in a model to be trained on a CPU; return whether that was done.

    The fused kernel of torch 2.13 is made for long sequences. Over a ViT's 197 tokens its backward pass runs at a
    quarter of what the processor does in plain products, and costs a fifth of the step. Written out, the model computes
    the same, but for rounding. Models of other makes, and inputs of more than `MOST_PATCHES`
    patches, are left as they are.
    """
    patches = getattr(getattr(model, "patch_embed", None), "num_patches", None)
    if device.type != "cpu" or not isinstance(patches, int) or patches > MOST_PATCHES:
        return False
    fused = [module for module in model.modules() if getattr(module, "fused_attn", False)]
    for module in fused:
        module.fused_attn = False  # type: ignore[assignment]
    return bool(fused)
