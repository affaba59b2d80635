"""The learning-rate finder: one sweep of rising rates on a copy of the model, a picture, a suggestion.

Smith, "Cyclical Learning Rates for Training Neural Networks" (arXiv 1506.01186).
"""

import copy
from dataclasses import asdict, dataclass, replace
from itertools import chain, count, islice
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from whichland.errors import UserError
from whichland.manifest import Manifest
from whichland.model.freezing import freeze, train_mode
from whichland.progress import Progress
from whichland.training.config import TrainConfig
from whichland.training.fit import Fit
from whichland.training.run import prepare
from whichland.training.schedule import phase_of
from whichland.whole_file import whole_file

Floats = NDArray[np.float64]

WIDTH = 0.15  # of the smoothing, in decades of the rate
DIVERGED = 2.0  # times the loss at the start
STARTS = 5  # steps whose mean is the loss at the start
BEGUN = 0.1  # share of the fall that is done where it begins, and left where it ends
SURE = 3.0  # a fall is real when it is so many standard errors deep,
WORTH = 0.01  # and when it is at least this share of the loss at the start


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Losses over rising rates, and what follows from them."""

    rates: Floats  # of the head, one a step
    losses: Floats  # at each step, before it was taken, without what its batch is harder or easier than others
    smoothed: Floats  # by a Gaussian in the logarithm of the rate, which shifts nothing
    diverged: bool  # the loss passed twice its start, or was no number, and the sweep ended there
    reason: str  # how the suggestion was found, or why there is none; one line
    lr: float | None = None  # the suggestion; None when the losses give none
    steepest: float | None = None  # where the loss fell fastest per decade

    def numbers(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {k: value.tolist() if isinstance(value, np.ndarray) else value for k, value in asdict(self).items()}

    def save(self, out: str | Path, *, lr_now: float | None = None) -> None:
        """Draw loss over rate with the suggestion marked, and the rate in use where given: a PNG."""
        # pyplot with a backend of its own would take a notebook's way of showing pictures away
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4), layout="constrained")
        _draw(figure.subplots(), self, lr_now)
        out = Path(out)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(out) as partial:
                figure.savefig(partial, format="png", dpi=150)
        except OSError as error:
            raise UserError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None


def find_lr(
    manifest: Manifest | str | Path,
    config: TrainConfig,
    *,
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
) -> Sweep:
    """Suggest a learning rate for a training run with `config`, from where `whichland train` would start.

        sweep = wl.find_lr(world, wl.TrainConfig(arch="convnext_tiny.fb_in22k_ft_in1k"))
        sweep.lr, sweep.reason
        sweep.save("lr.png")

    Writes nothing, but for `config.cache`. Raises UserError for what the user can mend.
    """
    if not 0 < lowest < highest < inf:
        raise UserError(f"a sweep goes from a lower rate to a higher one, not from {lowest:g} to {highest:g}")
    if steps < 20:
        raise UserError(f"{steps} steps are too few to see a loss fall and rise; sweep over 20 or more")
    return sweep_rates(prepare(manifest, config, None).fit, steps=steps, lowest=lowest, highest=highest)


def sweep_rates(fit: Fit, *, steps: int = 100, lowest: float = 1e-6, highest: float = 1.0) -> Sweep:
    """Sweep the head's rate from `lowest` to `highest` over the batches that `fit` would take next.

    Other groups keep their share of the head's rate. Model, optimizer, average, random states, loader and log
    stay as they are, so it may be called before, between and after fits. In a job of several processes every one
    calls it, and all get the same result.
    """
    rates = np.geomspace(lowest, highest, steps)
    with (
        torch.random.fork_rng(),
        Progress("lr-find", steps, show=fit.accelerator.is_main_process, unit="steps") as progress,
    ):
        losses = _losses(fit, rates, progress)
    return suggest(rates[: len(losses)], losses, complete=len(losses) == steps)


def _losses(fit: Fit, rates: Floats, progress: Progress) -> Floats:
    """Train a copy for a step at each rate; stop at divergence, which every process sees at the same step.

    Each loss is taken relative to that of a copy that stays as it is on the same batch, so that what remains is
    the effect of the steps.
    """
    model, optimizer = copy.deepcopy((fit.model, fit.optimizer))  # together: the optimizer's moments go along
    still = copy.deepcopy(fit.model)
    for each in (model, still):
        freeze(each, phase_of(fit.plan, fit.position.epoch).policy)
        train_mode(each)
    objective = replace(fit.objective, frozen=None)  # stored activations are those of the fit's own model
    wrapped = model
    if fit.accelerator.num_processes > 1:  # averages gradients; unknown to the accelerator
        device = fit.accelerator.device
        devices = [device] if device.type == "cuda" else None
        wrapped = nn.parallel.DistributedDataParallel(model, device_ids=devices)
    begun = fit.position
    epochs = (fit.loader.epoch(at, begun.step if at == begun.epoch else 0) for at in count(begun.epoch))
    losses: list[float] = []
    unmoved: list[float] = []
    for step, (rate, batch) in enumerate(zip(rates, islice(chain.from_iterable(epochs), len(rates)), strict=True)):
        torch.manual_seed(step)
        with torch.no_grad():
            whole = objective.whole(batch)
            loss = objective.loss(objective.predict(still, whole), whole)
        unmoved.append(float(fit.accelerator.reduce(loss, "mean")))
        if not isfinite(unmoved[-1]):
            raise UserError(
                "the loss is no number before any step is taken: the weights are damaged, or too large for "
                "16 bits; look at --weights, or try --precision fp32"
            )
        torch.manual_seed(step)  # the same dropout and mixing
        for group in optimizer.param_groups:
            group["lr"] = rate * group["peak"] / fit.config.lr
        optimizer.zero_grad()
        total = torch.zeros((), device=fit.accelerator.device)
        for part in objective.parts(wrapped, batch):
            loss = objective.loss(objective.predict(wrapped, part), part)
            fit.accelerator.backward(loss)
            total += loss.detach()
        losses.append(float(fit.accelerator.reduce(total, "mean")))
        if not isfinite(losses[-1]) or np.mean(losses[-3:]) > DIVERGED * np.mean(unmoved):
            break
        if fit.config.clip:
            nn.utils.clip_grad_norm_(model.parameters(), fit.config.clip)
        optimizer.step()
        progress.advance()
    return np.asarray(np.array(losses) - np.array(unmoved) + np.mean(unmoved), dtype=np.float64)


def suggest(rates: Floats, losses: Floats, *, complete: bool) -> Sweep:
    """Read a suggestion from the losses of a sweep; `complete` when it went on to the highest rate.

    The valley rule: the middle, in logarithms, between the rates at which a tenth and nine tenths of the whole
    fall are done. A fall that the scatter of the losses could make by itself, or of less than 1 %, gives none.
    """
    lowest_rate = rates[0]
    kept = int(np.isfinite(losses).sum())  # a loss that is no number can only be the last
    rates, losses = rates[:kept], losses[:kept]
    sweep = Sweep(rates=rates, losses=losses, smoothed=losses, diverged=not complete, reason="")
    if kept < STARTS + 2:
        return replace(sweep, reason=f"the loss diverges at once: start the sweep below {lowest_rate:.1e}")
    start = float(losses[:STARTS].mean())
    logs = np.log10(rates)
    near = np.exp(-0.5 * ((logs[:, None] - logs) / WIDTH) ** 2)
    near /= near.sum(1, keepdims=True)
    smoothed = near @ np.minimum(losses, DIVERGED * start)
    sweep = replace(sweep, smoothed=smoothed)
    lowest = int(smoothed.argmin())
    top = int(smoothed[: lowest + 1].argmax())
    fall = float(smoothed[top] - smoothed[lowest])
    scatter = float(np.std(losses[: lowest + 1] - smoothed[: lowest + 1]))
    errors = scatter * float(np.sqrt((near[top] ** 2).sum() + (near[lowest] ** 2).sum()))
    if lowest - top < 3 or fall <= max(SURE * errors, WORTH * start):
        reason = (
            f"no suggestion: between {rates[0]:.1e} and {rates[-1]:.1e} the loss does not fall by more than "
            "it scatters; the model may be fitted already, or cannot learn these labels"
        )
        return replace(sweep, reason=reason)
    ended = top + int(np.argmax(smoothed[top:] <= smoothed[lowest] + BEGUN * fall))
    begun = top + int(np.flatnonzero(smoothed[top:ended] >= smoothed[top] - BEGUN * fall)[-1])
    steepest = begun + int(np.gradient(smoothed, logs)[begun : ended + 1].argmin())
    reason = f"valley: the middle of the fall from {rates[begun]:.1e} to {rates[ended]:.1e}"
    if complete and lowest == kept - 1:
        reason += f"; the loss still falls at {rates[-1]:.1e}, so a sweep to higher rates may show more"
    lr = float(10 ** ((logs[begun] + logs[ended]) / 2))
    return replace(sweep, reason=reason, lr=lr, steepest=float(rates[steepest]))


def _draw(axes: Any, sweep: Sweep, lr_now: float | None) -> None:
    rates, losses, smoothed = sweep.rates, sweep.losses, sweep.smoothed
    axes.semilogx(rates, losses, ".", color="0.7", markersize=4, label="each step")
    axes.semilogx(rates, smoothed, color="0.1", linewidth=1.6, label="smoothed")
    axes.set(xlabel="learning rate of the head", ylabel="training loss")
    if len(losses):  # from the lowest to so far above the start that the fall can be seen: the rest says no more
        start, low = losses[:STARTS].mean(), losses.min()
        top = min(losses.max(), start + max(2 * (start - smoothed.min()), 0.15 * start))
        axes.set_ylim(low - max(top - low, 1e-3) * 0.06, top + max(top - low, 1e-3) * 0.06)
    if sweep.lr is not None and sweep.steepest is not None:
        axes.axvline(sweep.lr, color="#0072b2", linewidth=1.2)
        for rate, shape, colour, inside, name in (
            (sweep.lr, "o", "#0072b2", "#0072b2", "suggested"),
            (sweep.steepest, "s", "#d55e00", "white", "steepest"),
        ):
            loss = np.interp(np.log10(rate), np.log10(rates), smoothed)
            axes.plot(rate, loss, shape, color=colour, markerfacecolor=inside, label=f"{name}: {rate:.1e}")
    else:
        axes.set_title("No suggestion", loc="left")
    if lr_now is not None and len(rates) and rates[0] <= lr_now <= rates[-1]:
        axes.axvline(lr_now, color="0.4", linestyle=":", linewidth=1.2, label=f"set now: {lr_now:.1e}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
