"""Keep freed memory in the process, so that large tensors do not fault in every page anew at each step.

It changes the whole process, so the command line and the service call it, and no function of the library does.
"""

import sys

# glibc's malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Make glibc serve large blocks from its heap and never give them back; elsewhere do nothing.

    By default glibc maps each large block from the kernel and unmaps it when freed. Activations are such blocks:
    on a virtual machine, faulting their pages in again at every step took a third to a half of a training step.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, 2**26)
