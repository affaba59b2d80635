"""The loop: predict, loss, backward, step.

What is done at a step or an epoch besides has a part of its own: `objective` (inputs and targets), `judge`
(validation), `average` and `patience` (weights to keep), `checkpoint` and `pace`, `log` with the page and event files.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from whichland.model.freezing import freeze, train_mode
from whichland.model.head import even_out
from whichland.progress import Progress
from whichland.training.checkpoint import Average, Checkpoint, Pace, Patience, Position, copy_of, holding
from whichland.training.config import Phase, TrainConfig, phases
from whichland.training.data import Batch, Loader
from whichland.training.frozen_cache import frozen_part
from whichland.training.objective import Objective
from whichland.training.process import Interrupted, stop_signal, synchronise
from whichland.training.run_log import RunLog, Watcher, check_loss
from whichland.training.schedule import learning, parameter_groups, phase_of, set_rates
from whichland.training.validation import Judge


@dataclass(kw_only=True)
class Fit:
    """One run of the loop; everything that changes during it."""

    config: TrainConfig
    model: nn.Module
    accelerator: Accelerator
    loader: Loader
    objective: Objective
    judge: Judge
    folder: Path
    checkpoint: Checkpoint
    say: Callable[[str], None]
    head_fitted: bool = False  # before the first step, so that there is something to validate by then
    position: Position = field(default_factory=Position)
    clock: float = field(default_factory=time.perf_counter)  # when the run began, or would have without a stop
    watchers: list[Watcher] = field(default_factory=list)  # of the main process

    def __post_init__(self) -> None:
        config, accelerator = self.config, self.accelerator
        self.model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if accelerator.num_processes > 1:
            self.model = synchronise(self.model, accelerator.device)
        self.wrapped = self.model  # as it is called in a step
        self.plan = phases(config.freeze, config.epochs)
        self.phase: Phase | None = None
        # What does not learn yet has no gradient, so AdamW passes it over and makes its state when it begins.
        groups = parameter_groups(self.model, config, learning(self.model, self.plan))
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        self.start = copy_of(self.model) if config.keep_start else {}
        self.average = Average(self.model, config.ema)
        self.patience = Patience(config.patience)
        self.pace = Pace(config.checkpoint_minutes)
        self.log = RunLog(self.folder / "log.jsonl", self.watchers, writes=accelerator.is_main_process)

    def run(self) -> dict[str, float]:
        """Train to the end; return the last validation scores. Raises Interrupted on Ctrl-C or SIGTERM."""
        self.phase = None
        scores: dict[str, float] = {}
        with stop_signal() as self.stopped:
            for epoch in range(self.position.epoch, ceil(self.config.epochs)):
                if self.patience.over(self.position):
                    break
                self._begin(epoch)
                for number, batch in self._batches(epoch):
                    self._begin_step(number, epoch)
                    total: float | Tensor = 0.0
                    for part in self.objective.parts(self.wrapped, batch):
                        logits = self.objective.predict(self.wrapped, part)
                        loss = self.objective.loss(logits, part)
                        self.accelerator.backward(loss)
                        total += loss.detach()
                    self._step()
                    self._end_of_step(number, float(total))
                scores = self._end_of_epoch(epoch)
        return self._final(scores)

    def finished_model(self) -> nn.Module:
        """The model with the weights of the bundle."""
        if kept := self._kept():
            self.model.load_state_dict(kept)
        if self.judge.log_shares is not None:
            even_out(self.model, self.judge.log_shares)
        return self.model

    def _kept(self) -> dict[str, Tensor]:
        """The weights of the bundle: the best with patience, else the last averaged; the model's own where empty.

        With `keep_start` they are averaged with those that training began with: Wortsman et al., "Robust fine-tuning
        of zero-shot models", arXiv 2109.01903.
        """
        tuned = self.patience.best or self.average.state
        if not self.start:
            return tuned
        tuned = tuned or self.model.state_dict()
        return {
            name: torch.lerp(part, self.start[name], self.config.keep_start) if part.is_floating_point() else part
            for name, part in tuned.items()
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take up a checkpoint's state; the log loses what came after it."""
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            for name, part in state["average"].items():
                self.average.state[name].copy_(part)
            self.patience.best = state["best"]
            self.position = Position(**state["position"])
            self.clock -= self.position.seconds
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise self.checkpoint.refused(error) from None
        self.log.cut(self.position.log_lines)

    def _begin(self, epoch: int) -> None:
        """Let the epoch's parameters learn, and put the model into training mode."""
        phase = phase_of(self.plan, epoch)
        if begins := phase != self.phase:
            if len(self.plan) > 1:
                self.say(f"epoch {phase.first + 1}: freeze {phase.policy}")
            if self.wrapped is not self.model:
                self.accelerator.free_memory()  # an earlier phase's wrapper would still average gradients
            freeze(self.model, phase.policy)
            self.objective.frozen = frozen_part(
                *(self.model, phase, self.config, self.loader, self.judge),
                folder=self.folder,
                say=self.say,
                stop=self.stopped,
            )
            bare = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            self.wrapped = self.accelerator.prepare_model(bare)
            self.phase = phase
        if self.head_fitted and not epoch:
            self._validate(0)
        train_mode(self.model)
        if begins:
            self.average.follow(self.model)

    def _batches(self, epoch: int) -> Iterator[tuple[int, Batch]]:
        """The batches that are left of an epoch, each with the number of its step in the whole run."""
        first, steps = self.position.step, self._steps(epoch)
        batches = islice((self.objective.frozen or self.loader).epoch(epoch, first), steps - first)
        name = f"epoch {epoch + 1}/{self.config.epochs:g}"
        with Progress(name, steps - first, show=self.accelerator.is_main_process, unit="steps") as progress:
            for number, batch in enumerate(batches, epoch * self.loader.steps + first):
                yield number, batch
                progress.advance()

    def _steps(self, epoch: int) -> int:
        """Steps of an epoch; the last may be cut short."""
        whole = self.loader.steps
        return max(1, min(whole, round(self.config.epochs * whole) - epoch * whole))

    def _begin_step(self, number: int, epoch: int) -> None:
        torch.manual_seed((self.config.seed << 32) + number)  # the same dropout and mixing after a resume
        phase = phase_of(self.plan, epoch)
        set_rates(self.optimizer.param_groups, number, self.loader.steps, phase, self.config)

    def _step(self) -> None:
        if self.config.clip:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _end_of_step(self, number: int, loss: float) -> None:
        self.average.update(number)
        loss, stop, due = self._agreed(loss, self.stopped())
        epoch, step = divmod(number, self.loader.steps)
        self.position.epoch, self.position.step = epoch, step + 1
        self.position.loss_sum += loss
        rate = self._head_rate()
        self.log.write(kind="step", epoch=epoch, step=step, loss=loss, lr=rate, seconds=self._seconds())
        check_loss(loss, f"epoch {epoch + 1}, step {step + 1}", rate=rate)
        if stop or due:
            self._save()
        if stop:
            raise Interrupted

    def _end_of_epoch(self, epoch: int) -> dict[str, float]:
        last = epoch + 1 >= self.config.epochs
        judged = last or (epoch + 1) % self.config.validate_every == 0
        scores = self._validate(epoch + 1, train_loss=self.position.loss_sum / self._steps(epoch), judged=judged)
        self.position.epoch, self.position.step, self.position.loss_sum = epoch + 1, 0, 0.0
        _, _, due = self._agreed(0.0, False, epoch_ends=True)
        if due or last or self.patience.over(self.position):
            self._save()
        return scores

    def _final(self, scores: dict[str, float]) -> dict[str, float]:
        """The scores of the weights that are kept; validated once more where they are not those of the last epoch."""
        self.objective.frozen = None
        other = self.patience.best or self.start
        if len(self.judge.photos) and (other or not scores):  # resumed after the last epoch, there are no scores
            with holding(self.model, self._kept()):
                scores = self.judge.scores(self.model)
        return scores if self.start else self.position.best or scores

    def _validate(self, epoch: int, *, judged: bool = True, **losses: float) -> dict[str, float]:
        """Validate where there is something to validate on; write the epoch's line, also without."""
        scores: dict[str, float] = {}
        if len(self.judge.photos) and judged:
            with holding(self.model, self.average.state):
                # activations that are stored serve where they are of the weights that are judged
                frozen = self.objective.frozen if self.average.complete else None
                scores = self.judge.scores(self.model, frozen.validation_logits(self.model.eval()) if frozen else None)
                check_loss(scores["val_loss"], f"validation after epoch {epoch}", rate=self._head_rate())
                self.patience.judge(scores, self.model, self.position)
        if shown := losses | scores:
            self.log.write(kind="epoch", epoch=epoch, seconds=self._seconds(), **shown)
            text = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
            self.say(f"epoch {epoch}/{self.config.epochs:g}  {text}")
        return scores

    def _save(self) -> None:
        """Write a checkpoint."""
        self.position.log_lines, self.position.seconds = self.log.lines, self._seconds()
        begun = time.monotonic()
        self.checkpoint.save(
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            average=self.average.state,
            best=self.patience.best,
            position=vars(self.position),
        )
        self.pace.wrote(time.monotonic() - begun)

    def _seconds(self) -> float:
        return time.perf_counter() - self.clock

    def _head_rate(self) -> float:
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def _agreed(self, loss: float, stop: bool, *, epoch_ends: bool = False) -> tuple[float, bool, bool]:
        """The mean loss of all processes; whether any is to stop; whether the main one wants a checkpoint."""
        accelerator, world = self.accelerator, self.accelerator.num_processes
        due = accelerator.is_main_process and self.pace.due(epoch_ends=epoch_ends)
        if world == 1:
            return loss, stop, due
        own = torch.tensor([loss / world, stop, due], dtype=torch.float64, device=accelerator.device)
        mean, stops, dues = accelerator.reduce(own, "sum").tolist()
        return mean, stops > 0, dues > 0
