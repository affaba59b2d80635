"""Fit the head alone on what the frozen backbone sees: one pass over the photos, then a convex problem."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from whichland.errors import UserError
from whichland.model.head import get_head


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
