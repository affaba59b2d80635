"""What a model looks at, by covering parts of the photo: for any engine, without gradients or torch.

A square of the photo's mean colour is laid on a grid of places. Where the answer suffers, evidence was covered
(Zeiler & Fergus 2014, arXiv 1311.2901, section 4.2). It takes one pass of the network a place.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor, nn

    from whichland.explanation.activations import Target

GRID = 8  # places along each side
BATCH = 16

Map = NDArray[np.float32]  # H×W in [0, 1]
Logits = NDArray[np.float32]  # B×K
Crop = NDArray[Any]  # H×W×3: uint8 pixels, or normalised floats


def occlusion(
    run: Callable[[Crop], Logits], crop_HWC: Crop, target: int | tuple[int, int] | None = None, *, grid: int = GRID
) -> tuple[Map, NDArray[np.float32]]:
    """A heat map H×W in [0, 1] with its peak at 1, and the logits K of the uncovered photo.

    `run` takes crops B×H×W×3 to logits B×K, as `model.model.Model.run` does. `target` is what the map is
    about: a label's index, None for the top guess, or a pair (a, b) for what speaks for a and against b. A square
    spans two steps of the grid each way, so every spot is covered several times. What speaks against the target
    is left out: a map without evidence for it is zero everywhere.
    """
    logits_K = run(crop_HWC[None])[0]
    about = int(logits_K.argmax()) if target is None else target
    rows, columns = (np.linspace(0, side, grid + 2).round().astype(int) for side in crop_HWC.shape[:2])
    squares = [
        (slice(rows[y], rows[y + 2]), slice(columns[x], columns[x + 2])) for y in range(grid) for x in range(grid)
    ]
    grey_C = crop_HWC.mean(axis=(0, 1))
    grey_C = (grey_C.round() if crop_HWC.dtype == np.uint8 else grey_C).astype(crop_HWC.dtype)
    loss = np.concatenate(
        [
            _score(logits_K[None], about) - _score(run(_covered(crop_HWC, squares[at : at + BATCH], grey_C)), about)
            for at in range(0, len(squares), BATCH)
        ]
    )
    heat_hw = np.maximum(loss, 0).reshape(grid, grid).astype(np.float32)
    # a cell between the grid's lines is covered by the squares that begin at its corner and one before, each way
    padded = np.pad(heat_hw, 1, mode="edge")
    cells_hw = (padded[:-1, :-1] + padded[:-1, 1:] + padded[1:, :-1] + padded[1:, 1:]) / 4
    height, width = crop_HWC.shape[:2]
    map_HW: Map = np.asarray(Image.fromarray(cells_hw).resize((width, height), Image.Resampling.BILINEAR))
    peak = float(map_HW.max())
    return (map_HW / peak).astype(np.float32) if peak > 0 else np.zeros_like(map_HW), logits_K


def occlusion_and_logits(model: "nn.Module", x_BCHW: "Tensor", target: "Target") -> "tuple[Tensor, Tensor]":
    """The same for a torch model, as every other method has it: maps B×H×W and logits B×K."""
    import torch

    @torch.inference_mode()
    def run(crops_BHWC: Crop) -> Logits:
        copies_BCHW = torch.from_numpy(crops_BHWC).permute(0, 3, 1, 2).to(x_BCHW.device)
        logits_BK: Logits = model(copies_BCHW).float().cpu().numpy()
        return logits_BK

    one_for_all = target is None or isinstance(target, int | tuple)
    about: Any = [target] * len(x_BCHW) if one_for_all else [int(of) for of in target]  # type: ignore[union-attr]
    pictures = (x_CHW.permute(1, 2, 0).cpu().numpy() for x_CHW in x_BCHW)
    found = [occlusion(run, picture, of) for picture, of in zip(pictures, about, strict=True)]
    maps, logits = (torch.from_numpy(np.stack(parts)).to(x_BCHW.device) for parts in zip(*found, strict=True))
    return maps, logits


def _covered(crop_HWC: Crop, squares: list[tuple[slice, slice]], colour_C: NDArray[Any]) -> Crop:
    """One copy of the photo a square, that square covered."""
    copies_BHWC = np.repeat(crop_HWC[None], len(squares), axis=0)
    for copy_HWC, square in zip(copies_BHWC, squares, strict=True):
        copy_HWC[square] = colour_C
    return copies_BHWC


def _score(logits_BK: Logits, about: int | tuple[int, int]) -> NDArray[np.float64]:
    """The log-odds of a label against all others, or of the first of a pair against the second; length B."""
    z_BK = logits_BK.astype(np.float64)
    if isinstance(about, tuple):
        return np.asarray(z_BK[:, about[0]] - z_BK[:, about[1]])
    others_BK = np.delete(z_BK, about, axis=1)
    peak_B = others_BK.max(axis=1)
    return np.asarray(z_BK[:, about] - peak_B - np.log(np.exp(others_BK - peak_B[:, None]).sum(axis=1)))
