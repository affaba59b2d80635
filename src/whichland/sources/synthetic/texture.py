"""Tileable noise from fixed seeds, made with exact arithmetic only, so that it is the same on any machine."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.floating[Any]]  # float32 throughout; the stubs of numpy widen it at every constant
SIZE = 512  # cells a side; a power of two, so that indices wrap with a bit mask


def _upsample(grid: F32, times: int) -> F32:
    """Enlarge a wrapping grid by smooth interpolation (smoothstep) along both axes."""
    for axis in (0, 1):
        along = np.arange(grid.shape[axis] * times, dtype=np.float32) / np.float32(times)
        cell = along.astype(np.int64)
        part: F32 = (along - cell).astype(np.float32)
        t = part * part * (np.float32(3) - np.float32(2) * part)
        low = np.take(grid, cell, axis=axis)
        high = np.take(grid, cell + 1, axis=axis, mode="wrap")
        shape = (-1, 1) if axis == 0 else (1, -1)
        grid = (low + (high - low) * t.reshape(shape)).astype(np.float32)
    return grid


@cache
def noise(seed: int, coarsest: int = 64, octaves: int = 5, fade: float = 0.55) -> F32:
    """Return SIZE × SIZE fractal noise in 0..1 with mean near 0.5; `coarsest` is the largest feature, in cells."""
    rng = np.random.Generator(np.random.PCG64(seed))
    total = np.zeros((SIZE, SIZE), np.float32)
    weight, cell = np.float32(1), coarsest
    for _ in range(octaves):
        grid = rng.random((SIZE // cell, SIZE // cell), dtype=np.float32) - np.float32(0.5)
        total += weight * (_upsample(grid, cell) if cell > 1 else grid)
        weight, cell = weight * np.float32(fade), max(cell // 2, 1)
    tile: F32 = np.clip(total / np.float32(1.1) + np.float32(0.5), 0, 1)
    return tile


def sample(tile: F32, x: F32, y: F32, scale: float) -> F32:
    """Look the tile up at `scale` cells a unit of `x` and `y`, wrapping round."""
    column = np.floor(x * np.float32(scale)).astype(np.int32) & (SIZE - 1)
    row = np.floor(y * np.float32(scale)).astype(np.int32) & (SIZE - 1)
    found: F32 = tile.ravel().take(row * SIZE + column)
    return found
