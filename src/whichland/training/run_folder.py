"""Whether a run may begin in a folder, or be resumed there: asked before torch is imported, which takes seconds."""

import os
from pathlib import Path

from whichland.config import build, differences, read_toml
from whichland.errors import UserError
from whichland.training.config import TrainConfig


def first_process() -> bool:
    """Whether this is the first of torchrun's processes, or there is no other."""
    return os.environ.get("RANK", "0") == "0"


def check_folder(out: Path, config: TrainConfig, *, resume: bool) -> None:
    """Raise UserError unless `out` is free, or holds a run with the same settings that is to be resumed."""
    file = out / "config.toml"
    if (out / "bundle").exists():
        raise UserError(f"{out} is a finished run; choose another --out")
    if resume and not file.exists():
        raise UserError(f"{out} holds no run to resume; train without --resume, or give --out the run's folder")
    if file.exists() and not resume:
        raise UserError(f"{out} holds an unfinished run: add --resume to resume it, or choose another --out")
    if file.exists() and (changed := differences(build(TrainConfig, read_toml(file), str(file)), config)):
        raise UserError(f"{out} was started with other settings; resume without: {', '.join(changed)}")
