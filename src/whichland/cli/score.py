"""whichland data score"""

from whichland.cli.flags import flags
from whichland.cli.output import In, Json, Out, finish, say
from whichland.manifest import Manifest, read, write
from whichland.model.street import ScoreConfig


@flags(ScoreConfig)
def score(config: ScoreConfig, manifest: In, out: Out, json: Json = False) -> None:
    """Score how like a street outdoors each photo is, 0 to 1; only rows that have no score are read.

    `whichland data clean --min-street` then says from which score on a photo is kept. Interrupted, the same
    command on the file that it wrote resumes.
    """
    from whichland.model.street import score as run

    def checkpoint(so_far: Manifest) -> None:
        write(so_far, out)

    try:
        finish(run(read(manifest), config, checkpoint=checkpoint), out, json)
    except KeyboardInterrupt:
        say(f"what is scored is in {out}: score that file to resume")
        raise
