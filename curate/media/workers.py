"""Many videos and images, decoded by processes of their own: one that hangs or kills its process is one error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Literal, cast

from curate.media.frames import HINT, IMAGE_SUFFIXES, Frames, MediaError, import_decord, read_image, read_video
from curate.media.probe import Probe, probe
from schemas.errors import CurateError

Task = tuple[Literal["videos", "check", "probe"], str, int]
"""What is wanted of a file, its path, and the number of frames."""
Answer = Frames | Probe | MediaError | None

AHEAD = 2
"""Files that are read ahead of the one that is waited for, for each process."""
START = 120.0
"""Seconds within which a process must have begun: it imports numpy and decord."""
PATIENCE = 3
"""Processes in a row that may die before they have begun; then something is wrong with all of them."""


def cores() -> int:
    """Cores that this process may use: as many processes decode side by side."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Worker:
    """One process, and what it is doing."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    deadline: float
    """time.monotonic() by which it must have answered."""
    begun: bool = False
    """Whether it has said that it is there."""
    place: int | None = None
    """Place of the file that it reads among those asked for; None while it waits."""


@dataclass
class _Round:
    """One call of videos, check or probe: what was asked, and the answers that are not handed out yet."""

    tasks: list[Task]
    given: int = 0
    """Tasks that were given to a process."""
    answers: dict[int, Answer] = field(default_factory=dict)
    """By place in the tasks."""


class MediaReader:
    """Reads videos and images in ``workers`` processes, with a time limit for each file.

    A process that hangs past the limit, or dies, is replaced; its file becomes a MediaError; the other files are read.
    Use it as a context manager. One call of ``videos``, ``check`` or ``probe`` at a time: a new one ends the one
    before it.
    """

    def __init__(self, *, workers: int, timeout: float = 30.0) -> None:
        """workers: processes, at least 1. timeout: seconds for one file, without the time until it is asked for."""
        if workers < 1:
            raise ValueError(f"workers is {workers}; expected 1 or more")
        import_decord()
        self.timeout = timeout
        self._workers = [self._start() for _ in range(workers)]
        self._round = _Round([])
        self._stillborn = 0  # processes in a row that died before they had begun

    def __enter__(self) -> MediaReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for worker in self._workers:
            _end(worker)
        self._workers = []

    def videos(self, paths: Sequence[Path], count: int) -> Iterator[Frames | MediaError]:
        """``count`` frames of each video (read_video), in the order of paths; a few are read ahead."""
        return cast("Iterator[Frames | MediaError]", self._answers([("videos", str(path), count) for path in paths]))

    def check(self, paths: Sequence[Path], count: int) -> Iterator[MediaError | None]:
        """What is wrong with each file, in the order of paths; None where ``count`` frames, or the image, come out.

        What has one of IMAGE_SUFFIXES is read as an image, everything else as a video.
        """
        return cast("Iterator[MediaError | None]", self._answers([("check", str(path), count) for path in paths]))

    def probe(self, paths: Sequence[Path]) -> Iterator[Probe | MediaError]:
        """What each file is (curate.media.probe), or what is wrong with it, in the order of paths.

        Raises CurateError where pillow is not installed.
        """
        if find_spec("PIL") is None:
            raise CurateError("frames cannot be hashed without pillow", hint="pip install 'mr2-curate[video]'")
        return cast("Iterator[Probe | MediaError]", self._answers([("probe", str(path), 0) for path in paths]))

    def _answers(self, tasks: list[Task]) -> Iterator[Answer]:
        """The answer to each task, in their order. Raises RuntimeError where another call has begun meanwhile."""
        mine = self._round = _Round(tasks)
        for worker in [worker for worker in self._workers if worker.place is not None]:
            self._replace(worker)  # busy with a file that a round before this one has not waited for
        for place in range(len(tasks)):
            while place not in mine.answers:
                if mine is not self._round or not self._workers:
                    raise RuntimeError("this MediaReader was closed, or asked for other files, meanwhile")
                self._give(place)
                self._wait()
            self._give(place + 1)  # they go on while the caller is at work on this one
            yield mine.answers.pop(place)

    def _give(self, place: int) -> None:
        """Give tasks to the processes that are free, but not too far ahead of the place that is waited for."""
        last = min(len(self._round.tasks), place + AHEAD * len(self._workers))
        for worker in list(self._workers):
            if worker.begun and worker.place is None and self._round.given < last:
                try:
                    worker.pipe.send(self._round.tasks[self._round.given])
                except OSError:  # it died while it had nothing to do: no file's fault
                    self._replace(worker)
                    continue
                worker.place = self._round.given
                worker.deadline = time.monotonic() + self.timeout
                self._round.given += 1

    def _wait(self) -> None:
        """Wait until a process answers, dies or is out of time, and take notice of each that has."""
        busy = [worker for worker in self._workers if worker.place is not None or not worker.begun]
        soonest = min(worker.deadline for worker in busy) - time.monotonic()
        ready = wait([worker.pipe for worker in busy], max(0.0, soonest))
        for worker in busy:
            if worker.pipe in ready:
                self._take(worker)
            elif worker.deadline <= time.monotonic():
                self._lose(worker, f"is not decoded after {self.timeout:g} seconds", "timeout")

    def _take(self, worker: _Worker) -> None:
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            self._lose(worker, f"the process that decoded it died (exit code {worker.process.wait()})", "crashed")
            return
        if worker.place is None:
            self._stillborn = 0
        else:
            self._round.answers[worker.place] = answer
        worker.begun, worker.place = True, None

    def _lose(self, worker: _Worker, reason: str, code: str) -> None:
        """Replace a process; the file that it was reading, if it was, becomes an error."""
        if not worker.begun:
            self._stillborn += 1
            if self._stillborn < PATIENCE:
                self._replace(worker)
                return
            self.close()
            raise CurateError(
                "the processes that read videos do not start",
                hint=f"what one says: {sys.executable} -c 'import curate.media.workers'",
            )
        place = cast("int", worker.place)
        path = self._round.tasks[place][1]
        self._round.answers[place] = MediaError(f"{path}: {reason}", hint=HINT, code=code)
        self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        _end(worker)
        self._workers[self._workers.index(worker)] = self._start()

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        # Not by multiprocessing, which runs the caller's script again in each process, nor by a fork, which would copy
        # the caller's threads' locks: an interpreter that imports this module and finds what the caller finds.
        process = subprocess.Popen(
            [sys.executable, "-c", f"from curate.media.workers import serve; serve({theirs.fileno()})"],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()  # theirs alone holds that end: when they die, ours reads the end of the pipe
        return _Worker(process, ours, time.monotonic() + START)


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.wait()
    worker.pipe.close()


def serve(descriptor: int) -> None:
    """What a process does: say over its pipe that it is there, then answer tasks until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that reads; it ends this one
    import_decord()
    with Connection(descriptor) as pipe:
        pipe.send(None)
        while True:
            try:
                task: Task = pipe.recv()
            except EOFError:
                return
            pipe.send(_answer(task))


def _answer(task: Task) -> Answer:
    job, path, count = task[0], Path(task[1]), task[2]
    try:
        if job == "probe":
            return probe(path)
        if job == "check" and path.suffix.lower() in IMAGE_SUFFIXES:
            read_image(path)
            return None
        frames = read_video(path, count)
    except MediaError as error:
        return error
    return frames if job == "videos" else None
