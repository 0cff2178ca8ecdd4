"""The bytes of a text file as its format needs them: without byte-order mark, comment lines and enclosing object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from annotations.readers.files import BLOCK, BOM, DamagedFile, VoteFile
from annotations.readers.json_rows import list_at
from annotations.readers.records import Records, lines_with, split_csv, split_lines


class Dialect(NamedTuple):
    """How the fields of a CSV file are written."""

    delimiter: str
    quoting: bool


class Blocks:
    """The blocks of one file. ``damage`` states why they ended early, if they did."""

    def __init__(self, file: VoteFile) -> None:
        self.file = file
        self.damage = ""
        self.oversized: list[int] = []
        """Lines that are skipped because they exceed the limit."""
        self.most = int(file.limits.record_mib * 2**20)
        self.comments = 0
        """Comment lines, which are no records."""

    def __iter__(self) -> Iterator[bytes]:
        if self.file.mapping.rows and self.file.format == "json":
            rows = list_at(b"".join(self._bytes()), self.file.mapping.rows, str(self.file))
            yield from (rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK))
        else:
            yield from self._bytes()

    def _bytes(self) -> Iterator[bytes]:
        start: bytes | None = b""
        try:
            for block in self.file.blocks():
                if start is None:
                    yield block
                elif len(start := start + block) >= len(BOM):
                    yield start.removeprefix(BOM)
                    start = None
        except DamagedFile as error:
            self.damage = str(error)
        if start:
            yield start.removeprefix(BOM)

    def first_line(self) -> str:
        """Return the first line that is not blank."""
        start, comment = b"", self.file.mapping.comment.encode()
        for block in self:
            start = (start + block).lstrip(b"\r\n")
            while comment and start.startswith(comment) and b"\n" in start:
                start = start.split(b"\n", 1)[1].lstrip(b"\r\n")
            if b"\n" in start or len(start) > self.most:
                break
        return start.split(b"\n", 1)[0].decode("utf-8", "replace")

    def csv_records(self, dialect: Dialect) -> Iterator[Records]:
        """Yield the records of a CSV file without its comment lines."""
        comment = self.file.mapping.comment
        limits = (self.most, self.oversized)
        quoted = dialect.quoting
        lines = split_csv(iter(self), dialect.delimiter, *limits) if quoted else split_lines(iter(self), *limits)
        for records in lines:
            commented = lines_with(records, comment) if comment else np.zeros(len(records), np.bool_)
            self.comments += int(commented.sum())
            if not commented.all():
                yield records.take(~commented) if commented.any() else records
