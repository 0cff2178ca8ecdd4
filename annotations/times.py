"""When a vote was cast: the usual spellings of a time, read as UTC."""

from __future__ import annotations

import polars as pl

ZONED = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z")
PLAIN = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
TYPE = pl.Datetime("us")

# A number since 1970 by its size: seconds until the year 5138, milliseconds, then microseconds.
# Below the first bound it is none of them: a duration, or a date without its dashes.
SECONDS_FROM, SECONDS_BELOW, MILLISECONDS_BELOW = 1e8, 1e11, 1e14


def parse_times(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """(UTC times as Datetime[us], whether each named its zone) of n texts; null where a text is no time.

    A time without a zone is taken as UTC. A number is a time since 1970: seconds, milliseconds or microseconds by size;
    numbers below 10⁸ (March 1973 in seconds) are no times.
    """
    text = (
        text.str.strip_suffix(" UTC")
        + pl.select(pl.when(text.str.ends_with(" UTC")).then(pl.lit("Z")).otherwise(pl.lit(""))).to_series()
    )
    time = pl.Series("time", [None] * len(text), TYPE)
    zoned = pl.Series("zoned", [False]).new_from_index(0, len(text))
    for pattern in (*PLAIN, *ZONED, "number"):
        missing = time.is_null() & text.is_not_null()
        if not missing.any():
            break
        rest = text.filter(missing) if not missing.all() else text
        found = _numbers(rest) if pattern == "number" else _parsed(rest, pattern)
        if found.null_count() == len(found):
            continue
        spread = found if len(found) == len(text) else _scattered(found, missing)
        zoned = zoned | (spread.is_not_null() & (pattern not in PLAIN))
        time = time.fill_null(spread) if time.null_count() < len(time) else spread
    return time.alias("time"), zoned


def _parsed(text: pl.Series, pattern: str) -> pl.Series:
    zone = "UTC" if pattern in ZONED else None
    found = text.str.to_datetime(pattern, strict=False, time_unit="us", time_zone=zone)
    return found.dt.replace_time_zone(None)


def _numbers(text: pl.Series) -> pl.Series:
    value = pl.col("v")
    unit = pl.when(value < SECONDS_BELOW).then(1e6).when(value < MILLISECONDS_BELOW).then(1e3).otherwise(1)
    number = text.cast(pl.Float64, strict=False).alias("v").to_frame()
    sound = pl.when(value.is_finite() & value.is_between(SECONDS_FROM, 1e18, closed="left")).then(value)
    return number.select(sound).select((value * unit).round().cast(pl.Int64).cast(TYPE)).to_series()


def _scattered(found: pl.Series, at: pl.Series) -> pl.Series:
    """(n,) the values of ``found`` at the places where ``at`` is true, null elsewhere."""
    return found.gather(pl.select(pl.when(at).then(at.cum_sum() - 1)).to_series().cast(pl.UInt32))
