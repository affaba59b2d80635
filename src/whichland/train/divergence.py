"""A loss that is no number never becomes one again: training ends there, and says what to change."""

from math import isfinite

from whichland.errors import UserError


def check_loss(loss: float, *, epoch: int, step: int, rate: float) -> None:
    """Raise UserError when the loss of a step (both counted from 0) is no number; `rate` is the head's there."""
    if not isfinite(loss):
        raise UserError(
            f"epoch {epoch + 1}, step {step + 1}: the loss is {loss} at a learning rate of {rate:.1e}; train anew "
            "with a lower --lr (`whichland lr-find` suggests one) or --clip 1, in another --out"
        )
