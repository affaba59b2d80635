"""One string names a model: timm's, with weights from the hub, from a local safetensors file, or none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import timm
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from whichland.errors import UserError, first_line
from whichland.model.bundle import read_json
from whichland.model.choices import HeadAfter
from whichland.model.head import classifier_name, replace_head
from whichland.model.input_size import Size, as_size, fit_size, own_size, resampled

WEIGHTS = "model.safetensors"  # the hub's name for them


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """How a file of weights met a model."""

    loaded: int
    missing: tuple[str, ...] = ()  # tensors of the backbone that the file lacks
    unexpected: tuple[str, ...] = ()  # tensors of the file that the model has no place for
    classifier: bool = True  # the file filled the classifier, too

    def __str__(self) -> str:
        def some(names: Sequence[str]) -> str:
            return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")

        text = f"{self.loaded} tensors loaded"
        text += f"; missing: {some(self.missing)}" if self.missing else ""
        return text + (f"; unexpected: {some(self.unexpected)}" if self.unexpected else "")


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A timm model, with a fresh head or its own, and what must be known to make it again."""

    model: nn.Module
    arch: str
    model_args: dict[str, Any]
    pretrained_cfg: dict[str, Any]
    report: LoadReport | None
    head: tuple[int, ...] = ()  # widths of the hidden layers of the head


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

    `weights` is "hub", "none" or the path of a safetensors file; a JSON file of the same name beside it may say
    `timm_kwargs` and `preprocessing` (mean, std, interpolation). `size` is the input side, or height and width,
    in pixels; models with fixed positions or windows are adapted to it. `head_after` says what the head follows
    (see `head.replace_head`). Raises UserError for an unknown architecture, a size that it does not take, weights
    that cannot be had, and (unless `partial`) weights that leave backbone tensors random.
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
    sidecar = _sidecar(weights, arch)
    beside = dict(sidecar.get("timm_kwargs", {}))
    if size:
        beside.pop("img_size", None)  # a bundle's own
    arguments = beside | dict(model_args or {})
    check_known(arch)
    for name in ("num_classes", "in_chans"):
        if name in (model_args or {}):
            raise UserError(f"model_args {name} cannot be chosen: it follows from the photos")
    if size:
        arguments |= _told_of_size(arch, size, arguments)
    model = _create(arch, weights == "hub", arguments)
    report = None
    if weights not in ("hub", "none"):
        fixed = as_size(arguments["img_size"]) if "img_size" in arguments else None
        report = load_weights(model, weights, partial=partial, size=fixed)
    cfg = dict(cast(Any, model).pretrained_cfg)
    for name in ("mean", "std", "interpolation"):
        if name in sidecar.get("preprocessing", {}):
            cfg[name] = sidecar["preprocessing"][name]
    # the classes of the weights, which may lie beside them, are not those of a model that is made from them
    arguments.pop("num_classes", None)
    return Backbone(model=model, arch=arch, model_args=arguments, pretrained_cfg=cfg, report=report)


def load_weights(model: nn.Module, file: str | Path, *, partial: bool = False, size: Size | None = None) -> LoadReport:
    """Fill a model from a safetensors file; the classifier is left out when its shape differs.

    `size` is what a model of fixed positions or windows was made for: weights of another size are resampled.
    """
    if not Path(file).is_file():
        raise UserError(f"{file}: no such weights; give a .safetensors file, `hub` or `none`")
    try:
        given: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: not a safetensors file ({error}); pickled weights are never read") from None
    own = model.state_dict()
    source = _source_size(Path(file)) or own_size(model)
    if size and size != source:
        try:
            given = resampled(model, given, source)
        except Exception as error:  # each family's rule meets weights of another in its own way
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UserError(
                f"{file}: cannot be brought to another size ({reason}); choose the matching --arch"
            ) from None
    head = classifier_name(model) + "."
    counters = ".num_batches_tracked"
    wrong = [n for n, t in given.items() if n in own and own[n].shape != t.shape and not n.startswith(head)]
    if wrong:
        shapes = f"{tuple(given[wrong[0]].shape)} in the file, {tuple(own[wrong[0]].shape)} in the model"
        raise UserError(f"{file}: {len(wrong)} tensors have another shape, {wrong[0]} first ({shapes})")
    usable = {n: t for n, t in given.items() if n in own and own[n].shape == t.shape}
    report = LoadReport(
        loaded=len(usable),
        missing=tuple(n for n in own if n not in usable and not n.startswith(head) and not n.endswith(counters)),
        unexpected=tuple(n for n in given if n not in own),
        classifier=all(n in usable for n in own if n.startswith(head)),
    )
    if report.missing and not partial:
        raise UserError(
            f"{file}: {len(report.missing)} backbone tensors would start at random ({report}); "
            "choose the matching --arch, or accept it with --set model.partial=true"
        )
    model.load_state_dict(usable, strict=False)
    return report


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


def _told_of_size(arch: str, size: int | Size, arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return fit_size(arch, size, arguments)
    except UserError:
        raise
    except Exception as error:  # each family complains of its arguments in its own way
        if not arguments:
            raise
        raise UserError(f"{arch} cannot be made with {dict(arguments)}: {first_line(error)}") from None


def _create(arch: str, pretrained: bool, arguments: Mapping[str, Any]) -> nn.Module:
    overlay = {}
    try:
        if pretrained and (repository := _repository(arch)):
            from whichland.sources.hub import check_reachable

            check_reachable(repository, WEIGHTS)
            overlay["hf_hub_filename"] = WEIGHTS  # else timm falls back to a pickled file
        return timm.create_model(arch, pretrained=pretrained, pretrained_cfg_overlay=overlay, **arguments)
    except (TypeError, AssertionError) as error:
        raise UserError(f"{arch} cannot be made with {dict(arguments)}: {first_line(error)}") from None
    except Exception as error:  # the hub's client lets its transport's errors through, whichever that is
        if not pretrained and arguments:
            raise UserError(f"{arch} cannot be made with {dict(arguments)}: {first_line(error)}") from None
        if not pretrained:
            raise
        raise UserError(
            f"pretrained weights of {arch} could not be fetched from the hub ({first_line(error)}); "
            "pass --weights FILE.safetensors, or --weights none to start at random"
        ) from None


def _repository(arch: str) -> str | None:
    """The hub's repository of an architecture's weights, where they are an ordinary file there."""
    cfg = timm.get_pretrained_cfg(arch, allow_unregistered=True)
    return cfg.hf_hub_id if cfg and not cfg.custom_load else None


def _source_size(file: Path) -> Size | None:
    """Height and width that the weights of a bundle were trained at; None for a file that lies in none."""
    config = file.with_name("config.json")
    if not config.is_file():
        return None
    try:
        _, height, width = json.loads(config.read_text(encoding="utf-8"))["pretrained_cfg"]["input_size"]
    except (ValueError, KeyError, TypeError):  # a config.json of something else
        return None
    return height, width


def _sidecar(weights: str, arch: str) -> dict[str, Any]:
    """What lies beside weights: a JSON file of their name, or the config.json of a bundle of this model."""
    if weights in ("hub", "none"):
        return {}
    path = Path(weights).with_suffix(".json")
    if path.is_file():
        return read_json(path.parent, path.name)
    bundle = Path(weights).with_name("config.json")
    found = read_json(bundle.parent, bundle.name) if bundle.is_file() else {}
    cfg = found.get("pretrained_cfg")
    if not isinstance(cfg, dict) or found.get("architecture") != arch.partition(".")[0]:
        return {}
    return {"timm_kwargs": found.get("model_args") or {}, "preprocessing": cfg}
