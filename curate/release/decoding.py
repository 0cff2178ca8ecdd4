"""The media of a release, decoded again: does each show what the table of media says of it?"""

from __future__ import annotations

import math
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from curate.media.frames import MediaError
from curate.media.near_duplicates import distance
from curate.media.probe import Probe
from curate.media.workers import MediaReader, cores
from curate.release.columns import MEDIA, PROMPTS
from schemas.errors import CurateError
from schemas.release import Finding, Release

Tables = Mapping[str, pl.DataFrame]
SAME_LOOK = 0.05
"""Distance of perceptual hashes up to which two decoders saw the same frames (curate.media.near_duplicates calls 0.2
near)."""
SAME_TIME = 1e-3
"""How far durations and rates may differ, as a share: FFmpeg's builds round otherwise."""
TIMEOUT = 60.0
"""Seconds for one file."""


def decoded_findings(folder: Path, release: Release, tables: Tables, notes: list[str]) -> tuple[int, list[Finding]]:
    """How many media were decoded; and those that do not decode, or show something else than the table says.

    Size, frames, duration, rate and codec must be those of the table, the perceptual hashes nearly so: a video that was
    swapped for another one is found though every digest was made to fit.
    """
    if release.media_as == "none" or MEDIA not in tables:
        return 0, []
    rows = tables[MEDIA].unique("media_sha256", keep="first", maintain_order=True).to_dicts()
    if find_spec("PIL") is None:
        notes.append("media were not decoded: pillow is not installed (pip install 'mr2-curate[video]')")
        return 0, []
    findings: list[Finding] = []
    with _unpacked(folder, release, tables) as home:
        there = [row for row in rows if (home / _name(row)).is_file()]  # the check of media names the others
        if not there:
            return 0, []
        try:
            reader = MediaReader(workers=min(cores(), len(there)), timeout=TIMEOUT)
        except CurateError as error:
            notes.append(f"media were not decoded: {error}")
            return 0, []
        with reader:
            answers = reader.probe([home / _name(row) for row in there])
            for row, answer in zip(there, answers, strict=True):
                findings += [
                    Finding(check="decoded", where=f"media/{_name(row)}", what=what)
                    for what in (
                        [_words(answer, home)] if isinstance(answer, MediaError) else _differences(row, answer)
                    )
                ]
    return len(there), findings


def _differences(row: Mapping[str, Any], found: Probe) -> Iterator[str]:
    """What the table says of a medium and a look at it does not, in words. None in the table: nobody looked."""
    exact = ("kind", "bytes", "width", "height", "frames")
    pairs = [(name, row[name], getattr(found, name)) for name in exact]
    if "unknown" not in (row["codec"], found.codec):
        pairs.append(("codec", row["codec"], found.codec))
    yield from (f"its {name} is {is_}, the table says {said}" for name, said, is_ in pairs if said not in (None, is_))
    for name in ("duration", "fps"):
        said, is_ = row[name], getattr(found, name)
        if said is not None and (is_ is None or not math.isclose(said, is_, rel_tol=SAME_TIME)):
            yield f"its {name} is {is_}, the table says {said}"
    said = tuple(row["phash"] or ())
    hashes = found.phash[: len(said)]  # an older curate hashed whole frames only: they come first
    if said and said != hashes:
        apart = distance(said, hashes) if len(said) == len(hashes) else 1.0
        if apart > SAME_LOOK:
            yield f"shows something else than the table says: its perceptual hashes are {apart:.2f} apart"


def _words(error: MediaError, home: Path) -> str:
    return f"does not decode: {str(error).replace(f'{home}/', '')}"


def _name(row: Mapping[str, Any]) -> str:
    """The file of a medium in media/: by its content."""
    path = row["video"] or row["image"] or ""
    return Path(path).name


@contextmanager
def _unpacked(folder: Path, release: Release, tables: Tables) -> Iterator[Path]:
    """A folder with the media as files: that of the release, or one that goes away again."""
    if release.media_as == "files":
        yield folder / "media"
        return
    with TemporaryDirectory() as scratch:
        home = Path(scratch)
        if release.media_as == "inside":
            _write_rows(home, [frame for name, frame in tables.items() if name not in (PROMPTS, MEDIA)])
        for file in release.files:
            if file.path.endswith(".tar"):
                _untar(folder / file.path, home)
        yield home


def _write_rows(home: Path, tables: Sequence[pl.DataFrame]) -> None:
    for frame in tables:
        for medium in (*frame["video"].to_list(), *frame["image"].to_list()):
            if medium and medium["bytes"] is not None and not (home / Path(medium["path"]).name).exists():
                (home / Path(medium["path"]).name).write_bytes(medium["bytes"])


def _untar(path: Path, home: Path) -> None:
    """Its members but the JSON, as far as it can be read: the check of media says what cannot."""
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                data = tar.extractfile(member)
                if data is not None and not member.name.endswith(".json"):
                    (home / Path(member.name).name).write_bytes(data.read())
    except (OSError, tarfile.TarError):
        return
