"""Times: which spellings are read, and which are not."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

from annotations.readers.rules import parse_times

TEN = datetime(2024, 1, 2, 10, 0, 0)


def parsed(*texts: str | None) -> list[tuple[datetime | None, bool]]:
    time, zoned = parse_times(pl.Series(texts, dtype=pl.String))
    return list(zip(time.to_list(), zoned.to_list(), strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02T10:00:00Z",
        "2024-01-02T12:00:00+02:00",
        "2024-01-02T12:00:00.000+0200",
        "2024-01-02 08:00:00-02",
        "2024-01-02 10:00:00.0 UTC",
        "2024-01-02 10:00:00 +00:00",
        "1704189600",
        "1704189600.0",
        "1704189600000",
        "1704189600000000",
        "1.7041896e9",
    ],
)
def test_a_time_that_names_its_zone_is_read_as_utc(text: str) -> None:
    assert parsed(text) == [(TEN, True)]


@pytest.mark.parametrize("text", ["2024-01-02T10:00:00", "2024-01-02 10:00:00.000", "2024-01-02 10:00"])
def test_a_time_without_a_zone_is_utc_and_marked(text: str) -> None:
    assert parsed(text) == [(TEN, False)]


def test_a_date_is_its_midnight() -> None:
    assert parsed("2024-01-02") == [(datetime(2024, 1, 2), False)]


@pytest.mark.parametrize(
    "text", ["yesterday", "2024-02-30", "01/02/2024", "NaN", "inf", "1e30", "", "2024-01-02 10:00:00 CET"]
)
def test_a_text_that_is_not_a_time_is_null(text: str) -> None:
    assert parsed(text) == [(None, False)]


@pytest.mark.parametrize("text", ["12.5", "0", "-5", "2024", "20240102", "99999999"])
def test_small_numbers_are_not_times(text: str) -> None:
    assert parsed(text) == [(None, False)]


def test_each_row_of_a_column_may_be_spelled_in_its_own_way() -> None:
    texts = ("2024-01-02 10:00:00", None, "1704189600", "never", "2024-01-02T10:00:00Z", "2024-01-02 10:00:00")
    assert parsed(*texts) == [(TEN, False), (None, False), (TEN, True), (None, False), (TEN, True), (TEN, False)]


def test_an_empty_column_stays_empty() -> None:
    assert parsed() == []
    assert parsed(None, None) == [(None, False), (None, False)]
