"""whichland serve BUNDLE"""

from pathlib import Path
from typing import Annotated

import typer

from whichland.cli.flags import flags
from whichland.serving.settings import PREFIX, ServeConfig


@flags(ServeConfig, variables=PREFIX)
def serve(
    bundle: Annotated[
        Path, typer.Argument(help="Folder of a trained model.", envvar=f"{PREFIX}BUNDLE", show_envvar=True)
    ],
    config: ServeConfig,
) -> None:
    """Serve a bundle over HTTP: a page for people, an API for programs, and the game.

    Every flag can also be given as a variable of the environment. The page is at /, the schema of the API at
    /openapi.json. SIGTERM and Ctrl-C let what is under way finish.
    """
    from whichland.model.bundle import read_settings

    read_settings(bundle)  # what is no bundle is said before anything slow is imported
    from whichland.serving.server import serve as run

    run(bundle, config)
