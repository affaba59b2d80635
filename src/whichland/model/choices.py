"""What may be chosen about a model, by name; without torch, so that settings and --help are read quickly."""

from typing import Literal

Freeze = Literal["none", "backbone", "front", "front2", "front3"]
HeadAfter = Literal["features", "logits"]
