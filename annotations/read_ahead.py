"""Vote files that are read at the same time, in threads: the formats of platforms, and JSON, have a process each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Full, Queue
from threading import Event
from typing import Any

from annotations.file_reader import FileReader
from annotations.readers.rules import CleanRows

AHEAD = 2
"""Chunks of a file that are read before they are needed."""
POLL = 0.1
"""Seconds after which a thread notices that its chunks are not needed any more."""

Chunks = Iterator[CleanRows]


@contextmanager
def read_ahead(
    readers: Sequence[FileReader], read: Callable[[FileReader], Chunks], *, workers: int
) -> Iterator[list[Chunks]]:
    """Yield the chunks of each file, or what its reader raised, to be consumed in the order of the files.

    workers: files that are read at the same time. Those that are no files (frames, iterables) are read when they are
    needed, in the thread of the caller.
    """
    stop = Event()
    with ThreadPoolExecutor(workers) as threads:

        def chunks(reader: FileReader) -> Chunks:
            if workers == 1 or reader.file.trusted:
                return read(reader)
            queue: Queue[Any] = Queue(AHEAD)
            threads.submit(_fill, queue, read(reader), stop)
            return _drain(queue)

        try:
            yield [chunks(reader) for reader in readers]
        finally:
            stop.set()


def _fill(queue: Queue[Any], chunks: Chunks, stop: Event) -> None:
    """Put the chunks, then None or an exception, until ``stop`` is set."""

    def put(item: Any) -> bool:
        while not stop.is_set():
            try:
                queue.put(item, timeout=POLL)
            except Full:
                continue
            return True
        return False

    try:
        all(map(put, chunks if not stop.is_set() else ()))
    except BaseException as error:
        put(error)
    else:
        put(None)


def _drain(queue: Queue[Any]) -> Chunks:
    while (item := queue.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item
