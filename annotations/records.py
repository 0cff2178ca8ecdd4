"""Where the records of a text file begin and end: found on whole blocks of bytes, so that every row knows its line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

NEWLINE, RETURN, QUOTE = 10, 13, 34


@dataclass(frozen=True)
class Records:
    """n records of one block of bytes. Blank lines are no records."""

    data: Bytes
    """(bytes,) the block."""
    start: Index
    """(n,) where each record begins."""
    end: Index
    """(n,) one past its last byte, the line break left out."""
    line: Index
    """(n,) its 1-based line in the file."""
    sound: npt.NDArray[np.bool_]
    """(n,) false where the quotes of the record do not match, or its bytes are not UTF-8."""

    def __len__(self) -> int:
        return len(self.start)

    def text(self, i: int) -> str:
        """Record i as text; bytes that are not UTF-8 show as escapes."""
        return self.data[self.start[i] : self.end[i]].tobytes().decode("utf-8", "backslashreplace")

    def take(self, keep: npt.NDArray[np.bool_] | Index) -> Records:
        """The chosen records of the same block."""
        return replace(self, start=self.start[keep], end=self.end[keep], line=self.line[keep], sound=self.sound[keep])

    def joined(self) -> bytes:
        """The records as text, each on its own line, nothing between."""
        if not len(self):
            return b""
        gap = self.start[1:] - self.end[:-1]
        if np.all((gap == 1) | ((gap == 2) & (self.data[self.end[:-1]] == RETURN))):
            return self.data[self.start[0] : self.end[-1]].tobytes()
        size = self.end - self.start
        target = np.cumsum(size + 1) - (size + 1)  # where each record goes
        out = np.full(int((size + 1).sum()), NEWLINE, np.uint8)
        # one gather for all records: byte k of record r comes from start[r] + k
        place = np.arange(int(size.sum())) + np.repeat(np.arange(len(size)), size)
        out[place] = self.data[place + np.repeat(self.start - target, size)]
        return out.tobytes()


def split_lines(blocks: Iterator[bytes]) -> Iterator[Records]:
    """Every line as a record: for formats without quotes (JSONL)."""
    return _split(blocks, delimiter=None)


def split_csv(blocks: Iterator[bytes], delimiter: str) -> Iterator[Records]:
    """CSV records (RFC 4180): a line break within quotes belongs to its record.

    A quote that opens or closes where none may makes its record unsound; an unsound record of several lines is taken
    apart, since a stray quote must not swallow the rows below it.
    """
    return _split(blocks, delimiter=ord(delimiter))


def _split(blocks: Iterator[bytes], *, delimiter: int | None) -> Iterator[Records]:
    held, line = b"", 1
    for block in blocks:
        held += block
        data = np.frombuffer(held, np.uint8)
        stop = _last_break(data, quotes=delimiter is not None)
        if stop:
            records = _records(data[:stop], line, delimiter)
            yield records
            line += int(np.count_nonzero(data[:stop] == NEWLINE))
            held = held[stop:]
    if held:
        yield _records(np.frombuffer(held, np.uint8), line, delimiter)


def _last_break(data: Bytes, *, quotes: bool) -> int:
    """One past the last line break that ends a record; 0 where there is none."""
    breaks = np.flatnonzero(data == NEWLINE)
    if quotes and len(breaks):
        breaks = breaks[~_inside(data, breaks)]
    return int(breaks[-1]) + 1 if len(breaks) else 0


def _inside(data: Bytes, at: Index) -> npt.NDArray[np.bool_]:
    """Whether each position lies within quotes: after an odd number of them."""
    quotes = np.flatnonzero(data == QUOTE)
    return (np.searchsorted(quotes, at) & 1).astype(bool)


def _records(data: Bytes, line: int, delimiter: int | None) -> Records:
    breaks = np.flatnonzero(data == NEWLINE)
    starts = np.concatenate([[0], breaks + 1])
    if starts[-1] == len(data):
        starts = starts[:-1]
    ends = np.append(breaks, len(data))[: len(starts)]
    lines = line + np.arange(len(starts))
    sound = np.ones(len(starts), np.bool_)
    if delimiter is not None and QUOTE in data:
        starts, ends, lines, sound = _quoted(data, starts, ends, lines, delimiter)
    ends = ends - ((ends > starts) & (data[np.maximum(ends - 1, 0)] == RETURN))
    full = ends > starts
    records = Records(data, starts[full], ends[full], lines[full], sound[full])
    return _checked_encoding(records)


def _quoted(
    data: Bytes, starts: Index, ends: Index, lines: Index, delimiter: int
) -> tuple[Index, Index, Index, npt.NDArray[np.bool_]]:
    """Lines joined to records by their quotes; unsound records of several lines taken apart again."""
    head = ~_inside(data, starts)  # lines on which a record begins
    first = np.flatnonzero(head)
    last = np.append(first[1:], len(starts)) - 1
    record_start, record_end = starts[first], ends[last]
    unsound = _misplaced(data, record_start, record_end, delimiter)
    apart = np.repeat(unsound & (last > first), last - first + 1)  # lines of records to take apart
    if apart.any():
        single = np.flatnonzero(apart)
        whole = ~(unsound & (last > first))
        starts = np.concatenate([record_start[whole], starts[single]])
        ends = np.concatenate([record_end[whole], ends[single]])
        lines = np.concatenate([lines[first][whole], lines[single]])
        order = np.argsort(starts)
        starts, ends, lines = starts[order], ends[order], lines[order]
        return starts, ends, lines, ~_misplaced(data, starts, ends, delimiter)
    return record_start, record_end, lines[first], ~unsound


def _misplaced(data: Bytes, starts: Index, ends: Index, delimiter: int) -> npt.NDArray[np.bool_]:
    """(n,) whether a record has a quote that opens within a field, closes within one, or never closes."""
    quotes = np.flatnonzero(data == QUOTE)
    lo, hi = np.searchsorted(quotes, starts), np.searchsorted(quotes, ends)
    record = np.searchsorted(starts, quotes, side="right") - 1
    inside = (record >= 0) & (quotes < ends[np.maximum(record, 0)])
    opens = ((np.arange(len(quotes)) - lo[np.maximum(record, 0)]) & 1) == 0
    before = np.where(quotes > 0, data[np.maximum(quotes - 1, 0)], NEWLINE)
    after = np.where(quotes + 1 < len(data), data[np.minimum(quotes + 1, len(data) - 1)], NEWLINE)
    at_start = (quotes == starts[np.maximum(record, 0)]) | (before == delimiter) | (before == QUOTE)
    at_end = (after == delimiter) | (after == NEWLINE) | (after == RETURN) | (after == QUOTE)
    wrong = inside & np.where(opens, ~at_start, ~at_end)
    bad = np.zeros(len(starts), np.bool_)
    bad[record[wrong]] = True
    result: npt.NDArray[np.bool_] = bad | ((hi - lo) % 2 == 1)
    return result


def _checked_encoding(records: Records) -> Records:
    try:
        records.data.tobytes().decode("utf-8")
    except UnicodeDecodeError:
        sound = records.sound.copy()
        for i in range(len(records)):  # only in a block that holds a bad byte
            sound[i] &= _is_utf8(records.data[records.start[i] : records.end[i]].tobytes())
        return replace(records, sound=sound)
    return records


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def count_fields(records: Records, delimiter: str) -> Index:
    """(n,) fields of each CSV record: delimiters outside quotes, plus one."""
    at = np.flatnonzero(records.data == ord(delimiter))
    if len(at) and QUOTE in records.data:
        # parity from the record's own start, since a record before it may be unsound
        quotes = np.flatnonzero(records.data == QUOTE)
        record = np.searchsorted(records.start, at, side="right") - 1
        base = np.searchsorted(quotes, records.start)[np.maximum(record, 0)]
        at = at[((np.searchsorted(quotes, at) - base) & 1) == 0]
    fields: Index = np.searchsorted(at, records.end) - np.searchsorted(at, records.start) + 1
    return fields
