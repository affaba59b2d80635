"""A map put to the test: does what it marks matter to the answer, and is it about this model at all?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whichland.explanation.faithfulness import (
    STEPS,
    insertion_and_deletion,
    moved_at_random,
    rank_correlation,
    shuffled,
    ssim,
)
from whichland.explanation.methods import find_method
from whichland.images.preprocess import Pixels, Preprocess

RANDOM_MAPS = 19  # with all of them beaten, chance is at most 1 in 20
SHUFFLES = 3
LEVEL = 0.05
ALIKE = 0.5  # rank correlation with the shuffled models' maps above which a map is not about the model


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a map of one photo stood the test."""

    insertion: float  # area under the curve: the larger the better
    deletion: float  # the smaller the better
    random_insertion: float  # mean over random maps of the same values and smoothness
    random_deletion: float
    beaten: int  # of the random maps, by insertion less deletion
    random_maps: int
    rank_correlation: float  # with the maps of models whose late layers are shuffled, mean
    ssim: float
    empty: bool = False  # no evidence was found

    @property
    def gain(self) -> float:
        """Insertion less deletion, over that of random maps."""
        return (self.insertion - self.deletion) - (self.random_insertion - self.random_deletion)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the map is not to be trusted; empty for one that holds."""
        if self.empty:
            return ("no evidence for it was found",)
        found = []
        if (1 + self.random_maps - self.beaten) / (1 + self.random_maps) > LEVEL:
            found.append(f"beats only {self.beaten} of {self.random_maps} random maps")
        if self.rank_correlation > ALIKE:
            found.append("is much the same for a model with shuffled late layers")
        return tuple(found)

    @property
    def passed(self) -> bool:
        return not self.failures


class Verifier:
    """Tests maps of one model by one method; the shuffled models are made once."""

    def __init__(
        self,
        model: nn.Module,
        method: str = "gradcam",
        *,
        random_maps: int = RANDOM_MAPS,
        steps: int = STEPS,
        shuffles: int = SHUFFLES,
    ) -> None:
        self.model, self.method = model, find_method(method)
        self.random_maps, self.steps = random_maps, steps
        self.shuffled: Sequence[nn.Module] = [shuffled(model, seed=seed) for seed in range(shuffles)]

    def judge(
        self, preprocess: Preprocess, crop_HWC: Pixels, map_HW: NDArray[np.float32], target: int | tuple[int, int]
    ) -> Verdict:
        """Judge the map of one view, from the pixels of its crop."""
        device = next(self.model.parameters()).device
        x_1CHW = torch.from_numpy(preprocess.normalise(crop_HWC[None])).to(device)
        return self(x_1CHW, torch.from_numpy(map_HW)[None].to(device), None, target)

    def __call__(
        self, x_1CHW: Tensor, map_1HW: Tensor, logits_1K: Tensor | None, target: int | tuple[int, int] | None
    ) -> Verdict:
        """Judge the map of one photo; `target` is what it is about, None for the top guess of `logits_1K`."""
        if target is None:
            assert logits_1K is not None
            target = int(logits_1K[0].argmax())
        moved = moved_at_random(map_1HW[0], self.random_maps)
        insertion_M, deletion_M = insertion_and_deletion(
            self.model, x_1CHW, torch.cat([map_1HW, moved]), target, steps=self.steps
        )
        # A shuffled model's answers mean nothing; it is asked for its own, as for another the map is often empty.
        others = torch.cat([self.method.maps_and_logits(other, x_1CHW, None)[0] for other in self.shuffled])
        same = map_1HW.expand_as(others)
        score_M = insertion_M - deletion_M
        return Verdict(
            insertion=float(insertion_M[0]),
            deletion=float(deletion_M[0]),
            random_insertion=float(insertion_M[1:].mean()),
            random_deletion=float(deletion_M[1:].mean()),
            beaten=int((score_M[0] > score_M[1:]).sum()),
            random_maps=self.random_maps,
            rank_correlation=float(rank_correlation(same, others).mean()),
            ssim=float(ssim(same, others).mean()),
            empty=not bool(map_1HW.any()),
        )
