"""The log of a campaign: events appended in order, many at once to one flush of the disk, read again after any end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import RLock, Thread
from typing import Any

from schemas.errors import CurateError

Event = dict[str, Any]

PROBE = 1 << 16
"""Bytes that must fit on a disk that was full before events are taken again."""


def encode(event: Event) -> bytes:
    """The event's line."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read_events(path: Path) -> Iterator[Event]:
    """The events of a log, which may be written meanwhile: a last line that is not whole is left out.

    Raises CurateError, naming the line, for anything else that is no event or does not follow the one before it.
    """
    seq = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            event = _event(line)
            if event is None or event["seq"] != seq + 1:
                what = "not an event" if event is None else f"its seq is {event['seq']}, not {seq + 1}"
                raise CurateError(f"{path}:{number}: {what}", hint="a log is not to be edited: take back the true one")
            seq += 1
            yield event


def cut_torn(path: Path) -> int:
    """Cut off what a writer that was killed left half written at the end; how many bytes that were."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        good = _whole(file.fileno(), size)
        if good < size:
            file.truncate(good)
            os.fsync(file.fileno())
    return size - good


def _whole(descriptor: int, size: int) -> int:
    """Bytes up to the end of the last line that is an event."""
    tail, start = b"", size
    while start and tail.count(b"\n") < 2:
        step = min(start, 1 << 16)
        start -= step
        tail = os.pread(descriptor, step, start) + tail
    end = tail.rfind(b"\n") + 1
    if end == len(tail) and end:  # lost power may leave a line of zeros
        before = tail.rfind(b"\n", 0, end - 1) + 1
        if _event(tail[before:end]) is None:
            end = before
    return start + end


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    sound = isinstance(event, dict) and all(key in event for key in ("seq", "at", "event"))
    return event if sound else None


class LogWriter:
    """Appends lines to a log from one thread of its own: whatever waits by then goes to the disk with one flush.

    lock: held by whoever submits, so that lines stand in the order in which they were thought of. on_failure: called
    with that lock held where lines could not be written: none of them is there, nor any that was submitted after.
    """

    def __init__(self, path: Path, lock: RLock, on_failure: Callable[[OSError], None]) -> None:
        self.path = path
        self.full = False
        """Lines could not be written, and nobody has found room since."""
        self._lock, self._on_failure = lock, on_failure
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._good = os.fstat(self._file).st_size
        self._queue: SimpleQueue[tuple[bytes, Future[None]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="campaign-log", daemon=True)
        self._thread.start()

    def submit(self, lines: bytes) -> Future[None]:
        """Have the lines written after all that was submitted before. The future is done when the disk holds them.

        Without lines it says when the disk holds what was submitted before. It fails with OSError.
        """
        done: Future[None] = Future()
        self._queue.put((lines, done))
        return done

    def has_room(self) -> bool:
        """Try whether the disk takes something again; whether it does."""
        probe = self.path.with_name(f".{self.path.name}.probe")
        try:
            with probe.open("wb") as file:
                file.write(bytes(PROBE))
                file.flush()
                os.fsync(file.fileno())
            self.full = False
        except OSError:
            self.full = True
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        return not self.full

    def close(self) -> None:
        """Write what is waiting, and end."""
        self._queue.put(None)
        self._thread.join()
        os.close(self._file)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            waiting = [first, *self._drained()]
            last = waiting[-1] is None
            parts = [part for part in waiting if part is not None]
            try:
                self._write(b"".join(lines for lines, _ in parts))
            except OSError as error:
                self._fail(error, [done for _, done in parts])
            else:
                for _, done in parts:
                    done.set_result(None)
            if last:
                return

    def _drained(self) -> Iterator[tuple[bytes, Future[None]] | None]:
        with suppress(Empty):
            while True:
                part = self._queue.get_nowait()
                yield part
                if part is None:
                    return

    def _write(self, lines: bytes) -> None:
        if not lines:
            return
        if os.fstat(self._file).st_size != self._good:  # a failure that could not be cleared away when it happened
            os.ftruncate(self._file, self._good)
        left = memoryview(lines)
        while left:
            left = left[os.write(self._file, left) :]
        os.fsync(self._file)
        self._good += len(lines)

    def _fail(self, error: OSError, waiting: list[Future[None]]) -> None:
        with self._lock:
            self.full = True
            with suppress(OSError):
                os.ftruncate(self._file, self._good)
                os.fsync(self._file)
            parts = list(self._drained())
            if parts and parts[-1] is None:
                self._queue.put(None)
            waiting += [part[1] for part in parts if part is not None]
            self._on_failure(error)
        for done in waiting:
            done.set_exception(error)
