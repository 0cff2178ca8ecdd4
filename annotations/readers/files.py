"""Vote files on disk: find them, detect their format from their first bytes, and read them block by block."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from glob import glob
from pathlib import Path
from typing import Literal

from annotations.readers.json_rows import lists_of_objects
from schemas.config import IngestConfig
from schemas.errors import CurateError, MissingError
from schemas.mapping import Limits, Mapping

Format = Literal["csv", "jsonl", "json", "parquet", "arrow"]

SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow")
"""The files that a directory is searched for; each also with .gz."""

BLOCK = 1 << 24
"""Bytes read at a time."""

POTATO_STATE = "user_state.json"
"""Where Potato keeps one annotator's answers."""
LEAST = 1 << 26
"""Bytes up to which any compression ratio is allowed."""

HEAD = 4096
"""Bytes used to detect the format."""

BOM = b"\xef\xbb\xbf"
"""The byte-order mark of UTF-8."""


class DamagedFile(Exception):
    """The compressed data end early; the bytes before are intact."""


@dataclass(frozen=True)
class VoteFile:
    """One file and its detected format."""

    path: Path
    format: Format
    gzipped: bool
    sha256: str
    name: str = ""
    """How the source is named in messages and in the store; empty: its path."""
    mapping: Mapping = field(default=Mapping(), compare=False)
    """How its bytes and columns are read."""
    limits: Limits = field(default=Limits(), compare=False)
    objects: tuple[Path, ...] = ()
    """Files of one JSON object each, which are read as the items of one array."""
    trusted: bool = field(default=False, compare=False)
    """This process wrote it: no child process is needed to read it."""
    rows_are_proposed: bool = False
    """The user has not confirmed ``mapping.rows``."""

    def __str__(self) -> str:
        return self.name or str(self.path)

    def blocks(self) -> Iterator[bytes]:
        """Yield the decompressed bytes, text as UTF-8.

        Raises DamagedFile after the last intact byte of a damaged gzip file, and CurateError if the file is larger than
        the limit or is not in the given encoding.
        """
        decoder = _decoder(self)
        size, packed = 0, self.path.stat().st_size
        for block in self._bytes():
            size += len(block)
            if size > self.limits.uncompressed_gib * 2**30 and self.gzipped:
                message = f"{self}: larger than {self.limits.uncompressed_gib:g} GiB after decompression"
                raise CurateError(message, hint="raise uncompressed_gib under [ingest.limits] in curate.toml")
            if self.gzipped and size > max(LEAST, self.limits.ratio * packed):
                message = f"{self}: more than {self.limits.ratio:g} times as large after decompression"
                raise CurateError(
                    message, hint="raise ratio under [ingest.limits] in curate.toml if you trust the file"
                )
            yield block if decoder is None else _decoded(self, decoder, block)
        if decoder is not None:
            yield _decoded(self, decoder, b"", final=True)

    def _bytes(self) -> Iterator[bytes]:
        if self.objects:
            held = bytearray(b"[")
            for i, path in enumerate(self.objects):
                held += (b"," if i else b"") + path.read_bytes().removeprefix(BOM)
                if len(held) >= BLOCK:
                    yield bytes(held)
                    held.clear()
            yield bytes(held) + b"]"
            return
        with self.path.open("rb") as raw:
            if self.gzipped:
                yield from _unzipped(gzip.GzipFile(fileobj=raw))
            else:
                while block := raw.read(BLOCK):
                    yield block


def _decoder(file: VoteFile) -> codecs.IncrementalDecoder | None:
    """Return the decoder of the file's encoding; None for UTF-8. Raises CurateError for an unknown encoding."""
    if not file.mapping.encoding or file.format in ("parquet", "arrow"):
        return None
    try:
        "".encode(file.mapping.encoding)  # refuses codecs that are not of texts
        return codecs.getincrementaldecoder(file.mapping.encoding)()
    except LookupError as error:
        hint = "for example latin-1, cp1252 or utf-16"
        raise CurateError(f"{file}: unknown encoding {file.mapping.encoding!r}", hint=hint) from error


