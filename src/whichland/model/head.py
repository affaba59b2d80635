"""The classifier on top of a backbone: one linear layer, or a chain of them with given widths.

Its last bias holds how common each country was among the photos that it learnt from (`shares`). A photo from elsewhere
need not follow those shares. Dividing the probabilities by them, and multiplying by the shares that are expected
there, gives the probabilities under the latter, as long as each country's photos look the same in both places
(Saerens, Latinne & Decaestecker 2002, doi:10.1162/089976602753284446).
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.model.choices import HeadAfter


def make_head(features: int, widths: Sequence[int], labels: int, dropout: float = 0.0) -> nn.Module:
    """Build the head: a plain Linear without `widths`, else Linear, ReLU, Dropout, … Linear.

    A plain Linear keeps the bundle loadable through timm alone.
    """
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(features, width), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        features = width
    last = nn.Linear(features, labels)
    nn.init.zeros_(last.bias)
    nn.init.trunc_normal_(last.weight, std=0.01)
    return nn.Sequential(*layers, last) if layers else last


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
    return (name,) if isinstance(name, str) else tuple(name)


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
    classifier = get_head(model)
    if len(classifier_names(model)) > 1:
        if widths or after == "logits":
            raise UserError(
                "this architecture has several classifiers side by side; train it without --head and model.head_after"
            )
        model.reset_classifier(labels)  # type: ignore[operator]
        return ()
    if after == "logits":
        if not isinstance(classifier, nn.Linear):
            raise UserError(
                "this architecture has no linear classifier for a head to follow; use --set model.head_after=features"
            )
        widths = (classifier.out_features, *widths)
    model.reset_classifier(labels)  # type: ignore[operator]
    parent_name, _, name = classifier_name(model).rpartition(".")
    parent = model.get_submodule(parent_name)
    fresh = getattr(parent, name)
    if not isinstance(fresh, nn.Linear):
        if widths:
            raise UserError("this architecture's classifier is no linear layer; train it without --head")
        return ()
    head = make_head(fresh.in_features, widths, labels, dropout)
    if after == "logits":
        cast(nn.Sequential, head)[0] = classifier
    setattr(parent, name, head)
    return tuple(widths)


def get_head(model: nn.Module) -> nn.Module:
    """The head module of a timm model."""
    return model.get_submodule(classifier_name(model))


def features_before_head(model: nn.Module, x_BCHW: Tensor) -> Tensor:
    """What the head sees for a batch: B×F.

    It is taken where it arrives: a few families (MetaFormer, CrossViT) have layers between what timm calls
    `pre_logits` and the classifier.
    """
    seen: list[Tensor] = []
    handle = get_head(model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        model(x_BCHW)
    finally:
        handle.remove()
    return seen[0].flatten(1)


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
        found = [p for n, p in model.get_submodule(name).named_parameters() if n.endswith("bias")]
        biases = [bias for bias in found if bias.shape == (labels,)]
        if not biases:
            raise UserError(f"{type(model).__name__}: the last layer has no bias; train it with prior trained")
        biases[-1].sub_(log_shares_K.to(biases[-1]))
