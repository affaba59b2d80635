"""Fit the head alone on what the frozen backbone sees: one pass over the photos, then a convex problem."""

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from whichland.errors import UserError
from whichland.images.preprocess import Preprocess
from whichland.model.features import features_of_head
from whichland.model.head import features_before_head, get_head
from whichland.training.config import TrainConfig
from whichland.training.data import Photos
from whichland.training.validation import outputs_of


def head_first(
    model: nn.Module,
    photos: Photos,
    weights: NDArray[np.float64],
    preprocess: Preprocess,
    accelerator: Accelerator,
    config: TrainConfig,
    soft: Tensor | None,
) -> bool:
    """Fit the head where that is asked for; whether it was. `soft` are the targets of `target_table`.

    One after the logits is not: the pretrained classifier would be overwritten. It is fitted on the photos as they are
    seen at test time, in a pass of its own where a front is frozen, too: fitted on that front's augmented views, which
    lie at the smaller training size, it started worse (docs/decisions/default-recipe.md). The model is left on the CPU.
    """
    linear = any(isinstance(module, nn.Linear) for module in get_head(model).modules())
    if not (config.head_first and config.head_after == "features" and linear and config.weights != "none"):
        return False
    model.eval().to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(x_BCHW: Tensor) -> Tensor:
        return features_before_head(model, x_BCHW)

    if config.features:
        seen = torch.from_numpy(features_of_head(Path(config.features), photos.uris))
    else:
        seen = outputs_of(features, photos, preprocess, accelerator, description="fitting the head: features")
    model.to("cpu")
    targets, smoothing = torch.from_numpy(photos.targets), config.smoothing
    if soft is not None:
        targets, smoothing = soft[targets], 0.0
    weights_N = torch.from_numpy(weights).float()
    fit_head(model, seen, targets, weights_N, decay=config.head_decay, smoothing=smoothing)
    return True


def fit_head(
    model: nn.Module,
    features_NF: Tensor,
    targets_N: Tensor,
    weights_N: Tensor,
    *,
    decay: float = 0.3,
    steps: int = 60,
    smoothing: float = 0.0,
) -> None:
    """Fit the head by L-BFGS on standardised features, in place. Raises UserError when the features are no numbers.

    For a single layer this is multinomial logistic regression with an L2 penalty of `decay`. The standardisation
    is folded into the first layer afterwards, so the model needs no extra step.
    """
    head = get_head(model)
    first = next(module for module in head.modules() if isinstance(module, nn.Linear))
    if not bool(features_NF.isfinite().all()):
        raise UserError(
            "the pretrained backbone gives no numbers: its weights are damaged, or too large for 16 bits; look at "
            "--weights, or try --precision fp32"
        )
    mean, deviation = features_NF.mean(0), features_NF.std(0).clamp_min(1e-4)
    x = (features_NF - mean) / deviation
    parameters = list(head.parameters())
    training = head.training
    head.eval()
    optimizer = torch.optim.LBFGS(parameters, max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        losses = cross_entropy(head(x), targets_N, reduction="none", label_smoothing=smoothing)
        penalty = torch.stack([matrix.square().sum() for matrix in parameters if matrix.ndim > 1]).sum()
        loss = (losses * weights_N).sum() / weights_N.sum() + decay * penalty / 2
        loss.backward()
        return float(loss.detach())

    optimizer.step(closure)
    optimizer.zero_grad()
    with torch.no_grad():
        first.weight.div_(deviation)
        first.bias.sub_(first.weight @ mean)
    head.train(training)
