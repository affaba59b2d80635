"""Weights from a safetensors file, as other tools write them, in a timm model; or one line that says what does not fit.

Names may carry the prefix of what the model was wrapped in (DDP's `module.`, torch.compile's `_orig_mod.`, an attribute
of a LightningModule), and may be those of another library where timm has a rule for its layout.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from whichland.errors import UserError, first_line
from whichland.model.bundle import INFO, WEIGHTS, read_json, read_settings
from whichland.model.choices import Cosine
from whichland.model.head import classifier_name, get_head, put_cosine_head
from whichland.model.input_size import Size, own_size, resampled
from whichland.printed import counted

WRAPPED = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")  # anywhere in a name
TRANSFORMERS = re.compile(r"(\w+\.)?(embeddings|embedder)\.")  # how that library names what comes first
COUNTERS = ".num_batches_tracked"  # of batch norm, which starts without them as well


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """How a file of weights met a model."""

    loaded: int
    tensors: int  # of the model
    prefix: str = ""  # of the names in the file
    missing: tuple[str, ...] = ()  # tensors of the backbone that the file lacks
    unexpected: tuple[str, ...] = ()  # tensors of the file that the model has no place for
    classifier: bool = True  # the file filled the classifier, too

    def __str__(self) -> str:
        text = f"{self.loaded} of the model's {self.tensors} tensors loaded"
        text += f", named {self.prefix}…" if self.prefix else ""
        text += f"; missing: {_some(self.missing)}" if self.missing else ""
        return text + (f"; unexpected: {_some(self.unexpected)}" if self.unexpected else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def weights_file(weights: str) -> Path | None:
    """The safetensors file that is meant: itself, a bundle's, or the only one in a folder; None for "hub" and "none".

    Raises UserError when there is none, or several.
    """
    if weights in ("hub", "none"):
        return None
    path = Path(weights)
    if path.is_dir():
        found = sorted(path.glob("*.safetensors"))
        found = [one for one in found if one.name == WEIGHTS] or found
        if len(found) != 1:
            held = f"several: {_some([one.name for one in found])}" if found else "none; pickled weights are never read"
            raise UserError(f"{weights}: a folder is taken for the one .safetensors file in it, and it holds {held}")
        return found[0]
    if not path.is_file():
        raise UserError(f"{weights}: no such weights; give a .safetensors file, its folder, `hub` or `none`")
    return path


def beside_weights(file: Path, arch: str) -> tuple[dict[str, Any], Size | None]:
    """What lies beside weights: `timm_kwargs` and `preprocessing`, and the size that they were trained at, if known.

    The former come from a JSON file of the weights' name, or from the config.json of a bundle of this model; the
    size from any bundle's.
    """
    config = read_json(file.parent, "config.json") if file.with_name("config.json").is_file() else {}
    cfg = config.get("pretrained_cfg")
    cfg = cfg if isinstance(cfg, dict) else {}
    side = cfg.get("input_size")
    size = (side[1], side[2]) if isinstance(side, list) and len(side) == 3 else None
    own = file.with_suffix(".json")
    if own.is_file():
        return read_json(own.parent, own.name), size
    if not cfg or config.get("architecture") != arch.partition(".")[0]:
        return {}, size
    return {"timm_kwargs": config.get("model_args") or {}, "preprocessing": cfg}, size


def load_weights(
    model: nn.Module, file: str | Path, *, partial: bool = False, size: Size | None = None, source: Size | None = None
) -> LoadReport:
    """Fill a model from a safetensors file; the classifier is left out when its shape differs.

    Weights that were trained at `source` are resampled for a model whose positions or windows are made for `size`.
    Raises UserError when nothing fits, a tensor has another shape, or (unless `partial`) the file lacks some.
    """
    try:
        given: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: not a safetensors file ({error}); pickled weights are never read") from None
    own, head, source = model.state_dict(), classifier_name(model) + ".", source or own_size(model)
    backbone = [name for name in own if not name.startswith(head) and not name.endswith(COUNTERS)]
    given, prefix = _unwrapped(given, own)
    resized = size is not None and size != source
    if resized or not given.keys() >= set(backbone):
        try:
            converted = resampled(model, given, source)
        except Exception as error:  # each family's rule meets weights of another in its own way
            if resized:
                reason = f"{type(error).__name__}: {first_line(error)}"
                raise UserError(
                    f"{file}: cannot be brought to another size ({reason}); choose the matching --arch"
                ) from None
            converted = {}
        if resized or len(own.keys() & converted) > len(own.keys() & given):
            given = converted
    wrong = [n for n, t in given.items() if n in own and own[n].shape != t.shape and not n.startswith(head)]
    if wrong:
        shapes = f"{tuple(given[wrong[0]].shape)} in the file, {tuple(own[wrong[0]].shape)} in the model"
        raise UserError(
            f"{file}: {counted(len(wrong), 'tensor has', 'tensors have')} another shape, {wrong[0]} first ({shapes})"
        )
    usable = {n: t for n, t in given.items() if n in own and own[n].shape == t.shape}
    if not any(name in usable for name in backbone):
        remedy = "choose the matching --arch"
        if any(TRANSFORMERS.match(name) for name in given):
            remedy = (
                "timm does not read names of the transformers library: take those that timm saved, or --weights hub"
            )
        names = f"its {counted(len(given), 'tensor')} ({_some(list(given))}) fits the backbone ({_some(backbone)})"
        raise UserError(f"{file}: none of {names}; {remedy}")
    report = LoadReport(
        loaded=len(usable),
        tensors=len(own),
        prefix=prefix,
        missing=tuple(name for name in backbone if name not in usable),
        unexpected=tuple(name for name in given if name not in own),
        classifier=all(name in usable for name in own if name.startswith(head)),
    )
    if report.missing and not partial:
        raise UserError(
            f"{file}: {len(report.missing)} backbone tensors would start at random ({report}); "
            "choose the matching --arch, or accept it with --set model.partial=true"
        )
    model.load_state_dict(usable, strict=False)
    return report


def keep_head(model: nn.Module, file: Path, codes: Sequence[str]) -> Cosine | None:
    """Give a model the head of the zero-shot bundle that its weights come from, for some of that one's labels.

    Returns the head's form; None where the weights are no such bundle's. Raises UserError for labels that it lacks.
    """
    if not file.with_name(INFO).is_file():
        return None
    read = read_settings(file.parent)
    form, known = read.info.cosine, read.space.index
    if form is None:
        return None
    if unknown := [code for code in codes if code not in known]:
        raise UserError(f"{file.parent} does not know {unknown[0]!r}; name it in the --countries of `zero-shot`")
    put_cosine_head(model, form, len(codes))
    prefix, rows = classifier_name(model) + ".", [known[code] for code in codes]
    held = {name.removeprefix(prefix): part for name, part in load_file(file).items() if name.startswith(prefix)}
    get_head(model).load_state_dict(held | {name: held[name][rows] for name in ("weight", "bias")})
    return form


def _unwrapped(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The tensors without the prefix of their names under which the model knows most, and that prefix.

    Of the names with a prefix the model must know more than half: single ones may agree by chance.
    """
    named = {WRAPPED.sub("", name): tensor for name, tensor in given.items()}
    begun: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for name in named:
        parts = name.split(".")
        for at in range(len(parts)):
            prefix = ".".join([*parts[:at], ""])
            begun[prefix] += 1
            known[prefix] += ".".join(parts[at:]) in own
    likely = [prefix for prefix in known if 2 * known[prefix] > begun[prefix]]
    best = min(likely, key=lambda prefix: (-known[prefix], len(prefix), prefix), default="")
    others = {name: tensor for name, tensor in named.items() if not name.startswith(best)}
    return others | {name.removeprefix(best): t for name, t in named.items() if name.startswith(best)}, best
