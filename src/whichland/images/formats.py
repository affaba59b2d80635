"""What a photo is called, and what a file is that bears such a name and is none, with what to do about it."""

import re

# Formats that cannot be decoded are here too, so that they are reported, not ignored.
PHOTO_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"),
        *(".heic", ".heif", ".jp2", ".j2k", ".jxl", ".ppm", ".pgm"),
    )
)

# Folders in which systems keep thumbnails and what was thrown away: of Synology, QNAP, Windows, macOS and Linux.
SYSTEM_FOLDERS = frozenset(
    (
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "@sharebin", "lost+found"),
        *("$recycle.bin", "recycler", "recycled", "system volume information", "__macosx"),
    )
)


def passed_over(name: str) -> bool:
    """Tell whether a file or folder is not the user's own: hidden by a dot, or put there by a system."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


# Beginnings of what is often found under a photo's name, and what to say of it.
_CONVERT = "is not supported; convert to JPEG or PNG"
_NOT_A_PHOTO: tuple[tuple[bytes, str], ...] = (
    (rb"version https://git-lfs", "this is a Git LFS pointer, not the image: run `git lfs pull`"),
    (rb"\s*(<!doctype html|<html|<head)", "this is a web page, not an image: download it again"),
    (rb"\s*<(\?xml|svg|Error)", "this is XML, not an image: download it again or convert it to JPEG"),
    (rb"\s*[{\[]\s*[\"{]", "this is JSON, not an image: download it again"),
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", f"format HEIC {_CONVERT}"),
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
    return next((why for start, why in _STARTS if start.match(data)), None)
