"""Small photos for the tests of the origins: as bytes, in folders, in archives."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(shade: int = 100, exif: Image.Exif | None = None) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(np.full((16, 24, 3), shade, np.uint8))
    picture.save(buffer, "JPEG", **({"exif": exif} if exif else {}))
    return buffer.getvalue()


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg())
    return folder


def archive(path: Path, members: Iterable[str]) -> Path:
    """Zip photos without compressing them again, as data sets do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for shade, name in enumerate(members, start=10):
            file.writestr(name, jpeg(shade))
    return path
