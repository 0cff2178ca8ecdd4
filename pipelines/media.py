"""The job ``media``: probe every video and image of a store, or given files; valid stored results are reused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from curate.engine import Engine, open_engine
from curate.media.frames import MediaError
from curate.media.locate import Locator, inside, media_below
from curate.media.probe import PROBE_VERSION, Probe
from curate.media.workers import probe_media as probe_paths
from curate.media.workers import processes_for
from curate.store import Store
from curate.store.media import UNPROBED, media_of, prompts_without_media, save_media
from pipelines.progress import Progress, silent
from schemas.engine import EngineConfig
from schemas.errors import MissingError
from schemas.media import MediaFile, MediaReport

TIMEOUT = 30.0
"""Seconds for one file."""
SAVE_EVERY = 100
"""Files whose results are saved at a time; a crash loses the results of at most so many."""
COLUMNS: dict[str, type[pl.DataType] | pl.DataType] = {
    "video": pl.String,
    "path": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "kind": pl.String,
    "duration": pl.Float64,
    "frames": pl.Int64,
    "fps": pl.Float64,
    "variable_frame_rate": pl.Boolean,
    "width": pl.Int32,
    "height": pl.Int32,
    "codec": pl.String,
    "sha256": pl.String,
    "phash": pl.List(pl.UInt64),
    "fingerprint": pl.Binary,
    "bytes": pl.Int64,
    "mtime_ns": pl.Int64,
    "timeout_s": pl.Float64,
    "probe_version": pl.Int32,
}
"""Columns of table media."""


def probe_media(
    store: str | Path = "curate.duckdb",
    *,
    media: str | Path | None = None,
    engine: EngineConfig | Engine | None = None,
    timeout: float = TIMEOUT,
    rehash: bool = False,
    progress: Progress = silent,
) -> MediaReport:
    """Probe every video and image that the prompts name, and save the results in the table ``media`` of the store.

    A file is read again if its size or modification time changed, the probing code changed, it timed out under a
    smaller limit, its process crashed, or ``rehash`` is set. An unusable file is a row with a code and a reason.

    Parameters
    ----------
    store
        The DuckDB file.
    media
        The folder that paths are relative to; the folder of the store if None.
    engine
        Where files are read; None: processes of this machine, at most one per core.
    timeout
        Time limit for each file, seconds.
    rehash
        Read every file again.
    progress
        Called with the number of probed files.

    Raises
    ------
    CurateError
        If the store or the folder does not exist, or the decoder is not installed.
    """
    folder = Path(media) if media is not None else Path(store).parent
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder", hint="--media DIR sets the folder that paths are relative to")
    with Store.open(store) as opened:
        known = {row["video"]: row for row in media_of(opened).iter_rows(named=True)}
        located = _locate(folder, list(known))
        stale = [one for one in located if rehash or not one.is_current(known[one.video], timeout)]
        rows = _rows(stale, engine, timeout=timeout, progress=progress)
        while batch := list(islice(rows, SAVE_EVERY)):
            save_media(opened, pl.DataFrame(batch, schema=COLUMNS))
        return _report(
            [_file(row) for row in media_of(opened).iter_rows(named=True)],
            store=str(store),
            media=str(folder),
            probed=sum(one.path is not None for one in stale),
            prompts_without_media=prompts_without_media(opened),
        )


def probe_files(
    paths: Sequence[str | Path],
    *,
    engine: EngineConfig | None = None,
    timeout: float = TIMEOUT,
    progress: Progress = silent,
) -> MediaReport:
    """Probe files, and all videos and images of folders, without a store.

    Raises CurateError for a folder without videos and images.
    """
    found: list[_Located] = []
    for path in map(Path, paths):
        below = _locate_below(path) if path.is_dir() else [_locate_given(path)]
        if not below:
            raise MissingError(f"{path}: no videos or images in this folder", hint="give files, or another folder")
        found += below
    located = list({one.video: one for one in found}.values())
    rows = sorted(_rows(located, engine, timeout=timeout, progress=progress), key=lambda row: str(row["video"]))
    return _report([_file(row) for row in rows], store="", media="", probed=len(rows), prompts_without_media=0)


@dataclass(frozen=True)
class _Located:
    """A video and its file."""

    video: str
    path: Path | None = None
    name: str = ""
    """Path relative to the media folder."""
    bytes: int | None = None
    mtime_ns: int | None = None
    error: MediaError | None = None
    """Why there is no path."""

    def is_current(self, row: dict[str, Any], timeout: float) -> bool:
        """Whether the stored row is still valid."""
        if row["status"] in (UNPROBED, "missing", "outside", "ambiguous", "crashed") or self.error:
            return False
        if row["probe_version"] != PROBE_VERSION or (row["status"] == "timeout" and timeout > row["timeout_s"]):
            return False
        return (row["path"], row["bytes"], row["mtime_ns"]) == (self.name, self.bytes, self.mtime_ns)


def _locate(folder: Path, videos: Sequence[str]) -> list[_Located]:
    locator = Locator(folder)
    return [_located(video, partial(locator.find, video), locator.name) for video in videos]


def _locate_below(folder: Path) -> list[_Located]:
    """The videos and images of a folder, named by their paths with the folder."""
    names = [path.relative_to(folder).as_posix() for path in media_below(folder)]
    return [_located(str(folder / name), partial(inside, folder, name), str) for name in names]


def _locate_given(path: Path) -> _Located:
    """A file that the user named, wherever it is."""
    return _located(str(path), lambda: path if path.exists() else Locator(path.parent).find(path.name), str)


def _located(video: str, find: Callable[[], Path], name: Callable[[Path], str]) -> _Located:
    try:
        path = find()
        state = path.stat()
    except MediaError as error:
        return _Located(video, error=error)
    except OSError as error:  # a given file that does not exist, or one removed since it was found
        return _Located(video, error=MediaError(f"{video}: {error.strerror}", code="missing"))
    return _Located(video, path, name(path), state.st_size, state.st_mtime_ns)


def _rows(
    located: Sequence[_Located], engine: EngineConfig | Engine | None, *, timeout: float, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Yield a row of table media for each video, in order. No process is started if no file exists."""
    paths = [one.path for one in located if one.path is not None]
    with ExitStack() as stack:
        answers: Iterator[Probe | MediaError] = iter(())
        if paths:
            if not isinstance(engine, Engine):
                engine = stack.enter_context(open_engine(engine, workers=processes_for(paths)))
            answers = probe_paths(engine, paths, timeout=timeout)
        for done, one in enumerate(located):
            progress("probing media", done, len(located))
            answer = one.error or next(answers)
            yield _row(one, answer, timeout)


