"""Reads and encodes examples: media decoded ahead in worker processes, kept in memory, checked before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from curate.media.frames import Frames, MediaError, read_image
from curate.media.workers import MediaReader
from curate.reward.data import Example
from curate.reward.sequence import Encoded, Encoder, MediaPrefix
from schemas.errors import CurateError

MIB = 1 << 20


class Loader:
    """Encodes examples, reading their media. Use it as a context manager: videos are decoded in worker processes."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        frames: int,
        fps: float | None = None,
        workers: int = 2,
        timeout: float = 30.0,
        memory: int = 1024,
    ) -> None:
        """frames: per video; with fps (frames per second) the most; timeout: seconds per file; memory: MiB of encoded
        videos that are kept."""
        self.encoder = encoder
        self.frames = frames
        self.fps = fps
        self.free = memory * MIB
        """Bytes left for encoded videos."""
        self._kept: dict[Path, MediaPrefix] = {}
        self._workers, self._timeout = workers, timeout
        self._idle: list[MediaReader] = []

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_error: object) -> None:
        for reader in self._idle:
            reader.close()
        self._idle.clear()

    def stream(self, groups: Sequence[Sequence[Example]]) -> Iterator[list[Encoded]]:
        """The encoded examples of each group, in order; media of the next groups are decoded in the background.

        Raises CurateError naming the first example whose media cannot be read or that does not fit.
        """
        prefixes = self._prefixes([example for group in groups for example in group])
        for group in groups:
            encoded = []
            for example in group:
                prefix = next(prefixes)
                if isinstance(prefix, CurateError):
                    raise prefix
                encoded.append(self.encoder.encode(example, prefix))
            yield encoded

    def check(self, examples: Sequence[Example], progress: Callable[[int], None] = lambda _done: None) -> list[str]:
        """Why each example cannot train, empty where it can; reads and encodes every one."""
        reasons = []
        for example, prefix in zip(examples, self._prefixes(examples), strict=True):
            try:
                if isinstance(prefix, CurateError):
                    raise prefix
                self.encoder.encode(example, prefix)
                reasons.append("")
            except CurateError as error:
                reasons.append(str(error))
            progress(len(reasons))
        return reasons

    def _prefixes(self, examples: Sequence[Example]) -> Iterator[MediaPrefix | CurateError]:
        """The encoded media of each example, or the error of reading them, in order."""
        # Copied, because the files to read are fixed now, while self._kept grows.
        kept = dict(self._kept)
        to_read = [example for example in examples if example.video and (example.images or example.video not in kept)]
        videos = self._read([example.video for example in to_read if example.video])
        for example in examples:
            if example.video in kept and not example.images:
                yield kept[example.video]
                continue
            video = next(videos) if example.video else None
            if isinstance(video, MediaError):
                yield video
                continue
            try:
                images = [read_image(path) for path in example.images]
                prefix = self.encoder.encode_media(example, video=video, images=images)
            except CurateError as error:
                yield error
                continue
            if example.video and not example.images:
                self._keep(example.video, prefix)
            yield prefix

    def _keep(self, video: Path, prefix: MediaPrefix) -> None:
        """Keep an encoded video where there is memory left for it."""
        if video not in self._kept and prefix.nbytes <= self.free:
            self._kept[video] = prefix
            self.free -= prefix.nbytes

    def _read(self, paths: Sequence[Path]) -> Iterator[Frames | MediaError]:
        """The frames of each file, in order. Each of several concurrent streams has its own reader."""
        if not paths:
            return
        reader = self._idle.pop() if self._idle else MediaReader(workers=self._workers, timeout=self._timeout)
        try:
            yield from reader.videos(paths, self.frames, self.fps)
        finally:
            self._idle.append(reader)
