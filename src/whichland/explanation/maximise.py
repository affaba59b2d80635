"""Pictures that excite a part of a model most: what a class, a channel or a unit has learnt to look for.

Plain gradient ascent on pixels ends in noise that nobody can read. What makes it legible (Olah, Mordvintsev and
Schubert, "Feature Visualization", Distill 2017, doi 10.23915/distill.00007):

- the picture is optimised as a spectrum in which each frequency counts by its inverse, as in photos, and along the
  principal colours of photos: light, blue against yellow, red against green (Ruderman et al. 1998,
  doi 10.1364/JOSAA.15.002036), so that colours and scales are learnt at one pace;
- at each step the picture is shifted, scaled and turned a little, so that only what survives this counts;
- it begins blurred and sharpens on the way: large forms first, then what fills them.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from whichland.config import AT_LEAST_1, Config
from whichland.errors import UserError
from whichland.explanation.activations import evaluating
from whichland.images.preprocess import Preprocess

Kind = Literal["class", "channel", "unit"]

COLOURS = ((0.58, 0.58, 0.58), (0.28, 0.0, -0.28), (0.08, -0.16, 0.08))  # light, yellow–blue, red–green
CONTRAST = 1.5  # how far a spectrum of unit size swings: past it the picture saturates


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is to be excited: a class's logit, a channel's mean over the picture, or a unit, one place of it."""

    kind: Kind
    number: int  # of the class or the channel
    layer: str = ""  # a module's name, for a channel or a unit
    place: tuple[int, int] | None = None  # row and column of the unit; the middle where it is None


@dataclass(frozen=True, kw_only=True)
class MaximiseConfig(Config):
    """How a picture is made that excites a part of the model."""

    steps: Annotated[int, "Steps of ascent.", AT_LEAST_1] = 320
    rate: Annotated[float, "Learning rate of Adam, on the spectrum."] = 0.06
    jitter: Annotated[float, "Largest shift at each step, as a share of the side.", Interval(ge=0, lt=0.5)] = 0.08
    turn: Annotated[float, "Largest turn at each step, in degrees."] = 8.0
    zoom: Annotated[float, "Largest change of scale at each step, as a factor less one.", Interval(ge=0, lt=1)] = 0.15
    blur: Annotated[float, "Deviation of the blur at the start, as a share of the side; 0 for none."] = 0.03
    decay: Annotated[float, "Power by which frequencies count less the higher they are; 0 for all alike."] = 1.0
    spread: Annotated[float, "Weight of the penalty on sudden changes between neighbouring pixels."] = 0.0
    seed: Annotated[int, "Where the picture starts."] = 0


