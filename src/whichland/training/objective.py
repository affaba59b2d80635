"""From a batch to its loss and gradients: what is put into the model, and what the logits are held against."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from whichland.errors import UserError
from whichland.images.augment import colour
from whichland.images.preprocess import Preprocess
from whichland.training.config import TrainConfig
from whichland.training.data import Batch
from whichland.training.frozen_cache import FrozenCache
from whichland.training.sync_norm import TOO_FEW
from whichland.training.targets import mix


@dataclass
class Objective:
    """The loss of this process's share of a step, with any model: the fit's own or a copy, as it is or wrapped."""

    config: TrainConfig
    accelerator: Accelerator
    preprocess: Preprocess
    soft_targets: Tensor | None = None  # K×K, those of a photo of each label, from `target_table`
    frozen: FrozenCache | None = None  # batches hold what the frozen part makes of the photos

    def backward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Leave the gradients of this process's share of a step on the parameters; return its loss."""
        x, targets, weights = self._inputs(batch)
        count = min(self.config.accumulate, len(x))
        parts = zip(*(whole.tensor_split(count) for whole in (x, targets, weights)), strict=True)
        total = torch.zeros((), device=x.device)
        for number, part in enumerate(parts, 1):
            # gradients add up, and are averaged over the processes after the last part
            with nullcontext() if number == count else self.accelerator.no_sync(model):
                loss = self._loss(model, *part) * (len(part[0]) / len(x))
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    @torch.no_grad()
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """What `backward` returns, without gradients."""
        return self._loss(model, *self._inputs(batch))

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised photos or activations, their targets (labels or, where soft, B×K) and weights."""
        device = self.accelerator.device
        images = batch.images.to(device, non_blocking=True)
        targets, weights = batch.targets.to(device), batch.weights.to(device)
        if self.soft_targets is not None:
            targets = self.soft_targets.to(device)[targets]
        if self.frozen:
            return images, targets, weights
        x = colour(images, batch.light, self.preprocess.mean, self.preprocess.std)
        if self.config.mixup or self.config.cutmix:
            x, targets, weights = self._mixed(x, targets, weights)
        return x.contiguous(memory_format=torch.channels_last), targets, weights

    def _mixed(self, *share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mix over the photos of all processes, and take this one's share: what a single process would have."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        x, targets, weights = (
            torch.stack(self.accelerator.gather(tensor).chunk(world), 1).flatten(0, 1) if world > 1 else tensor
            for tensor in share
        )
        mixed = mix(x, targets, weights, mixup=self.config.mixup, cutmix=self.config.cutmix)
        return mixed[0][rank::world], mixed[1][rank::world], mixed[2][rank::world]

    def _loss(self, model: nn.Module, x: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        try:
            with self.accelerator.autocast():
                logits = self.frozen.logits(model, x) if self.frozen else model(x)
        except ValueError as error:
            if not str(error).startswith(TOO_FEW):
                raise
            raise UserError(
                "batch norm has nothing to compare in a part of one photo: raise --batch-size, or lower accumulate"
            ) from None
        smoothing = self.config.smoothing if self.soft_targets is None else 0.0
        losses = cross_entropy(logits.float(), targets, reduction="none", label_smoothing=smoothing)
        return (losses * weights).mean()
