"""Record boundaries in a text file, computed on whole blocks of bytes, with the line number of each record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Index = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

NEWLINE, RETURN, QUOTE = 10, 13, 34


@dataclass(frozen=True)
class Records:
    """n records of one block of bytes. Blank lines are not records."""

    data: Bytes
    """(bytes,) the block."""
    start: Index
    """(n,) where each record begins."""
    end: Index
    """(n,) one past its last byte, without the line break."""
    line: Index
    """(n,) its 1-based line in the file."""
    sound: npt.NDArray[np.bool_]
    """(n,) false if the quotes of the record do not match or its bytes are not UTF-8."""

    def __len__(self) -> int:
        return len(self.start)

    def text(self, i: int) -> str:
        """Return record i as text; bytes that are not UTF-8 become escapes."""
        return self.data[self.start[i] : self.end[i]].tobytes().decode("utf-8", "backslashreplace")

    def take(self, keep: npt.NDArray[np.bool_] | Index) -> Records:
        """Return the selected records of the same block."""
        return replace(self, start=self.start[keep], end=self.end[keep], line=self.line[keep], sound=self.sound[keep])

    def texts(self) -> pa.Array:
        """Return (n,) the records as text without a copy, each with the blank lines after it; null if not sound.

        The records must be all those of their block, or the first ones.
        """
        if not len(self):
            return pa.array([], pa.large_string())
        offsets = np.append(self.start, self.end[-1]).astype(np.int64)
        valid = np.packbits(self.sound, bitorder="little")
        return pa.LargeStringArray.from_buffers(len(self), *map(pa.py_buffer, (offsets, self.data, valid)))

    def joined(self) -> bytes:
        """Return the records as bytes, one per line, without the bytes between them."""
        if not len(self):
            return b""
        gap = self.start[1:] - self.end[:-1]
        if np.all((gap == 1) | ((gap == 2) & (self.data[self.end[:-1]] == RETURN))):
            return self.data[self.start[0] : self.end[-1]].tobytes()
        size = self.end - self.start
        target = np.cumsum(size + 1) - (size + 1)  # the first output byte of each record
        out = np.full(int((size + 1).sum()), NEWLINE, np.uint8)
        # one gather for all records: byte k of record r comes from start[r] + k
        place = np.arange(int(size.sum())) + np.repeat(np.arange(len(size)), size)
        out[place] = self.data[place + np.repeat(self.start - target, size)]
        return out.tobytes()


def split_lines(blocks: Iterator[bytes], most: int, oversized: list[int]) -> Iterator[Records]:
    """Yield every line as a record, for formats without quotes (JSONL).

    A line of more than ``most`` bytes is skipped, and its number is appended to ``oversized``.
    """
    return _split(blocks, None, most, oversized)


def split_csv(blocks: Iterator[bytes], delimiter: str, most: int, oversized: list[int]) -> Iterator[Records]:
    """Yield CSV records (RFC 4180): a line break within quotes belongs to its record.

    A misplaced quote makes its record unsound. If an unsound record spans several lines, only its first line is
    rejected and parsing restarts at the next line, so that a stray quote does not consume the rows that follow. So
    does a record of more than ``most`` bytes. A longer line is skipped, and its number is appended to ``oversized``.
    """
    return _split(blocks, ord(delimiter), most, oversized)


def _split(blocks: Iterator[bytes], delimiter: int | None, most: int, oversized: list[int]) -> Iterator[Records]:
    held, line, skipping = b"", 1, False
    for block in blocks:
        if skipping:
            skipping = (at := block.find(b"\n") + 1) == 0
            block, line = block[at:], line + (at > 0)
            if skipping:
                continue
        held += block
        for final in (False, True) if b"\n" in block else ():
            if final and len(held) <= most:
                break
            # Within an open quote that exceeds the limit, the lines that are complete count as records.
            ready = held[: held.rfind(b"\n") + 1] if final else held
            records, stop = _records(np.frombuffer(ready, np.uint8), line, delimiter, final=final)
            if len(records):
                yield records
            line += held.count(b"\n", 0, stop)
            held = held[stop:]
        if len(held) > most:
            oversized.append(line)
            held, skipping = b"", True
    records, _ = _records(np.frombuffer(held, np.uint8), line, delimiter, final=True)
    if len(records):
        yield records


def _records(data: Bytes, line: int, delimiter: int | None, *, final: bool) -> tuple[Records, int]:
    """Return (the records of a block, their end). Unless ``final``, a record that may continue is not returned."""
    breaks = np.flatnonzero(data == NEWLINE)
    starts = np.concatenate([np.zeros(1, np.int64), breaks + 1])
    if starts[-1] == len(data):
        starts = starts[:-1]
    ends = np.append(breaks, len(data))[: len(starts)]
    first = last = np.arange(len(starts))
    sound = np.ones(len(starts), np.bool_)
    whole = len(starts) if final or len(starts) == len(breaks) else len(starts) - 1
    if delimiter is not None and QUOTE in data:
        first, last, sound = _quoted(data, starts, ends, delimiter, final=final)
        quotes = np.flatnonzero(data == QUOTE)
        is_open = not final and (len(quotes) - np.searchsorted(quotes, starts[first[-1]])) % 2 == 1
        whole = len(first) - 1 if is_open or len(starts) - whole else len(first)
    stop = int(starts[first[whole]]) if whole < len(first) else len(data)
    starts, ends, sound, lines = starts[first[:whole]], ends[last[:whole]], sound[:whole], line + first[:whole]
    for _ in range(2):  # \r\n, and \r\r\n, as programs write that translate \n twice
        ends = ends - ((ends > starts) & (data[np.maximum(ends - 1, 0)] == RETURN))
    full = ends > starts
    records = Records(data[:stop], starts[full], ends[full], lines[full], sound[full])
    return checked_encoding(records), stop


def _quoted(
    data: Bytes, starts: Index, ends: Index, delimiter: int, *, final: bool
) -> tuple[Index, Index, npt.NDArray[np.bool_]]:
    """Return (first line, last line, soundness) of each record.

    A line starts a record if the number of quotes before it is even; after a stray quote, if it is odd.
    """
    inside = (np.searchsorted(np.flatnonzero(data == QUOTE), starts) & 1).astype(bool)
    readings: list[tuple[Index, Index, npt.NDArray[np.bool_], Index]] = []
    pieces: list[tuple[Index, Index, npt.NDArray[np.bool_]]] = []
    at = turns = 0
    while True:
        if turns < 2:
            readings.append(_reading(data, starts, ends, np.flatnonzero(inside == bool(turns)), delimiter, final=final))
        first, last, sound, stray = readings[turns % 2]
        next_stray = np.searchsorted(stray, at)
        stop = int(stray[next_stray]) if next_stray < len(stray) else len(starts)
        taken = slice(np.searchsorted(first, at), np.searchsorted(first, stop))
        pieces.append((first[taken], last[taken], sound[taken]))
        if stop == len(starts):
            break
        pieces.append((np.array([stop]), np.array([stop]), np.array([False])))
        at, turns = stop + 1, turns + 1
    first, last, sound = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return first, last, sound


def _reading(
    data: Bytes, starts: Index, ends: Index, first: Index, delimiter: int, *, final: bool
) -> tuple[Index, Index, npt.NDArray[np.bool_], Index]:
    """Return (first line, last line, soundness, stray) of the records that start on the given lines; ``stray``: the
    first lines of records that a stray quote extended over several lines."""
    last = np.append(first[1:], len(starts))[: len(first)] - 1
    wrong, unclosed = _misplaced(data, starts[first], ends[last], delimiter)
    stray = (last > first) & (wrong | unclosed if final else wrong)
    return first, last, ~(wrong | unclosed), first[stray]


def _misplaced(
    data: Bytes, starts: Index, ends: Index, delimiter: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return (n,) whether a quote opens or closes inside a field, and (n,) whether a quote never closes."""
    quotes = np.flatnonzero(data == QUOTE)
    lo, hi = np.searchsorted(quotes, starts), np.searchsorted(quotes, ends)
    record = np.searchsorted(starts, quotes, side="right") - 1
    inside = (record >= 0) & (quotes < ends[np.maximum(record, 0)])
    opens = ((np.arange(len(quotes)) - lo[np.maximum(record, 0)]) & 1) == 0
    before = np.where(quotes > 0, data[np.maximum(quotes - 1, 0)], NEWLINE)
    after, beyond, third = (
        np.where(quotes + k < len(data), data[np.minimum(quotes + k, len(data) - 1)], NEWLINE) for k in (1, 2, 3)
    )
    at_start = (quotes == starts[np.maximum(record, 0)]) | (before == delimiter) | (before == QUOTE)
    at_end = (after == delimiter) | (after == NEWLINE) | (after == QUOTE)
    at_end |= (after == RETURN) & ((beyond == NEWLINE) | ((beyond == RETURN) & (third == NEWLINE)))
    wrong = inside & np.where(opens, ~at_start, ~at_end)
    bad = np.zeros(len(starts), np.bool_)
    bad[record[wrong]] = True
    return bad, (hi - lo) % 2 == 1


