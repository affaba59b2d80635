"""One photo, however it is given: a path, a web address, a file's bytes, a Pillow image, or an array of pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whichland.images.containers import ImageError, is_address, named, read_bytes
from whichland.images.decode import MAX_PIXELS, Pixels, decode, image_size, pixels_of

if TYPE_CHECKING:
    from whichland.images.fetch import Fetcher

PhotoLike = str | Path | bytes | bytearray | memoryview | Image.Image | NDArray[np.uint8]
Fetch = Callable[[str], bytes]
T = TypeVar("T")

XMP_BYTES = 1 << 18  # the start of a file, where its XMP lies


@dataclass(frozen=True, kw_only=True)
class OpenPhoto:
    """A photo whose bytes or pixels are there; what raises ImageError names its path."""

    path: str | None  # or web address; None where the photo itself was given
    data: bytes  # the encoded file; empty where pixels were given
    pixels: Pixels | None
    xmp: bytes  # where XMP may stand

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, upright. Raises ImageError."""
        if self.pixels is not None:
            return self.pixels.shape[1], self.pixels.shape[0]
        return self._named(lambda: image_size(self.data))

    def decode(self, short_side: int | None = None) -> Pixels:
        """The photo's pixels, see `images.decode.decode`. Raises ImageError."""
        if self.pixels is not None:
            return self.pixels
        return self._named(lambda: decode(self.data, short_side=short_side))

    def _named(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except ImageError as error:
            raise (error if self.path is None else named(error, self.path)) from None


def is_photo(given: object) -> TypeGuard[PhotoLike]:
    """Whether this is one photo, not several."""
    return isinstance(given, str | Path | bytes | bytearray | memoryview | Image.Image | np.ndarray)


def open_photo(given: PhotoLike, fetch: Fetch | None = None) -> OpenPhoto:
    """Read a photo's bytes, or take its pixels. Raises ImageError.

    A text is a path, `shard.parquet#row`, `archive.zip#member` or a web address, which `fetch` reads (a
    `Fetcher` of this process when None). An array is H×W×3 uint8, RGB.
    """
    if isinstance(given, str | Path):
        path = str(given)
        data = (fetch or _fetcher().fetch)(path) if is_address(path) else read_bytes(path)
        return OpenPhoto(path=path, data=data, pixels=None, xmp=data[:XMP_BYTES])
    if isinstance(given, Image.Image):
        xmp = given.info.get("xmp", b"")
        return OpenPhoto(path=None, data=b"", pixels=pixels_of(given), xmp=xmp if isinstance(xmp, bytes) else b"")
    if isinstance(given, np.ndarray):
        if given.ndim != 3 or given.shape[2] != 3 or given.dtype != np.uint8 or not given.size:
            shape = "×".join(map(str, given.shape))
            raise ImageError(f"an array {shape} of {given.dtype}: a photo is height × width × 3 of uint8, RGB")
        if given.shape[0] * given.shape[1] > MAX_PIXELS:
            raise ImageError(f"an array of more than {MAX_PIXELS / 1e6:.0f} million pixels")
        return OpenPhoto(path=None, data=b"", pixels=np.ascontiguousarray(given), xmp=b"")
    data = bytes(given)
    return OpenPhoto(path=None, data=data, pixels=None, xmp=data[:XMP_BYTES])


@cache
def _fetcher() -> "Fetcher":
    from whichland.images.fetch import Fetcher  # imports an HTTP client

    return Fetcher()
