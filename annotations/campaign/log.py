"""The event log of a campaign: one JSON object per line, written with group commits and readable while it grows."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, RLock

from annotations.campaign.chain import NO_KEY, Event, LogKey, follows, read_chain
from schemas.errors import CurateError

HINT = "curate campaign check {folder} lists the changes, curate campaign repair {folder} puts them aside"
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


def read_events(path: Path) -> Iterator[Event]:
    """The events of a log, which another process may be writing: an incomplete last line is ignored.

    Raises CurateError, with the line number, for any other line that is not an event, was edited, or does not follow
    the line before it, and for lines that are missing at the end.
    """
    key, before, digest = LogKey.read(path), None, hashlib.sha256()
    for line in read_chain(path, key) if path.exists() else ():
        problem = line.about or follows(line, before, key)
        if key is None and line.event is not None and "mac" in line.event:
            problem = NO_KEY
        if key is not None and line.number == key.since and digest.hexdigest() != key.prefix:
            problem = f"a line before it was edited (lines 1 to {line.number - 1} are from before the chain)"
        if problem:
            raise CurateError(f"{path}:{line.number}: {problem}", hint=HINT.format(folder=path.parent))
        if key is not None and line.number < key.since:
            digest.update(line.raw)
        before = line.event
        assert before is not None
        yield before
    lines = before["seq"] if before else 0
    if key is not None and lines < key.last:
        problem = f"lines {lines + 1} to {key.last} are missing at the end"
        raise CurateError(f"{path}: {problem}", hint=HINT.format(folder=path.parent))


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
    """Bytes up to the end of the last complete line."""
    tail, start = b"", size
    while start and tail.count(b"\n") < 2:
        step = min(start, 1 << 16)
        start -= step
        tail = os.pread(descriptor, step, start) + tail
    end = tail.rfind(b"\n") + 1
    if end == len(tail) and end:  # a power failure may leave a line of zeros
        before = tail.rfind(b"\n", 0, end - 1) + 1
        if b"\0" in tail[before:end]:
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
        if not self.dead:
            self.full = not self.writable()
        return not (self.dead or self.full)

    def writable(self) -> bool:
        """Whether a test file can be written next to the log."""
        probe = self.path.with_name(f".{self.path.name}.probe")
        try:
            with probe.open("wb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
            return True
        except OSError:
            return False
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)

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
