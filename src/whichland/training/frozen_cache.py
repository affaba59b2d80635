"""The frozen front's activations: made once per photo and view, kept on disk, memory-mapped, trained on.

With the backbone or the front frozen, most of a step is spent on what never changes. Here it is spent once: a few
augmented views of each training photo and the test-time crop of each validation photo go through the front, and
each step runs the rest of the network alone. The front is in evaluation mode, as when frozen without a cache.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from whichland.images.augment import Draw, colour
from whichland.images.preprocess import Preprocess
from whichland.model.choices import Freeze
from whichland.training.cut import Cut, NotCut
from whichland.training.data import AHEAD, Batch, Loader, Photos
from whichland.training.evaluation import crops_of, gathered, own_share, share_of
from whichland.training.packs import Packs, Share, build
from whichland.training.pixel_cache import announce, photo_digests, shared

VERSION = 1  # of what follows: activations of another version are not used
BATCH = 32  # photos at once through the front
JUDGED = 256  # activations at once through the rest, validating


@dataclass(frozen=True)
class Form:
    """How activations lie on disk and how the module at the cut got them."""

    stored: torch.dtype  # of 16 bits
    given: torch.dtype
    rows_last: bool  # B×C×H×W in channels_last memory, kept as H×W×C

    @classmethod
    def of(cls, activations: Tensor) -> "Form":
        """bfloat16 and float16 stay as they are; float32 is kept as float16."""
        given = activations.dtype
        plain, last = activations.is_contiguous(), torch.channels_last
        rows_last = activations.ndim == 4 and not plain and activations.is_contiguous(memory_format=last)
        return cls(given if given.itemsize == 2 else torch.float16, given, rows_last)

    def pack(self, activations: Tensor) -> NDArray[np.int16]:
        """B×… as 16-bit numbers for the disk; what is beyond float16's range is cut to it."""
        if self.stored != self.given:
            most = torch.finfo(self.stored).max
            activations = activations.clamp(-most, most).to(self.stored)
        if self.rows_last:
            activations = activations.permute(0, 2, 3, 1)
        packed: NDArray[np.int16] = activations.contiguous().cpu().view(torch.int16).numpy()
        return packed

    def unpack(self, packed: NDArray[np.int16]) -> Tensor:
        """B×… as the front would have given it, on the CPU and still of 16 bits."""
        activations = torch.from_numpy(packed).view(self.stored)
        return activations.permute(0, 3, 1, 2) if self.rows_last else activations


