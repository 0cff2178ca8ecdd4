"""The job ``media``: look at every video and image of a store, or at files; what is known and unchanged is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from curate.media.frames import MediaError
from curate.media.locate import Locator, media_below
from curate.media.probe import PROBER, Probe
from curate.media.workers import MediaReader, cores
from curate.store import Store
from curate.store.media import UNPROBED, media_of, prompts_without_video, save_media
from pipelines.progress import Progress, silent
from schemas.errors import CurateError, UsageError
from schemas.media import MediaFile, MediaReport

TIMEOUT = 30.0
"""Seconds for one file."""
SAVED = 100
"""Files whose results are saved at a time: so many are lost to a crash, at most."""
COLUMNS: dict[str, type[pl.DataType] | pl.DataType] = {
    "video": pl.String,
    "path": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "kind": pl.String,
    "duration": pl.Float64,
    "frames": pl.Int64,
    "fps": pl.Float64,
    "variable": pl.Boolean,
    "width": pl.Int32,
    "height": pl.Int32,
    "codec": pl.String,
    "sha256": pl.String,
    "phash": pl.List(pl.UInt64),
    "bytes": pl.Int64,
    "mtime_ns": pl.Int64,
    "limit_s": pl.Float64,
    "prober": pl.Int32,
}
"""Of table media."""


def probe_media(
    store: str | Path = "curate.duckdb",
    *,
    media: str | Path | None = None,
    workers: int | None = None,
    timeout: float = TIMEOUT,
    rehash: bool = False,
    progress: Progress = silent,
) -> MediaReport:
    """Look at every video and image that the store's prompts name, and keep what is found in its table ``media``.

    media: the folder that their paths start from; that of the store when None. workers: processes; one a core when
    None. timeout: seconds for each file. A file is read again when its size or time of change is another, when the code
    that reads it is, when it was out of time and has more now, or when the process that read it died; ``rehash``: in
    any case. A file that is missing, broken or hangs is a row with a reason, and stops nothing.
    Raises CurateError where the folder or the store is not there, or no decoder is installed.
    """
    folder = _folder(Path(store), media)
    with Store.open(store) as opened:
        known = {row["video"]: row for row in media_of(opened).iter_rows(named=True)}
        asked = _locate(folder, list(known))
        stale = [one for one in asked if rehash or not one.holds(known[one.video], timeout)]
        rows = _rows(stale, workers=workers, timeout=timeout, progress=progress)
        while batch := list(islice(rows, SAVED)):
            save_media(opened, pl.DataFrame(batch, schema=COLUMNS))
        files = [_file(row) for row in media_of(opened).iter_rows(named=True)]
        return _report(
            files,
            str(store),
            str(folder),
            probed=sum(one.path is not None for one in stale),
            without=prompts_without_video(opened),
        )


def probe_files(
    paths: Sequence[str | Path],
    *,
    workers: int | None = None,
    timeout: float = TIMEOUT,
    progress: Progress = silent,
) -> MediaReport:
    """Look at files, and at all videos and images of folders; nothing is kept. Raises CurateError for empty folders."""
    found: list[Path] = []
    for path in map(Path, paths):
        below = media_below(path) if path.is_dir() else [path]
        if not below:
            raise CurateError(f"{path}: no videos or images in this folder", hint="give files, or another folder")
        found += below
    asked = [one for path in dict.fromkeys(found) for one in _locate(Path(), [str(path)])]
    rows = sorted(_rows(asked, workers=workers, timeout=timeout, progress=progress), key=lambda row: str(row["video"]))
    return _report([_file(row) for row in rows], "", "", probed=len(rows), without=0)


@dataclass(frozen=True)
class _Asked:
    """A video, and what a quick look at its file says."""

    video: str
    path: Path | None = None
    name: str = ""
    """Path from the folder of media."""
    bytes: int | None = None
    mtime_ns: int | None = None
    error: MediaError | None = None
    """Why there is no path."""

    def holds(self, row: dict[str, Any], timeout: float) -> bool:
        """Whether what is known of it still holds."""
        if row["status"] in (UNPROBED, "missing", "ambiguous", "crashed") or row["prober"] != PROBER or self.error:
            return False
        if row["status"] == "timeout" and timeout > row["limit_s"]:
            return False
        return (row["path"], row["bytes"], row["mtime_ns"]) == (self.name, self.bytes, self.mtime_ns)


def _folder(store: Path, media: str | Path | None) -> Path:
    folder = Path(media) if media is not None else store.parent
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="--media DIR gives the folder that paths start from")
    return folder


def _locate(folder: Path, videos: Sequence[str]) -> list[_Asked]:
    locator = Locator(folder)
    found = []
    for video in videos:
        try:
            path = locator.find(video)
            state = path.stat()
        except MediaError as error:
            found.append(_Asked(video, error=error))
        except OSError as error:  # gone meanwhile
            found.append(_Asked(video, error=MediaError(f"{video}: {error.strerror}", code="missing")))
        else:
            found.append(_Asked(video, path, locator.name(path), state.st_size, state.st_mtime_ns))
    return found


def _rows(
    asked: Sequence[_Asked], *, workers: int | None, timeout: float, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Rows of table media, one for each that is asked for, in their order. Without files no process starts."""
    there = [one.path for one in asked if one.path is not None]
    answers: Iterator[Probe | MediaError] = iter(())
    reader = None
    if there:
        reader = MediaReader(workers=min(workers or cores(), len(there)), timeout=timeout)
        answers = reader.probe(there)
    try:
        for done, one in enumerate(asked):
            progress("looking at media", done, len(asked))
            answer = one.error or next(answers)
            yield _row(one, answer, timeout)
    finally:
        if reader is not None:
            reader.close()


def _row(one: _Asked, answer: Probe | MediaError, timeout: float) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    if isinstance(answer, MediaError):
        reason = str(answer).removeprefix(f"{one.path}: ") if one.path else str(answer).partition(": ")[2]
        row |= {"status": answer.code, "reason": reason}
    else:
        row |= asdict(answer) | {"status": "ok", "reason": ""}
    seen = {"bytes": one.bytes, "mtime_ns": one.mtime_ns}  # before it was read: a change while it was shows next time
    return row | seen | {"video": one.video, "path": one.name, "limit_s": timeout, "prober": PROBER}


def _file(row: dict[str, Any]) -> MediaFile:
    fields = {name: row[name] for name in MediaFile.model_fields if name in row}
    if row["phash"] is not None:
        fields["phash"] = tuple(f"{value:016x}" for value in row["phash"])
    return MediaFile.model_validate(fields)


def _report(files: list[MediaFile], store: str, media: str, *, probed: int, without: int) -> MediaReport:
    sound = [file for file in files if file.status == "ok"]
    bad = [file for file in files if file.status != "ok"]
    codes = sorted({file.status for file in bad})
    return MediaReport(
        store=store,
        media=media,
        total=len(files),
        ok=len(sound),
        rejected={code: sum(file.status == code for file in bad) for code in codes},
        probed=probed,
        images=sum(file.kind == "image" for file in sound),
        variable=sum(file.variable is True for file in sound),
        bytes=sum(file.bytes or 0 for file in sound),
        seconds=sum(file.duration or 0.0 for file in sound),
        prompts_without=without,
        prompts_bad=sum(file.prompts for file in bad),
        files=tuple(files),
    )
