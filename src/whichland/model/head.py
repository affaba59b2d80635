"""The classifier on top of a backbone: one linear layer, or a chain of them with given widths.

Its last bias holds how common each country was among the photos that it learnt from (`shares`). A photo from elsewhere
need not follow those shares. Dividing the probabilities by them, and multiplying by the shares that are expected
there, gives the probabilities under the latter, as long as each country's photos look the same in both places
(Saerens, Latinne & Decaestecker 2002, doi:10.1162/089976602753284446).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from itertools import pairwise
from threading import get_ident
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.model.choices import Cosine, HeadAfter, Projection


def make_head(features: int, widths: Sequence[int], labels: int, dropout: float = 0.0) -> nn.Module:
    """Build the head: a plain Linear without `widths`, else Linear, ReLU, Dropout, … Linear.

    A plain Linear keeps the bundle loadable through timm alone.
    """
    layers: list[nn.Module] = []
    for before, width in pairwise([features, *widths]):
        layers += [nn.Linear(before, width), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    last = nn.Linear([features, *widths][-1], labels)
    nn.init.zeros_(last.bias)
    nn.init.trunc_normal_(last.weight, std=0.01)
    return nn.Sequential(*layers, last) if layers else last


class CosineHead(nn.Module):
    """Scaled cosines between the projected features and a direction for each label, as CLIP and SigLIP have them."""

    def __init__(self, form: Cosine, labels: int) -> None:
        super().__init__()
        wide = form.embedded
        self.projection: nn.Module = nn.Identity()
        if form.projection == "linear":
            self.projection = nn.Linear(form.features, wide)
        elif form.projection == "mlp":
            self.projection = Mlp(form.features, 2 * wide, wide)
        self.weight = nn.Parameter(torch.zeros(labels, wide))  # K×D
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(labels))

    def forward(self, x_BF: Tensor) -> Tensor:
        embedded_BD = nn.functional.normalize(self.projection(x_BF), dim=-1)
        return nn.functional.linear(embedded_BD, self.weight) * self.log_scale.exp() + self.bias


def put_cosine_head(model: nn.Module, form: Cosine, labels: int) -> None:
    """Put a head of cosines on a timm model, in place."""
    model.reset_classifier(labels)  # type: ignore[operator]
    parent, _, name = classifier_name(model).rpartition(".")
    setattr(model.get_submodule(parent), name, CosineHead(form, labels))


@torch.no_grad()
def fill_cosine_head(
    model: nn.Module, projection: nn.Module, directions_KD: Tensor, scale: Tensor, bias: float
) -> None:
    """Copy a projection, directions, scale and bias into a model's head; a bias that the projection lacks is 0."""
    head = cast(CosineHead, get_head(model))
    own = head.projection.state_dict()
    head.projection.load_state_dict(
        {name: torch.zeros_like(part) for name, part in own.items()} | projection.state_dict()
    )
    head.weight.copy_(directions_KD)
    head.log_scale.copy_(scale.log())
    head.bias.fill_(bias)


def kind_of(projection: nn.Module) -> Projection:
    """Which of the projections that a head of cosines may have a module is."""
    if isinstance(projection, nn.Identity):
        return "none"
    return "linear" if isinstance(projection, nn.Linear) else "mlp"


def width_into(projection: nn.Module) -> int:
    """How many features go into a projection; 0 for none."""
    first = next((part for part in projection.modules() if isinstance(part, nn.Linear)), None)
    return first.in_features if first else 0


def classifier_name(model: nn.Module) -> str:
    """Name of the module that turns features into logits, such as `fc` or `head.fc`; the first of several."""
    return classifier_names(model)[0]


def classifier_names(model: nn.Module) -> tuple[str, ...]:
    """Names of all classifiers: models that were distilled have one for the teacher beside their own.

    Raises UserError for encoders that have none and no place for one.
    """
    name = cast(Any, model).pretrained_cfg.get("classifier")
    if not name or not hasattr(model, "reset_classifier"):
        raise UserError(
            f"{type(model).__name__} has no place for a classifier: it encodes images for other models; choose "
            "another --arch"
        )
    if isinstance(name, str):
        return (name,)
    modules = dict(model.named_modules())
    return tuple(one for one in name if one in modules)  # some are made with fewer than they may have


