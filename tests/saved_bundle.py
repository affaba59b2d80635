"""A model as `create` made it, saved as a bundle."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whichland.model import bundle
from whichland.model.backbone import Backbone
from whichland.model.bundle import Info
from whichland.model.label_sources import countries

LABELS = ("NA", "NO", "US")


def save_bundle(
    folder: Path,
    made: Backbone,
    pretrained_cfg: Mapping[str, Any] | None = None,
    labels: Sequence[str] = LABELS,
    **info: Any,
) -> Path:
    """Write the bundle; `info` goes into whichland.json beside the head's widths."""
    return bundle.save(
        folder,
        model=made.model,
        arch=made.arch,
        model_args=made.model_args,
        pretrained_cfg=pretrained_cfg or made.pretrained_cfg,
        space=countries(labels),
        info=Info(head=made.head, **info),
        metrics={},
        card="# card\n",
    )
