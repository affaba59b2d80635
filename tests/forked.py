"""Processes of the tests that need torch: forked from one that has imported it, as importing takes most of their time.

`run([...])` is `subprocess.run([sys.executable, *words], capture_output=True, text=True)` for `-m MODULE` and for a
script, `Started([...])` such a process that is waited for later, and `torchrun(2, [...])` the same for each of two
processes that find one another as under torchrun. Each is a process of its own, with its own arguments, environment,
folder, streams and exit code.

What is tested by the imports themselves, by torchrun itself or by the environment that a library reads while it is
imported needs a fresh Python: `subprocess`.
"""

import atexit
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn

Words = Sequence[object]
IMPORTED = (
    "timm",
    "whichland.training.run",
    "whichland.evaluation.report",
    "whichland.explanation.explain",
    "whichland.cli.main",
)


class Started:
    """A process that is under way."""

    def __init__(self, words: Words, *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self.words = [str(word) for word in words]
        environment = dict(os.environ if env is None else env)
        order = json.dumps({"words": self.words, "env": environment, "cwd": str(cwd or Path.cwd())}).encode()
        self._said = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - `wait` closes them
        self._status, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(_parent(), [order], [*(stream.fileno() for stream in self._said), theirs.fileno()])
        self.pid = int(_line(self._status, 60))

    def send_signal(self, number: int) -> None:
        """As `kill` does."""
        os.kill(self.pid, number)

    def wait(self, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """How it ended, and what it said. Raises TimeoutExpired, and then kills it."""
        command = [sys.executable, *self.words]
        with self._status, self._said[0] as out, self._said[1] as err:
            try:
                code = int(_line(self._status, timeout))
            except TimeoutError:
                self.send_signal(signal.SIGKILL)
                raise subprocess.TimeoutExpired(command, timeout) from None
            for stream in (out, err):
                stream.seek(0)
            return subprocess.CompletedProcess(command, code, out.read().decode(), err.read().decode())


def run(
    words: Words, *, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS…` to its end. Raises TimeoutExpired, and then kills it."""
    return Started(words, cwd=cwd, env=env).wait(timeout)


def torchrun(
    processes: int, words: Words, *, env: Mapping[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run `torchrun --nproc_per_node PROCESSES WORDS…`; what they say is joined, the exit code is that of the worst."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    shared |= {"LOCAL_WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    each = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"} for rank in range(processes)]
    base = dict(os.environ if env is None else env)
    started = [Started(words, env=base | shared | own) for own in each]
    done = [process.wait(timeout) for process in started]
    worst = max((one.returncode for one in done), key=abs)
    said = "".join(one.stdout for one in done), "".join(one.stderr for one in done)
    return subprocess.CompletedProcess(done[0].args, worst, *said)


def _line(status: socket.socket, timeout: float) -> str:
    """The next line from a process's guardian."""
    status.settimeout(timeout)
    found = b""
    while not found.endswith(b"\n"):
        part = status.recv(1)
        assert part, "the process that forks the others has ended"
        found += part
    return found.decode().strip()


@cache
def _parent() -> socket.socket:
    """Start the process that has imported everything; gives the socket that takes orders."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, __file__, str(theirs.fileno())]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait(20)

    atexit.register(end)
    return ours


# ---- in the process that forks


def _serve(orders: socket.socket) -> None:
    """Fork a guardian for every order, which forks the process, says its number, and then how it ended."""
    for name in IMPORTED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guardians are nobody's to wait for
    while True:
        select.select([orders], [], [])
        order, descriptors, _, _ = socket.recv_fds(orders, 1 << 20, 3)
        if not order:
            return
        if os.fork() == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _guard(json.loads(order), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _guard(order: dict[str, object], out: int, err: int, status: int) -> None:
    pid = os.fork()
    if pid == 0:
        os.close(status)
        os.dup2(out, 1)
        os.dup2(err, 2)
        _become(**order)  # type: ignore[arg-type]
    os.write(status, f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(status, f"{code}\n".encode())
    os._exit(0)


def _become(words: list[str], env: dict[str, str], cwd: str) -> NoReturn:
    """Be `python WORDS…`.

    It ends as Python does, but for taking apart every module, which takes longer than most of the commands.
    """
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    random.seed()
    code: object = 0
    try:
        if words[0] == "-m":
            sys.argv, sys.path[0] = words[1:], cwd
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
