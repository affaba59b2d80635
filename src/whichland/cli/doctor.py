"""whichland doctor"""

import json as json_format
import os
import platform
import re
import sys
from importlib import metadata
from importlib.util import find_spec
from typing import Annotated

import typer

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)[^;]*(;.*extra == ['\"](?P<extra>\w+)['\"])?")


def doctor(json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False) -> None:
    """What is installed, what is missing, what the machine has."""
    found = {"whichland": _versions(), "machine": _machine(), "torch": _torch()}
    if json:
        print(json_format.dumps(found, indent=2))
        return
    for title, lines in found.items():
        print(title)
        for name, value in lines.items():
            print(f"  {name:<20}{value}")


def _versions() -> dict[str, str]:
    """Versions of ourselves, Python and every package that the core and the extras ask for."""
    found = {"version": metadata.version("whichland"), "python": platform.python_version()}
    for line in metadata.requires("whichland") or []:
        wanted = _REQUIREMENT.match(line)
        assert wanted is not None
        extra = f" (extra {wanted['extra']!r}: pip install 'whichland[{wanted['extra']}]')" if wanted["extra"] else ""
        try:
            found[wanted["name"]] = metadata.version(wanted["name"])
        except metadata.PackageNotFoundError:
            found[wanted["name"]] = f"missing{extra}"
    return found


def _machine() -> dict[str, str]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"system": platform.platform(), "cores": f"{usable} usable of {os.cpu_count()}"}
    if sys.platform != "win32":
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["memory"] = f"{total / 2**30:.1f} GiB"
    return found


def _torch() -> dict[str, str]:
    """Threads, devices and bf16, as torch sees them; without torch, that it is missing."""
    if find_spec("torch") is None:
        return {"torch": "missing: training, evaluation and prediction need the extra 'train'"}
    import torch

    found = {"threads": str(torch.get_num_threads())}
    if torch.cuda.is_available():
        for at in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(at)
            found[f"gpu {at}"] = f"{device.name}, {device.total_memory / 2**30:.0f} GiB"
        found["bf16"] = "yes" if torch.cuda.is_bf16_supported() else "no"
    else:
        found["gpu"] = "none"
        # without one of these, bf16 on a CPU is slower than fp32
        fast = [name for name in ("avx512_bf16", "amx_bf16", "bf16") if name in _cpu_flags()]
        found["bf16"] = f"yes ({', '.join(fast)})" if fast else "no instructions for it: fp32 is faster"
    return found


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return set(file.read().split())
    except OSError:  # not Linux
        return set()
