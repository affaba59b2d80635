"""What a bundle keeps about the files that were exported from it: whichland.json, under "export".

{"opset": 20, "metadata": {…}, "files": {"model.onnx": {"sha256": …, "difference": …}, …}, "openvino": {…}}
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whichland.errors import UserError
from whichland.model.bundle import json_text, read_json, read_settings
from whichland.model.onnx_engine import check_file, metadata_of
from whichland.whole_file import whole_file


def read_record(folder: Path) -> dict[str, Any]:
    """The record of what was exported; one without files when nothing was."""
    record: dict[str, Any] = read_json(folder, "whichland.json").get("export") or {}
    return {"files": {}, **record}


def keep_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record into whichland.json, whole or not at all."""
    info = read_json(folder, "whichland.json") | {"export": record}
    with whole_file(folder / "whichland.json") as partial:
        partial.write_text(json_text(info), encoding="utf-8")


def facts_of(folder: Path) -> dict[str, str]:
    """What the exported files say of themselves: labels, preprocessing, temperature, licence, origin.

    Raises UserError when the folder is no bundle.
    """
    config, info, labels, preprocess = read_settings(folder)
    if not (folder / "model.safetensors").is_file():
        raise UserError(f"{folder}/model.safetensors is missing; only a bundle with its weights can be exported")
    return metadata_of(labels, preprocess) | {
        "architecture": str(config.get("architecture")),
        "temperature": str(float(info.get("temperature", 1.0))),
        "weights_license": config["pretrained_cfg"].get("license") or "not stated",
        "weights_sha256": sha256(folder / "model.safetensors"),
        "made_by": f"whichland {info.get('version', '')}".strip(),
    }


def up_to_date(folder: Path, name: str, record: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    """Tell whether a file was exported from the bundle as it is now, and has not changed since."""
    if record.get("metadata") != facts:
        return False
    try:
        check_file(folder / name, {"export": record})
    except UserError:
        return False
    return True


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
