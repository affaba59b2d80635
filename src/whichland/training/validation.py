"""Forward passes over plain photos, shared out over the processes: for validation, the head's features, novelty."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from whichland.images.preprocess import Pixels, Preprocess
from whichland.model.bundle import Info, update_info
from whichland.model.engines import Features, Network, load_torch, torch_network
from whichland.model.novelty import fit, write_novelty
from whichland.model.views import made_ahead, middle_of, middles_ahead
from whichland.progress import Progress
from whichland.training.data import Photos
from whichland.training.packs import Packs

BATCH = 32


@dataclass
class Judge:
    """The validation photos, and what is measured on them."""

    photos: Photos
    preprocess: Preprocess
    accelerator: Accelerator
    log_shares: Tensor | None = None  # of the labels in training, K, to be taken out of the answers
    crops: Packs | None = None  # of the photos, decoded before
    logits: Tensor | None = None  # N×K, those of the last validation

    @torch.no_grad()
    def scores(self, model: nn.Module, logits: Tensor | None = None) -> dict[str, float]:
        """Loss, top-1 and macro-F1 of the photos; of `logits`, N×K, where they are computed already.

        The model is left in the mode it was in.
        """
        if logits is None:
            training = {module: module.training for module in model.modules()}
            logits = outputs_of(model.eval(), self.photos, self.preprocess, self.accelerator, self.crops)
            for module, mode in training.items():
                module.training = mode
        self.logits = logits = logits if self.log_shares is None else logits - self.log_shares
        targets, guesses = torch.from_numpy(self.photos.targets), logits.argmax(1)
        return {
            "val_loss": float(cross_entropy(logits, targets)),
            "val_top1": float((guesses == targets).float().mean()),
            "val_macro_f1": macro_f1(guesses, targets),
        }


@torch.no_grad()
def outputs_of(
    function: Callable[[Tensor], Tensor],
    photos: Photos,
    preprocess: Preprocess,
    accelerator: Accelerator,
    crops: Packs | None = None,
    description: str = "validating",
) -> Tensor:
    """Apply `function` to every photo as the model sees it at test time: N×K on the CPU.

    Each process takes every W-th photo; all receive the whole result, in the photos' order. `crops` are those of
    the photos from an earlier pass (see packs), in their order.
    """
    mine = share_of(len(photos), accelerator)
    if crops is None:
        batches = crops_of([photos.uris[i] for i in mine], preprocess)
    else:
        batches = (crops.take(mine[at : at + BATCH]) for at in range(0, len(mine), BATCH))
    parts = []
    with closing(batches), Progress(description, len(mine), show=accelerator.is_main_process) as progress:
        for batch in batches:
            x = torch.from_numpy(preprocess.normalise(batch)).to(accelerator.device)
            with accelerator.autocast():
                parts.append(function(x.contiguous(memory_format=torch.channels_last)).float())
            progress.advance(len(batch))
    return gathered(torch.cat(parts), len(photos), accelerator)


def share_of(photos: int, accelerator: Accelerator) -> list[int]:
    """Numbers of the photos that this process takes: as many in each process, so one's last may stand twice."""
    rank, world = accelerator.process_index, accelerator.num_processes
    numbers = range(rank, photos, world) or range(photos)[-1:]  # fewer photos than processes: some take the last
    missing = -(-photos // world) - len(numbers)
    return [*numbers, *list(numbers[-1:]) * missing]


def gathered(part: Tensor, photos: int, accelerator: Accelerator) -> Tensor:
    """Put the rows of all processes' shares in the photos' order, on the CPU, in every process."""
    world = accelerator.num_processes
    whole: Tensor = accelerator.gather(part).cpu()
    whole = whole.view(world, len(part), -1).transpose(0, 1).reshape(len(part) * world, -1)
    return whole[:photos].clone()


def crops_of(uris: Sequence[str], preprocess: Preprocess) -> Generator[Pixels, None, None]:
    """Batches of crops, B×H×W×3; the first photo that cannot be read stops everything."""
    with closing(made_ahead(uris, partial(middle_of, preprocess=preprocess), BATCH)) as batches:
        for _, crops in batches:
            yield np.stack(crops)


def macro_f1(guesses: Tensor, targets: Tensor) -> float:
    """Mean F1 of the labels that are among the targets."""
    labels = int(max(guesses.max(), targets.max())) + 1
    right, true, guessed = (part.bincount(minlength=labels) for part in (targets[guesses == targets], targets, guesses))
    known = true > 0
    return float((2 * right[known].double() / (true + guessed)[known]).numpy().mean())


def learn_novelty(folder: Path, photos: Photos, validation: Photos, groups: Sequence[str | None], *, most: int) -> None:
    """Fit a bundle's novelty to up to `most` of its training photos, and to as many of validation; keep it there.

    Not for models of several classifiers side by side, in front of which there is no one place to look.
    """
    loaded = load_torch(folder)
    if not loaded.has_features:
        return
    network = torch_network(loaded, features=True)

    def seen(uris: Sequence[str], what: str) -> tuple[NDArray[np.int64], Features]:
        """Which photos were taken and could be read, and their features."""
        some = np.sort(np.random.default_rng(0).permutation(len(uris))[:most])
        rows, parts = [], []
        for at, crops in middles_ahead([uris[row] for row in some], loaded.preprocess, BATCH, what):
            rows.append(some[at])
            parts.append(_features(network, crops))
        return np.concatenate(rows), np.concatenate(parts)

    rows_N, features_NF = seen(photos.uris, "novelty: training photos")
    rows_M, held_MF = seen(validation.uris, "novelty: validation photos")
    novelty = fit(features_NF, photos.targets[rows_N], held_MF, [groups[row] for row in rows_M])
    update_info(folder, Info(novelty=write_novelty(folder, novelty)), "novelty")


def _features(network: Network, crops: NDArray[np.uint8]) -> Features:
    features_BF = network(crops).features
    assert features_BF is not None
    return features_BF
