"""The loop: predict, loss, backward, step."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from pathlib import Path
from signal import SIGINT, SIGTERM, getsignal, signal
from typing import Any

import torch
from accelerate import Accelerator
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from whichland.images.augment import colour
from whichland.images.preprocess import Preprocess
from whichland.model.freezing import freeze
from whichland.progress import track
from whichland.train.checkpoint import Position, read_weights, restore, save, save_weights
from whichland.train.config import TrainConfig
from whichland.train.data import Batch, Loader, Photos
from whichland.train.divergence import check_loss
from whichland.train.evaluation import logits_of
from whichland.train.frozen_cache import FrozenCache, run_front
from whichland.train.mixing import mix
from whichland.train.packs import Packs
from whichland.train.phases import Phase, learning, phase_of, phases
from whichland.train.schedule import Average, parameter_groups, share_of_peak
from whichland.train.sync_norm import synchronise

Watcher = Callable[[dict[str, Any]], None]  # is given every line of the log as it is written


class Interrupted(Exception):
    """Training was stopped by Ctrl-C or SIGTERM; the checkpoint is written."""


@dataclass
class Fit:
    """One run of the loop; everything that changes while it goes on."""

    config: TrainConfig
    model: nn.Module
    accelerator: Accelerator
    loader: Loader
    validation: Photos
    preprocess: Preprocess
    folder: Path
    soft_targets: Tensor | None = None  # K×K, those of a photo of each country, from `target_table`
    position: Position = field(default_factory=Position)
    clock: float = field(default_factory=time.perf_counter)  # since when seconds are not counted yet
    watchers: list[Watcher] = field(default_factory=list)  # of the main process
    crops: Packs | None = None  # of the validation photos, decoded before
    frozen: FrozenCache | None = None  # what the frozen part makes of the photos, in a phase that has one

    def __post_init__(self) -> None:
        config = self.config
        self.model.to(self.accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.accelerator.num_processes > 1:
            synchronise(self.model)
        self.plan = phases(config.freeze, config.epochs)
        groups = parameter_groups(
            self.model,
            config.lr,
            config.body_lr,
            config.weight_decay,
            layer_decay=config.layer_decay,
            names=learning(self.model, self.plan),
        )
        # What does not learn yet has no gradient, so AdamW passes it over and makes its state when it begins.
        self.optimizer = torch.optim.AdamW(groups)
        self.average = Average(self.model, config.ema) if config.ema else None
        self.checkpoint = self.folder / "checkpoint" / "last.pt"
        self.best = self.folder / "checkpoint" / "best.pt"
        self.log = self.folder / "log.jsonl"

    def resume(self) -> None:
        """Go on from the checkpoint; the log loses what came after it."""
        self.position = restore(self.checkpoint, self.model, self.optimizer, self.average)
        if self.accelerator.is_main_process:
            lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
            self.log.write_text("".join(lines[: self.position.log_lines]), encoding="utf-8")

    def run(self, train_mode: Callable[[nn.Module], None]) -> dict[str, float]:
        """Train to the end; return the last validation scores. Raises Interrupted on Ctrl-C or SIGTERM."""
        wrapped, current = self.model, None
        scores: dict[str, float] = {}
        with _stop_signal() as stopped:
            for epoch in range(self.position.epoch, ceil(self.config.epochs)):
                if self._waited_enough():
                    break
                phase = phase_of(self.plan, epoch)
                if begins := phase != current:
                    wrapped, current = self._begin(phase, stopped), phase
                train_mode(self.model)
                if begins and self.average:
                    self.average.follow(self.model)
                first, steps = self.position.step, self._steps(epoch)
                batches = islice((self.frozen or self.loader).epoch(epoch, first), steps - first)
                name = f"epoch {epoch + 1}/{self.config.epochs:g}"
                for step, batch in enumerate(self._shown(batches, steps - first, name), first):
                    number = epoch * self.loader.steps + step
                    # dropout and mixing are then the same after a resume
                    torch.manual_seed((self.config.seed << 32) + number)
                    self._set_rates(number, phase)
                    loss = self.backward(wrapped, batch)
                    if self.config.clip:
                        self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip)
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                    if self.average:
                        self.average.update(number)
                    self._end_of_step(epoch, step, self._mean(loss))
                    if self._any(stopped()):
                        self._keep(epoch, step + 1)
                        raise Interrupted
                scores = self._end_of_epoch(epoch)
        self.frozen = None
        if not scores and len(self.validation):  # resumed after its last epoch
            with self.averaged_weights():
                scores = self.validate()
        return self.position.best or scores

    def _begin(self, phase: Phase, stopped: Callable[[], bool]) -> nn.Module:
        """Let the phase's parameters learn; return the model as it is to be called."""
        if len(self.plan) > 1:
            self._say(f"epoch {phase.first + 1}: freeze {phase.policy}")
        self.accelerator.free_memory()  # an earlier phase's wrapper would go on averaging gradients
        freeze(self.model, phase.policy)
        self.frozen = self._frozen_part(phase, stopped)
        bare = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        wrapped: nn.Module = self.accelerator.prepare_model(bare)
        return wrapped

    def _frozen_part(self, phase: Phase, stopped: Callable[[], bool]) -> FrozenCache | None:
        """Run what the phase freezes over all photos once; None where it has to run at every step."""
        config = self.config
        if phase.policy == "none" or not config.views:
            return None
        if config.mixup or config.cutmix:
            self._say("the frozen part runs at every step, because mixup and cutmix blend its photos")
            return None
        return run_front(
            self.model,
            phase.policy,
            self.loader,
            self.validation,
            self.preprocess,
            self.accelerator,
            folder=Path(config.cache) if config.cache else self.folder / "cache",
            views=min(config.views, ceil(phase.end - phase.first)),
            made_from=f"{config.arch} {sorted(config.model_args.items())} {self.accelerator.mixed_precision}",
            say=self._say,
            stopped=stopped,
        )

    def _steps(self, epoch: int) -> int:
        """Steps of an epoch; the last may be cut short."""
        whole = self.loader.steps
        return max(1, min(whole, round(self.config.epochs * whole) - epoch * whole))

    def _set_rates(self, number: int, phase: Phase) -> None:
        first = phase.first * self.loader.steps if self.config.restart else 0
        end = phase.end if self.config.restart else self.config.epochs
        steps = max(1, round(end * self.loader.steps) - first)
        share = share_of_peak((number - first) / steps, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share

    def backward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Leave the gradients of this process's share of a step on the parameters; return its loss.

        `model` is the fit's own or a copy, as it is or wrapped.
        """
        x, targets, weights = self._inputs(batch)
        count = min(self.config.accumulate, len(x))
        parts = zip(*(whole.tensor_split(count) for whole in (x, targets, weights)), strict=True)
        total = torch.zeros((), device=x.device)
        for number, part in enumerate(parts, 1):
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
        """Normalised photos or activations, their targets (countries or, where soft, B×K) and weights."""
        device = self.accelerator.device
        images = batch.images.to(device, non_blocking=True)
        targets, weights = batch.targets.to(device), batch.weights.to(device)
        if self.soft_targets is not None:
            targets = self.soft_targets.to(device)[targets]
        if self.frozen:
            return self.frozen.activations(images), targets, weights
        x = colour(images, batch.brightness, batch.contrast, self.preprocess.mean, self.preprocess.std)
        if self.config.mixup or self.config.cutmix:
            x, targets, weights = self._mixed(x, targets, weights)
        return x.contiguous(memory_format=torch.channels_last), targets, weights

    def _mixed(self, *share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mix over the photos of all processes, and take this one's share: what a single process would have."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        x, targets, weights = (
            torch.stack(self.accelerator.gather(tensor).chunk(world), 1).flatten(0, 1)
            if world > 1
            else tensor
            for tensor in share
        )
        mixed = mix(x, targets, weights, mixup=self.config.mixup, cutmix=self.config.cutmix)
        return mixed[0][rank::world], mixed[1][rank::world], mixed[2][rank::world]

    def _loss(self, model: nn.Module, x: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        with self.accelerator.autocast():
            logits = self.frozen.cut.resume(model, x) if self.frozen else model(x)
        smoothing = self.config.smoothing if self.soft_targets is None else 0.0
        losses = cross_entropy(logits.float(), targets, reduction="none", label_smoothing=smoothing)
        return (losses * weights).mean()

    def _end_of_step(self, epoch: int, step: int, loss: float) -> None:
        self.position.loss_sum += loss
        self._tick()
        rate, seconds = self._head_rate(), self.position.seconds
        self._write(kind="step", epoch=epoch, step=step, loss=loss, lr=rate, seconds=seconds)
        check_loss(loss, epoch=epoch, step=step, rate=rate)

    def _end_of_epoch(self, epoch: int) -> dict[str, float]:
        last = epoch + 1 >= self.config.epochs
        scores: dict[str, float] = {}
        if len(self.validation) and (last or (epoch + 1) % self.config.validate_every == 0):
            with self.averaged_weights():
                scores = self.validate()
                self._judge(scores)
        self._tick()
        train_loss = self.position.loss_sum / self._steps(epoch)
        self.position.loss_sum = 0.0
        self._write(
            kind="epoch", epoch=epoch + 1, train_loss=train_loss, seconds=self.position.seconds, **scores
        )
        text = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
        self._say(f"epoch {epoch + 1}/{self.config.epochs:g}  train_loss {train_loss:.3f}  {text}".rstrip())
        self._keep(epoch + 1, 0)
        return scores

    def _judge(self, scores: dict[str, float]) -> None:
        """With patience: keep the weights, which the model holds averaged, when they are the best so far."""
        if not self.config.patience:
            return
        position = self.position
        position.waited += 1
        if not position.best or scores["val_macro_f1"] > position.best["val_macro_f1"]:
            position.best, position.waited = scores, 0
            if self.accelerator.is_main_process:
                save_weights(self.best, self.model)

    def _waited_enough(self) -> bool:
        patience = self.config.patience
        return bool(patience) and self.position.waited >= patience

    def validate(self) -> dict[str, float]:
        """Loss, top-1 and macro-F1 on the validation photos, shared out over the processes."""
        if self.frozen and (self.average is None or self.average.complete):
            logits, targets = self.frozen.validation_logits(self.model.eval())
        else:
            logits, targets = logits_of(
                self.model, self.validation, self.preprocess, self.accelerator, self.crops
            )
        guesses = logits.argmax(1)
        return {
            "val_loss": float(cross_entropy(logits, targets)),
            "val_top1": float((guesses == targets).float().mean()),
            "val_macro_f1": float(f1_score(targets, guesses, average="macro", labels=targets.unique())),
        }

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within, the model holds its averaged weights."""
        if self.average is None:
            yield
            return
        with self._holding(self.average.state):
            yield

    @contextmanager
    def kept_weights(self) -> Iterator[None]:
        """Within, the model holds the weights of the bundle: the best with patience, else the last averaged."""
        if not self.position.best:
            with self.averaged_weights():
                yield
            return
        with self._holding(read_weights(self.best)):
            yield

    @contextmanager
    def _holding(self, state: dict[str, Tensor]) -> Iterator[None]:
        own = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(state)
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def _keep(self, epoch: int, step: int) -> None:
        self._tick()
        self.position.epoch, self.position.step = epoch, step
        if self.accelerator.is_main_process:
            self.position.log_lines = len(self.log.read_text(encoding="utf-8").splitlines())
            save(self.checkpoint, self.model, self.optimizer, self.average, self.position)
        self.accelerator.wait_for_everyone()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.position.seconds += now - self.clock
        self.clock = now

    def _write(self, **line: Any) -> None:
        if self.accelerator.is_main_process:
            with self.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            for watch in self.watchers:
                watch(line)

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            print(text, file=sys.stderr)

    def _head_rate(self) -> float:
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def _mean(self, loss: Tensor) -> float:
        return float(self.accelerator.reduce(loss.detach(), "mean"))

    def _any(self, stopped: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return stopped
        flag = torch.tensor(float(stopped), device=self.accelerator.device)
        return float(self.accelerator.reduce(flag, "sum")) > 0

    def _shown(self, batches: Iterator[Batch], steps: int, name: str) -> Iterator[Batch]:
        if self.accelerator.is_main_process:
            yield from track(batches, steps, name)
        else:
            yield from batches


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C or SIGTERM only asks to stop at the end of the step; a second one acts at once."""
    asked: list[int] = []
    before: dict[int, Any] = {number: getsignal(number) for number in (SIGINT, SIGTERM)}

    def ask(number: int, _frame: Any) -> None:
        asked.append(number)
        signal(number, before[number])

    for number in before:
        signal(number, ask)
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal(number, handler)
