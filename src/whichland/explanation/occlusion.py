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
) -> Map:
    """A heat map H×W in [0, 1] with its peak at 1.

    `run` takes crops B×H×W×3 to logits B×K, as `model.model.Model.run` does. `target` is what the map is
    about: a label's index, None for the top guess, or a pair (a, b) for what speaks for a and against b. A square
    spans two steps of the grid each way, so every spot is covered several times. What speaks against the target
    is left out: a map without evidence for it is zero everywhere.
    """
    logits_1K = run(crop_HWC[None])
    about = int(logits_1K[0].argmax()) if target is None else target
    height, width = crop_HWC.shape[:2]
    rows, columns = (np.linspace(0, side, grid + 2).round().astype(int) for side in (height, width))
    squares = [
        (slice(rows[y], rows[y + 2]), slice(columns[x], columns[x + 2])) for y in range(grid) for x in range(grid)
    ]
    grey_C = crop_HWC.mean(axis=(0, 1))
    grey_C = (grey_C.round() if crop_HWC.dtype == np.uint8 else grey_C).astype(crop_HWC.dtype)
    scores = []
    for start in range(0, len(squares), BATCH):
        covered = squares[start : start + BATCH]
        copies_BHWC = np.repeat(crop_HWC[None], len(covered), axis=0)
        for copy_HWC, square in zip(copies_BHWC, covered, strict=True):
            copy_HWC[square] = grey_C
        scores.append(_score(run(copies_BHWC), about))
    loss = _score(logits_1K, about) - np.concatenate(scores)
    heat_hw = np.maximum(loss, 0).reshape(grid, grid).astype(np.float32)
    # a cell between the grid's lines is covered by the squares that begin at its corner and one before, each way
    padded = np.pad(heat_hw, 1, mode="edge")
    cells_hw = (padded[:-1, :-1] + padded[:-1, 1:] + padded[1:, :-1] + padded[1:, 1:]) / 4
    map_HW: Map = np.asarray(Image.fromarray(cells_hw).resize((width, height), Image.Resampling.BILINEAR))
    peak = float(map_HW.max())
    return (map_HW / peak).astype(np.float32) if peak > 0 else np.zeros_like(map_HW)


def occlusion_of_network(model: "nn.Module", x_BCHW: "Tensor", target: "Target") -> "Tensor":
    """The maps B×H×W of a torch model's normalised input, with the arguments of every other method."""
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
    return torch.from_numpy(np.stack(found)).to(x_BCHW.device)


def _score(logits_BK: Logits, about: int | tuple[int, int]) -> NDArray[np.float64]:
    """The log odds of a label against all others, or of the first of a pair against the second; length B."""
    z_BK = logits_BK.astype(np.float64)
    if isinstance(about, tuple):
        return np.asarray(z_BK[:, about[0]] - z_BK[:, about[1]])
    others_BK = np.delete(z_BK, about, axis=1)
    peak_B = others_BK.max(axis=1)
    return np.asarray(z_BK[:, about] - peak_B - np.log(np.exp(others_BK - peak_B[:, None]).sum(axis=1)))
