"""The frozen front's activations: made once per photo and view, kept on disk, memory-mapped, trained on.

With the backbone or the front frozen, most of a step is spent on what never changes. Here it is spent once: a few
augmented views of each training photo and the test-time crop of each validation photo go through the front, and
each step runs the rest of the network alone. The front is in evaluation mode, as when frozen without a cache.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from math import ceil
from pathlib import Path

import numpy as np
import polars as pl
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from whichland.errors import UserError
from whichland.images.augment import Draw, colour
from whichland.model.choices import Freeze
from whichland.model.features import features_of_head
from whichland.model.views import made_ahead
from whichland.printed import counted
from whichland.training.config import Phase, TrainConfig
from whichland.training.cut import Cut, NotCut
from whichland.training.data import Batch, Loader, epoch_order
from whichland.training.packs import Packs, Say, Share, announce, build, photo_digests
from whichland.training.validation import Judge, crops_of, gathered, share_of

VERSION = 1  # of what follows: activations of another version are not used
BATCH = 32  # photos at once through the front
CHECKED = 8  # photos by which stored features are compared with the backbone's own
NEAR = 0.05  # how far they may lie from them: 16-bit arithmetic comes within 0.02
JUDGED = 256  # activations at once through the rest, validating

Packed = NDArray[np.int16]


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

    def pack(self, activations: Tensor) -> Packed:
        """B×… as 16-bit numbers for the disk; what is beyond float16's range is cut to it."""
        if self.stored != self.given:
            most = torch.finfo(self.stored).max
            activations = activations.clamp(-most, most).to(self.stored)
        if self.rows_last:
            activations = activations.permute(0, 2, 3, 1)
        return activations.contiguous().cpu().view(torch.int16).numpy()

    def unpack(self, packed: Packed) -> Tensor:
        """B×… as the front would have given it, on the CPU and still of 16 bits."""
        activations = torch.from_numpy(packed).view(self.stored)
        return activations.permute(0, 3, 1, 2) if self.rows_last else activations


@dataclass(frozen=True)
class Front:
    """The frozen part for crops of one size: those of training, or those of validation."""

    cut: Cut
    form: Form
    accelerator: Accelerator
    bytes: int  # that the activations of one crop take

    @classmethod
    def of(cls, model: nn.Module, policy: Freeze, size: tuple[int, int], accelerator: Accelerator) -> "Front":
        """Raises NotCut where this model cannot be cut exactly."""
        noise = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
        x_BCHW = noise.to(accelerator.device).contiguous(memory_format=torch.channels_last)
        with accelerator.autocast():
            cut = Cut(model, policy, x_BCHW)
            captured = cut.capture(x_BCHW)
        return cls(cut, Form.of(captured), accelerator, captured[0].numel() * 2)

    def packed(self, x_BCHW: Tensor) -> Packed:
        """What the front makes of a normalised batch, as it lies on disk."""
        x = x_BCHW.to(self.accelerator.device).contiguous(memory_format=torch.channels_last)
        with self.accelerator.autocast():
            return self.form.pack(self.cut.capture(x))

    def logits(self, model: nn.Module, activations: Tensor) -> Tensor:
        """Those of unpacked activations, by what learns of the model."""
        return self.cut.resume(model, activations.to(self.form.given))

    def fingerprint(self) -> str:
        """SHA-256 over the frozen part: its modules, parameters and statistics."""
        digest = hashlib.sha256("\n".join([self.cut.name, *map(repr, self.cut.front)]).encode())
        for name, tensor in self.cut.tensors():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


