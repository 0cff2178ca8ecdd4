"""One job at a time in a folder: a lock that the system drops with its holder, and that says who holds it."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from schemas.errors import CurateError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file ``path`` for the block. Raises CurateError, naming the holder, where another has it.

    The file stays when the block ends: its text says who held it last. A holder that is killed holds it no longer.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise CurateError(f"{path}: is held by {holder}", hint="wait until it is done, or end it") from error
        file.truncate(0)
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {since}\n")
        file.flush()
        yield
