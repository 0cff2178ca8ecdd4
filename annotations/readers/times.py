"""When a vote was cast: the usual spellings of a time, read as UTC."""

from __future__ import annotations

import polars as pl

PLAIN = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
UTC = ("%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%d %H:%M:%S%.fZ", "%Y-%m-%d %H:%M:%S%.f UTC", "%Y-%m-%dT%H:%M:%S%.f UTC")
OFFSET = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z")
NUMBER = "number"
TYPE = pl.Datetime("us")

# A number since 1970 by its size: seconds (from 1973 until the year 5138), milliseconds, then microseconds. What is
# smaller is no date of a vote; more likely somebody's time on the task.
SECONDS_FROM, SECONDS_BELOW, MILLISECONDS_BELOW = 1e8, 1e11, 1e14


def parse_times(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """(UTC times as Datetime[us], whether each named its zone) of n texts; null where a text is no time.

    A time without a zone is taken as UTC. A number is a time since 1970: seconds, milliseconds or microseconds by size.
    """
    time = pl.Series("time", [None], TYPE).new_from_index(0, len(text))
    zoned = pl.Series("zoned", [False]).new_from_index(0, len(text))
    for pattern in _likely_first(text):
        missing = time.is_null() & text.is_not_null()
        if not missing.any():
            break
        if missing.all():
            time = _parsed(text, pattern)
        else:
            found = _parsed(text.filter(missing), pattern)
            if found.null_count() == len(found):
                continue
            time = time.fill_null(_scattered(found, missing))
        if pattern not in PLAIN:
            zoned = zoned | (missing & time.is_not_null())
    return time.alias("time"), zoned


def _likely_first(text: pl.Series) -> list[str]:
    """All spellings, those that read more of the first texts before the others."""
    sample = text.head(10_000).drop_nulls().head(20)
    patterns = (*PLAIN, *UTC, *OFFSET, NUMBER)
    return sorted(patterns, key=lambda pattern: _parsed(sample, pattern).null_count())


def _parsed(text: pl.Series, pattern: str) -> pl.Series:
    if pattern == NUMBER:
        return _numbers(text)
    zone = "UTC" if pattern in OFFSET else None
    found = text.str.to_datetime(pattern, strict=False, time_unit="us", time_zone=zone)
    return found.dt.replace_time_zone(None)


def _numbers(text: pl.Series) -> pl.Series:
    value = pl.col("v")
    unit = pl.when(value < SECONDS_BELOW).then(1e6).when(value < MILLISECONDS_BELOW).then(1e3).otherwise(1)
    number = text.cast(pl.Float64, strict=False).alias("v").to_frame()
    sound = pl.when((value >= SECONDS_FROM) & (value < 1e18)).then(value)
    return number.select(sound).select((value * unit).round().cast(pl.Int64).cast(TYPE)).to_series()


def _scattered(found: pl.Series, at: pl.Series) -> pl.Series:
    """(n,) the values of ``found`` at the places where ``at`` is true, null elsewhere."""
    return found.gather(pl.select(pl.when(at).then(at.cum_sum() - 1)).to_series().cast(pl.UInt32))
