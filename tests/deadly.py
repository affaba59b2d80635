"""Work that kills its process, in a module that imports little: each death costs a worker its imports."""

import os
import signal
from pathlib import Path


def deadly_at_first(batch: tuple[int, str]) -> int:
    number, marker = batch
    if number == 3 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 10


def always_deadly(batch: int) -> int:
    if batch == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch * 10
