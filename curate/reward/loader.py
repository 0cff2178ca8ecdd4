"""Reads and encodes examples ahead of their use: media in worker processes, texts in a thread; keeps encoded media."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy.typing as npt
import torch

from curate.engine import LocalEngine
from curate.media.frame_folders import read_frames_or_video
from curate.media.frames import read_image
from curate.media.workers import media_map
from curate.reward.data import Example
from curate.reward.sequence import Encoded, Encoder, MediaPrefix
from schemas.errors import CurateError

MIB = 1 << 20


@dataclass(frozen=True)
class Preprocessor:
    """What a worker process computes: an example's media, read, resized, cut into patches and put into its prefix."""

    encoder: Encoder
    frames: int
    fps: float | None

    def __call__(self, example: Example) -> tuple[MediaPrefix, dict[str, npt.NDArray[Any]]]:
        """The prefix without its visual inputs, and these as arrays. Raises CurateError."""
        video = read_frames_or_video(example.video, self.frames, self.fps) if example.video else None
        images = [read_image(path) for path in example.images]
        prefix = self.encoder.encode_media(example, video=video, images=images)
        return replace(prefix, visual={}), {name: value.numpy() for name, value in prefix.visual.items()}


class Loader:
    """Encodes examples, reading their media. Use it as a context manager: it has worker processes and threads."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        frames: int,
        fps: float | None = None,
        workers: int = 2,
        timeout: float = 30.0,
        memory: int = 1024,
        pin: bool = False,
    ) -> None:
        """frames: per video; with fps (frames per second) the most; timeout: seconds per example with media; memory:
        MiB of encoded videos that are kept, and as many that are read ahead; pin: page-locked memory, for a GPU."""
        self.encoder = encoder
        self.memory = memory * MIB
        self.free = self.memory
        """Bytes left for encoded videos that are kept."""
        self.pin = pin
        self._preprocessor = Preprocessor(encoder, frames, fps)
        self._kept: dict[Path, MediaPrefix] = {}
        self._workers, self._timeout = workers, timeout
        self._idle: list[LocalEngine] = []
        self._streams: WeakSet[Generator[list[Encoded]]] = WeakSet()
        self._lock = threading.Lock()  # a tokenizer serves one thread at a time

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_error: object) -> None:
        for stream in list(self._streams):
            stream.close()
        for engine in self._idle:
            engine.close()
        self._idle.clear()

    def stream(self, groups: Sequence[Sequence[Example]]) -> Iterator[list[Encoded]]:
        """The encoded examples of each group, in order; the next groups are read and encoded meanwhile.

        At least one group is ready ahead, and more while they have less than ``memory``. Raises CurateError naming the
        first example whose media cannot be read or that does not fit.
        """
        engines: list[LocalEngine] = []

        def interrupt() -> None:
            for engine in engines:
                engine.interrupt()

        def size(group: list[Encoded]) -> int:
            return sum(value.nbytes for encoded in group for value in encoded.visual.values())

        source = self._encoded(groups, engines)
        stream = read_ahead(source, size, self.memory, interrupt) if len(groups) > 1 else source
        self._streams.add(stream)
        return stream

    def _encoded(self, groups: Sequence[Sequence[Example]], engines: list[LocalEngine]) -> Generator[list[Encoded]]:
        prefixes = self._prefixes([example for group in groups for example in group], engines)
        for group in groups:
            encoded = []
            for example in group:
                prefix = next(prefixes)
                if isinstance(prefix, CurateError):
                    raise prefix
                with self._lock:
                    encoded.append(self.encoder.encode(example, prefix))
            yield [_pinned(each) for each in encoded] if self.pin else encoded

    def check(self, examples: Sequence[Example], progress: Callable[[int], None] = lambda _done: None) -> list[str]:
        """Why each example cannot train, empty where it can; reads and encodes every one."""
        reasons = []
        for example, prefix in zip(examples, self._prefixes(examples, []), strict=True):
            try:
                if isinstance(prefix, CurateError):
                    raise prefix
                with self._lock:
                    self.encoder.encode(example, prefix)
                reasons.append("")
            except CurateError as error:
                reasons.append(str(error))
            progress(len(reasons))
        return reasons

    def _prefixes(self, examples: Sequence[Example], engines: list[LocalEngine]) -> Iterator[MediaPrefix | CurateError]:
        """The encoded media of each example, or the error of reading them, in order. engines: gets the one in use."""
        # Copied, because the examples to read are fixed now, while self._kept grows.
        kept = dict(self._kept)
        to_read = [e for e in examples if e.images or (e.video and e.video not in kept)]
        read = self._read(to_read, engines)
        for example in examples:
            if not (example.video or example.images):
                with self._lock:
                    prefix = self.encoder.encode_media(example)
                yield prefix
            elif example.video in kept and not example.images:
                yield kept[example.video]
            else:
                yield next(read)

    def _read(self, examples: Sequence[Example], engines: list[LocalEngine]) -> Iterator[MediaPrefix | CurateError]:
        """The encoded media of examples with media. Each of several concurrent streams has its own engine."""
        if not examples:
            return
        engine = self._idle.pop() if self._idle else LocalEngine(workers=self._workers)
        engines.append(engine)
        try:
            files = [example.video or example.images[0] for example in examples]
            results = media_map(engine, self._preprocessor, files, examples, timeout=self._timeout)
            for example, result in zip(examples, results, strict=True):
                if isinstance(result, CurateError):
                    yield result
                    continue
                prefix, arrays = result
                prefix = replace(prefix, visual={name: torch.from_numpy(array) for name, array in arrays.items()})
                if example.video and not example.images:
                    self._keep(example.video, prefix)
                yield prefix
        finally:
            self._idle.append(engine)

    def _keep(self, video: Path, prefix: MediaPrefix) -> None:
        """Keep an encoded video where there is memory left for it."""
        with self._lock:
            if video not in self._kept and prefix.nbytes <= self.free:
                self._kept[video] = prefix
                self.free -= prefix.nbytes


def _pinned(encoded: Encoded) -> Encoded:
    return replace(encoded, visual={name: value.pin_memory() for name, value in encoded.visual.items()})


def read_ahead(
    source: Generator[Any], size: Callable[[Any], int], limit: int, interrupt: Callable[[], None]
) -> Generator[Any]:
    """The items of ``source``, which a thread computes before they are needed.

    One item is ready ahead, and more while their ``size`` is below ``limit``. An exception of source is raised in its
    place. interrupt: makes source end soon; it is called when this generator is closed early.
    """
    ready: deque[Any] = deque()
    failures: list[BaseException] = []
    changed = threading.Condition()
    done = stopped = False

    def work() -> None:
        nonlocal done
        try:
            for item in source:
                with changed:
                    ready.append(item)
                    changed.notify_all()
                    changed.wait_for(lambda: stopped or not ready or sum(map(size, ready)) < limit)
                    if stopped:
                        return
        except BaseException as error:
            failures.append(error)
        finally:
            source.close()
            with changed:
                done = True
                changed.notify_all()

    thread = threading.Thread(target=work, name="loader", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: ready or done)
                if not ready:
                    break
                item = ready.popleft()
                changed.notify_all()
            yield item
        if failures:
            raise failures[0]
    finally:
        stopped = True
        while thread.is_alive():
            interrupt()
            with changed:
                changed.notify_all()
            thread.join(0.05)
