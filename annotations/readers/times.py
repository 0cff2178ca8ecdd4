"""Times as text: ISO 8601, numbers since 1970, a given format, or the only format that fits a whole column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import polars as pl

LOCAL_PATTERNS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d",
)
UTC_PATTERNS = (
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d %H:%M:%S%.fZ",
    "%Y-%m-%d %H:%M:%S%.f UTC",
    "%Y-%m-%dT%H:%M:%S%.f UTC",
)
OFFSET_PATTERNS = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z")
NUMBER = "number"
TIME = pl.Datetime("us")
# The size of a number since 1970 gives its unit: seconds (1973 to 5138), milliseconds, then microseconds. A smaller
# number is no date of a vote but probably the time spent on the task; nor is one after PLAUSIBLE.
SECONDS_FROM, SECONDS_BELOW, MILLISECONDS_BELOW = 1e8, 1e11, 1e14


DATES = (
    *("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d/%m/%y", "%m/%d/%y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d"),
    *("%b %d %Y", "%b %d, %Y", "%d %b %Y", "%d-%b-%Y", "%a %b %d %Y"),
    *("%B %d %Y", "%B %d, %Y", "%d %B %Y"),
)
CLOCKS = ("", " %H:%M", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p", ", %H:%M:%S", ", %I:%M:%S %p", "T%H:%M:%S")
OTHER_PATTERNS = (
    *("".join(parts) for parts in product(DATES, CLOCKS)),
    *("%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S GMT", "%a, %d %b %Y %H:%M:%S %z", "%Y%m%d%H%M%S"),
)
"""Formats of which one is used only if it alone fits a whole column."""
PLAUSIBLE = (1990, 2100)
"""Years of votes; a format that gives another year does not fit."""


class TimeFormats:
    """The formats that fit every text seen so far."""

    def __init__(self) -> None:
        self.fitting: list[str] = list(OTHER_PATTERNS)
        self._different: dict[str, set[str]] = {}

    def add(self, texts: pl.Series) -> None:
        """Take the texts of one chunk into account, except those that ``parse_times`` can read."""
        odd = texts.drop_nulls().unique().str.strip_chars()
        odd = odd.filter(parse_times(odd)[0].is_null() & (odd != ""))
        if odd.is_empty():
            return
        read = {pattern: _parse(odd, pattern) for pattern in self.fitting}
        read = {
            pattern: times
            for pattern, times in read.items()
            if not times.null_count() and times.dt.year().is_between(*PLAUSIBLE).all()
        }
        self.fitting = list(read)
        for pattern, times in read.items():
            others = {other for other, same in read.items() if not times.equals(same)}
            self._different.setdefault(pattern, set()).update(others)

    def found(self) -> str:
        """Return the format, or empty if none fits or several fit and give different times."""
        several = any(self._different.get(one, set()).intersection(self.fitting) for one in self.fitting)
        return "" if several or not self._different or not self.fitting else self.fitting[0]

    def ambiguous(self) -> Sequence[str]:
        """Return the formats that fit and give different times."""
        return [one for one in self.fitting if self._different.get(one, set()).intersection(self.fitting)]


def find_time_format(columns: Iterable[pl.Series]) -> tuple[str, Sequence[str]]:
    """Return (the only format that fits all texts, else empty; the formats that fit and differ) of a column's parts."""
    formats = TimeFormats()
    for texts in columns:
        formats.add(texts)
        if not formats.fitting:
            break
    return formats.found(), formats.ambiguous()


def parse_times(text: pl.Series, time_format: str = "") -> tuple[pl.Series, pl.Series]:
    """Return (UTC times as Datetime[us], whether each text stated its zone) of n texts; null if a text is not a time.

    A time without a zone is read as UTC. A number is a time since 1970 in seconds, milliseconds or microseconds.
    ``time_format``: read with this format first.
    """
    if time_format:
        given = _parse(text, time_format)
        missing = given.is_null() & text.is_not_null()
        time, zoned = parse_times(text.filter(missing))
        own_zone = pl.Series("zoned", ["%z" in time_format or "GMT" in time_format]).new_from_index(0, len(text))
        at = missing.arg_true()
        return given.scatter(at, time).alias("time"), own_zone.scatter(at, zoned)
    time = pl.Series("time", [None], TIME).new_from_index(0, len(text))
    zoned = pl.Series("zoned", [False]).new_from_index(0, len(text))
    sample = text.head(10_000).drop_nulls().head(20)
    if text.null_count() == len(text):
        return time, zoned
    patterns = (*LOCAL_PATTERNS, *UTC_PATTERNS, *OFFSET_PATTERNS, NUMBER)
    for pattern in sorted(patterns, key=lambda pattern: _parse(sample, pattern).null_count()):
        missing = time.is_null() & text.is_not_null()
        if not missing.any():
            break
        if missing.all():
            time = _parse(text, pattern)
        else:
            found = _parse(text.filter(missing), pattern)
            if found.null_count() == len(found):
                continue
            time = time.scatter(missing.arg_true(), found)
        if pattern not in LOCAL_PATTERNS:
            zoned = zoned | (missing & time.is_not_null())
    return time.alias("time"), zoned


def _parse(text: pl.Series, pattern: str) -> pl.Series:
    """Return the texts that fit one pattern as times without a zone; null for the others."""
    if pattern == NUMBER:
        return _parse_numbers(text)
    zone = "UTC" if "%z" in pattern or "%#z" in pattern else None
    found = text.str.to_datetime(pattern, strict=False, time_unit="us", time_zone=zone)
    return found.dt.replace_time_zone(None)


def _parse_numbers(text: pl.Series) -> pl.Series:
    value = pl.col("v")
    unit = pl.when(value < SECONDS_BELOW).then(1e6).when(value < MILLISECONDS_BELOW).then(1e3).otherwise(1)
    number = text.cast(pl.Float64, strict=False).alias("v").to_frame()
    valid = pl.when((value >= SECONDS_FROM) & (value < 1e18)).then(value)
    time = number.select(valid).select((value * unit).round().cast(pl.Int64).cast(TIME)).to_series()
    return time.set(time.dt.year() > PLAUSIBLE[1], None)
