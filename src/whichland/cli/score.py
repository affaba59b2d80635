"""whichland data score"""

import sys

from whichland.cli.flags import flags
from whichland.cli.main import require_extra
from whichland.cli.manifests import In, Json, Out, finish
from whichland.manifest import Manifest, read, write

require_extra("train", "torch")
from whichland.model.street import ScoreConfig  # noqa: E402


@flags(ScoreConfig)
def score(config: ScoreConfig, manifest: In, out: Out, json: Json = False) -> None:
    """Score how like a street outdoors each photo is, 0 to 1; only rows that have no score are looked at.

    `whichland data clean --min-street` then tells from which score on a photo is kept. Interrupted, the same
    command on the file that it wrote goes on.
    """
    from whichland.model.street import score as run

    def checkpoint(so_far: Manifest) -> None:
        write(so_far, out)

    try:
        finish(run(read(manifest), config, checkpoint=checkpoint), out, json)
    except KeyboardInterrupt:
        print(f"what is scored is in {out}: score that file to go on", file=sys.stderr)
        raise
