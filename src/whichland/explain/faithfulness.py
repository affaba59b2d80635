"""Does an explanation point at what matters? Measured where the truth is known: on masks of the clues."""

import numpy as np
from numpy.typing import NDArray


def clue_mass(
    maps_BHW: NDArray[np.floating], masks_BHW: NDArray[np.bool_], *, tolerance: int = 8
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Compare maps with the masks of the clues, photo by photo: three arrays of length B.

    `mass`: share of the map's mass that falls on the mask; 0 for a map that is zero everywhere.
    `area`: share of the picture that the mask covers, which is the mass an even map would have: chance.
    `hit`: the pointing game (Zhang et al., arXiv 1608.00507): the map's peak lies on the mask, or at most
    `tolerance` pixels from it.
    """
    total_B = maps_BHW.sum(axis=(1, 2), dtype=np.float64)
    inside_B = np.where(masks_BHW, maps_BHW, 0).sum(axis=(1, 2), dtype=np.float64)
    mass_B = np.divide(inside_B, total_B, out=np.zeros_like(total_B), where=total_B > 0)
    area_B = masks_BHW.mean(axis=(1, 2), dtype=np.float64)
    hit_B = np.array([_points_at(m, mask, tolerance) for m, mask in zip(maps_BHW, masks_BHW, strict=True)])
    return mass_B, area_B, hit_B.astype(np.bool_)


def _points_at(map_HW: NDArray[np.floating], mask_HW: NDArray[np.bool_], tolerance: int) -> bool:
    if not mask_HW.any() or not map_HW.any():
        return False
    row, column = np.unravel_index(map_HW.argmax(), map_HW.shape)
    rows, columns = np.nonzero(mask_HW)
    return bool(((rows - row) ** 2 + (columns - column) ** 2).min() <= tolerance**2)
