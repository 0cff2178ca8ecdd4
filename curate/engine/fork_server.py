"""A process that loads a function once, with all modules it needs, and forks worker processes that inherit it.

A worker then starts within milliseconds, where an import of torch and transformers takes seconds. multiprocessing's own
fork server runs the caller's script again in each process.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

from schemas.errors import CurateError

_server: ForkServer | None = None


@dataclass
class Forked:
    """A forked process, which the server waits for."""

    server: ForkServer
    pid: int
    status: int | None = None
    """The exit status, once it was waited for."""

    def kill(self) -> None:
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """The exit status; negative: the signal that ended it."""
        if self.status is None:
            try:
                self.status = int(self.server.request(("wait", self.pid)))
            except (EOFError, OSError):  # the server died
                self.status = -signal.SIGKILL
        return self.status


class ForkServer:
    """The server process. It ends with the process that started it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._control, theirs = Pipe()
        self._lock = threading.Lock()
        code = f"from curate.engine.fork_server import serve_forks; serve_forks({theirs.fileno()})"
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **threads, "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": search_path()},
        )
        theirs.close()

    @property
    def usable(self) -> bool:
        """Whether it runs and belongs to this process, not to one that this process was forked from."""
        return self.owner == os.getpid() and self._process.poll() is None

    def request(self, request: tuple[str, Any], descriptor: int | None = None) -> Any:
        """The answer to a request. Raises EOFError or OSError where the server has died."""
        with self._lock:
            self._control.send(request)
            if descriptor is not None:
                send_handle(self._control, descriptor, self._process.pid)
            return self._control.recv()


def fork(descriptor: int, function: bytes) -> Forked:
    """A new process that runs ``curate.engine.local.serve`` on a pipe, for a function that ``load`` reads."""
    global _server
    if _server is None or not _server.usable:
        _server = ForkServer()
    try:
        return Forked(_server, _server.request(("fork", function), descriptor))
    except (EOFError, OSError) as error:
        raise CurateError(
            "the process that starts the workers died", hint="see its error above, or free some memory"
        ) from error


def search_path() -> str:
    """PYTHONPATH of a new interpreter that finds the same modules as this one."""
    return os.pathsep.join(filter(None, sys.path))


def serve_forks(descriptor: int) -> None:
    """Run the server: answer requests until the pipe is closed."""
    from curate.engine.local import serve
    from curate.engine.pool import load

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the process that started this one
    loaded: tuple[bytes, Any] = (b"", None)
    for name in ("av", "decord"):  # in this order: see import_decord
        with suppress(ImportError):
            importlib.import_module(name)
    with Connection(descriptor) as control:
        while True:
            try:
                what, value = control.recv()
            except EOFError:
                return
            if what == "wait":
                control.send(os.waitstatus_to_exitcode(os.waitpid(value, 0)[1]))
                continue
            pipe = recv_handle(control)
            if value != loaded[0]:
                loaded = (value, load(value))
            if child := os.fork():
                os.close(pipe)
                control.send(child)
                continue
            control.close()
            try:
                serve(pipe, loaded[1])
            finally:
                os._exit(0)
