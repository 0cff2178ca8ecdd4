"""The structure of JSON text, computed on whole blocks of bytes: the items of an array, the depth of nesting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotations.readers.records import QUOTE, Bytes, Index, Records, checked_encoding

Mask = npt.NDArray[np.bool_]

BACKSLASH, COMMA, SPACE = 92, 44, 32
STEPS = np.zeros(256, np.int8)
STEPS[[ord("["), ord("{")]], STEPS[[ord("]"), ord("}")]] = 1, -1
SIGNS = STEPS != 0
SIGNS[COMMA] = True


@dataclass(frozen=True)
class Structure:
    """The n brackets, braces and commas outside texts."""

    at: Index
    """(n,) their positions."""
    depth: Index
    """(n,) lists and objects that are open after each."""
    quotes: Index
    """Positions of the quotes that open or close a text."""


def structure(data: Bytes) -> Structure:
    """Return the structure of JSON text that begins outside a text."""
    quotes = _quotes(data)
    at = np.flatnonzero(SIGNS[data])
    at = at[(np.searchsorted(quotes, at) & 1) == 0]
    return Structure(at, np.cumsum(STEPS[data[at]], dtype=np.int64), quotes)


def _quotes(data: Bytes) -> Index:
    """Return the positions of the quotes that no backslash escapes."""
    quotes: Index = np.flatnonzero(data == QUOTE)
    slashes = np.flatnonzero(data == BACKSLASH)
    if not len(slashes) or not len(quotes):
        return quotes
    runs = slashes[np.diff(slashes, prepend=-2) > 1]
    escaped: Mask = slashes[np.maximum(np.searchsorted(slashes, quotes) - 1, 0)] == quotes - 1
    run = runs[np.searchsorted(runs, quotes[escaped]) - 1]
    escaped[escaped] = (quotes[escaped] - run) & 1 == 1
    return quotes[~escaped]


def nested_beyond(data: Bytes, depth: int) -> bool:
    """Return whether JSON text nests lists and objects beyond a depth."""
    return bool(structure(data).depth.max(initial=0) > depth)


def deep_records(records: Records, depth: int) -> Mask:
    """Return (n,) which JSON records nest lists and objects beyond a depth."""
    opening = np.flatnonzero(STEPS[records.data] > 0)
    brackets = np.searchsorted(opening, records.end) - np.searchsorted(opening, records.start)
    return _those(records, np.flatnonzero(brackets > depth), lambda data: nested_beyond(data, depth))


def records_with_numbers(records: Records, digits: int) -> Mask:
    """Return (n,) which JSON records hold a number of more consecutive digits than this."""
    stride = max(1, digits // 2)  # a longer run of digits has two of every stride-th byte
    sampled = _is_digit(records.data[::stride])
    at = np.flatnonzero(sampled[1:] & sampled[:-1]) * stride
    may = np.unique(np.maximum(np.searchsorted(records.start, at, side="right") - 1, 0))

    def has_number(data: Bytes) -> bool:
        edges = np.flatnonzero(np.diff(_is_digit(data), prepend=False, append=False))
        long = edges[::2][edges[1::2] - edges[::2] > digits]
        return bool((np.searchsorted(_quotes(data), long) % 2 == 0).any()) if len(long) else False

    return _those(records, may, has_number)


def _those(records: Records, may: Index, found: Callable[[Bytes], bool]) -> Mask:
    """Return (n,) which of the records at these positions a test finds."""
    mask = np.zeros(len(records), np.bool_)
    for i in may[may < len(records)].tolist():
        mask[i] = found(records.data[records.start[i] : records.end[i]])
    return mask


def _is_digit(data: Bytes) -> Mask:
    return (data - np.uint8(ord("0"))) < 10


class ArrayItems:
    """The items of a JSON array as records, block by block. A record's line is its 1-based position."""

    def __init__(self, blocks: Iterator[bytes], most: int) -> None:
        """most: bytes of one item."""
        self.blocks = blocks
        self.most = most
        self.count = 0
        """Items so far."""
        self.rest = b""
        """What follows the last item: empty, unless the array is cut off or more than white space follows it."""
        self.closed = False
        self.oversized = False
        """Whether reading ended at an item that is too large."""

    def __iter__(self) -> Iterator[Records]:
        held, begun = b"", False
        for block in self.blocks:
            held += block
            if not begun:
                held = held.lstrip()
                begun = held[:1] == b"["
                held = held[1:]
            elif self.closed:
                held = held.strip()
            if begun and not self.closed:
                records, stop = self._items(np.frombuffer(held, np.uint8))
                if len(records):
                    yield records
                held = held[stop:]
            if len(held) > self.most:
                self.oversized = not self.closed
                break
        self.rest = held.strip()

    def _items(self, data: Bytes) -> tuple[Records, int]:
        """Return (the items that end within a block, where the next begins)."""
        found = structure(data)
        closing = np.flatnonzero(found.depth < 0)[:1]
        commas = found.at[: closing[0] if len(closing) else None]
        depth = found.depth[: len(commas)]
        ends = commas[(depth == 0) & (data[commas] == COMMA)]
        stop = int(ends[-1]) + 1 if len(ends) else 0
        if len(closing):
            self.closed = True
            close = int(found.at[closing[0]])
            if self.count or len(ends) or data[:close].tobytes().strip():  # not an empty array
                ends = np.append(ends, close)
            stop = close + 1
        starts = np.append(0, ends[:-1] + 1)[: len(ends)]
        own = data[:stop].copy()
        own[ends] = SPACE  # so that a record can be read with the bytes up to the next
        line = np.arange(self.count + 1, self.count + len(ends) + 1)
        self.count += len(ends)
        return checked_encoding(Records(own, starts, ends, line, np.ones(len(ends), np.bool_))), stop


def one_record(data: bytes, line: int) -> Records:
    """Return bytes as one record."""
    start, end, number = (np.array([value]) for value in (0, len(data), line))
    return checked_encoding(Records(np.frombuffer(data, np.uint8), start, end, number, np.array([True])))
