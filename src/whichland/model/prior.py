"""What a model takes for granted: how common each country was among the photos it learnt from.

A photo from elsewhere need not follow those shares. Dividing the probabilities by them, and multiplying by the
shares that are expected there, gives the probabilities under the latter, as long as each country's photos look
the same in both places (Saerens, Latinne & Decaestecker 2002, doi:10.1162/089976602753284446).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.model.head import classifier_names


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