def _row(one: _Located, answer: Probe | MediaError, timeout: float) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    if isinstance(answer, MediaError):
        reason = str(answer).removeprefix(f"{one.path}: ") if one.path else str(answer).partition(": ")[2]
        row |= {"status": answer.code, "reason": reason}
    else:
        row |= asdict(answer) | {"status": "ok", "reason": ""}
    # Size and time from before the file was read: a change meanwhile is noticed the next time.
    row |= {"bytes": one.bytes, "mtime_ns": one.mtime_ns}
    return row | {"video": one.video, "path": one.name, "timeout_s": timeout, "probe_version": PROBE_VERSION}


def _file(row: dict[str, Any]) -> MediaFile:
    fields = {name: row[name] for name in MediaFile.model_fields if name in row}
    if row["phash"] is not None:
        fields["phash"] = tuple(f"{value:016x}" for value in row["phash"])
    return MediaFile.model_validate(fields)


def _report(files: list[MediaFile], *, store: str, media: str, probed: int, prompts_without_media: int) -> MediaReport:
    usable = [file for file in files if file.status == "ok"]
    unusable = [file for file in files if file.status != "ok"]
    codes = sorted({file.status for file in unusable})
    return MediaReport(
        store=store,
        media=media,
        total=len(files),
        ok=len(usable),
        rejected={code: sum(file.status == code for file in unusable) for code in codes},
        probed=probed,
        images=sum(file.kind == "image" for file in usable),
        variable_frame_rate=sum(file.variable_frame_rate is True for file in usable),
        bytes=sum(file.bytes or 0 for file in usable),
        seconds=sum(file.duration or 0.0 for file in usable),
        prompts_without_media=prompts_without_media,
        prompts_with_unusable_media=sum(file.prompts for file in unusable),
        files=tuple(files),
    )
