"""Forward passes over plain photos, shared out over the processes: for validation and for the head's features."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from whichland.images.decode import ImageError
from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.batches import decoded_ahead
from whichland.model.head import features_before_head
from whichland.training.data import Loader, Photos
from whichland.training.packs import Packs

BATCH = 32


@torch.no_grad()
def outputs_of(
    function: Callable[[Tensor], Tensor],
    photos: Photos,
    preprocess: Preprocess,
    accelerator: Accelerator,
    crops: Packs | None = None,
) -> tuple[Tensor, Tensor]:
    """Apply `function` to every photo as the model sees it at test time: (N×K on the CPU, targets N).

    Each process takes every W-th photo; all receive the whole result, in the photos' order. `crops` are those of
    the photos from an earlier pass (see pixel_cache), in their order.
    """
    mine = share_of(len(photos), accelerator)
    if crops is None:
        batches = crops_of([photos.uris[i] for i in mine], preprocess)
    else:
        batches = (crops.take(mine[at : at + BATCH]) for at in range(0, len(mine), BATCH))
    parts = []
    with closing(batches):
        for batch in batches:
            x = torch.from_numpy(preprocess.normalise(batch)).to(accelerator.device)
            with accelerator.autocast():
                parts.append(function(x.contiguous(memory_format=torch.channels_last)).float())
    return gathered(torch.cat(parts), len(photos), accelerator), torch.from_numpy(photos.targets)


def share_of(photos: int, accelerator: Accelerator) -> list[int]:
    """Numbers of the photos that this process takes: as many in each process, so one's last may stand twice."""
    rank, world = accelerator.process_index, accelerator.num_processes
    numbers = range(rank, photos, world) or range(photos)[-1:]  # fewer photos than processes: some take the last
    missing = -(-photos // world) - len(numbers)
    return [*numbers, *list(numbers[-1:]) * missing]


def own_share(photos: Photos, loader: Loader, accelerator: Accelerator) -> Photos:
    """What a process that keeps to photos of its own takes of `photos`; all where it does not."""
    return photos.take(share_of(len(photos), accelerator)) if loader.own_of else photos


def gathered(part: Tensor, photos: int, accelerator: Accelerator) -> Tensor:
    """Put the rows of all processes' shares in the photos' order, on the CPU, in every process."""
    world = accelerator.num_processes
    whole: Tensor = accelerator.gather(part).cpu()
    whole = whole.view(world, len(part), -1).transpose(0, 1).reshape(len(part) * world, -1)
    return whole[:photos].clone()


def logits_of(
    model: nn.Module, photos: Photos, preprocess: Preprocess, accelerator: Accelerator, crops: Packs | None = None
) -> tuple[Tensor, Tensor]:
    """Logits of every photo, N×K, and the targets; the model is left in the mode it was in."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    result = outputs_of(model, photos, preprocess, accelerator, crops)
    for module, mode in training.items():
        module.training = mode
    return result


def features_of(
    model: nn.Module, photos: Photos, preprocess: Preprocess, accelerator: Accelerator
) -> tuple[Tensor, Tensor]:
    """What the head sees of every photo, N×F, and the targets; the model is left in evaluation mode."""
    model.eval()
    return outputs_of(lambda x: features_before_head(model, x), photos, preprocess, accelerator)


def crops_of(uris: Sequence[str], preprocess: Preprocess) -> Generator[Pixels, None, None]:
    """Batches of crops, B×H×W×3; the first photo that cannot be read stops everything."""
    with closing(decoded_ahead(uris, preprocess, BATCH)) as batches:
        for _, crops in batches:
            readable = []
            for crop in crops:
                if isinstance(crop, ImageError):
                    raise crop
                readable.append(crop)
            yield np.stack(readable)


def macro_f1(guesses: Tensor, targets: Tensor) -> float:
    """Mean F1 of the labels that are among the targets."""
    labels = int(max(guesses.max(), targets.max())) + 1
    right, true, guessed = (part.bincount(minlength=labels) for part in (targets[guesses == targets], targets, guesses))
    known = true > 0
    return float((2 * right[known].double() / (true + guessed)[known]).numpy().mean())
