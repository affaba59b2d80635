"""`whichland lr-find`: which learning rate suits a manifest, a model and its settings."""

import json as json_format
import sys
from pathlib import Path
from typing import Annotated

import typer

from whichland.cli.flags import flags
from whichland.cli.main import require_extra
from whichland.cli.manifests import Json
from whichland.errors import UserError

require_extra("train", "torch")
from whichland.training.config import TrainConfig  # noqa: E402


@flags(TrainConfig, recipe=True, every=False)
def lr_find(
    manifest: Annotated[Path, typer.Argument(help="Manifest with splits, from `whichland data prepare`.")],
    config: TrainConfig,
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="The picture to write, a PNG.")] = Path(
        "lr-find.png"
    ),
    steps: Annotated[int, typer.Option(min=20, help="Steps of the sweep, a batch each.")] = 100,
    lowest: Annotated[float, typer.Option(help="The rate it begins with.")] = 1e-6,
    highest: Annotated[float, typer.Option(help="The rate it ends with, unless it diverges before.")] = 1.0,
    json: Json = False,
) -> None:
    """Suggest a learning rate: train a copy for a few steps at rising rates and see where the loss falls.

    Give the settings of training as a recipe or a run's config.toml, and by --set. Prints the suggestion for --lr,
    or one line that says why there is none, and draws the losses. Works under torchrun as well.
    """
    from whichland.training.lr_finder import check_sweep, sweep_rates
    from whichland.training.run import prepare

    check_sweep(steps, lowest, highest)  # before the head is fitted, which may take minutes
    fit = prepare(manifest, config, None).fit
    sweep = sweep_rates(fit, steps=steps, lowest=lowest, highest=highest)
    if not fit.accelerator.is_main_process:
        return
    sweep.save(out, lr_now=config.lr)
    if json:
        print(json_format.dumps(sweep.numbers() | {"picture": str(out)}))
    elif sweep.lr is None:
        raise UserError(f"{sweep.reason}; picture: {out}")
    else:
        print(f"{sweep.reason}; picture: {out}", file=sys.stderr)
        print(f"{sweep.lr:.2g}")
