"""Several processes that answer at one address, each started anew when it dies.

uvicorn's own manager asks its workers in turn whether they are well, and when one is killed while it is asked,
waits for the answer first: with the patience that a slow start needs, half a minute went by until it was replaced.
This one waits for what ends.
"""

import logging
import signal
import time
from collections.abc import Callable
from multiprocessing import allow_connection_pickling, get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from uvicorn.config import STARTUP_FAILURE

from whichland.errors import UserError

LOG = logging.getLogger("whichland.workers")
LOOK_S = 0.5  # at most until a signal is noticed
SHORT_LIFE_S = 5.0  # one that lived no longer is not replaced before so much time has passed


def run_workers(count: int, work: Callable[[], None]) -> None:
    """Keep `count` processes at `work` until SIGTERM or Ctrl-C, then let them finish; `work` must be picklable.

    Raises UserError when one ends with uvicorn's exit code for a start that failed, as others would.
    """
    allow_connection_pickling()  # the socket goes along
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: told.append(number))
    workers = [_start(work) for _ in range(count)]
    failed = False
    while not (told or failed):
        wait([worker.sentinel for worker, _ in workers], LOOK_S)
        for at, (worker, started) in enumerate(workers):
            if told or worker.is_alive():
                continue
            if worker.exitcode == STARTUP_FAILURE:
                failed = True
                break
            LOG.warning("a worker ended (exit code %s); another one takes its place", worker.exitcode)
            time.sleep(max(0.0, SHORT_LIFE_S - (time.monotonic() - started)) if not told else 0)
            workers[at] = _start(work)
    for worker, _ in workers:
        worker.terminate()
    for worker, _ in workers:
        worker.join()
    if failed:
        raise UserError("no worker could be started; the reason stands above")


def _start(work: Callable[[], None]) -> tuple[SpawnProcess, float]:
    worker = get_context("spawn").Process(target=work)
    worker.start()
    return worker, time.monotonic()
