"""Measure every image once: size, hashes, brightness, contrast, sharpness, or why it cannot be read.

One read and one decode an image: the luma alone, at the smallest DCT scale whose short side is still 160 px.
All picture measures are taken from one thumbnail: Rec. 601 luma, 8 bits, shrunk to a short side of 160 px
by area averaging (smaller images stay as they are). docs/decisions/cleaning.md says why 160.

- `brightness`: mean luma, 0 to 1.
- `contrast`: standard deviation of luma, 0 to 1 (0.5 is the most there can be).
- `sharpness`: variance of the 4-neighbour Laplacian over the inner pixels, on luma of 0 to 255, the scale of
  Pech-Pacheco et al. 2000 as everybody quotes it; few pixels wide images without an inside have 0.
- `entropy`: Shannon entropy of the histogram of luma, 0 to 8 bits.
- `phash`: 64 bits, see `perceptual_hash`.

The numbers are whole-number sums up to the last division, so they are the same on any machine whose JPEG
decoder is the same.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from whichland.images.decode import ImageError, decode_luma, image_size, read_bytes
from whichland.manifest import COLUMNS, Manifest, with_empty
from whichland.progress import Progress
from whichland.workers import WORKER_DIED, map_batches

SHORT_SIDE = 160
BATCH = 32
CHECKPOINT_S = 60.0

MOMENTS = np.arange(256, dtype=np.float64) ** np.arange(3)[:, None]  # of luma: count, sum, sum of squares

Grey = NDArray[np.uint8]


class Measures(NamedTuple):
    """What `measure` writes for one image; all but the last null when the file itself cannot be opened."""

    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    phash: int | None = None
    brightness: float | None = None
    contrast: float | None = None
    sharpness: float | None = None
    entropy: float | None = None
    unreadable: str | None = None


SCHEMA = {name: COLUMNS[name].dtype for name in Measures._fields}


def measure(
    manifest: Manifest,
    *,
    workers: int | None = None,
    ray: str | None = None,
    progress: bool = True,
    checkpoint: Callable[[Manifest], object] | None = None,
) -> Manifest:
    """Fill the measure columns of every row that has no `sha256` yet, in parallel processes.

    `workers` is the number of processes (default: the cores this process may use; 1: no other process). `ray`
    spreads the work over a Ray cluster instead, see `workers.map_batches`; the result is the same. An image that
    cannot be decoded gets a reason in `unreadable`; so does one that kills its process, and a file that cannot
    be opened (which has no sha256 and is tried again next time). `checkpoint` is called about every minute and
    when interrupted with the manifest as far as it is measured: measuring that one
    continues where this one stopped.
    """
    frame = with_empty(manifest.frame, *SCHEMA)
    waiting = frame["sha256"].is_null().arg_true()
    uris = frame["uri"].gather(waiting)
    done = pl.DataFrame(schema=SCHEMA)  # a million rows of Python objects would take a gigabyte

    def so_far() -> Manifest:
        rows = waiting.head(done.height)
        filled = frame.with_columns(frame[name].scatter(rows, done[name]) for name in SCHEMA)
        return manifest.with_step("measure", filled, measured=done.height, waiting=len(uris) - done.height)

    saved, pause = time.monotonic(), CHECKPOINT_S
    with Progress("measuring", len(uris), show=progress) as bar:
        try:
            for batch in _measured(uris, workers, ray):
                done.extend(pl.DataFrame(batch, schema=SCHEMA, orient="row"))
                bar.advance(len(batch))
                if checkpoint and time.monotonic() - saved > pause:
                    begun = time.monotonic()
                    checkpoint(so_far())
                    saved = time.monotonic()
                    pause = max(CHECKPOINT_S, 20 * (saved - begun))  # saving a huge table takes its time
        except KeyboardInterrupt:
            if checkpoint:
                checkpoint(so_far())
            raise
    return so_far()


def measure_batch(uris: list[str]) -> list[Measures]:
    """Measure images one after the other; the unit of work of a process."""
    return [measure_image(uri) for uri in uris]


def measure_image(uri: str) -> Measures:
    """Read, decode and measure one image; of an unreadable one, `unreadable` says why; nothing is raised."""
    try:
        data = read_bytes(uri)
    except ImageError as error:
        return Measures(unreadable=str(error))
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        width, height = image_size(data)
        thumbnail = grey_thumbnail(decode_luma(data, short_side=SHORT_SIDE))
    except ImageError as error:
        return Measures(bytes=len(data), sha256=sha256, unreadable=str(error))
    brightness, contrast, entropy = tones(thumbnail)
    edges, phash = sharpness(np.asarray(thumbnail)), perceptual_hash(thumbnail)
    return Measures(width, height, len(data), sha256, phash, brightness, contrast, edges, entropy)


def grey_thumbnail(luma_HW: Grey) -> Image.Image:
    """Return the luma of an image with its short side shrunk to at most 160 px."""
    grey = Image.fromarray(luma_HW)
    scale = SHORT_SIDE / min(grey.size)
    if scale >= 1:
        return grey
    width, height = (max(1, round(side * scale)) for side in grey.size)
    return grey.resize((width, height), Image.Resampling.BOX)


def tones(grey: Image.Image) -> tuple[float, float, float]:
    """Return mean and standard deviation of luma, each over 255, and its entropy in bits, from the histogram."""
    counts = np.array(grey.histogram(), dtype=np.float64)
    pixels, total, squares = (MOMENTS @ counts).tolist()  # whole numbers below 2**53: exact
    variance = (pixels * squares - total**2) / pixels**2
    seen = counts[counts > 0]
    entropy = math.log2(pixels) - float(np.log2(seen) @ seen) / pixels
    entropy = round(abs(entropy), 4)  # a logarithm's last bits vary
    return total / pixels / 255, variance**0.5 / 255, entropy


def sharpness(grey_HW: Grey) -> float:
    """Return the variance of the 4-neighbour Laplacian over the inner pixels; luma runs from 0 to 255."""
    if min(grey_HW.shape) < 3:
        return 0.0
    height, width = grey_HW.shape
    luma = grey_HW.astype(np.int16).ravel()  # neighbours are steps along one long run, which is quick to add up
    end = luma.size - width
    laplacian = luma[: end - width] + luma[2 * width :]
    laplacian += luma[width - 1 : end - 1]
    laplacian += luma[width + 1 : end + 1]
    laplacian -= luma[width:end] << 2
    inner = laplacian.reshape(height - 2, width)[:, 1:-1]
    flat = inner.astype(np.float64).ravel()  # whole numbers below 2**53: the sums are exact in any order
    squares = float(np.einsum("i,i", flat, flat))  # not flat @ flat: BLAS starts threads, in every worker
    return (flat.size * squares - float(flat.sum()) ** 2) / flat.size**2


# The first 8 rows of the 32-point DCT-II, times 4096 and rounded. Whole numbers below 2**53 are exact in float64,
# whatever the order of the sums, so the hash is the same everywhere.
DCT_8x32: NDArray[np.float64] = np.rint(
    4096 * np.cos(np.pi * (2 * np.arange(32)[None, :] + 1) * np.arange(8)[:, None] / 64)
)


def perceptual_hash(grey: Image.Image) -> int:
    """Return a 64-bit hash that near-duplicates share up to a few bits.

    The thumbnail is squeezed to 32×32 (area averages); of its DCT-II the 8×8 lowest frequencies
    are kept, rows vertical, columns horizontal. Each gives a bit, most significant first: is the coefficient
    greater than the median of the 63 that are not the mean term? A flat image has no structure to hash and
    gives 0 or the mean term's bit alone. Source: Zauner, Implementation and Benchmarking of Perceptual Image
    Hash Functions, 2010, with whole-number arithmetic.
    """
    pixels = np.asarray(grey.resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    coefficients = (DCT_8x32 @ pixels @ DCT_8x32.T).ravel()
    median = np.partition(coefficients[1:], 31)[31]
    return int.from_bytes(np.packbits(coefficients > median).tobytes(), "big")


def _measured(uris: pl.Series, workers: int | None, ray: str | None) -> Iterator[list[Measures]]:
    """Measure the images in order, a batch at a time; an image that kills its process is reported alone."""
    mapped = map_batches(measure_batch, _batches(uris), workers=workers, ray=ray)
    for batch, result in zip(_batches(uris), mapped, strict=True):
        if result is None:
            singles = map_batches(measure_batch, [[uri] for uri in batch], workers=workers, ray=ray, alone=True)
            result = [single[0] if single else Measures(unreadable=WORKER_DIED) for single in singles]
        yield result


def _batches(uris: pl.Series) -> Iterator[list[str]]:
    """Lists of `BATCH`, made when asked for: millions of Python strings would fill the memory."""
    return (part["uri"].to_list() for part in uris.to_frame("uri").iter_slices(BATCH))
