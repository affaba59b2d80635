"""`whichland train`: a manifest goes in, a run folder with a bundle comes out."""

import sys
from pathlib import Path
from signal import SIG_IGN, SIGTERM, default_int_handler, signal
from typing import Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.main import require_extra
from whichland.errors import UserError

require_extra("train", "torch")
from whichland.training.config import TrainConfig  # noqa: E402


@flags(TrainConfig, recipe=True)
def train(
    manifest: Annotated[Path, typer.Argument(help="Manifest with splits, from `whichland data prepare`.")],
    config: TrainConfig,
    out: Annotated[Path, typer.Option("--out", help="Run folder to make; must not hold another run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")] = False,
) -> None:
    """Train a model on a manifest; out comes a bundle."""
    from accelerate import PartialState

    from whichland.training.run import train as run
    from whichland.training.stopping import Interrupted, ProcessLost, first_to_say

    def end(code: int, *why: str) -> typer.Exit:
        """Say why, in one of the job's processes."""
        signal(SIGTERM, SIG_IGN)  # torchrun stops the others while they say it
        if first_to_say():
            saved = (out / "checkpoint" / "last.pt").exists()
            where = f"checkpoint in {out}" if saved else "nothing is saved yet"
            print(*why, f"go on with the same command and --resume ({where})", file=sys.stderr)
        return typer.Exit(code)

    signal(SIGTERM, default_int_handler)  # before and after the steps, which have their own
    try:
        result = run(manifest, config, out, resume=resume)
    except (Interrupted, KeyboardInterrupt):
        raise end(130, "stopped;") from None
    except ProcessLost:
        raise end(1, "whichland: a process of this job has ended before its time;") from None
    except UserError:
        if first_to_say():
            raise
        raise typer.Exit(2) from None
    if PartialState().is_main_process:
        print(result.bundle)
