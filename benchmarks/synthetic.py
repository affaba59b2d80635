"""How many scenes of the synthetic world are rendered and written a second.

.venv/bin/python benchmarks/synthetic.py [--scenes 480]
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from whichland.sources.synthetic.files import encode_jpeg, write
from whichland.sources.synthetic.world import WorldConfig, render


def main() -> None:
    """Print CPU time a scene in one process, then scenes a second with every core, start-up included."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=480)
    scenes = parser.parse_args().scenes
    config = WorldConfig(scenes=scenes)
    for index in range(20):  # grow the trees and the noise
        render(config, index)
    start = time.process_time()
    for index in range(100, 200):
        encode_jpeg(render(config, index).image, [0, index])
    print(f"one process: {(time.process_time() - start) * 10:.1f} ms of CPU a scene at 256x192, JPEG included")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write(config, Path(folder), progress=False)
        taken = time.perf_counter() - start
    print(f"{cores} cores: {scenes / taken:.1f} scenes/s written with masks, {taken:.1f} s for {scenes}")


if __name__ == "__main__":
    main()
