"""The engine ``local``: worker processes of this machine, forked from a server that has loaded the function."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import numpy as np

from curate.engine.fork_server import Forked, fork
from curate.engine.pool import Engine, WorkerDied, call


class _Process(NamedTuple):
    """One worker process, and our end of its pipe."""

    process: Forked
    pipe: Connection


class LocalEngine(Engine):
    """Worker processes of this machine."""

    def _start(self, function: bytes) -> _Process:
        ours, theirs = Pipe()
        with theirs:
            return _Process(fork(theirs.fileno(), function), ours)

    def _give(self, handle: _Process, argument: Any) -> None:
        try:
            handle.pipe.send(argument)
        except OSError as error:
            raise WorkerDied(str(error)) from error

    def _ready(self, handles: list[_Process], timeout: float) -> list[_Process]:
        ready = wait([handle.pipe for handle in handles], timeout)
        return [handle for handle in handles if handle.pipe in ready]

    def _result(self, handle: _Process) -> Any:
        try:
            return _receive(handle.pipe)
        except (EOFError, OSError) as error:
            raise WorkerDied(f"exit code {handle.process.wait()}") from error

    def _end(self, handle: _Process) -> None:
        handle.process.kill()
        handle.process.wait()
        handle.pipe.close()

    def _start_hint(self) -> str:
        return f"see the error of: {sys.executable} -c 'import curate.engine.local'"


def serve(descriptor: int, function: Callable[[Any], Any]) -> None:
    """Run a worker process: report over the pipe that it is ready, then answer parts until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent, which kills this process
    with Connection(descriptor) as pipe, suppress(EOFError, BrokenPipeError):
        _send(pipe, None)
        while True:
            _send(pipe, call(function, pipe.recv()))


def _send(pipe: Connection, answer: Any) -> None:
    """Send an answer; the contents of its arrays follow as they are in memory."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(answer, protocol=5, buffer_callback=arrays.append)
    contents = [array.raw() for array in arrays]
    pipe.send((head, [content.nbytes for content in contents]))
    for content in contents:
        while content:
            content = content[os.write(pipe.fileno(), content) :]


def _receive(pipe: Connection) -> Any:
    """The answer that ``_send`` sent. Raises EOFError where the process died."""
    head, sizes = pipe.recv()
    arrays = [np.empty(size, dtype=np.uint8) for size in sizes]
    for array in arrays:
        content = array.data
        while content:
            if not (received := os.readv(pipe.fileno(), [content])):
                raise EOFError
            content = content[received:]
    return pickle.loads(head, buffers=arrays)
