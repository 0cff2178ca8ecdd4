"""From examples to sequences: media decoded in worker processes, kept for the next epoch, checked before the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from curate.frames import Frames, MediaError, read_image
from curate.media import MediaReader
from curate.reward.examples import Example
from curate.reward.sequence import Encoded, Encoder
from schemas.errors import CurateError
from schemas.training import Skip

MIB = 1 << 20


class Loader:
    """Encodes examples, reading their media. A context manager: it owns worker processes."""

    def __init__(
        self, encoder: Encoder, *, frames: int, workers: int = 2, timeout: float = 30.0, memory: int = 1024
    ) -> None:
        """frames: of a video; timeout: seconds for one file; memory: MiB of frames that are kept."""
        self.encoder = encoder
        self.frames = frames
        self.room = memory * MIB
        self._kept: dict[Path, Frames] = {}
        self._workers, self._timeout = workers, timeout
        self._reader: MediaReader | None = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.__exit__(kind, error, trace)

    def stream(self, groups: Sequence[Sequence[Example]]) -> Iterator[list[Encoded]]:
        """The sequences of each group, in order; media of the groups to come are decoded meanwhile.

        Raises CurateError naming the example whose media cannot be read or that does not fit.
        """
        videos = self._videos([example.video for group in groups for example in group if example.video])
        for group in groups:
            encoded = []
            for example in group:
                video = next(videos) if example.video else None
                if isinstance(video, MediaError):
                    raise video
                encoded.append(self._encode(example, video))
            yield encoded

    def check(
        self, examples: Sequence[Example], progress: Callable[[int], None] = lambda _done: None
    ) -> tuple[list[Example], list[Skip]]:
        """The examples that can train, and the others with the reason of each: every one is read and encoded once."""
        good, skips = [], []
        videos = self._videos([example.video for example in examples if example.video])
        for done, example in enumerate(examples):
            video = next(videos) if example.video else None
            try:
                if isinstance(video, MediaError):
                    raise video
                self._encode(example, video)
                good.append(example)
            except CurateError as error:
                skips.append(Skip(item_id=example.item_id, reason=str(error)))
            progress(done + 1)
        return good, skips

    def _encode(self, example: Example, video: Frames | None) -> Encoded:
        return self.encoder.encode(example, video=video, images=[read_image(path) for path in example.images])

    def _videos(self, paths: Sequence[Path]) -> Iterator[Frames | MediaError]:
        """What each path holds, in order; what is kept is not read again."""
        missing = [path for path in paths if path not in self._kept]
        known = set(self._kept)
        fresh = self._read(missing) if missing else iter(())
        for path in paths:
            if path in known:
                yield self._kept[path]
                continue
            video = next(fresh)
            if isinstance(video, Frames) and path not in self._kept and video.images.nbytes <= self.room:
                self._kept[path] = video
                self.room -= video.images.nbytes
            yield video

    def _read(self, paths: Sequence[Path]) -> Iterator[Frames | MediaError]:
        if self._reader is None:
            self._reader = MediaReader(workers=self._workers, timeout=self._timeout).__enter__()
        return self._reader.videos(paths, self.frames)
