"""whichland data geocode"""

import sys

from whichland.cli.flags import flags
from whichland.cli.manifests import In, Json, Out, finish
from whichland.curate.geocode import GeocodeConfig
from whichland.manifest import read


@flags(GeocodeConfig)
def geocode(config: GeocodeConfig, manifest: In, out: Out, json: Json = False) -> None:
    """Look up each photo's country by its coordinates; find labels that disagree, and swapped coordinates."""
    from whichland.curate.geocode import geocode as run

    table = run(read(manifest), config)
    found = table.history[-1].params["found"]
    print(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in found.items()), file=sys.stderr)
    finish(table, out, json)
