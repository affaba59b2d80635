"""What may be chosen about a model, by name; without torch, so that settings and --help are read quickly."""

from dataclasses import dataclass
from typing import Literal

Freeze = Literal["none", "backbone", "front", "front2", "front3"]
HeadAfter = Literal["features", "logits"]
Projection = Literal["none", "linear", "mlp"]


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """The form of a head that compares a photo's embedding with one direction a label."""

    features: int  # of the backbone
    embedded: int  # width of the embeddings
    projection: Projection  # what lies between
