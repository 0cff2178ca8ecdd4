"""Decoding in worker processes: a file that makes its decoder hang or crash is one error."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast

import numpy as np

from curate.media.fork_server import Forked, fork, search_path
from curate.media.frame_folders import read_frames_or_video
from curate.media.frames import HINT, IMAGE_SUFFIXES, Frames, MediaError, import_decord, read_image
from curate.media.probe import Probe, probe
from curate.processors import cores
from schemas.errors import CurateError

Task = tuple[Literal["videos", "check", "probe", "call"], str, Any, float | None]
"""Job, path, number of frames (argument of the function) and frames per second."""
Answer = Any
"""Frames, Probe, None or the result of the function; or an exception."""

AHEAD = 2
"""Files that are read ahead per process."""
POLL = 0.2
"""Seconds after which a process that waits for an answer notices ``interrupt``."""
START = 120.0
"""Seconds within which a process must have started: it imports numpy and decord."""
MAX_FAILED_STARTS = 3
"""Consecutive processes that may die before they have started."""
BYTES_PER_PROCESS = 2**22
"""Videos of this size take longer to decode than another process takes to start."""


def processes_for(paths: Sequence[Path]) -> int:
    """Return how many processes read these files soonest: at most one per core and per file."""
    size = sum(path.stat().st_size for path in paths if path.is_file())
    return max(1, min(cores(), len(paths), 1 + size // BYTES_PER_PROCESS))


@dataclass
class _Worker:
    """One process and its current task."""

    process: subprocess.Popen[bytes] | Forked
    pipe: Connection
    deadline: float
    """Value of time.monotonic() by which it must answer."""
    started: bool = False
    """Whether it has reported that it is ready."""
    place: int | None = None
    """Index of the task that it works on; None while it is idle."""


@dataclass
class _Round:
    """One call of videos, check, probe or map: its tasks, and the answers that are not yielded yet."""

    tasks: list[Task]
    assigned: int = 0
    """Number of tasks that were assigned to a process."""
    answers: dict[int, Answer] = field(default_factory=dict)
    """Index of the task -> its answer."""


class MediaReader:
    """Reads videos and images in ``workers`` processes, with a time limit for each file.

    A process that exceeds the limit or dies is replaced, and its file becomes a MediaError. Use the reader as a context
    manager, and one call of ``videos``, ``check``, ``probe`` or ``map`` at a time: a new call ends the previous one.
    """

    def __init__(self, *, workers: int, timeout: float = 30.0, function: Callable[[Any], Any] | None = None) -> None:
        """workers: processes, at least 1. timeout: seconds for one file, counted from the start of its task. function:
        of ``map``; it is pickled, and its modules are imported once for all processes."""
        if workers < 1:
            raise ValueError(f"workers is {workers}; expected 1 or more")
        import_decord()
        self.timeout = timeout
        self._function = None if function is None else pickle.dumps(function)
        self._workers = [self._start() for _ in range(workers)]
        self._round = _Round([])
        self._failed_starts = 0  # consecutive

    def __enter__(self) -> MediaReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the processes."""
        for worker in self._workers:
            _end(worker)
        self._workers = []

    def videos(self, paths: Sequence[Path], count: int, fps: float | None = None) -> Iterator[Frames | MediaError]:
        """Yield the frames of each video (``read_video``) in the order of paths; a few files are read ahead."""
        tasks: list[Task] = [("videos", str(path), count, fps) for path in paths]
        return cast("Iterator[Frames | MediaError]", self._answers(tasks))

    def check(self, paths: Sequence[Path], count: int) -> Iterator[MediaError | None]:
        """Yield the defect of each file in the order of paths; None if ``count`` frames, or the image, can be decoded.

        A file with one of IMAGE_SUFFIXES is read as an image, every other as a video.
        """
        return cast("Iterator[MediaError | None]", self._answers([("check", str(path), count, None) for path in paths]))

    def probe(self, paths: Sequence[Path]) -> Iterator[Probe | MediaError]:
        """Yield the properties (curate.media.probe) or the defect of each file in the order of paths.

        Raises CurateError if pillow is not installed.
        """
        if find_spec("PIL") is None:
            raise CurateError("frames cannot be hashed without pillow", hint="pip install 'mr2-curate[video]'")
        return cast("Iterator[Probe | MediaError]", self._answers([("probe", str(path), 0, None) for path in paths]))

    def map(self, arguments: Sequence[tuple[Path, Any]]) -> Iterator[Any]:
        """Yield the function's result for each (file, argument) in order, or the exception that it raised.

        Where its process dies or takes too long, the result is a MediaError that names the file.
        """
        return self._answers([("call", str(path), argument, None) for path, argument in arguments])

    def interrupt(self) -> None:
        """End the current call, which may run in another thread: it raises RuntimeError."""
        self._round = _Round([])

    def _answers(self, tasks: list[Task]) -> Iterator[Answer]:
        """Yield the answer to each task in order. Raises RuntimeError if another call has begun meanwhile."""
        mine = self._round = _Round(tasks)
        for worker in [worker for worker in self._workers if worker.place is not None]:
            self._replace(worker)  # busy with a file of an earlier, unfinished call
        for place in range(len(tasks)):
            while place not in mine.answers:
                if mine is not self._round or not self._workers:
                    raise RuntimeError("this MediaReader was closed or used for another call meanwhile")
                self._assign(place)
                self._wait()
            self._assign(place + 1)  # they work while the caller handles this answer
            yield mine.answers.pop(place)

    def _assign(self, place: int) -> None:
        """Assign tasks to idle processes, at most AHEAD per process beyond ``place``."""
        last = min(len(self._round.tasks), place + AHEAD * len(self._workers))
        for worker in list(self._workers):
            if worker.started and worker.place is None and self._round.assigned < last:
                try:
                    worker.pipe.send(self._round.tasks[self._round.assigned])
                except OSError:  # it died while it was idle: no file is to blame
                    self._replace(worker)
                    continue
                worker.place = self._round.assigned
                worker.deadline = time.monotonic() + self.timeout
                self._round.assigned += 1

    def _wait(self) -> None:
        """Wait until a process answers, dies or exceeds its time, and handle each that did."""
        busy = [worker for worker in self._workers if worker.place is not None or not worker.started]
        soonest = min((worker.deadline for worker in busy), default=0.0) - time.monotonic()
        ready = wait([worker.pipe for worker in busy], min(max(0.0, soonest), POLL))
        for worker in busy:
            if worker.pipe in ready:
                self._receive(worker)
            elif worker.deadline <= time.monotonic():
                self._handle_failure(worker, f"was not decoded within {self.timeout:g} seconds", "timeout")

    def _receive(self, worker: _Worker) -> None:
        try:
            answer = _receive(worker.pipe)
        except (EOFError, OSError):
            self._handle_failure(
                worker, f"the process that decoded it died (exit code {worker.process.wait()})", "crashed"
            )
            return
        if worker.place is None:
            self._failed_starts = 0
        else:
            self._round.answers[worker.place] = answer
        worker.started, worker.place = True, None

    def _handle_failure(self, worker: _Worker, reason: str, code: str) -> None:
        """Replace a process; the file that it was reading becomes an error."""
        if not worker.started:
            self._failed_starts += 1
            if self._failed_starts < MAX_FAILED_STARTS:
                self._replace(worker)
                return
            self.close()
            raise CurateError(
                "the processes that read videos do not start",
                hint=f"see the error of: {sys.executable} -c 'import curate.media.workers'",
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
        if self._function is not None:
            with theirs:
                return _Worker(fork(theirs.fileno(), self._function), ours, time.monotonic() + START)
        # A new interpreter with the caller's sys.path. multiprocessing would run the caller's script again in each
        # process, and a fork would copy the locks of the caller's threads.
        process = subprocess.Popen(
            [sys.executable, "-c", f"from curate.media.workers import serve; serve({theirs.fileno()})"],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": search_path()},
        )
        theirs.close()  # the process holds the only copy: when it dies, our end reads EOF
        return _Worker(process, ours, time.monotonic() + START)


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.wait()
    worker.pipe.close()


def serve(descriptor: int, function: Callable[[Any], Any] | None = None) -> None:
    """Run a worker process: report over the pipe that it is ready, then answer tasks until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent, which kills this process
    import_decord()
    with Connection(descriptor) as pipe, suppress(EOFError, BrokenPipeError):
        _send(pipe, None)
        while True:
            task: Task = pipe.recv()
            _send(pipe, _answer(task, function))


def _answer(task: Task, function: Callable[[Any], Any] | None) -> Answer:
    job, path, count, fps = task[0], Path(task[1]), *task[2:]
    try:
        if function is not None:
            return function(count)
        if job == "probe":
            return probe(path)
        if job == "check" and path.suffix.lower() in IMAGE_SUFFIXES:
            read_image(path)
            return None
        frames = read_frames_or_video(path, count, fps)
    except MediaError as error:
        return error
    except Exception as error:
        if function is None:
            raise
        return error
    return frames if job == "videos" else None


def _send(pipe: Connection, answer: Answer) -> None:
    """Send an answer; the contents of its arrays follow as they are in memory."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(answer, protocol=5, buffer_callback=arrays.append)
    contents = [array.raw() for array in arrays]
    pipe.send((head, [content.nbytes for content in contents]))
    for content in contents:
        while content:
            content = content[os.write(pipe.fileno(), content) :]


def _receive(pipe: Connection) -> Answer:
    """The answer that ``_send`` sent. Raises EOFError where the process died."""
    head, sizes = pipe.recv()
    arrays = [np.empty(size, dtype=np.uint8) for size in sizes]
    for array in arrays:
        content = array.data
        while content:
            if not (received := os.readv(pipe.fileno(), [content])):
                raise EOFError
            content = content[received:]
    return pickle.loads(head, buffers=arrays)
