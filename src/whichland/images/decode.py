"""From bytes to pixels, and back: every image that comes in goes through here.

`decode` takes the bytes of a file as found in the wild and gives RGB pixels, or raises `ImageError` with one
line that says why not. JPEG goes through libjpeg-turbo (`simplejpeg`), everything else through Pillow.

What is refused: more than `MAX_BYTES` or the pixel limits below (read from the header, before any pixel is
decoded), formats that photos do not come in, and files of which pixels are missing: a JPEG cut off in the
middle is refused, not filled up with grey. A JPEG of which all pixels are there opens, whatever stray bytes
or odd headers it has. Colour profiles are not applied. Of an animation the first frame is taken. HEIC opens where
the extra `heic` is installed; it is turned as its own boxes say, which is how its standard (ISO/IEC 23008-12) has it.
"""

import ctypes
import io
import logging
import re
import struct
import warnings
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from whichland.images.containers import MAX_BYTES, named
from whichland.images.containers import ImageError as ImageError
from whichland.images.containers import read_bytes as read_bytes
from whichland.images.orientation import ORIENTATION, jpeg_orientation, upright

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels

# What keeps every decode below 1 GB: a progressive JPEG takes 9 bytes a pixel, a WebP with alpha 22.
MAX_JPEG_PIXELS = 80_000_000
MAX_PIXELS = 40_000_000  # of whatever Pillow decodes

# A JPEG is scaled by its decoder, which has no filter, only as long as so many times the pixels that are needed are
# left for the filter of the resampling: docs/decisions/jpeg-scale.md has what other factors do to answers and speed.
FINER = 4

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")

_HEIC = re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)

# Warnings of libjpeg after which every pixel is there all the same.
_HARMLESS = re.compile(r"extraneous bytes before marker|unknown JFIF revision|Unknown Adobe color transform")

# What Pillow and its decoders raise on broken files. This module is the only place that knows.
_PILLOW_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError),
    *(OverflowError, ZeroDivisionError, AssertionError, MemoryError, NotImplementedError, RuntimeError),
    *(struct.error, zlib.error, UnidentifiedImageError, Image.DecompressionBombError),
)

# Pillow warns about broken metadata that is not used here; switching that off per call is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\b")
logging.getLogger("PIL").addHandler(logging.NullHandler())


def decode(data: bytes, *, short_side: int | None = None, finer: int | None = None) -> Pixels:
    """Decode an encoded image to RGB pixels, upright.

    Returns H×W×3 uint8, C-contiguous, EXIF orientation applied, transparency flattened on white, 16-bit
    samples cut to 8. With `short_side`, the pixels that the shorter side is to be resampled to, a JPEG is decoded at
    1/2, 1/4 or 1/8 as long as `finer` times as many are left (`FINER` when None); the result is not resized further.
    (Other scales cost as much as the whole image.) Raises ImageError.
    """
    _check(data)
    least = None if short_side is None else short_side * (FINER if finer is None else finer)
    if data[:3] == b"\xff\xd8\xff":
        return _decode_jpeg(data, least)
    return _decode_with_pillow(data, least)


def decode_luma(data: bytes, *, short_side: int | None = None) -> Pixels:
    """Decode to 8-bit Rec. 601 luma, H×W, upright; as `decode` otherwise, but scaled down to `short_side` itself.

    A JPEG holds its luma as a plane of its own, so this takes about half the time of the colours. What is stored of
    a photo (its perceptual hash, its sharpness) hangs on this scale.
    """
    _check(data)
    if data[:3] == b"\xff\xd8\xff":
        height, width, colour = _jpeg_header(data)
        if colour in ("YCbCr", "Gray"):
            try:
                luma: Pixels = simplejpeg.decode_jpeg(data, colorspace="GRAY", **_least(height, width, short_side))
            except (ValueError, KeyError, MemoryError):
                pass  # `decode` knows what to do with it
            else:
                return upright(luma, jpeg_orientation(data))[:, :, 0]
    return np.asarray(Image.fromarray(decode(data, short_side=short_side, finer=1)).convert("L"))


def image_size(data: bytes) -> tuple[int, int]:
    """Read (width, height) in pixels, upright, from the header alone. Raises ImageError."""
    _check(data)
    if data[:3] == b"\xff\xd8\xff":
        height, width, _ = _jpeg_header(data)
        orientation = jpeg_orientation(data)
    else:
        image = _open(data)
        width, height = image.size
        # Pillow's TIFF reader turns the image itself and has turned its size already.
        orientation = 1 if image.format == "TIFF" else _pillow_orientation(image)
    return (height, width) if orientation >= 5 else (width, height)


def _check(data: bytes) -> None:
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{len(data):,} bytes are over the limit of {MAX_BYTES:,}")


