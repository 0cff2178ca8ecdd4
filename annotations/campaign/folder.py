"""The folder of a campaign: what its files are called, how they appear, and how tasks are read from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from schemas.base import Document
from schemas.campaign import CampaignFile, MediaLine, Task
from schemas.errors import CurateError

CAMPAIGN, LOG, PEOPLE, LOCK, CLOSING = "campaign.json", "log.jsonl", "people.jsonl", "lock", "close"
GOLD, TASKS, MEDIA, MEDIA_LIST = "gold.jsonl", "tasks", "media", "media.jsonl"

D = TypeVar("D", bound=Document)


class Place(NamedTuple):
    """Where a task stands: texts are read from the disk when they are shown, and not held."""

    path: Path
    offset: int
    length: int


def read_campaign(folder: Path) -> CampaignFile:
    """What campaign.json says. Raises CurateError where the folder holds no campaign, or one of a later curate."""
    path = folder / CAMPAIGN
    try:
        return CampaignFile.from_stored(path.read_bytes())
    except OSError as error:
        hint = "give the folder of a campaign; curate campaign create makes one"
        raise CurateError(f"{folder}: no campaign here ({error.strerror}: {CAMPAIGN})", hint=hint) from error
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise CurateError(f"{path}: not a campaign that this curate reads: {message}", hint="update curate") from error


def batch_path(folder: Path, number: int) -> Path:
    """tasks/0001.jsonl is the first batch."""
    return folder / TASKS / f"{number:04d}.jsonl"


def batches_on_disk(folder: Path) -> int:
    """How many batches are there: 1, 2, … without a gap."""
    number = 0
    while batch_path(folder, number + 1).exists():
        number += 1
    return number


def write_lines(path: Path, documents: Iterable[Task | MediaLine]) -> None:
    """One document a line, in a file that appears whole or not at all."""
    appear(path, "".join(document.model_dump_json() + "\n" for document in documents).encode())


def appear(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file, which appears whole or not at all, in place of what was there. mode: who may read it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)  # a rename must not outlive what it names
    finally:
        os.close(handle)


def read_lines(path: Path, kind: type[D]) -> list[D]:
    """The documents of a file of lines. Raises CurateError naming the line that is none."""
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            found.append(kind.from_stored(line))
        except ValidationError as error:
            raise CurateError(f"{path}:{number}: {error.errors()[0]['msg']}", hint="take back the true file") from error
    return found


def read_tasks(path: Path) -> Iterator[tuple[Task, Place]]:
    """The tasks of a file, and where each stands. Raises CurateError naming the line that is none."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Task.from_stored(line), Place(path, offset, len(line))
            except ValidationError as error:
                hint = "files of tasks are not to be edited: take back what curate wrote"
                raise CurateError(f"{path}:{number}: not a task: {error.errors()[0]['msg']}", hint=hint) from error
            offset += len(line)


class Texts:
    """Reads single tasks again, by their places. Any thread may."""

    def __init__(self) -> None:
        self._open: dict[Path, int] = {}

    def read(self, place: Place) -> dict[str, str]:
        """The fields of the task as they stand in the file."""
        descriptor = self._open.get(place.path)
        if descriptor is None:
            descriptor = self._open.setdefault(place.path, os.open(place.path, os.O_RDONLY | os.O_CLOEXEC))
        found: dict[str, str] = json.loads(os.pread(descriptor, place.length, place.offset))
        return found

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open = {}
