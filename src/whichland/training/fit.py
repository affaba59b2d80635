"""The loop: predict, loss, backward, step."""

import copy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from whichland.images.augment import colour
from whichland.images.preprocess import Preprocess
from whichland.model.freezing import freeze
from whichland.model.prior import even_out
from whichland.progress import track
from whichland.training.checkpoint import Checkpoint, Pace, Position
from whichland.training.config import TrainConfig
from whichland.training.data import Batch, Loader, Photos
from whichland.training.divergence import check_loss
from whichland.training.evaluation import logits_of, macro_f1
from whichland.training.frozen_cache import FrozenCache, run_front
from whichland.training.mixing import mix
from whichland.training.packs import Packs
from whichland.training.phases import Phase, learning, phase_of, phases
from whichland.training.run_log import RunLog, Watcher
from whichland.training.schedule import Average, parameter_groups, share_of_peak
from whichland.training.sharding import parts, put, share_out, whole
from whichland.training.stopping import Interrupted, stop_signal
from whichland.training.sync_norm import synchronise


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
    validated: tuple[Tensor, Tensor] | None = None  # the validation photos' last logits, N×K, and targets
    log_shares: Tensor | None = None  # of the countries in training, K, to be taken out of the answers
    crops: Packs | None = None  # of the validation photos, decoded before
    frozen: FrozenCache | None = None  # what the frozen part makes of the photos, in a phase that has one
    head_fitted: bool = False  # before the first step, so that there is something to validate by then

    def __post_init__(self) -> None:
        config, processes = self.config, self.accelerator.num_processes
        self.model.to(self.accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if processes > 1:
            synchronise(self.model)
        self.plain = None  # where the model is shared out: its form without tensors, for the bundle
        if config.shard and processes > 1:
            self.plain = copy.deepcopy(self.model).to("meta")
            share_out(self.model, self.accelerator.device, processes)
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
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        self.average = Average(self.model, config.ema) if config.ema else None
        file = self.folder / "checkpoint" / "last.pt"
        self.checkpoint = Checkpoint(file, self.model, self.optimizer, self.average, self.accelerator)
        self.pace = Pace(config.checkpoint_minutes)
        self.best: dict[str, Tensor] = {}  # with patience: parts of the weights with the best scores
        self.log = RunLog(self.folder / "log.jsonl", self.watchers, writes=self.accelerator.is_main_process)

    def resume(self) -> None:
        """Go on from the checkpoint; the log loses what came after it."""
        self.position, self.best = self.checkpoint.restore()
        self.log.cut(self.position.log_lines)

    def run(self, train_mode: Callable[[nn.Module], None]) -> dict[str, float]:
        """Train to the end; return the last validation scores. Raises Interrupted on Ctrl-C or SIGTERM."""
        wrapped, current = self.model, None
        scores: dict[str, float] = {}
        with stop_signal() as stopped:
            for epoch in range(self.position.epoch, ceil(self.config.epochs)):
                if self._waited_enough():
                    break
                phase = phase_of(self.plan, epoch)
                if begins := phase != current:
                    wrapped, current = self._begin(phase, stopped), phase
                if self.head_fitted and not epoch:
                    self._validated(0)
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
                    loss_of_all, stop, due = self._agreed(loss, stopped())
                    self._end_of_step(epoch, step, loss_of_all)
                    if stop or due:
                        self._keep()
                    if stop:
                        raise Interrupted
                scores = self._end_of_epoch(epoch)
        self.frozen = None
        if len(self.validation) and (self.best or not scores):  # earlier weights, or resumed after the last epoch
            with self._holding(self.best) if self.best else self.averaged_weights():
                scores = self.validate()
        return self.position.best or scores

    def _begin(self, phase: Phase, stopped: Callable[[], bool]) -> nn.Module:
        """Let the phase's parameters learn; return the model as it is to be called."""
        if len(self.plan) > 1:
            self._say(f"epoch {phase.first + 1}: freeze {phase.policy}")
        self.accelerator.free_memory()  # an earlier phase's wrapper would go on averaging gradients
        freeze(self.model, phase.policy)
        self.frozen = self._frozen_part(phase, stopped)
        if self.plain:
            return self.model
        bare = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        wrapped: nn.Module = self.accelerator.prepare_model(bare)
        return wrapped

    def _frozen_part(self, phase: Phase, stopped: Callable[[], bool]) -> FrozenCache | None:
        """Run what the phase freezes over all photos once; None where it has to run at every step."""
        config = self.config
        if phase.policy == "none" or not config.views:
            return None
        reason = "mixup and cutmix blend its photos" if config.mixup or config.cutmix else ""
        if self.plain:
            reason = "the model is shared out over the processes"
        if reason:
            self._say(f"the frozen part runs at every step, because {reason}")
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
            with self._reducing(model, now=number == count):
                loss = self._loss(model, *part) * (len(part[0]) / len(x))
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _reducing(self, model: nn.Module, *, now: bool) -> AbstractContextManager[Any]:
        """Within, gradients are averaged over the processes, or they add up until they are."""
        if self.plain and model is self.model:
            model.set_requires_gradient_sync(now)  # type: ignore[operator]
            return nullcontext()
        return nullcontext() if now else self.accelerator.no_sync(model)

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
        with self.accelerator.autocast():
            logits = self.frozen.cut.resume(model, x) if self.frozen else model(x)
        smoothing = self.config.smoothing if self.soft_targets is None else 0.0
        losses = cross_entropy(logits.float(), targets, reduction="none", label_smoothing=smoothing)
        return (losses * weights).mean()

    def _end_of_step(self, epoch: int, step: int, loss: float) -> None:
        self.position.loss_sum += loss
        self.position.epoch, self.position.step = epoch, step + 1
        self._tick()
        rate, seconds = self._head_rate(), self.position.seconds
        self.log.write(kind="step", epoch=epoch, step=step, loss=loss, lr=rate, seconds=seconds)
        check_loss(loss, f"epoch {epoch + 1}, step {step + 1}", rate=rate)

    def _end_of_epoch(self, epoch: int) -> dict[str, float]:
        last = epoch + 1 >= self.config.epochs
        train_loss = self.position.loss_sum / self._steps(epoch)
        judged = last or (epoch + 1) % self.config.validate_every == 0
        scores = self._validated(epoch + 1, train_loss=train_loss, judged=judged)
        self.position.loss_sum = 0.0
        self.position.epoch, self.position.step = epoch + 1, 0
        _, _, due = self._agreed(torch.zeros(()), False, epoch_ends=True)
        if due or last or self._waited_enough():
            self._keep()
        return scores

    def _validated(self, epoch: int, *, judged: bool = True, **losses: float) -> dict[str, float]:
        """Validate where there is something to validate on; write the epoch's line, also without."""
        scores: dict[str, float] = {}
        if len(self.validation) and judged:
            with self.averaged_weights():
                scores = self.validate()
                check_loss(scores["val_loss"], f"validation after epoch {epoch}", rate=self._head_rate())
                self._judge(scores)
        self._tick()
        shown = losses | scores
        if shown:
            self.log.write(kind="epoch", epoch=epoch, seconds=self.position.seconds, **shown)
            text = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
            self._say(f"epoch {epoch}/{self.config.epochs:g}  {text}")
        return scores

    def _judge(self, scores: dict[str, float]) -> None:
        """With patience: keep the weights, which the model holds averaged, when they are the best so far."""
        if not self.config.patience:
            return
        position = self.position
        position.waited += 1
        if not position.best or scores["val_macro_f1"] > position.best["val_macro_f1"]:
            position.best, position.waited = scores, 0
            self.best = {name: part.clone() for name, part in parts(self.model).items()}

    def _waited_enough(self) -> bool:
        patience = self.config.patience
        return bool(patience) and self.position.waited >= patience

    def validate(self) -> dict[str, float]:
        """Loss, top-1 and macro-F1 on the validation photos, shared out over the processes."""
        if self.frozen and (self.average is None or self.average.complete):
            logits, targets = self.frozen.validation_logits(self.model.eval())
        else:
            logits, targets = logits_of(self.model, self.validation, self.preprocess, self.accelerator, self.crops)
        if self.log_shares is not None:
            logits = logits - self.log_shares
        self.validated = logits, targets
        guesses = logits.argmax(1)
        return {
            "val_loss": float(cross_entropy(logits, targets)),
            "val_top1": float((guesses == targets).float().mean()),
            "val_macro_f1": macro_f1(guesses, targets),
        }

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within, the model holds its averaged weights."""
        if self.average is None:
            yield
            return
        with self._holding(self.average.state):
            yield

    def finished_model(self) -> nn.Module:
        """The model with the weights of the bundle: the best with patience, else the last averaged.

        All processes call it once training is over; in the main one the model is whole.
        """
        if kept := self.best or (self.average.state if self.average else {}):
            put(self.model, kept)
        finished = self.model
        if self.plain:
            state = whole(self.model.state_dict(), keep=self.accelerator.is_main_process)
            finished = self.plain
            if self.accelerator.is_main_process:
                finished.load_state_dict(state, assign=True)
        if self.log_shares is not None:
            even_out(finished, self.log_shares)
        return finished

    @contextmanager
    def _holding(self, given: dict[str, Tensor]) -> Iterator[None]:
        own = {name: part.clone() for name, part in parts(self.model).items()}
        put(self.model, given)
        try:
            yield
        finally:
            put(self.model, own)

    def _keep(self) -> None:
        """Write a checkpoint."""
        self._tick()
        self.position.log_lines = self.log.lines
        begun = time.monotonic()
        self.checkpoint.save(self.position, self.best)
        self.pace.wrote(time.monotonic() - begun)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.position.seconds += now - self.clock
        self.clock = now

    def _say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            print(text, file=sys.stderr)

    def _head_rate(self) -> float:
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def _agreed(self, loss: Tensor, stop: bool, *, epoch_ends: bool = False) -> tuple[float, bool, bool]:
        """The mean loss of all processes; whether any is to stop; whether the main one wants a checkpoint."""
        accelerator = self.accelerator
        due = accelerator.is_main_process and self.pace.due(epoch_ends=epoch_ends)
        if accelerator.num_processes == 1:
            return float(loss), stop, due
        device, world = accelerator.device, accelerator.num_processes
        own = torch.tensor([float(loss) / world, stop, due], dtype=torch.float64, device=device)
        mean, stops, dues = accelerator.reduce(own, "sum").tolist()
        return mean, stops > 0, dues > 0

    def _shown(self, batches: Iterator[Batch], steps: int, name: str) -> Iterator[Batch]:
        if self.accelerator.is_main_process:
            yield from track(batches, steps, name)
        else:
            yield from batches
