"""Reads and encodes examples ahead of their use: media in worker processes, texts in a thread; keeps encoded media."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TypeVar
from weakref import WeakSet

from curate.engine import LocalEngine
from curate.media.frame_folders import read_frames_or_video
from curate.media.frames import read_image
from curate.media.workers import media_map
from curate.reward.data import Example
from curate.reward.sequence import Encoded, Encoder, MediaPrefix
from schemas.errors import CurateError

T = TypeVar("T")


def read_media(encoder: Encoder, frames: int, fps: float | None, example: Example) -> MediaPrefix:
    """What a worker process computes: the prefix of an example with its media. Raises CurateError."""
    video = read_frames_or_video(example.video, frames, fps) if example.video else None
    return encoder.encode_media(example, video=video, images=[read_image(path) for path in example.images])


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
        MiB of encoded media that are kept; pin: page-locked memory, for a GPU."""
        self.encoder = encoder
        self.pin = pin
        self._function = partial(read_media, encoder, frames, fps)
        self._workers, self._timeout = workers, timeout
        self._idle: list[LocalEngine] = []
        self._kept: dict[tuple[object, ...], MediaPrefix] = {}
        self._free = memory << 20
        self._streams: WeakSet[Generator[list[Encoded]]] = WeakSet()
        self._lock = threading.Lock()  # a tokenizer serves one thread at a time

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_error: object) -> None:
        for stream in list(self._streams):
            stream.close()
        while self._idle:
            self._idle.pop().close()

    def stream(self, groups: Sequence[Sequence[Example]]) -> Iterator[list[Encoded]]:
        """The encoded examples of each group; the next group is read meanwhile. Raises the first one's CurateError."""
        engines: list[LocalEngine] = []

        def interrupt() -> None:
            for engine in engines:
                engine.interrupt()

        source = self._groups(groups, engines)
        stream = read_ahead(source, interrupt) if len(groups) > 1 else source
        self._streams.add(stream)
        return stream

    def check(self, examples: Sequence[Example], progress: Callable[[int], None] = lambda _done: None) -> list[str]:
        """Why each example cannot train, empty where it can; reads and encodes every one."""
        reasons = []
        for found in self._encode(examples, []):
            reasons.append(str(found) if isinstance(found, CurateError) else "")
            progress(len(reasons))
        return reasons

    def _groups(self, groups: Sequence[Sequence[Example]], engines: list[LocalEngine]) -> Generator[list[Encoded]]:
        encoded = self._encode([example for group in groups for example in group], engines)
        for group in groups:
            found: list[Encoded] = []
            for each in islice(encoded, len(group)):
                if isinstance(each, CurateError):
                    raise each
                found.append(_pinned(each) if self.pin else each)
            yield found

    def _encode(self, examples: Sequence[Example], engines: list[LocalEngine]) -> Iterator[Encoded | CurateError]:
        """Each example encoded, or why it cannot be. engines: gets the one in use."""
        kept = dict(self._kept)  # copied, because the examples to read are fixed now
        media = [(example.video, *example.images) for example in examples]
        to_read = [each for each, files in zip(examples, media, strict=True) if any(files) and files not in kept]
        read = self._read(to_read, engines)
        for example, files in zip(examples, media, strict=True):
            found = kept.get(files) or (next(read) if any(files) else None)
            if isinstance(found, CurateError):
                yield found
                continue
            try:
                with self._lock:
                    encoded = self.encoder.encode(example, found or self.encoder.encode_media(example))
            except CurateError as error:
                yield error
            else:
                yield encoded

    def _read(self, examples: Sequence[Example], engines: list[LocalEngine]) -> Iterator[MediaPrefix | CurateError]:
        """The prefixes of examples with media. Each of several concurrent streams has its own engine."""
        if not examples:
            return
        engine = self._idle.pop() if self._idle else LocalEngine(workers=self._workers)
        engines.append(engine)
        try:
            files = [example.video or example.images[0] for example in examples]
            results = media_map(engine, self._function, files, examples, timeout=self._timeout)
            for example, result in zip(examples, results, strict=True):
                if isinstance(result, MediaPrefix):
                    self._keep((example.video, *example.images), result)
                yield result
        finally:
            self._idle.append(engine)

    def _keep(self, files: tuple[object, ...], prefix: MediaPrefix) -> None:
        """Keep encoded media where there is memory left for them."""
        with self._lock:
            if files not in self._kept and prefix.nbytes <= self._free:
                self._kept[files] = prefix
                self._free -= prefix.nbytes


def _pinned(encoded: Encoded) -> Encoded:
    return replace(encoded, visual={name: value.pin_memory() for name, value in encoded.visual.items()})


def read_ahead(source: Generator[T], interrupt: Callable[[], None]) -> Generator[T]:
    """The items of ``source``; a thread computes the next one meanwhile. interrupt: makes it fail soon, when closed."""
    with ThreadPoolExecutor(1, "loader") as thread:
        coming = thread.submit(next, source, None)
        try:
            while (item := coming.result()) is not None:
                coming = thread.submit(next, source, None)
                yield item
        finally:
            while not coming.done():  # again and again: it may start to read after an interrupt
                interrupt()
                wait([coming], 0.05)
            source.close()