def replace_head(
    model: nn.Module, widths: Sequence[int], labels: int, dropout: float = 0.0, *, after: HeadAfter = "features"
) -> tuple[int, ...]:
    """Put a head for `labels` classes on a timm model, in place; return the widths of its hidden layers.

    After "features" the head takes the classifier's place and starts at random. After "logits" it follows the
    classifier, which becomes the first hidden layer and starts from its pretrained weights: with a classifier of
    1,000 classes the widths are then 1000 and those given. A few families (ResNetV2, DLA, DPN) classify by a 1×1
    convolution: they keep one, and raise UserError when hidden layers are asked for. So do models of several
    classifiers, which all get `labels` classes.
    """
    classifier, several = get_head(model), len(classifier_names(model)) > 1
    if several and (widths or after == "logits"):
        raise UserError(
            "this architecture has several classifiers side by side; train it without --head and model.head_after"
        )
    if after == "logits":
        if not isinstance(classifier, nn.Linear):
            raise UserError(
                "this architecture has no linear classifier for a head to follow; use --set model.head_after=features"
            )
        widths = (classifier.out_features, *widths)
    reset = cast(Any, model).reset_classifier
    # a RepViT else forgets its second classifier, with which timm makes it again
    reset(labels, **({"distillation": True} if several and "distillation" in signature(reset).parameters else {}))
    fresh = get_head(model)
    if several or not isinstance(fresh, nn.Linear):
        if widths:
            raise UserError("this architecture's classifier is no linear layer; train it without --head")
        return ()
    head = make_head(fresh.in_features, widths, labels, dropout)
    if after == "logits":
        cast(nn.Sequential, head)[0] = classifier
    model.set_submodule(classifier_name(model), head)
    return tuple(widths)


def get_head(model: nn.Module) -> nn.Module:
    """The head module of a timm model."""
    return model.get_submodule(classifier_name(model))


def with_features(model: nn.Module, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of a batch, B×K, and what the head sees of it, B×F; several threads may ask at once.

    Features are taken where they arrive: a few families (MetaFormer, CrossViT) have layers between what timm calls
    `pre_logits` and the classifier.
    """
    seen: list[Tensor] = []
    own = get_ident()

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if get_ident() == own:
            seen.append(inputs[0])

    handle = get_head(model).register_forward_pre_hook(keep)
    try:
        logits_BK: Tensor = model(x_BCHW)
    finally:
        handle.remove()
    return logits_BK, seen[0].flatten(1)


def features_before_head(model: nn.Module, x_BCHW: Tensor) -> Tensor:
    """What the head sees of a batch: B×F."""
    return with_features(model, x_BCHW)[1]


class _Behind(nn.Module):
    """A head whose logits are followed by what it sees, in one tensor, as models pass one on: B×(K+F)."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.head(x).flatten(1), x.flatten(1)], 1)


@contextmanager
def features_behind_logits(model: nn.Module) -> Iterator[None]:
    """Within, a model of one classifier gives its logits with what the head sees behind them: B×(K+F)."""
    name, head = classifier_name(model), get_head(model)
    model.set_submodule(name, _Behind(head))
    try:
        yield
    finally:
        model.set_submodule(name, head)


def shares(targets_N: NDArray[np.int64], weights_N: NDArray[np.floating[Any]], labels: int) -> list[float]:
    """Share of each label among weighted photos."""
    counts = np.bincount(targets_N, weights_N, labels)
    return [float(share) for share in counts / counts.sum()]


def log_shares(shares_K: list[float]) -> Tensor:
    """Their logarithms; a label without photos counts as the rarest of the others."""
    shares = torch.tensor(shares_K)
    return shares.clamp_min(float(shares[shares > 0].min())).log()


@torch.no_grad()
def even_out(model: nn.Module, log_shares_K: Tensor) -> None:
    """Let a model answer, from now on, as if every country were equally common: in place, in its last bias.

    Raises UserError for a model whose last layer has none.
    """
    labels = len(log_shares_K)
    for name in classifier_names(model):
        head = model.get_submodule(name)
        found = [p for n, p in head.named_parameters(recurse=not isinstance(head, CosineHead)) if n.endswith("bias")]
        biases = [bias for bias in found if bias.shape == (labels,)]
        if not biases:
            raise UserError(f"{type(model).__name__}: the last layer has no bias; train it with prior trained")
        biases[-1].sub_(log_shares_K.to(biases[-1]))
