"""What makes a training step fast on a CPU: precision, memory layout, and keeping freed memory.

    .venv/bin/python benchmarks/step.py --arch mobilenetv2_100 --size 224

Photos a second of forward and backward (with --forward, of prediction), each variant in turns; with glibc's
default allocator and with ours, each in a process of its own, in turns as well. The last column is the rate over
plain fp32's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

VARIANTS = {"fp32": (False, False), "fp32, channels last": (False, True), "bf16, channels last": (True, True)}


def measure(arch: str, size: int, batch: int, turns: int, forward: bool) -> dict[str, float]:
    """Median photos a second of each variant in this process."""
    import torch

    from whichland.model import backbone

    made = {
        name: backbone.create(arch, 22, weights="none", size=size).model.train().to(memory_format=layout)
        for name, (_, last) in VARIANTS.items()
        for layout in [torch.channels_last if last else torch.contiguous_format]
    }
    x, targets = torch.randn(batch, 3, size, size), torch.randint(0, 22, (batch,))
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(turns):
        for name, (bf16, last) in VARIANTS.items():
            given = x.to(memory_format=torch.channels_last) if last else x
            started = time.perf_counter()
            with torch.inference_mode(forward), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = torch.nn.functional.cross_entropy(made[name].train(not forward)(given).float(), targets)
            if not forward:
                loss.backward()
                made[name].zero_grad()
            seconds[name].append(time.perf_counter() - started)
    return {name: batch / statistics.median(times[1:]) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="mobilenetv2_100")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--forward", action="store_true", help="prediction instead of training")
    parser.add_argument("--child", choices=("default", "kept"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        if args.child == "kept":
            from whichland.allocator import keep_freed_memory

            keep_freed_memory()
        print(json.dumps(measure(args.arch, args.size, args.batch, args.turns, args.forward)))
        return
    rates: dict[str, list[float]] = {}
    for allocator in ("default", "kept", "default", "kept"):
        command = [sys.executable, __file__, "--child", allocator, "--arch", args.arch, "--size", str(args.size)]
        command += ["--batch", str(args.batch), "--turns", str(args.turns)]
        command += ["--forward"] if args.forward else []
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for name, rate in found.items():
            rates.setdefault(f"{name}, memory {'kept' if allocator == 'kept' else 'given back'}", []).append(rate)
    plain = statistics.mean(rates["fp32, memory given back"])
    for name, found in sorted(rates.items(), key=lambda item: statistics.mean(item[1])):
        print(f"{name:42} {statistics.mean(found) / plain:5.2f}×  ({statistics.mean(found):.1f} photos/s)")


if __name__ == "__main__":
    main()
