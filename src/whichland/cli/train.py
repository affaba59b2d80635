"""`whichland train`: a manifest goes in, a run folder with a bundle comes out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.main import require_extra

require_extra("train", "torch")
from whichland.train.config import TrainConfig  # noqa: E402


@flags(TrainConfig, recipe=True)
def train(
    manifest: Annotated[Path, typer.Argument(help="Manifest with splits, from `whichland data prepare`.")],
    config: TrainConfig,
    out: Annotated[Path, typer.Option("--out", help="Run folder to make; must not hold another run.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")
    ] = False,
) -> None:
    """Train a model on a manifest; out comes a bundle."""
    from whichland.train.fit import Interrupted
    from whichland.train.run import train as run

    try:
        result = run(manifest, config, out, resume=resume)
    except Interrupted:
        print(f"stopped; go on with the same command and --resume (checkpoint in {out})", file=sys.stderr)
        raise typer.Exit(130) from None
    print(result.bundle)
