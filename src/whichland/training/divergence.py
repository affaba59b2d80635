"""A loss that is no number never becomes one again: training ends there, and says what to change."""

from math import isfinite

from whichland.errors import UserError


def check_loss(loss: float, where: str, *, rate: float) -> None:
    """Raise UserError when the loss found `where` is no number; `rate` is the head's there."""
    if not isfinite(loss):
        raise UserError(
            f"{where}: the loss is {loss} at a learning rate of {rate:.1e}; train anew "
            "with a lower --lr (`whichland lr-find` suggests one) or --set optimisation.clip=1, in another --out"
        )
