"""From examples to sequences: media decoded in worker processes, kept for the next epoch, checked before the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from curate.media.frames import Frames, MediaError, read_image
from curate.media.workers import MediaReader
from curate.reward.examples import Example
from curate.reward.sequence import Encoded, Encoder, Shown
from schemas.errors import CurateError
from schemas.training import Skip

MIB = 1 << 20


class Loader:
    """Encodes examples, reading their media. A context manager: it owns worker processes where there are videos."""

    def __init__(
        self, encoder: Encoder, *, frames: int, workers: int = 2, timeout: float = 30.0, memory: int = 1024
    ) -> None:
        """frames: of a video; timeout: seconds for one file; memory: MiB of videos that are kept as they are shown."""
        self.encoder = encoder
        self.frames = frames
        self.room = memory * MIB
        self._kept: dict[Path, Shown] = {}
        self._workers, self._timeout = workers, timeout
        self._idle: list[MediaReader] = []

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_error: object) -> None:
        for reader in self._idle:
            reader.close()
        self._idle.clear()

    def stream(self, groups: Sequence[Sequence[Example]]) -> Iterator[list[Encoded]]:
        """The sequences of each group, in order; media of the groups to come are decoded meanwhile.

        Raises CurateError naming the example whose media cannot be read or that does not fit.
        """
        shown = self._shown([example for group in groups for example in group])
        for group in groups:
            encoded = []
            for example in group:
                media = next(shown)
                if isinstance(media, CurateError):
                    raise media
                encoded.append(self.encoder.encode(example, media))
            yield encoded

    def check(
        self, examples: Sequence[Example], progress: Callable[[int], None] = lambda _done: None
    ) -> tuple[list[Example], list[Skip]]:
        """The examples that can train, and the others with the reason of each: every one is read and encoded once."""
        good, skips = [], []
        for done, (example, media) in enumerate(zip(examples, self._shown(examples), strict=True), start=1):
            try:
                if isinstance(media, CurateError):
                    raise media
                self.encoder.encode(example, media)
                good.append(example)
            except CurateError as error:
                skips.append(Skip(item_id=example.item_id, reason=str(error)))
            progress(done)
        return good, skips

    def _shown(self, examples: Sequence[Example]) -> Iterator[Shown | CurateError]:
        """What stands before the question of each example, or why it cannot, in order."""
        # What is kept when a stream begins is not read again; what comes to be kept meanwhile is on its way already.
        kept = dict(self._kept)
        todo = [example for example in examples if example.video and (example.images or example.video not in kept)]
        fresh = self._read([example.video for example in todo if example.video])
        for example in examples:
            if example.video in kept and not example.images:
                yield kept[example.video]
                continue
            video = next(fresh) if example.video else None
            if isinstance(video, MediaError):
                yield video
                continue
            try:
                shown = self.encoder.show(example, video=video, images=[read_image(path) for path in example.images])
            except CurateError as error:
                yield error
                continue
            if example.video and not example.images and example.video not in self._kept and shown.nbytes <= self.room:
                self._kept[example.video] = shown
                self.room -= shown.nbytes
            yield shown

    def _read(self, paths: Sequence[Path]) -> Iterator[Frames | MediaError]:
        """What each path holds, in order. Streams may run side by side: each has a reader of its own."""
        if not paths:
            return
        reader = self._idle.pop() if self._idle else MediaReader(workers=self._workers, timeout=self._timeout)
        try:
            yield from reader.videos(paths, self.frames)
        finally:
            self._idle.append(reader)