def _decoded(file: VoteFile, decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> bytes:
    try:
        return decoder.decode(block, final).encode()
    except UnicodeDecodeError as error:
        message = f"{file}: not in the encoding {file.mapping.encoding} ({error.reason})"
        raise CurateError(message, hint="correct encoding in the mapping") from error


def _unzipped(stream: gzip.GzipFile) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    try:
        while piece := stream.read1(BLOCK):  # read1, not read: it returns the intact bytes before an error
            held.append(piece)
            size += len(piece)
            if size >= BLOCK:
                yield b"".join(held)
                held, size = [], 0
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        yield b"".join(held)
        raise DamagedFile(f"the gzip data is cut off or damaged ({error})") from error
    yield b"".join(held)


def find_files(paths: Iterable[str | Path], config: IngestConfig = IngestConfig()) -> tuple[VoteFile, ...]:
    """Return the files that paths, globs and directories name, each once: in the given order, sorted within each.

    config: the mapping of each file, and the limits.

    Raises CurateError for a path that does not exist and for a file whose format cannot be read.
    """
    found: dict[Path, VoteFile] = {}
    for path in map(Path, paths):
        files = _expand(path)
        objects = tuple(file for file in files if is_object(file)) if path.is_dir() else ()
        if len(objects) > 1:
            files = [file for file in files if file not in objects]
            mapping = config.mapping_of(str(path))
            found.setdefault(path, VoteFile(path, "json", False, _digest(objects), "", mapping, config.limits, objects))
        for file in files:
            found.setdefault(file, sniff(file, config.mapping_of(str(file)), config.limits))
    return tuple(found.values())


def is_object(path: Path) -> bool:
    """Return whether a file without a suffix, or with the suffix .json, holds one JSON object and nothing else."""
    if path.suffix not in ("", ".json"):
        return False
    with path.open("rb") as stream:
        if _spans_lines(start := stream.read(HEAD).removeprefix(BOM).lstrip()):
            return True
        line = start + stream.readline()
        return start[:1] == b"{" and line.rstrip()[-1:] == b"}" and not stream.read(HEAD).strip()


def _digest(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the names and contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        if (path / "campaign.json").is_file() and (path / "log.jsonl").is_file():
            return [path / "log.jsonl"]  # a campaign folder: only its log holds votes
        present = sorted(p for p in path.rglob("*") if p.is_file())
        if states := [p for p in present if p.name == POTATO_STATE]:
            return states  # a project of Potato: its other files are copies, or no votes
        files = [p for p in present if p.name.removesuffix(".gz").endswith(SUFFIXES)]
        # Label Studio names the files of a storage after the annotation, without a suffix.
        files = files or [p for p in present if p.name.isdecimal() and is_object(p)]
        if not files:
            raise MissingError(
                f"{path}: no vote files in this folder", hint=f"searched for {', '.join(SUFFIXES)} (also .gz)"
            )
        return files
    if path.exists():
        if not path.is_file():  # opening a pipe or a device could wait forever
            raise CurateError(
                f"{path}: not a regular file", hint="give a file, or - to read a pipe: curate ingest - < PIPE"
            )
        return [path]
    files = sorted(p for p in map(Path, glob(str(path), recursive=True)) if p.is_file())  # noqa: PTH207 (** and parents)
    if not files:
        raise MissingError(f"{path}: no such file", hint="give files, globs or directories")
    return files


def sniff(path: Path, mapping: Mapping, limits: Limits) -> VoteFile:
    """Return a file with its format, detected from its first bytes. Raises CurateError if it cannot be read."""
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        head = stream.read(4)
    gzipped = head[:2] == b"\x1f\x8b"
    file = VoteFile(path=path, format="csv", gzipped=gzipped, sha256=sha256, mapping=mapping, limits=limits)
    if head == b"PAR1":
        return replace(file, format="parquet")
    if head in (b"ARRO", b"\xff\xff\xff\xff"):
        return replace(file, format="arrow")
    start = b""
    try:
        for block in file.blocks():
            start += block
            if len(start) >= HEAD:
                break
    except DamagedFile as error:
        if not start:
            raise CurateError(f"{path}: {error}; nothing can be read", hint="download the file again") from error
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise CurateError(f"{path}: UTF-16 text", hint='set encoding = "utf-16" in the mapping')
    start = start[:HEAD]
    text = start.removeprefix(BOM).lstrip()
    if not text:
        raise CurateError(f"{path}: the file is empty", hint="omit it, or download it again")
    if b"\0" in start:
        raise CurateError(f"{path}: neither text nor Parquet", hint="supported: CSV, TSV, JSON, JSONL, Parquet")
    if text[:1] == b"[" or (text[:1] == b"{" and mapping.rows):
        return replace(file, format="json")
    if text[:1] != b"{":
        return file
    if re.match(rb'\{\s*"(data|votes|items|rows|results)"\s*:\s*\[', text) or (gzipped and _spans_lines(text)):
        return with_rows(replace(file, format="json"), needed=True)
    return replace(file, format="json", objects=(path,)) if _spans_lines(text) else replace(file, format="jsonl")


def with_rows(file: VoteFile, *, needed: bool) -> VoteFile:
    """Return a file that is one JSON object with its only list of objects as its proposed rows.

    Without such a list the file is returned unchanged, unless it is needed: then CurateError is raised.
    """
    try:
        lists = lists_of_objects(b"".join(replace(file, objects=()).blocks()).removeprefix(BOM))
    except DamagedFile:
        lists = []
    if len(lists) == 1:
        mapping = file.mapping.model_copy(update={"rows": lists[0]})
        return replace(file, mapping=mapping, objects=(), rows_are_proposed=True)
    if needed:
        one_of = f"state where its rows are in the mapping: rows = {' or '.join(map(repr, lists))}; " if lists else ""
        hint = f"{one_of}expected an array of objects, or one object per line (JSONL)"
        raise CurateError(f"{file}: the whole file is one JSON object", hint=hint)
    return file


def _spans_lines(start: bytes) -> bool:
    """Return whether a JSON text starts with an object whose first line is only the bracket."""
    return start.split(b"\n", 1)[0].strip() == b"{"
