"""What looks on while a run trains: the run's page, and event files for TensorBoard."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whichland.training.config import TrainConfig
from whichland.training.fit import Fit
from whichland.training.run_page import RunPage, State
from whichland.training.stopping import Interrupted
from whichland.training.tensorboard import EventFiles


@contextmanager
def watching(fit: Fit, config: TrainConfig, out: Path) -> Iterator[None]:
    """Within, the main process keeps out/index.html up to date; at the end the page says how the run ended."""
    if not fit.accelerator.is_main_process:
        yield
        return
    loader = fit.loader
    page = RunPage(
        out, config, steps=loader.steps, batch_size=loader.batch_size, photos=loader.own_of or len(loader.photos)
    )
    fit.watchers.append(page)
    events = None
    if config.tensorboard:
        done = fit.position.epoch * loader.steps + fit.position.step
        events = EventFiles(out, steps=loader.steps, done=done)
        fit.watchers.append(events)
    state: State = "failed"
    try:
        yield
        state = "finished"
    except (Interrupted, KeyboardInterrupt):
        state = "stopped"
        raise
    finally:
        page.write(state)
        if events is not None:
            events.close()