def _check_pixels(width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise ImageError(f"{width}×{height} pixels are over the limit of {limit / 1e6:.0f} million")


def _jpeg_header(data: bytes) -> tuple[int, int, str]:
    """Read (height, width, colour space) and check the pixel limit."""
    try:
        height, width, colour, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except KeyError:
        raise ImageError("broken or truncated JPEG header (no known chroma subsampling)") from None
    except ValueError as error:
        raise ImageError(f"broken or truncated JPEG header ({_one_line(error)})") from None
    _check_pixels(width, height, MAX_JPEG_PIXELS)
    return height, width, colour


def _decode_jpeg(data: bytes, least: int | None) -> Pixels:
    height, width, colour = _jpeg_header(data)
    if colour in ("CMYK", "YCCK"):  # libjpeg-turbo turns these to RGB without undoing Adobe's inversion
        return _decode_with_pillow(data, least)
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, **_least(height, width, least))
    except MemoryError:
        raise ImageError(f"not enough memory for {width}×{height} pixels") from None
    except (ValueError, KeyError) as error:
        return _decode_jpeg_after(_one_line(error), data, least)
    return upright(pixels, jpeg_orientation(data))


def _jpeg_scale(shorter: int, least: int | None) -> int:
    """Choose the largest of 8, 4, 2, 1 to divide by so that the shorter side stays at least `least`."""
    if least is None:
        return 1
    return next((scale for scale in (8, 4, 2) if -(-shorter // scale) >= least), 1)


def _least(height: int, width: int, least: int | None) -> dict[str, Any]:
    """The same for simplejpeg: what the scaled picture is to have at least."""
    scale = _jpeg_scale(min(height, width), least)
    return {"min_height": -(-height // scale), "min_width": -(-width // scale)} if scale > 1 else {}


def _decode_jpeg_after(complaint: str, data: bytes, least: int | None) -> Pixels:
    """Decide on a JPEG that libjpeg complained about: open it if every pixel is there, else raise."""
    if _HARMLESS.search(complaint):
        return _decode_with_pillow(data, least)
    if "Premature end of JPEG file" in complaint:
        try:  # when only the end marker is missing, all pixels are there
            return upright(simplejpeg.decode_jpeg(data + b"\xff\xd9"), jpeg_orientation(data))
        except (ValueError, KeyError):
            raise ImageError("truncated JPEG: the end of the image is missing") from None
    raise ImageError(f"broken JPEG ({complaint})")


@cache
def _silence_libtiff() -> None:
    """Keep libtiff from printing on stderr about every broken file; what matters comes back as an exception.

    Pillow has no switch for it, so libtiff's own is used, in the library that Pillow's wheel brings along.
    """
    site = Path(Image.__file__).parent
    for library in (*site.glob("../pillow.libs/libtiff*"), *site.glob(".dylibs/libtiff*")):
        tiff = ctypes.CDLL(str(library))
        tiff.TIFFSetErrorHandler(None)
        tiff.TIFFSetWarningHandler(None)


@cache
def let_pillow_open_heic() -> bool:
    """Have Pillow open HEIC from now on; whether the extra for it is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _open(data: bytes) -> Image.Image:
    """Open with Pillow, header only, and check the pixel limit."""
    try:
        if data[:2] in (b"II", b"MM"):
            _silence_libtiff()
        heic = _HEIC.match(data) and let_pillow_open_heic()
        image = Image.open(io.BytesIO(data), formats=(*FORMATS, "HEIF") if heic else FORMATS)
    except Image.DecompressionBombError:
        raise ImageError(f"more pixels than the limit of {MAX_PIXELS / 1e6:.0f} million") from None
    except _PILLOW_ERRORS as error:
        raise ImageError(why_not_a_photo(data) or f"not a readable image ({_reason(error)})") from None
    _check_pixels(*image.size, MAX_PIXELS)
    return image


def _decode_with_pillow(data: bytes, least: int | None) -> Pixels:
    image = _open(data)
    try:
        if least is not None and image.format != "HEIF":  # for which Pillow would take a thumbnail in the file
            scale = _jpeg_scale(min(image.size), least)
            image.draft("RGB", (image.width // scale, image.height // scale))  # a no-op for all but JPEG
        image.load()
    except _PILLOW_ERRORS as error:
        raise ImageError(f"broken {image.format} ({_reason(error)})") from None
    return pixels_of(image)  # a TIFF is turned by `load` itself, and has no orientation left afterwards


def pixels_of(image: Image.Image) -> Pixels:
    """The pixels of a Pillow image as `decode` gives those of a file: upright, RGB, 8 bit. Raises ImageError."""
    _check_pixels(*image.size, MAX_PIXELS)
    try:
        return upright(_to_rgb(image), _pillow_orientation(image))
    except ImageError:
        raise
    except _PILLOW_ERRORS as error:
        raise ImageError(f"broken {image.format or 'image'} ({_reason(error)})") from None


def _pillow_orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except _PILLOW_ERRORS:  # broken metadata does not make the pixels unreadable
        return 1
    if isinstance(value, bytes) and len(value) == 1:  # Pillow's form of a BYTE
        value = value[0]
    return value if value in range(1, 9) else 1


def _to_rgb(image: Image.Image) -> Pixels:
    """Turn any of Pillow's modes into H×W×3 uint8."""
    if image.mode == "F":
        raise ImageError("pixels are 32-bit floating point; convert to JPEG or PNG")
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = np.clip(np.asarray(image), 0, 65535) >> 8  # Pillow gives 16-bit grey either way
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _reason(error: BaseException) -> str:
    """Say in one line what Pillow met; its own text only where it helps the reader."""
    if isinstance(error, UnidentifiedImageError):
        return "no known image format"
    if isinstance(error, MemoryError):
        return "not enough memory"
    worded = isinstance(error, (OSError, SyntaxError, ValueError))
    return (worded and _one_line(error)) or type(error).__name__


def load(uri: str, *, short_side: int | None = None) -> Pixels:
    """Read and decode the image at `uri`: `decode(read_bytes(uri))`, the error naming the uri."""
    try:
        return decode(read_bytes(uri), short_side=short_side)
    except ImageError as error:
        raise named(error, uri) from None


# Beginnings of what is often found under a photo's name, and what to say of it.
_CONVERT = "is not supported; convert to JPEG or PNG"
_NOT_A_PHOTO: tuple[tuple[bytes, str], ...] = (
    (rb"version https://git-lfs", "this is a Git LFS pointer, not the image: run `git lfs pull`"),
    (rb"\s*(<!doctype html|<html|<head)", "this is a web page, not an image: download it again"),
    (rb"\s*<(\?xml|svg|Error)", "this is XML, not an image: download it again or convert it to JPEG"),
    (rb"\s*[{\[]\s*[\"{]", "this is JSON, not an image: download it again"),
    (_HEIC.pattern, "broken HEIC"),
    (rb"....ftyp", f"a video, or a format that {_CONVERT}"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", f"format EPS {_CONVERT}"),
    (rb"%PDF", f"format PDF {_CONVERT}"),
    (rb"DDS ", f"format DDS {_CONVERT}"),
    (rb"\x00\x00\x01\x00", f"format ICO {_CONVERT}"),
    (rb"\x00\x00\x02\x00", f"format CUR or TGA {_CONVERT}"),
    (rb".\x01[\x01\x09]|.\x00[\x02\x03\x0a\x0b]\x00", f"format TGA {_CONVERT}"),
    (rb"\x01\xda", f"format SGI {_CONVERT}"),
    (rb"8BPS", f"format PSD {_CONVERT}"),
    (rb"\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  ", f"format JPEG 2000 {_CONVERT}"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", f"format JPEG XL {_CONVERT}"),
    (rb"....[\x11\x12]\xaf", f"format FLI {_CONVERT}"),
    (rb"PK\x03\x04", "this is a zip archive, not an image: unpack it, or name it archive.zip#member"),
)
_STARTS = tuple((re.compile(start, re.DOTALL | re.IGNORECASE), why) for start, why in _NOT_A_PHOTO)


def why_not_a_photo(data: bytes) -> str | None:
    """Say what the bytes are instead of a photo that can be read, and the remedy; None when that is not known."""
    if _HEIC.match(data) and not let_pillow_open_heic():
        return "format HEIC is not supported here: install the extra 'heic', or convert to JPEG or PNG"
    return next((why for start, why in _STARTS if start.match(data)), None)


def encode_jpeg(pixels_HWC: Pixels, quality: int) -> bytes:
    """Encode H×W×3 uint8 RGB as baseline JPEG, 4:2:0; `quality` 1 to 100 scales libjpeg's standard tables.

    Same pixels, same bytes. Nothing else is in the file: at one size and quality all headers are the same to the byte.
    """
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels_HWC), quality, colorspace="RGB", colorsubsampling="420", fastdct=False
    )
    return data


def within(pixels_HWC: Pixels, long_side: int) -> Pixels:
    """The picture as it is, or shrunk so that its longer side has `long_side` pixels."""
    height, width = pixels_HWC.shape[:2]
    scale = long_side / max(height, width)
    if scale >= 1:
        return pixels_HWC
    return shrink(pixels_HWC, (0, 0, width, height), (max(1, round(width * scale)), max(1, round(height * scale))))


def shrink(pixels_HWC: Pixels, box: Box, size: tuple[int, int]) -> Pixels:
    """Resample the part `box` of a picture to `size` (width, height), antialiased (Lanczos, Pillow)."""
    return np.asarray(Image.fromarray(pixels_HWC).resize(size, Image.Resampling.LANCZOS, box=box))
