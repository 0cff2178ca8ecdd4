"""What the writers of all clients share: the release that they read, its media, and files of rows."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from curate.media.locate import inside
from curate.release.manifest import read_release, seal_is_valid
from curate.release.media import FOLDER
from curate.release.tables import ITEM_CONFIGS, read_table, tables_of
from curate.shards.atomic import describe
from schemas.errors import CurateError
from schemas.manifest import ManifestFile
from schemas.release import Release

_BREAKS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029\ufeff"}


@dataclass(frozen=True)
class Written:
    """What a writer wrote."""

    rows: Mapping[str, int]
    """File -> rows, relative to the folder."""
    media: int = 0
    """Files in media/."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows that the client could not read as intended."""
    notes: tuple[str, ...] = ()
    """What a user must know about these files."""
    front_matter: tuple[str, ...] = ()
    """First lines of the README.md that is added."""


@dataclass(frozen=True)
class Client:
    """A program that reads releases in a format of its own."""

    name: str
    description: str
    """One sentence: what is written, for which part of the program."""
    usage: str
    """How the program reads the folder, as Markdown; DIR is the folder."""
    write: Callable[[Source, Path], Written]
    """From a release to an empty folder, which becomes the output if nothing fails. Without a README.md, one with the
    usage is added. Raises CurateError if the release lacks what the client needs."""


@dataclass(frozen=True)
class Source:
    """A finished release. Every file is compared with the manifest before it is used."""

    folder: Path
    release: Release
    out: Path
    """Where the client's folder will be: absolute, for clients that resolve no relative paths."""

    @classmethod
    def open(cls, folder: Path, out: Path = Path()) -> Source:
        """Read the manifest. out: where the client's folder will be.

        Raises CurateError if the folder is no release, or if the manifest was changed.
        """
        release = read_release(folder)
        if not seal_is_valid(folder):
            raise CurateError(f"{folder}: the manifest was changed", hint=f"curate release verify {folder}")
        return cls(folder, release, out.resolve())

    @cached_property
    def files(self) -> dict[str, ManifestFile]:
        """path -> its entry in the manifest."""
        return {file.path: file for file in self.release.files}

    def has(self, config: str) -> bool:
        """Return whether the config has rows."""
        return bool(tables_of(config, list(self.files)))

    def table(self, config: str) -> pl.DataFrame:
        """Return the rows of a config in their order, with the columns of its table (docs/release.md), except media.

        These become two columns. medium: ``media/NAME``, the path that ``link_media`` creates (as ingested, if the
        release has no media files), null without one. kind: video or image. Raises CurateError.
        """
        if not self.has(config):
            raise CurateError(
                f"{self.folder}: has no rows in config {config!r}",
                hint=f"it has {', '.join(name for name, rows in self.release.counts['items'].items() if rows)}",
            )
        parts = [self._read(path) for path in tables_of(config, list(self.files))]
        frame = pl.from_arrow(pa.concat_tables(parts))
        assert isinstance(frame, pl.DataFrame)
        path = {kind: pl.col(kind) if kind in frame.columns else pl.lit(None, pl.String) for kind in ("video", "image")}
        if self.release.media_as == "embedded":
            path = {kind: pl.lit(f"{FOLDER}/") + pl.col(kind).struct.field("path") for kind in path}
        frame = frame.with_columns(
            medium=pl.coalesce(path.values()),
            kind=pl.coalesce(pl.when(column.is_not_null()).then(pl.lit(kind)) for kind, column in path.items()),
        )
        return frame.drop("video", "image", "video_file_name", "image_file_name", strict=False)

    @property
    def has_media(self) -> bool:
        """Return whether the bytes of the media are in the release."""
        return self.release.media_as != "none"

    def read_media(self, names: Iterable[str | None]) -> dict[str, bytes]:
        """Return name -> content of these files of media/, each once. names: of the column medium."""
        wanted = self._wanted(names)
        if self.release.media_as == "files":
            return {name: self._checked(name).read_bytes() for name in wanted}
        return dict(self._contents(wanted))

    def link_media(self, names: Iterable[str | None], out: Path) -> int:
        """Create these files of media/ in the folder ``out``; return their number.

        names: of the column medium. Plain files become hard links where the file system allows it, else copies.
        """
        wanted = self._wanted(names)
        if wanted:
            (out / FOLDER).mkdir(exist_ok=True)
        if self.release.media_as == "files":
            for name in wanted:
                _link(self._checked(name), out / name)
        else:
            for name, data in self._contents(wanted):
                (out / name).write_bytes(data)
        return len(wanted)

    def link(self, names: Iterable[str], out: Path) -> None:
        """Create these files of the release in the folder ``out``, as hard links where the file system allows it."""
        for name in names:
            source = self._checked(name)
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            _link(source, out / name)

    def _wanted(self, names: Iterable[str | None]) -> list[str]:
        wanted = sorted({name for name in names if name})
        for name in wanted:  # of a release that somebody else made
            inside(self.folder, name)
        if wanted and not self.has_media:
            raise CurateError(
                f"{self.folder}: has the names of its videos only", hint="build the release with --media DIR"
            )
        return wanted

    def _contents(self, wanted: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield each file that is in the tar shards or the rows."""
        missing = set(wanted)
        for name, data in self._in_tars() if self.release.media_as == "webdataset" else self._in_rows():
            if name in missing:
                missing.remove(name)
                yield name, data
        if missing:
            raise self._damage(min(missing), "is missing")

    def _in_tars(self) -> Iterator[tuple[str, bytes]]:
        for path in self.files:
            if path.startswith(f"{FOLDER}/") and path.endswith(".tar"):
                with tarfile.open(self._checked(path)) as tar:
                    for member in tar:
                        if (file := tar.extractfile(member)) and not member.name.endswith(".json"):
                            yield f"{FOLDER}/{member.name}", file.read()

    def _in_rows(self) -> Iterator[tuple[str, bytes]]:
        for path in (path for config in ITEM_CONFIGS for path in tables_of(config, list(self.files))):
            for kind in ("video", "image"):
                for medium in self._read(path, columns=[kind])[kind]:
                    if medium.is_valid:
                        yield f"{FOLDER}/{medium['path']}", medium["bytes"].as_py()

    def _read(self, path: str, columns: list[str] | None = None) -> pa.Table:
        try:
            table = read_table(self._checked(path))
        except pa.ArrowException as error:
            raise self._damage(path, "is not readable as Parquet") from error
        return table.select(columns) if columns else table

    def _checked(self, name: str) -> Path:
        """Return the path of a file whose bytes are those that the manifest states."""
        entry = self.files.get(name)
        try:
            if entry is None or describe(inside(self.folder, name), entry.rows, root=self.folder) != entry:
                raise self._damage(name, "differs from the manifest")
        except OSError as error:
            raise self._damage(name, error.strerror or "is not readable") from error
        return self.folder / name

    def _damage(self, name: str, what: str) -> CurateError:
        return CurateError(f"{self.folder / name}: {what}", hint=f"curate release verify {self.folder}")


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object per line; return the number of rows.

    Line breaks of Unicode are escaped, since some readers split lines at them.
    """
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False).translate(_BREAKS) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    return len(lines)


def write_json(path: Path, document: Any) -> None:
    """Write one JSON document."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
