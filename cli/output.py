"""Printing: data on stdout, messages and progress on stderr."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cli.log import EVERY, log

if TYPE_CHECKING:
    import polars as pl

    from pipelines.progress import Progress, Steps
    from schemas.base import Document


UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that move the cursor, start an escape sequence or reorder text; not the tab and the line break."""


def printable(text: str) -> str:
    """Return a text in which a terminal interprets nothing: unsafe characters as visible escapes.

    >>> printable("p1" + chr(27) + "[2J")
    'p1\\\\x1b[2J'
    """
    return UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def say(text: str = "") -> None:
    """Print a message on stderr."""
    if log.form == "json":
        log.line("message", message=text)
    else:
        sys.stderr.write(printable(text) + "\n")


def put(text: str) -> None:
    """Print text on stdout."""
    sys.stdout.write(printable(text) + "\n")


def put_json(value: Document | Sequence[Document] | Mapping[str, Document]) -> None:
    """Print documents as JSON on stdout (schemas.published); renamed fields have their old names as well."""
    if isinstance(value, Mapping):
        _put_json({name: one.with_old_names() for name, one in value.items()})
    else:
        _put_json([one.with_old_names() for one in value] if isinstance(value, Sequence) else value.with_old_names())


def _put_json(plain: dict[str, Any] | list[Any]) -> None:
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    put(UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))  # the same document


def put_frame(frame: pl.DataFrame, *, as_json: bool, as_csv: bool, columns: Sequence[str] | None = None) -> None:
    """Print a frame as a JSON list of objects, as CSV, or as a table of these columns (all if None)."""
    frame = frame.fill_nan(None)
    if as_json:
        _put_json(frame.to_dicts())
    elif as_csv:
        text = frame.write_csv()
        sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    else:
        shown = frame.select(columns) if columns else frame
        put_table(shown.columns, shown.rows())


def put_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on stdout."""
    header = [printable(name) for name in header]
    cells = [[_cell(value) for value in row] for row in rows]
    width = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    number = [all(isinstance(row[i], int | float) or row[i] is None for row in rows) for i in range(len(header))]
    for line in (header, ["─" * w for w in width], *cells):
        put("  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(line, width, number, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    text = printable(str(value).replace("\n", "⏎"))  # before the width is measured
    return text if len(text) <= 100 else text[:99] + "…"


def plural(count: int, noun: str, many: str = "") -> str:
    """Return the count with its noun: 1 vote, 1,234 votes."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def listed(counts: dict[str, int]) -> str:
    """Return "3 empty-id, 1 bad-time"."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show the progress of the block on stderr: as a bar on a terminal, as lines with --log json, else not at all."""
    from pipelines.progress import Steps

    steps = Steps()
    show = _progress_lines(steps) if log.form == "json" else _bar(steps) if sys.stderr.isatty() else nullcontext(steps)
    try:
        with show as update:
            yield update
    finally:
        steps.end()
        log.seconds |= steps.seconds


@contextmanager
def _progress_lines(steps: Steps) -> Iterator[Progress]:
    last = 0.0

    def update(doing: str, done: int, total: int) -> None:
        nonlocal last
        before = steps.name
        steps(doing, done, total)
        if steps.name == before and time.monotonic() - last < EVERY:
            return
        last = time.monotonic()
        rates = {"per_second": steps.rate, "remaining_seconds": steps.remaining}
        known = {name: round(value, 3) for name, value in rates.items() if value is not None}
        log.line("progress", step=doing, done=done, total=total or None, **known)

    yield update


@contextmanager
def _bar(steps: Steps) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, amount="")

        def update(doing: str, done: int, total: int) -> None:
            steps(doing, done, total)
            amount = f"{done:,}" + (f" of {total:,}" if total else "") if done else ""
            amount += f", {steps.rate:,.3g}/s" if steps.rate else ""
            amount += f", {timedelta(seconds=round(steps.remaining))} left" if steps.remaining is not None else ""
            bar.update(task, description=printable(doing), completed=done, total=total or None, amount=amount)

        yield update


def values(columns: dict[str, str], rows: Sequence[Document]) -> list[list[Any]]:
    """The fields of each row that a table prints, numbers rounded. columns: header -> field."""
    found = [[getattr(row, field) for field in columns.values()] for row in rows]
    return [[round(value, 4) if isinstance(value, float) else value for value in row] for row in found]