@dataclass(frozen=True, kw_only=True)
class FrozenCache:
    """Stored activations of a frozen front, in the places of the loader and of the validation photos."""

    loader: Loader
    views: int
    cut: Cut
    form: Form
    train: Packs  # entry photo·views + view
    test_cut: Cut
    test_form: Form
    validation: Packs
    targets: Tensor  # of the validation photos
    accelerator: Accelerator

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the loader's batches of an epoch from step `start` on, with activations in place of photos."""
        order = self.loader.order(epoch)
        views = (epoch + order + times_before(order)) % self.views
        entries = order * self.views + views
        with ThreadPoolExecutor(1) as pool:
            waiting: deque[Future[Batch]] = deque()
            for _, places in self.loader.plan(start):
                waiting.append(pool.submit(self._batch, order[places], entries[places]))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def activations(self, images: Tensor) -> Tensor:
        """What a batch of `epoch` holds in place of photos, as `cut.resume` takes it."""
        return images.to(self.form.given)

    @torch.no_grad()
    def validation_logits(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Logits of every validation photo, N×K, and the targets; the model in evaluation mode."""
        mine, device = share_of(len(self.targets), self.accelerator), self.accelerator.device
        parts = []
        for start in range(0, len(mine), JUDGED):
            packed = self.validation.take(mine[start : start + JUDGED])
            activations = self.test_form.unpack(packed).to(device).to(self.test_form.given)
            with self.accelerator.autocast():
                parts.append(self.test_cut.resume(model, activations).float())
        return gathered(torch.cat(parts), len(self.targets), self.accelerator), self.targets

    def _batch(self, index: NDArray[np.int64], entries: NDArray[np.int64]) -> Batch:
        activations = self.form.unpack(self.train.take(entries.tolist()))
        plain = np.ones((len(index), 3), np.float32)  # changes of light are in the views already
        weights = self.loader.weights(index)
        return Batch(activations, torch.from_numpy(self.loader.photos.targets[index]), weights, plain)


def times_before(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each entry of `order` stood there before."""
    by_value = np.argsort(order, kind="stable")
    ordered, places = order[by_value], np.arange(len(order))
    new = np.ones(len(order), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    times = np.empty(len(order), np.int64)
    times[by_value] = places - np.maximum.accumulate(np.where(new, places, 0))
    return times


def run_front(
    model: nn.Module,
    policy: Freeze,
    loader: Loader,
    validation: Photos,
    preprocess: Preprocess,
    accelerator: Accelerator,
    *,
    folder: Path,
    views: int,
    made_from: str,
    say: Callable[[str], None],
    stopped: Callable[[], bool] = lambda: False,
) -> FrozenCache | None:
    """Run the frozen front over all photos, or find in `folder` what it made; None where it cannot be cut.

    `model` is on its device and frozen by `policy`; it is left in evaluation mode. `made_from` tells what the
    activations depend on that neither the tensors nor the photos show: architecture, arguments, precision.
    """
    model.eval()
    size = loader.augment.size
    try:
        with accelerator.autocast():
            cut = Cut(model, policy, _noise(size, accelerator.device))
            test_cut = cut
            if preprocess.size != size:
                test_cut = Cut(model, policy, _noise(preprocess.size, accelerator.device))
            form = Form.of(cut.capture(_noise(size, accelerator.device)))
            sample = test_cut.capture(_noise(preprocess.size, accelerator.device))
    except NotCut as reason:
        say(f"the frozen part runs at every step: this model cannot be cut in two, {reason}")
        return None
    share = shared(loader, accelerator, stopped)
    each = cut.capture(_noise(size, accelerator.device))[0].numel() * 2
    most = len(loader.photos) * views * each + len(validation) * sample[0].numel() * 2
    announce(f"what the frozen part makes of {views} views of each photo", folder, most, say)
    made_from = f"{made_from} {_fingerprint(cut)} v{VERSION}"
    front = _Front(accelerator, preprocess, loader, views)
    train = front.over_training(cut, form, folder, made_from, share)
    test_form = Form.of(sample)
    own = own_share(validation, loader, accelerator)
    judged = front.over_validation(test_cut, test_form, own, folder, made_from, share)
    judged.every = accelerator.num_processes if loader.own_of else 1
    return FrozenCache(
        loader=loader,
        views=views,
        cut=cut,
        form=form,
        train=train,
        test_cut=test_cut,
        test_form=test_form,
        validation=judged,
        targets=torch.from_numpy(validation.targets),
        accelerator=accelerator,
    )


@dataclass(frozen=True)
class _Front:
    """The passes of photos through the front."""

    accelerator: Accelerator
    preprocess: Preprocess
    loader: Loader
    views: int

    def over_training(self, cut: Cut, form: Form, folder: Path, made_from: str, share: Share) -> Packs:
        """Several views of every training photo."""
        uris, augment = self.loader.photos.uris, self.loader.augment
        digests = photo_digests(uris, share=share, workers=self.loader.workers)
        colours = f"mean {self.preprocess.mean} std {self.preprocess.std}"
        recipe = f"{made_from} {augment} {colours} seed {self.loader.seed}"

        def draw(entry: int) -> Draw:  # by the photo, not by its place in this manifest
            photo = int(digests[entry // self.views][:15], 16)
            return augment.draw(self.loader.seed, entry % self.views, photo, VERSION)

        def crops(entries: list[int]) -> tuple[list[Tensor], list[Draw]]:
            draws = [draw(entry) for entry in entries]
            return self.loader.crops(entries[0] // self.views, draws), draws

        def make(numbers: range) -> Iterator[NDArray[np.int16]]:
            groups: dict[int, list[int]] = {}
            for entry in numbers:
                groups.setdefault(entry // self.views, []).append(entry)
            with ThreadPoolExecutor(self.loader.workers) as pool:
                images: list[Tensor] = []
                draws: list[Draw] = []
                for found, drawn in pool.map(crops, groups.values()):
                    images, draws = images + found, draws + drawn
                    while len(images) >= BATCH:
                        yield from self._through(cut, form, images[:BATCH], draws[:BATCH])
                        images, draws = images[BATCH:], draws[BATCH:]
                if images:
                    yield from self._through(cut, form, images, draws)

        keys = [f"{recipe} {digest} view {view}" for digest in digests for view in range(self.views)]
        return build(folder, keys, make, description="frozen part, training photos", share=share)

    def over_validation(
        self, cut: Cut, form: Form, photos: Photos, folder: Path, made_from: str, share: Share
    ) -> Packs:
        """The test-time crop of every validation photo."""
        digests = photo_digests(photos.uris, share=share, workers=self.loader.workers)
        keys = [f"{made_from} {digest} {self.preprocess}" for digest in digests]

        def make(numbers: range) -> Iterator[NDArray[np.int16]]:
            uris: Sequence[str] = photos.uris[numbers.start : numbers.stop]
            with closing(crops_of(uris, self.preprocess)) as batches:
                for crops in batches:
                    x_BCHW = torch.from_numpy(self.preprocess.normalise(crops))
                    yield from self._captured(cut, form, x_BCHW)

        return build(folder, keys, make, description="frozen part, validation photos", share=share)

    def _through(self, cut: Cut, form: Form, images: list[Tensor], draws: list[Draw]) -> NDArray[np.int16]:
        light = np.array([draw.light for draw in draws], np.float32)
        batch = torch.stack(images).to(self.accelerator.device)
        x_BCHW = colour(batch, light, self.preprocess.mean, self.preprocess.std)
        return self._captured(cut, form, x_BCHW)

    def _captured(self, cut: Cut, form: Form, x_BCHW: Tensor) -> NDArray[np.int16]:
        x = x_BCHW.to(self.accelerator.device).contiguous(memory_format=torch.channels_last)
        with self.accelerator.autocast():
            return form.pack(cut.capture(x))


def _noise(size: tuple[int, int], device: torch.device) -> Tensor:
    noise = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    return noise.to(device).contiguous(memory_format=torch.channels_last)


def _fingerprint(cut: Cut) -> str:
    """SHA-256 over the frozen part: its modules, parameters and statistics."""
    digest = hashlib.sha256("\n".join([cut.name, *map(repr, cut.front)]).encode())
    for name, tensor in cut.tensors():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
