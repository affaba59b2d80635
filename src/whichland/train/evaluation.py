"""Forward passes over plain photos, shared out over the processes: for validation and for the head's features."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from whichland.images.decode import ImageError
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.batches import decoded_ahead
from whichland.model.head import features_before_head
from whichland.train.data import Photos

BATCH = 32


@torch.no_grad()
def outputs_of(
    function: Callable[[Tensor], Tensor], photos: Photos, preprocess: Preprocess, accelerator: Accelerator
) -> tuple[Tensor, Tensor]:
    """Apply `function` to every photo as the model sees it at test time: (N×K on the CPU, targets N).

    Each process takes every W-th photo; all receive the whole result, in the photos' order.
    """
    rank, world = accelerator.process_index, accelerator.num_processes
    each = -(-len(photos) // world)
    mine = [min(i, len(photos) - 1) for i in range(rank, each * world, world)]  # the last may stand twice
    parts = []
    for batch in _crops([photos.uris[i] for i in mine], preprocess):
        x = torch.from_numpy(preprocess.normalise(batch)).to(accelerator.device)
        with accelerator.autocast():
            parts.append(function(x.contiguous(memory_format=torch.channels_last)).float())
    gathered = accelerator.gather(torch.cat(parts)).cpu()
    whole = gathered.view(world, each, -1).transpose(0, 1).reshape(each * world, -1)[: len(photos)]
    return whole.clone(), torch.from_numpy(photos.targets)


def logits_of(
    model: nn.Module, photos: Photos, preprocess: Preprocess, accelerator: Accelerator
) -> tuple[Tensor, Tensor]:
    """Logits of every photo, N×K, and the targets; the model is left in the mode it was in."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    result = outputs_of(model, photos, preprocess, accelerator)
    for module, mode in training.items():
        module.training = mode
    return result


def features_of(
    model: nn.Module, photos: Photos, preprocess: Preprocess, accelerator: Accelerator
) -> tuple[Tensor, Tensor]:
    """What the head sees of every photo, N×F, and the targets; the model is left in evaluation mode."""
    model.eval()
    return outputs_of(lambda x: features_before_head(model, x), photos, preprocess, accelerator)


def _crops(uris: list[str], preprocess: Preprocess) -> Iterator[Pixels]:
    """Batches of crops, B×H×W×3; the first photo that cannot be read stops everything."""
    for _, crops in decoded_ahead(uris, preprocess, BATCH):
        readable = []
        for crop in crops:
            if isinstance(crop, ImageError):
                raise crop
            readable.append(crop)
        yield np.stack(readable)
