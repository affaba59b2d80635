"""A stand-in for answering a shard, in a module that imports little: each death costs a worker its imports."""

import os
import signal

from whichland.bulk.rows import Row
from whichland.bulk.run import Shard


def deadly(shard: Shard) -> list[Row]:
    """Answer a shard; a certain photo in it kills the process."""
    if any("0005" in photo for photo in shard.photos):
        os.kill(os.getpid(), signal.SIGKILL)
    return [{"path": photo, "error": None} for photo in shard.photos]
