"""The files of a campaign's folder: names, atomic writes, tasks, and the lock."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from schemas.base import Document
from schemas.campaign import CampaignFile, Task
from schemas.crowd import CrowdConfig
from schemas.errors import ConflictError, CurateError, MissingError
from schemas.messages import described

CAMPAIGN, LOG, PEOPLE, LOCK, CLOSING = "campaign.json", "log.jsonl", "people.jsonl", "lock", "close"
PEOPLE_LOCK, ORDERS = "people.lock", "orders"
GOLD, TASKS, MEDIA, MEDIA_LIST = "gold.jsonl", "tasks", "media", "media.jsonl"
CROWD = "crowd.json"

D = TypeVar("D", bound=Document)


class Place(NamedTuple):
    """The position of a task in its file. Texts are read from the disk when they are shown, to save memory."""

    path: Path
    offset: int
    length: int


@contextmanager
def locked(path: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path``. Raises CurateError, with the holder's name, if it is taken.

    wait: seconds to try. The file stays after the block and names its last holder. The system releases the lock of a
    process that is killed.
    """
    with path.open("a+", encoding="utf-8") as file:
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() < until:
                    time.sleep(0.02)
                    continue
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise ConflictError(f"{path}: locked by {holder}", hint="wait until it is done, or stop it") from error
        file.truncate(0)
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {since}\n")
        file.flush()
        yield


def is_locked(path: Path) -> bool:
    """Whether another process or block holds the lock."""
    try:
        with locked(path):
            return False
    except CurateError:
        return True


def read_campaign(folder: Path) -> CampaignFile:
    """Read campaign.json. Raises CurateError without a campaign, or for one of a later version of curate."""
    path = folder / CAMPAIGN
    try:
        return CampaignFile.from_stored(path.read_bytes())
    except OSError as error:
        hint = "give the folder of a campaign; curate campaign create makes one"
        raise MissingError(f"{folder}: no campaign in this folder ({error.strerror}: {CAMPAIGN})", hint=hint) from error
    except ValidationError as error:
        message = described(error)
        hint = "update curate, if a later version made the campaign"
        raise CurateError(f"{path}: not a campaign that this version reads: {message}", hint=hint) from error


def read_crowd(folder: Path) -> CrowdConfig | None:
    """How the campaign is open to a crowd; None if it is not. Raises CurateError for an invalid file."""
    path = folder / CROWD
    return read_lines(path, CrowdConfig)[0] if path.exists() else None


def batch_path(folder: Path, number: int) -> Path:
    """The file of batch ``number``; tasks/0001.jsonl is the first."""
    return folder / TASKS / f"{number:04d}.jsonl"


def batches_on_disk(folder: Path) -> int:
    """The number of consecutive batch files 1, 2, …"""
    number = 0
    while batch_path(folder, number + 1).exists():
        number += 1
    return number


def write_lines(path: Path, documents: Iterable[Document]) -> None:
    """Write one JSON document per line, atomically."""
    write_atomic(path, "".join(document.model_dump_json() + "\n" for document in documents).encode())


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write or replace a file through a temporary file and a rename. mode: the file's permissions."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # make the rename durable
    finally:
        os.close(folder)


def read_lines(path: Path, kind: type[D]) -> list[D]:
    """Read a file of one JSON document per line. Raises CurateError with the number of an invalid line."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            found.append(kind.from_stored(line))
        except ValidationError as error:
            hint = "restore the file that curate wrote"
            raise CurateError(f"{path}:{number}: {described(error)}", hint=hint) from error
    return found


def read_tasks(path: Path) -> Iterator[tuple[Task, Place]]:
    """The tasks of a file with their positions. Raises CurateError with the number of an invalid line."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Task.from_stored(line), Place(path, offset, len(line))
            except ValidationError as error:
                hint = "task files must not be edited: restore the file that curate wrote"
                raise CurateError(f"{path}:{number}: not a task: {described(error)}", hint=hint) from error
            offset += len(line)


class TaskReader:
    """Reads single tasks by their positions. Thread-safe."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}

    def read(self, place: Place) -> dict[str, str]:
        """The fields of the task at a position."""
        descriptor = self._files.get(place.path)
        if descriptor is None:
            descriptor = self._files.setdefault(place.path, os.open(place.path, os.O_RDONLY | os.O_CLOEXEC))
        found: dict[str, str] = json.loads(os.pread(descriptor, place.length, place.offset))
        return found

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}
