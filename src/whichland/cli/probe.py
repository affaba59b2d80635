"""whichland data probe"""

import json as json_format
import sys
from dataclasses import asdict

from whichland.cli.flags import flags
from whichland.cli.manifests import In, Json
from whichland.cli.tables import print_table
from whichland.evaluation.source_probe import ProbeConfig
from whichland.manifest import read


@flags(ProbeConfig)
def probe(config: ProbeConfig, manifest: In, json: Json = False) -> None:
    """Try to tell a photo's source from its file alone; what can be told, a model can learn.

    `header` (size in pixels, encoder settings) is at chance once `merge --harmonise` has written all files. The
    compressed size depends on the picture as well, so it may stay above chance where the pictures differ.
    """
    from whichland.evaluation.source_probe import source_probe

    found = source_probe(read(manifest), config)
    if json:
        print(json_format.dumps(asdict(found), ensure_ascii=False))
        return
    counts = ", ".join(f"{name} {count:,}" for name, count in found.sources.items())
    print(f"{counts} photos in {found.groups:,} groups; {found.unreadable:,} unreadable", file=sys.stderr)
    columns = ("facts", "balanced_accuracy", "low", "high", "chance", "accuracy", "majority", "told_by")
    rows = [
        (r.facts, r.balanced_accuracy, r.low, r.high, r.chance, r.accuracy, r.majority, ", ".join(r.telling))
        for r in found.readings
    ]
    print_table("How often the source is told", columns, rows)
