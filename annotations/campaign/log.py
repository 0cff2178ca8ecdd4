"""The event log of a campaign: one JSON object per line, written with group commits and readable while it grows."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, RLock
from typing import Any

from schemas.errors import CurateError

Event = dict[str, Any]

PROBE_BYTES = 1 << 16
"""Free space that a full disk must have again before events are accepted."""
GRACE = 60.0
"""Seconds beyond ``undo_minutes`` after which a vote is final: a late undo may still be on its way to the log."""


def seconds_of(time: str) -> float:
    """Seconds since 1970 of an ISO 8601 time."""
    return datetime.fromisoformat(time).timestamp()


def iso(time: float) -> str:
    """ISO 8601, UTC, of seconds since 1970, to the millisecond."""
    return datetime.fromtimestamp(round(time, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(event: Event) -> bytes:
    """The line of an event."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _decode(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    valid = isinstance(event, dict) and all(key in event for key in ("seq", "at", "event"))
    return event if valid else None


def read_events(path: Path) -> Iterator[Event]:
    """The events of a log, which another process may be writing: an incomplete last line is ignored.

    Raises CurateError, with the line number, for any other line that is not an event or has a wrong ``seq``.
    """
    seq = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            event = _decode(line)
            if event is None or event["seq"] != seq + 1:
                what = "not an event" if event is None else f"its seq is {event['seq']}, expected {seq + 1}"
                hint = "the log must not be edited: restore the original file"
                raise CurateError(f"{path}:{number}: {what}", hint=hint)
            seq += 1
            yield event


def truncate_incomplete(path: Path) -> int:
    """Remove an incomplete last line that a killed writer left; return the number of bytes removed."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        complete = _complete_bytes(file.fileno(), size)
        if complete < size:
            file.truncate(complete)
            os.fsync(file.fileno())
    return size - complete


def _complete_bytes(descriptor: int, size: int) -> int:
    """Bytes up to the end of the last line that is an event."""
    tail, start = b"", size
    while start and tail.count(b"\n") < 2:
        step = min(start, 1 << 16)
        start -= step
        tail = os.pread(descriptor, step, start) + tail
    end = tail.rfind(b"\n") + 1
    if end == len(tail) and end:  # a power failure may leave a line of zeros
        before = tail.rfind(b"\n", 0, end - 1) + 1
        if _decode(tail[before:end]) is None:
            end = before
    return start + end


class LogWriter:
    """Appends lines to a log with group commit: the first waiter writes everything submitted so far with one fsync.

    lock: the caller holds it while it submits, and never while it waits, so that lines keep the order of submission.
    on_failure: called, with that lock held, after a write failed: none of those lines, nor later ones, are on the disk.
    If it raises, the writer accepts nothing more, because later events would not follow from the log.
    """

    def __init__(self, path: Path, lock: RLock, on_failure: Callable[[OSError], None]) -> None:
        self.path = path
        self.full = False
        """A write failed, and no probe has found free space since."""
        self.dead = False
        """``on_failure`` raised: nothing is written any more."""
        self._lock, self._on_failure = lock, on_failure
        self._writing = Lock()
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size
        self._waiting: list[bytes] = []
        self._submitted = self._done = 0
        """Submissions so far, and how many of them were written or failed."""
        self._failed: list[tuple[int, int, OSError]] = []
        """(after, to, error) of submissions that failed."""

    def submit(self, lines: bytes) -> int:
        """Queue lines after all earlier ones; return the ticket to ``wait`` for.

        Without lines, the ticket is that of the last submission.
        """
        if lines:
            self._waiting.append(lines)
            self._submitted += 1
        return self._submitted

    def wait(self, submission: int) -> None:
        """Return once the submission and all earlier ones are on the disk. Raises OSError if the write failed."""
        if submission > self._done:
            with self._writing:
                if submission > self._done:
                    self._commit()
        for after, to, error in self._failed:
            if after < submission <= to:
                raise error

    def _commit(self) -> None:
        with self._lock:
            lines, upto = b"".join(self._waiting), self._submitted
            self._waiting = []
        try:
            self._write(lines)
        except OSError as error:
            with self._lock:
                self.full = True
                with suppress(OSError):
                    os.ftruncate(self._file, self._size)
                    os.fsync(self._file)
                upto, self._waiting = self._submitted, []
                self._failed.append((self._done, upto, error))
                self._done, self.dead = upto, True
                self._on_failure(error)
                self.dead = False
        self._done = upto

    def has_room(self) -> bool:
        """Whether a test write to the disk succeeds again after a failure."""
        if self.dead:
            return False
        probe = self.path.with_name(f".{self.path.name}.probe")
        try:
            with probe.open("wb") as file:
                file.write(bytes(PROBE_BYTES))
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
        """Write the queued lines and close the file."""
        with suppress(OSError):
            self.wait(self._submitted)
        with self._writing:
            os.close(self._file)
            self._file = -1  # the number may be reused: a late writer must fail

    def _write(self, lines: bytes) -> None:
        if self.dead:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self.path))
        if os.fstat(self._file).st_size != self._size:  # truncation after an earlier failure failed, too
            os.ftruncate(self._file, self._size)
        left = memoryview(lines)
        while left:
            left = left[os.write(self._file, left) :]
        os.fsync(self._file)
        self._size += len(lines)