def maximise(
    model: nn.Module, goals: Sequence[Goal], preprocess: Preprocess, config: MaximiseConfig | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Make a picture for each goal: uint8 G×H×W×3 of the model's input size, and how far each goal got.

    The second array, G×2, holds each goal's score for even grey and for the finished picture, both untransformed.
    All goals are optimised together, each picture for its own. Raises UserError for a layer or a number that the
    model has not, and for a layer that is no map.
    """
    config = config or MaximiseConfig()
    layers = _layers(model, goals)
    device = next(model.parameters()).device
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (preprocess.mean, preprocess.std))
    generator = torch.Generator().manual_seed(config.seed)
    height, width = size = preprocess.size
    scale_hw = _frequency_scale(height, width, config.decay).to(device)
    spectrum = (0.01 * torch.randn(len(goals), 3, *scale_hw.shape, 2, generator=generator)).to(device)
    optimizer = torch.optim.Adam([spectrum.requires_grad_()], lr=config.rate)
    kept: dict[str, Tensor] = {}

    def scores(pictures: Tensor) -> Tensor:
        logits_BK = model((pictures - mean) / std)
        return torch.stack([_score(model, goal, logits_BK[at], kept, at) for at, goal in enumerate(goals)])

    with torch.inference_mode(False), torch.enable_grad(), evaluating(model), ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_hook(partial(_keep, kept, name)))
        for step in range(config.steps):
            blur = config.blur * height * max(0.0, 1 - 1.5 * step / config.steps)
            pictures = _picture(spectrum, scale_hw, size, blur)
            loss = -scores(_moved(pictures, config, generator)).sum()
            if config.spread:
                loss = loss + config.spread * _roughness(pictures).sum()
            (spectrum.grad,) = torch.autograd.grad(loss, [spectrum])
            optimizer.step()
        with torch.no_grad():
            pictures = _picture(spectrum, scale_hw, size, 0.0)
            reached = [scores(shown).double().cpu().numpy() for shown in (torch.full_like(pictures, 0.5), pictures)]
    pixels = (pictures * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return pixels, np.stack(reached, axis=1)


def _squared_frequencies(height: int, width: int) -> Tensor:
    """Squares of the cycles a pixel of each coefficient of a real picture's spectrum: H×(W/2+1)."""
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    return torch.add(down.square(), across.square())


def _frequency_scale(height: int, width: int, decay: float) -> Tensor:
    """What a unit of each frequency's coefficient is worth: H×(W/2+1); the lowest counts one period a side."""
    frequency_hw = _squared_frequencies(height, width).sqrt().clamp(min=1 / max(height, width))
    scale_hw = frequency_hw**-decay
    return scale_hw / scale_hw.square().mean().sqrt()


def _picture(spectrum: Tensor, scale_hw: Tensor, size: tuple[int, int], blur: float) -> Tensor:
    """From spectra G×3×H×(W/2+1)×2 to pictures G×3×H×W in (0, 1); `blur` is a deviation in pixels."""
    kept_hw = torch.exp(-2 * (np.pi * blur) ** 2 * _squared_frequencies(*size).to(spectrum.device))
    coloured = torch.fft.irfft2(torch.view_as_complex(spectrum) * scale_hw * kept_hw, s=size, norm="ortho")
    basis = torch.tensor(COLOURS, device=spectrum.device)
    return torch.sigmoid(CONTRAST * torch.einsum("gchw,cd->gdhw", coloured, basis))


def _moved(pictures: Tensor, config: MaximiseConfig, generator: torch.Generator) -> Tensor:
    """Shift, scale and turn every picture by chance; what comes in from outside is mirrored."""
    shift_x, shift_y, turn, zoom = (2 * torch.rand(4, len(pictures), generator=generator) - 1).unbind()
    angle = turn * config.turn * np.pi / 180
    scale = (1 + config.zoom) ** zoom
    rows, columns = pictures.shape[-2:]
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    across = torch.stack([cos, -sin * rows / columns, 2 * config.jitter * shift_x], dim=1)
    down = torch.stack([sin * columns / rows, cos, 2 * config.jitter * shift_y], dim=1)
    affine = torch.stack([across, down], dim=1).to(pictures)
    grid = functional.affine_grid(affine, list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def _roughness(pictures: Tensor) -> Tensor:
    """Mean squared step between neighbours, picture by picture."""
    down, across = pictures.diff(dim=2).square(), pictures.diff(dim=3).square()
    return down.mean(dim=(1, 2, 3)) + across.mean(dim=(1, 2, 3))


def _layers(model: nn.Module, goals: Sequence[Goal]) -> dict[str, nn.Module]:
    """The goals' layers by name."""
    modules = dict(model.named_modules())
    layers = {goal.layer for goal in goals if goal.kind != "class"}
    for layer in layers - set(modules):
        near = [name for name in modules if name and name.startswith(layer.split(".")[0])]
        near = near or [name for name, _ in model.named_children()]
        raise UserError(f"the model has no layer {layer!r}; there are {', '.join(near[:12])}")
    return {layer: modules[layer] for layer in layers}


def _keep(kept: dict[str, Tensor], layer: str, _: nn.Module, __: object, output: Tensor) -> None:
    kept[layer] = output


def _score(model: nn.Module, goal: Goal, logits_K: Tensor, kept: dict[str, Tensor], at: int) -> Tensor:
    """A goal's score from its own picture, the one at position `at`."""
    if goal.kind == "class":
        _check_number(goal, len(logits_K))
        return logits_K[goal.number]
    output = kept[goal.layer]
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        raise UserError(f"layer {goal.layer!r} gives no map with channels")
    if output.ndim == 3:  # tokens N×C as one column of places
        map_Chw = output[at].T[..., None]
    else:  # channels last as timm's Swin has them
        map_Chw = output[at].permute(2, 0, 1) if getattr(model, "output_fmt", None) == "NHWC" else output[at]
    _check_number(goal, len(map_Chw))
    channel_hw = map_Chw[goal.number]
    if goal.kind == "channel":
        return channel_hw.mean()
    rows, columns = channel_hw.shape
    row, column = goal.place or (rows // 2, columns // 2)
    if row >= rows or column >= columns:
        raise UserError(f"layer {goal.layer!r} has {rows}×{columns} places; there is no {row}, {column}")
    return channel_hw[row, column]


def _check_number(goal: Goal, count: int) -> None:
    if not 0 <= goal.number < count:
        where = f"layer {goal.layer!r}" if goal.layer else "the model"
        what = "classes" if goal.kind == "class" else "channels"
        raise UserError(f"{where} has {count} {what}; there is no number {goal.number}")
