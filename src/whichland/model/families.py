"""The families of models worth comparing, by size, and what is known of each without its weights."""

import time
from collections.abc import Sequence
from contextlib import suppress
from csv import DictReader
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple, cast

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from whichland.errors import UserError
from whichland.model.backbone import check_known
from whichland.model.bundle import WEIGHTS
from whichland.model.engines import best_device
from whichland.model.input_size import Size, meta_model, own_size

Tier = Literal["tiny", "small", "base"]
AtHand = Literal["here", "hub"]


class Member(NamedTuple):
    """A model of a family."""

    family: str
    tier: Tier | None
    arch: str


with Path(__file__).with_name("families.csv").open(newline="", encoding="utf-8") as _file:
    _ROWS = [(Member(row["family"], cast(Tier, row["tier"]), row["arch"]), row["sixteen"]) for row in DictReader(_file)]
MEMBERS = tuple(member for member, _ in _ROWS)
SIXTEEN = tuple(member for member, sixteen in _ROWS if sixteen == "yes")
"""The comparison of sixteen that the first write-up made, under timm's names of today."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a model before its weights are fetched."""

    family: str | None
    tier: str | None
    arch: str
    parameters: int  # without those of the classifier
    size: Size  # height, width that its weights were trained at
    fixed_size: bool  # another size must be passed to timm, as `input_size.fit_size` does
    gmacs: float | None  # billions of multiply-adds for an image of that size; None where it is not known
    license: str | None  # of the weights, as timm states it; None where it does not


def matching(pattern: str = "", *, every: bool = False) -> list[Member]:
    """List the families' models, or with `every` all that timm has, whose family or name matches.

    `pattern` is a glob when it holds one of *?[ and else a part of the name; case does not matter.
    """
    members: Sequence[Member] = MEMBERS
    if every:
        listed = {member.arch: member for member in MEMBERS}
        members = [listed.get(name, Member("", None, name)) for name in timm.list_models(pretrained=True)]
    glob = pattern.lower() if any(letter in pattern for letter in "*?[") else f"*{pattern.lower()}*"
    return [one for one in members if any(fnmatchcase(name.lower(), glob) for name in (one.arch, one.family))]


def facts(member: Member) -> Facts:
    """Find what is known of a model, from shapes alone: no weights are made or fetched."""
    check_known(member.arch)
    model = meta_model(member.arch)
    cfg = cast(Any, model).pretrained_cfg
    size = own_size(model)
    has_one = hasattr(model, "get_classifier")  # a few encoders for other models have none
    classifiers = cast(Any, model).get_classifier() if has_one else ()  # a pair of them in distilled models
    heads = classifiers if isinstance(classifiers, (tuple, list, nn.ModuleList)) else (classifiers,)
    classifier = {id(parameter) for head in heads for parameter in head.parameters()}
    return Facts(
        family=member.family or None,
        tier=member.tier,
        arch=member.arch,
        parameters=sum(p.numel() for p in model.parameters() if id(p) not in classifier),
        size=size,
        fixed_size=bool(cfg.get("fixed_input_size")),
        gmacs=_gmacs(model, size),
        license=cfg.get("license"),
    )


def at_hand(archs: Sequence[str]) -> list[AtHand | None]:
    """Where each model's pretrained weights can be had now: in the hub's cache, else from the hub, else nowhere.

    The hub is asked once, and only where a cache lacks some of them.
    """
    try:
        from huggingface_hub import try_to_load_from_cache

        from whichland.hub_client import check_reachable
    except (ImportError, UserError):  # the extra `hub` is not installed
        return [None] * len(archs)
    places = [cfg.hf_hub_id if (cfg := timm.get_pretrained_cfg(arch)) else None for arch in archs]
    held = [place is not None and isinstance(try_to_load_from_cache(place, WEIGHTS), str) for place in places]
    asked = next((place for place, here in zip(places, held, strict=True) if place and not here), None)
    answers = False
    if asked:
        with suppress(UserError):
            check_reachable(asked, WEIGHTS)
            answers = True
    return ["here" if here else "hub" if place and answers else None for place, here in zip(places, held, strict=True)]


def _gmacs(model: nn.Module, size: Size) -> float | None:
    """Billions of multiply-adds of convolutions and matrix products for one image."""
    with suppress(NotImplementedError, RuntimeError), FlopCounterMode(display=False) as counter:
        model.requires_grad_(False)(torch.empty(1, 3, *size, device="meta"))
        return int(counter.get_total_flops()) / 2e9
    return None


def images_per_second(arch: str, size: Size, *, batch_size: int, seconds: float = 2.0) -> float:
    """Measure how many images of `size` a model judges in a second here, as `whichland predict` runs it.

    On the best device: bf16 autocast on a GPU, fp32 on a CPU; the median batch of about `seconds`, after one
    to warm up. Weights are random, which does not change the time.
    """
    device = best_device()
    model = timm.create_model(arch).eval().to(device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x_BCHW = torch.randn(batch_size, 3, *size, device=device).to(memory_format=torch.channels_last)
    taken: list[float] = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        while len(taken) < 4 or sum(taken[1:]) < seconds:
            started = time.perf_counter()
            model(x_BCHW)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - started)
    return batch_size / median(taken[1:])
