"""Reading media in worker processes: a file that makes its decoder hang or crash is one error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curate.engine import Engine, Part, PartError
from curate.media.frame_folders import read_frames_or_video
from curate.media.frames import HINT, Frames, MediaError, import_decord
from curate.media.probe import Probe, probe
from curate.processors import cores
from schemas.errors import CurateError, MissingError

TIMEOUT = 30.0
"""Seconds for one file."""
BYTES_PER_PROCESS = 2**22
"""Videos of this size take longer to decode than another process takes to start."""


def processes_for(paths: Sequence[Path]) -> int:
    """Return how many processes read these files soonest: at most one per core and per file."""
    size = sum(path.stat().st_size for path in paths if path.is_file())
    return max(1, min(cores(), len(paths), 1 + size // BYTES_PER_PROCESS))


def read_videos(
    engine: Engine, paths: Sequence[Path], count: int, fps: float | None = None, *, timeout: float = TIMEOUT
) -> Iterator[Frames | MediaError]:
    """Yield the frames of each video (``read_video``) in the order of paths; a few files are read ahead."""
    return media_map(engine, partial(_frames, count=count, fps=fps), paths, timeout=timeout)


def probe_media(engine: Engine, paths: Sequence[Path], *, timeout: float = TIMEOUT) -> Iterator[Probe | MediaError]:
    """Yield the properties (curate.media.probe) or the defect of each file in the order of paths.

    Raises CurateError if pillow is not installed.
    """
    if find_spec("PIL") is None:
        raise MissingError("frames cannot be hashed without pillow", hint="pip install 'mr2-curate[video]'")
    return media_map(engine, probe, paths, timeout=timeout)


def media_map(
    engine: Engine,
    function: Callable[[Any], Any],
    paths: Sequence[Path],
    arguments: Sequence[Any] | None = None,
    *,
    timeout: float,
) -> Iterator[Any]:
    """Yield the function's result for each file, or its MediaError; any other exception is raised.

    arguments: of the function, for each file; default: the file. Raises CurateError if no decoder is installed.
    """
    import_decord()
    given = paths if arguments is None else arguments
    parts = [Part(str(path), argument) for path, argument in zip(paths, given, strict=True)]
    for result in engine.map(function, parts, timeout=timeout):
        if isinstance(result, PartError):
            yield MediaError(str(result), hint=HINT, code=result.code)
        elif isinstance(result, Exception) and not isinstance(result, CurateError):
            raise result
        else:
            yield result


def _frames(path: Path, *, count: int, fps: float | None) -> Frames:
    return read_frames_or_video(path, count, fps)
