"""What a bundle keeps about the files that were exported from it: whichland.json, under "export".

{"opset": 20, "metadata": {…}, "files": {"model.onnx": {"sha256": …, "difference": …}, …}, "openvino": {…}}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whichland.errors import UserError
from whichland.model.bundle import WEIGHTS, read_settings
from whichland.model.exported import check_file, metadata_of
from whichland.model.info import Info, read_info, update_info
from whichland.whole_file import file_sha256


def read_record(folder: Path) -> dict[str, Any]:
    """The record of what was exported; one without files when nothing was."""
    return {"files": {}, **(read_info(folder).export or {})}


def keep_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record into whichland.json, whole or not at all."""
    update_info(folder, Info(export=dict(record)), "export")


def facts_of(folder: Path) -> dict[str, str]:
    """What the exported files say of themselves: labels, preprocessing, temperature, licence, origin.

    Raises UserError when the folder is no bundle.
    """
    read = read_settings(folder)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder / WEIGHTS} is missing; only a bundle with its weights can be exported")
    return metadata_of(read.space.codes, read.preprocess) | {
        "architecture": str(read.config.get("architecture")),
        "temperature": str(read.info.temperature),
        "weights_license": read.config["pretrained_cfg"].get("license") or "not stated",
        "weights_sha256": file_sha256(folder / WEIGHTS),
        "made_by": f"whichland {read.info.version}".strip(),
    }


def up_to_date(folder: Path, name: str, record: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    """Tell whether a file was exported from the bundle as it is now, and has not changed since."""
    if record.get("metadata") != facts:
        return False
    try:
        check_file(folder / name, record)
    except UserError:
        return False
    return True
