"""The log of a campaign: events appended in order, many at once to one flush of the disk, read again after any end."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock, RLock
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
    """Appends lines to a log: whoever waits first writes what all have submitted by then, with one flush of the disk.

    lock: held by whoever submits, and never while waiting, so that lines stand in the order in which they were thought
    of. on_failure: called with that lock held where lines could not be written: none of them is there, nor any that
    was submitted after. If it raises, nothing is written any more: what comes next would not follow what is there.
    """

    def __init__(self, path: Path, lock: RLock, on_failure: Callable[[OSError], None]) -> None:
        self.path = path
        self.full = False
        """Lines could not be written, and nobody has found room since."""
        self.dead = False
        """Nor did ``on_failure`` come out: nothing is written any more."""
        self._lock, self._on_failure = lock, on_failure
        self._writing = Lock()
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._good = os.fstat(self._file).st_size
        self._waiting: list[bytes] = []
        self._submitted = self._settled = 0
        """How many submissions there were, and of how many it is known whether the disk holds them."""
        self._failed: list[tuple[int, int, OSError]] = []
        """(after, to, why) of submissions that were lost."""

    def submit(self, lines: bytes) -> int:
        """Have the lines written after all that was submitted before; what to ``wait`` for.

        Without lines: what to wait for until the disk holds what was submitted before.
        """
        if lines:
            self._waiting.append(lines)
            self._submitted += 1
        return self._submitted

    def wait(self, submission: int) -> None:
        """Return once the disk holds it, and all before it. Raises OSError where it is lost."""
        if submission > self._settled:
            with self._writing:
                if submission > self._settled:
                    self._settle()
        for after, to, error in self._failed:
            if after < submission <= to:
                raise error

    def _settle(self) -> None:
        with self._lock:
            lines, upto = b"".join(self._waiting), self._submitted
            self._waiting = []
        try:
            self._write(lines)
        except OSError as error:
            with self._lock:
                self.full = True
                with suppress(OSError):
                    os.ftruncate(self._file, self._good)
                    os.fsync(self._file)
                upto, self._waiting = self._submitted, []
                self._failed.append((self._settled, upto, error))
                self._settled, self.dead = upto, True
                self._on_failure(error)
                self.dead = False
        self._settled = upto

    def has_room(self) -> bool:
        """Try whether the disk takes something again; whether it does."""
        if self.dead:
            return False
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
        with suppress(OSError):
            self.wait(self._submitted)
        with self._writing:
            os.close(self._file)
            self._file = -1  # who comes too late must not write to what has this number next

    def _write(self, lines: bytes) -> None:
        if self.dead:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self.path))
        if os.fstat(self._file).st_size != self._good:  # a failure that could not be cleared away when it happened
            os.ftruncate(self._file, self._good)
        left = memoryview(lines)
        while left:
            left = left[os.write(self._file, left) :]
        os.fsync(self._file)
        self._good += len(lines)
