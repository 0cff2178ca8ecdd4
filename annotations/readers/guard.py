"""Reading in a child process: bytes that crash, hang or exhaust their reader cost one file, not the job."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from schemas.errors import CurateError

if TYPE_CHECKING:  # the command line starts the child before it imports the readers
    from annotations.readers.files import VoteFile

T = TypeVar("T")
P = ParamSpec("P")

START = 120.0
"""Seconds within which a child must have started: it imports the readers."""
IDLE = 60.0
"""Seconds after which a child without work exits."""
ABANDONED = 1.0
"""Seconds that a child has to finish a part that nobody needs."""
IMPORTS = "annotations.platforms.registry"
"""What a child imports before its first task."""
_idle: list[_Child] = []
"""Children without work; usually one, which is used again."""


class ReaderCrash(CurateError):
    """The process that read a file died, took too long or failed."""


def guarded(
    function: Callable[Concatenate[VoteFile, P], Iterable[T]], file: VoteFile, *args: P.args, **kwargs: P.kwargs
) -> Iterator[T]:
    """Yield what ``function(file, …)`` yields, from a child process unless the file is trusted.

    The function must be defined in a module; its arguments and items are pickled. The child prepares one item while
    the caller handles another. Raises ReaderCrash if the child dies, fails, needs more memory than the limit, or more
    time for one item; and the CurateErrors of the function.
    """
    if file.trusted:
        yield from function(file, *args, **kwargs)
        return
    limits = file.limits
    # the child may have another working directory
    objects = tuple(path.absolute() for path in file.objects)
    placed = replace(file, path=file.path.absolute(), objects=objects, name=str(file))
    child = _started((limits.memory_gib, function, (placed, *args), kwargs))
    keep = False
    try:
        while True:
            kind, value = child.answer(str(file), limits.seconds)
            keep = kind != "crash"
            if kind == "item":
                child.pipe.send(None)
                keep = False  # until its answer is received, it cannot take another task
                yield cast("T", value)
            elif kind == "end":
                return
            else:
                raise value
    except GeneratorExit:
        with suppress(EOFError, OSError):
            keep = child.pipe.poll(ABANDONED) and child.pipe.recv()[0] != "crash"
        raise
    finally:
        if keep and not _idle:
            _idle.append(child)
        else:
            child.end()


def start() -> None:
    """Start a child for the tasks to come, so that it imports the readers while the caller does."""
    if not _idle:
        _idle.append(_Child())


def _started(task: tuple[Any, ...]) -> _Child:
    """Return a child to which a task was sent."""
    while _idle:
        with suppress(IndexError, OSError):  # another thread took it, or it was idle for too long
            child = _idle.pop()
            if child.path == sys.path:
                child.pipe.send(task)
                return child
            child.end()
    child = _Child()
    child.pipe.send(task)
    return child


class _Child:
    """One process."""

    def __init__(self) -> None:
        self.path = list(sys.path)  # which decides what the child imports
        self.pipe, theirs = Pipe()
        # A new interpreter: multiprocessing would run the caller's script again, and a fork would copy the locks of
        # the caller's threads. What a crashing library prints is no message for users.
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()  # the process holds the only copy: when it dies, our end reads EOF
        self.ready = False

    def answer(self, file: str, seconds: float) -> tuple[str, Any]:
        """Return the next answer: ("item", it), ("end", None), ("error", a CurateError) or ("crash", a ReaderCrash)."""
        if not self.ready:
            if not self._receives(START):
                raise CurateError(
                    "the process that reads files does not start", hint=f"see: {sys.executable} -c 'import {IMPORTS}'"
                )
            self.ready = True
        hint = "the store is unchanged; repair or omit the file, or keep what was read before with --on-error reject"
        try:
            if not self.pipe.poll(seconds):
                message = f"{file}: no part of it was read within {seconds:g} seconds ([ingest.limits] seconds)"
                return "crash", ReaderCrash(message, hint=hint)
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            code = self.process.wait()
            why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return "crash", ReaderCrash(f"{file}: the process that read it died ({why})", hint=hint)
        return kind, ReaderCrash(f"{file}: its reader failed ({value})", hint=hint) if kind == "crash" else value

    def _receives(self, seconds: float) -> bool:
        try:
            return self.pipe.poll(seconds) and self.pipe.recv() is None
        except (EOFError, OSError):
            return False

    def end(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()


@atexit.register
def end_idle() -> None:
    """End the children without work."""
    while _idle:
        _idle.pop().end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # they are the children of the other process


def serve(descriptor: int) -> None:
    """Run a child process: report that it is ready, then answer tasks until the pipe is closed or nothing is asked.

    A message is a task, or None: the next item of the task before.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent, which kills this process
    __import__(IMPORTS)
    items: Iterator[Any] = iter(())
    with Connection(descriptor) as pipe, suppress(EOFError, OSError):
        pipe.send(None)
        while pipe.poll(IDLE):
            if message := pipe.recv():
                _limit_memory(message[0])
                items = _items(*message[1:])
            answer = _next(items)
            try:
                pipe.send(answer)
            except (MemoryError, RecursionError) as error:  # nothing was sent yet
                pipe.send(("crash", type(error).__name__))


def _items(function: Callable[..., Iterable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    yield from function(*args, **kwargs)


def _next(items: Iterator[Any]) -> tuple[str, Any]:
    try:
        return "item", next(items)
    except StopIteration:
        return "end", None
    except CurateError as error:
        return "error", error
    except MemoryError:
        return "crash", "it needs more memory than [ingest.limits] memory_gib"
    except BaseException as error:  # a panic of polars is no Exception
        return "crash", f"{type(error).__name__}: {error}"


def _limit_memory(gib: float) -> None:
    """Limit the private memory of this process where the system can. An allocation beyond it fails or aborts."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        # Not the address space: allocators and memory maps reserve far more than they use.
        resource.setrlimit(resource.RLIMIT_DATA, (int(gib * 2**30), resource.getrlimit(resource.RLIMIT_DATA)[1]))
