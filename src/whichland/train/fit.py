"""The loop: predict, loss, backward, step."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from whichland.progress import track
from whichland.train.checkpoint import Position, restore, save
from whichland.train.config import TrainConfig
from whichland.train.data import Batch, Loader, Photos
from whichland.train.evaluation import logits_of
from whichland.train.schedule import Average, one_cycle, parameter_groups
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
    position: Position = field(default_factory=Position)
    clock: float = field(default_factory=time.perf_counter)  # since when seconds are not counted yet
    watchers: list[Watcher] = field(default_factory=list)  # of the main process

    def __post_init__(self) -> None:
        config = self.config
        self.model.to(self.accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.accelerator.num_processes > 1:
            synchronise(self.model)
        groups = parameter_groups(self.model, config.lr, config.body_lr, config.weight_decay)
        self.optimizer = torch.optim.AdamW(groups)
        self.average = Average(self.model, config.ema) if config.ema else None
        self.checkpoint = self.folder / "checkpoint" / "last.pt"
        self.log = self.folder / "log.jsonl"

    def resume(self) -> None:
        """Go on from the checkpoint; the log loses what came after it."""
        self.position = restore(self.checkpoint, self.model, self.optimizer, self.average)
        if self.accelerator.is_main_process:
            lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
            self.log.write_text("".join(lines[: self.position.log_lines]), encoding="utf-8")

    def run(self, train_mode: Callable[[nn.Module], None]) -> dict[str, float]:
        """Train to the end; return the last validation scores. Raises Interrupted on Ctrl-C or SIGTERM."""
        wrapped = self.accelerator.prepare_model(self.model)
        total = self.config.epochs * self.loader.steps
        scores: dict[str, float] = {}
        with _stop_signal() as stopped:
            for epoch in range(self.position.epoch, self.config.epochs):
                train_mode(self.model)
                first = self.position.step
                batches = self.loader.epoch(epoch, first)
                name = f"epoch {epoch + 1}/{self.config.epochs}"
                for step, batch in enumerate(self._shown(batches, self.loader.steps - first, name), first):
                    number = epoch * self.loader.steps + step
                    torch.manual_seed((self.config.seed << 32) + number)  # dropout, the same after a resume
                    for group in self.optimizer.param_groups:
                        group["lr"] = group["peak"] * one_cycle(number / total, self.config.warmup)
                    loss = self.loss(wrapped, batch)
                    self.accelerator.backward(loss)
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                    if self.average:
                        self.average.update(self.model, number)
                    value = self._mean(loss)
                    self.position.loss_sum += value
                    self._tick()
                    self._write(
                        kind="step",
                        epoch=epoch,
                        step=step,
                        loss=value,
                        lr=self._head_rate(),
                        seconds=self.position.seconds,
                    )
                    if self._any(stopped()):
                        self._keep(epoch, step + 1)
                        raise Interrupted
                scores = self._end_of_epoch(epoch)
        return scores

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The training loss of this process's share of a step; `model` is the fit's own, a copy, or it wrapped."""
        device = self.accelerator.device
        images = batch.images.to(device, non_blocking=True)
        x = colour(images, batch.brightness, batch.contrast, self.preprocess.mean, self.preprocess.std)
        with self.accelerator.autocast():
            logits = model(x.contiguous(memory_format=torch.channels_last))
        losses = cross_entropy(
            logits.float(), batch.targets.to(device), reduction="none", label_smoothing=self.config.smoothing
        )
        return (losses * batch.weights.to(device)).mean()

    def _end_of_epoch(self, epoch: int) -> dict[str, float]:
        last = epoch + 1 == self.config.epochs
        scores: dict[str, float] = {}
        if len(self.validation) and (last or (epoch + 1) % self.config.validate_every == 0):
            with self.averaged_weights():
                scores = self.validate()
        self._tick()
        train_loss = self.position.loss_sum / self.loader.steps
        self.position.loss_sum = 0.0
        self._write(
            kind="epoch", epoch=epoch + 1, train_loss=train_loss, seconds=self.position.seconds, **scores
        )
        if self.accelerator.is_main_process:
            text = "  ".join(f"{name} {value:.3f}" for name, value in scores.items())
            line = f"epoch {epoch + 1}/{self.config.epochs}  train_loss {train_loss:.3f}  {text}"
            print(line.rstrip(), file=sys.stderr)
        self._keep(epoch + 1, 0)
        return scores

    def validate(self) -> dict[str, float]:
        """Loss, top-1 and macro-F1 on the validation photos, shared out over the processes."""
        logits, targets = logits_of(self.model, self.validation, self.preprocess, self.accelerator)
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
        own = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.state)
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