def checked_encoding(records: Records) -> Records:
    """Return the records; those whose bytes are not UTF-8 are not sound."""
    try:
        records.data.tobytes().decode("utf-8")
    except UnicodeDecodeError:
        sound = records.sound.copy()
        for i in range(len(records)):  # only in a block with an invalid byte
            sound[i] &= _is_utf8(records.data[records.start[i] : records.end[i]].tobytes())
        return replace(records, sound=sound)
    return records


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def lines_with(records: Records, prefix: str) -> npt.NDArray[np.bool_]:
    """Return (n,) which records are one line that starts with a prefix."""
    data, start = records.data, records.start
    breaks = np.flatnonzero(data == NEWLINE)
    found: npt.NDArray[np.bool_] = np.searchsorted(breaks, start) == np.searchsorted(breaks, records.end)
    for k, byte in enumerate(prefix.encode()):
        found &= (start + k < records.end) & (data[np.minimum(start + k, len(data) - 1)] == byte)
    return found


def count_fields(records: Records, delimiter: str, *, quoting: bool = True) -> Index:
    """Return (n,) the number of fields of each CSV record: delimiters outside quotes, plus one."""
    at = np.flatnonzero(records.data == ord(delimiter))
    if quoting and len(at) and len(records) and QUOTE in records.data:
        # count quotes from the record's start, since an earlier record may be unsound
        quotes = np.flatnonzero(records.data == QUOTE)
        record = np.searchsorted(records.start, at, side="right") - 1
        base = np.searchsorted(quotes, records.start)[np.maximum(record, 0)]
        at = at[((np.searchsorted(quotes, at) - base) & 1) == 0]
    fields: Index = np.searchsorted(at, records.end) - np.searchsorted(at, records.start) + 1
    return fields