@dataclass(kw_only=True)
class FrozenCache:
    """Stored activations of a frozen front, in the places of the loader and of the validation photos."""

    loader: Loader
    judge: Judge
    views: int
    front: Front
    test_front: Front
    folder: Path
    made_from: str  # what activations depend on that the photos do not show
    share: Share
    features: Path | None = None  # of the photos, stored by `whichland embed`
    train: Packs = field(init=False)  # entry photo·views + view
    validation: Packs = field(init=False)

    def __post_init__(self) -> None:
        if self.features:
            self.train = self._stored(self.features, self.loader.photos.uris)
            self.validation = self._stored(self.features, self.judge.photos.uris)
            self._check_stored(self.features)
        else:
            self.train, self.validation = self._training_pass(), self._validation_pass()

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the loader's batches of an epoch from step `start` on, with activations in place of photos."""
        order = epoch_order(self.loader.photos, self.loader.seed, epoch, self.loader.weighting)
        entries = order * self.views + (epoch + order + times_before(order)) % self.views

        def make(places: range) -> Batch:
            activations = self.front.form.unpack(self.train.take(entries[places].tolist()))
            light = np.ones((len(places), 3), np.float32)  # its changes are in the views already
            return self.loader.batch(activations, order[places], light)

        for _, batches in made_ahead(self.loader.plan(start), make, 1, threads=1):
            yield from batches

    @torch.no_grad()
    def validation_logits(self, model: nn.Module) -> Tensor:
        """Logits of every validation photo, N×K; the model in evaluation mode."""
        front, accelerator, photos = self.test_front, self.test_front.accelerator, len(self.validation)
        mine = share_of(photos, accelerator)
        parts = []
        for start in range(0, len(mine), JUDGED):
            packed = self.validation.take(mine[start : start + JUDGED])
            with accelerator.autocast():
                parts.append(front.logits(model, front.form.unpack(packed).to(accelerator.device)).float())
        return gathered(torch.cat(parts), photos, accelerator)

    def _stored(self, file: Path, uris: list[str]) -> Packs:
        """Features from a file, as the front would have given them. Raises UserError where one is missing."""
        given = torch.from_numpy(features_of_head(file, uris)).to(self.front.form.given)
        return Packs(self.front.form.pack(given))

    def _check_stored(self, file: Path) -> None:
        """Put a few photos through the backbone. Raises UserError where the file holds something else for them."""
        preprocess, uris = self.judge.preprocess, self.loader.photos.uris[:CHECKED]
        with closing(crops_of(uris, preprocess)) as batches:
            made = self.test_front.packed(torch.from_numpy(preprocess.normalise(next(batches))))
        own, held = (self.front.form.unpack(packed).float() for packed in (made, self.train.take(range(len(uris)))))
        off = float((own - held).norm() / own.norm()) if own.shape == held.shape else 1.0
        if off > NEAR:
            size = "x".join(map(str, preprocess.size))
            raise UserError(
                f"{file} holds other features than these weights give at {size} px (off by {off:.0%}): embed the "
                "photos with the same --arch and --weights, and with --size as --test-size here"
            )

    def _training_pass(self) -> Packs:
        """Run several views of every training photo through the front."""
        loader, preprocess, views, front = self.loader, self.judge.preprocess, self.views, self.front
        digests = photo_digests(loader.photos.uris, self.share)
        colours = f"mean {preprocess.mean} std {preprocess.std}"
        recipe = f"{self.made_from} {loader.augment} {colours} seed {loader.seed}"

        def crops(entries: list[int]) -> list[tuple[Tensor, Draw]]:
            photo = entries[0] // views
            number = int(digests[photo][:15], 16)  # a draw follows from the photo, not from its place in this manifest
            draws = [loader.augment.draw(loader.seed, entry % views, number, VERSION) for entry in entries]
            return list(zip(loader.crops(photo, draws), draws, strict=True))

        def make(numbers: range) -> Iterator[Packed]:
            of_photos = [list(entries) for _, entries in groupby(numbers, lambda entry: entry // views)]
            with ThreadPoolExecutor(loader.workers) as pool:
                drawn = chain.from_iterable(pool.map(crops, of_photos))
                while some := list(islice(drawn, BATCH)):
                    images = torch.stack([crop for crop, _ in some]).to(front.accelerator.device)
                    light = np.array([draw.light for _, draw in some], np.float32)
                    yield from front.packed(colour(images, light, preprocess.mean, preprocess.std))

        keys = [f"{recipe} {digest} view {view}" for digest in digests for view in range(views)]
        return build(self.folder, keys, make, description="frozen part, training photos", share=self.share)

    def _validation_pass(self) -> Packs:
        """Run the test-time crop of every validation photo through the front."""
        uris, preprocess = self.judge.photos.uris, self.judge.preprocess

        def make(numbers: range) -> Iterator[Packed]:
            with closing(crops_of(uris[numbers.start : numbers.stop], preprocess)) as batches:
                for crops in batches:
                    yield from self.test_front.packed(torch.from_numpy(preprocess.normalise(crops)))

        keys = [f"{self.made_from} {digest} {preprocess}" for digest in photo_digests(uris, self.share)]
        return build(self.folder, keys, make, description="frozen part, validation photos", share=self.share)


def times_before(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each entry of `order` occurs before its place."""
    return pl.DataFrame({"entry": order}).select(pl.int_range(pl.len()).over("entry")).to_series().to_numpy()


def frozen_part(
    model: nn.Module,
    phase: Phase,
    config: TrainConfig,
    loader: Loader,
    judge: Judge,
    *,
    folder: Path,
    say: Say,
    stop: Callable[[], bool],
) -> FrozenCache | None:
    """Run what a phase freezes over all photos once, or find what an earlier run kept of that.

    None where nothing is frozen or it has to run at every step. `model` is on its device and frozen; where it is cut
    it is left in evaluation mode.
    """
    if phase.policy == "none" or not config.views:
        return None
    if config.mixup or config.cutmix:
        say("the frozen part runs at every step, because mixup and cutmix blend its photos")
        return None
    model.eval()
    accelerator, size = judge.accelerator, loader.augment.size
    try:
        front = test_front = Front.of(model, phase.policy, size, accelerator)
        if judge.preprocess.size != size:
            test_front = Front.of(model, phase.policy, judge.preprocess.size, accelerator)
    except NotCut as reason:
        if config.features:
            raise UserError(
                f"features cannot stand for this model's backbone: it cannot be cut in two, {reason}"
            ) from None
        say(f"the frozen part runs at every step: this model cannot be cut in two, {reason}")
        return None
    views = 1 if config.features else min(config.views, ceil(phase.end - phase.first))
    folder = Path(config.cache) if config.cache else folder / "cache"
    size_of_all = len(loader.photos) * views * front.bytes + len(judge.photos) * test_front.bytes
    if not config.features:
        announce(f"what the frozen part makes of {counted(views, 'view')} of each photo", folder, size_of_all, say)
    made_from = f"{config.arch} {sorted(config.model_args.items())} {accelerator.mixed_precision}"
    return FrozenCache(
        loader=loader,
        judge=judge,
        views=views,
        front=front,
        test_front=test_front,
        folder=folder,
        made_from=f"{made_from} {front.fingerprint()} v{VERSION}",
        share=Share.of(accelerator, loader.workers, stop),
        features=Path(config.features) if config.features else None,
    )
